//! The details of the operation table: information classes and file system controls, each with its treatment and reason.

use super::Treatment;

mod classes;
mod controls;
#[cfg(test)]
mod page;

pub use classes::{QUERIES, SETTINGS};
pub use controls::CONTROLS;

/// One information class or control code.
pub struct Row {
    pub(super) detail: u32,
    pub(super) treatment: Treatment,
    #[cfg(test)]
    pub(super) name: &'static str,
    #[cfg(test)]
    pub(super) reason: &'static str,
}

/// The text is for the documentation; the driver does not carry it.
const fn row(detail: u32, name: &'static str, treatment: Treatment, reason: &'static str) -> Row {
    #[cfg(not(test))]
    let _ = (name, reason);
    Row {
        detail,
        treatment,
        #[cfg(test)]
        name,
        #[cfg(test)]
        reason,
    }
}
