//! `IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION`: somebody maps the file.

use kernel::callback::{Before, Callback, Operation};
use kernel::fltkernel::IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION;

use super::NO_SECTION;
use crate::save::live::{Redirect, Role};

/// A section of a writing handle would map the file outside the transaction, where writes could not be taken back. Until
/// the twin's section takes its place, it is refused. A reader's section maps the last committed version.
pub struct Section;

impl Operation for Section {
    const MAJOR: u8 = IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION;
    const WATCHES: bool = false;
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        match Redirect::of(data) {
            // Only the creation of a section may be failed (minifilter-rules §2.2).
            Ok(Some(redirect)) if redirect.role == Role::Writer && data.creates_section() => {
                Before::Complete(NO_SECTION, 0)
            }
            Err(_) if data.creates_section() => Before::Complete(NO_SECTION, 0),
            _ => Before::Pass,
        }
    }
}
