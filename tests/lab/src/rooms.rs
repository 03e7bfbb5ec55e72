//! The rooms that this crate adds to the executive.

use std::rc::Rc;

use crate::Executive;
use crate::flt::FilterManager;
use crate::io::Io;
use crate::ktm::KtmRoom;

/// Reaches this crate's state from the executive's lab.
pub(crate) trait Rooms {
    /// The I/O manager and the mounted volume.
    fn io(&self) -> Rc<Io>;
    /// The Filter Manager.
    fn flt(&self) -> Rc<FilterManager>;
    /// Transactions.
    fn ktm(&self) -> Rc<KtmRoom>;
}

impl Rooms for Executive {
    fn io(&self) -> Rc<Io> {
        self.room()
    }

    fn flt(&self) -> Rc<FilterManager> {
        self.room()
    }

    fn ktm(&self) -> Rc<KtmRoom> {
        self.room()
    }
}
