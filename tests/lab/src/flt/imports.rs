//! `FLTMGR.SYS`, as drivers import it.

pub mod contexts;
pub mod extra_parameters;
pub mod filters;
pub mod names;
pub mod operations;
pub mod requests;

pub use contexts::CONTEXTS;
pub use extra_parameters::EXTRA_PARAMETERS;
pub use filters::FILTERS;
pub use names::NAMES;
pub use operations::OPERATIONS;
pub use requests::REQUESTS;

/// Checks that what is bound under a name has that name's signature in `fltkernel`.
macro_rules! same_signatures {
    ($(fn $name:ident($($argument:ident: $ty:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        $(const _: unsafe extern "win64" fn($($ty),*) $(-> $result)? = $name;)*
    };
}

mod check {
    #![allow(unused_imports, reason = "a glob for each family")]
    use super::contexts::*;
    use super::extra_parameters::*;
    use super::filters::*;
    use super::names::*;
    use super::operations::*;
    use super::requests::*;
    use fltkernel::*;

    fltkernel::for_each_function!(same_signatures);
}
