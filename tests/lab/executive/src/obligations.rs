//! What a driver set up and must take down again: before unload, and before the memory that it lies in is freed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::Lab;

struct Obligation {
    image: Option<usize>,
    what: &'static str,
    serial: u64,
}

/// The open obligations of one lab, keyed by an address that identifies each.
#[derive(Default)]
pub struct Obligations {
    open: RefCell<BTreeMap<(usize, &'static str), Obligation>>,
    serial: std::cell::Cell<u64>,
}

impl Obligations {
    /// Notes that the calling driver set `what` up at `address`. Returns false if it had done so already.
    pub fn add(&self, lab: &Lab, address: usize, what: &'static str) -> bool {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let obligation = Obligation { image: lab.caller(), what, serial };
        self.open.borrow_mut().insert((address, what), obligation).is_none()
    }

    /// Notes that it was taken down. Returns whether it was there.
    pub fn remove(&self, address: usize, what: &'static str) -> bool {
        self.open.borrow_mut().remove(&(address, what)).is_some()
    }

    /// Whether it is set up.
    pub fn has(&self, address: usize, what: &'static str) -> bool {
        self.open.borrow().contains_key(&(address, what))
    }

    pub(crate) fn inside(&self, range: &Range<usize>) -> Option<&'static str> {
        self.open.borrow().range((range.start, "")..(range.end, "")).next().map(|(_, o)| o.what)
    }

    /// What an image left, oldest first.
    pub(crate) fn of(&self, image: usize) -> Vec<&'static str> {
        let open = self.open.borrow();
        let mut mine: Vec<_> = open.values().filter(|o| o.image == Some(image)).collect();
        mine.sort_by_key(|o| o.serial);
        mine.into_iter().map(|o| o.what).collect()
    }
}
