//! Loaded driver images: where they are, and what an address in them means.

use std::cell::{Cell, RefCell};

/// A mapped driver image.
pub struct Image {
    /// Its file name.
    pub name: String,
    base: usize,
    size: usize,
}

/// The images of one lab.
#[derive(Default)]
pub struct Images {
    images: RefCell<Vec<Image>>,
    deepest: Cell<usize>,
}

impl Images {
    /// The image that an address lies in.
    pub fn index_of(&self, address: usize) -> Option<usize> {
        self.images.borrow().iter().position(|i| (i.base..i.base + i.size).contains(&address))
    }

    pub(crate) fn rva(&self, address: usize) -> Option<(usize, u32)> {
        let index = self.index_of(address)?;
        u32::try_from(address - self.images.borrow()[index].base).ok().map(|rva| (index, rva))
    }

    /// `name+0xRVA` of an address in an image.
    pub fn describe(&self, address: usize) -> Option<String> {
        let (index, rva) = self.rva(address)?;
        Some(format!("{}+{rva:#x}", self.images.borrow()[index].name))
    }

    pub(crate) fn classify(&self, address: usize) -> Option<(&'static str, String)> {
        self.describe(address)
            .map(|place| ("image-write", format!("{place}, against the section's protection")))
    }

    pub(crate) fn note_stack(&self, used: usize) {
        self.deepest.set(self.deepest.get().max(used));
    }

    /// The deepest use of stack by driver frames so far, in bytes.
    pub fn deepest_stack(&self) -> usize {
        self.deepest.get()
    }

    pub(crate) fn walk(&self, rsp: usize, _rbp: usize, _most: usize) -> Vec<usize> {
        // SAFETY: an import thunk stored its stack pointer, which points at the return address of its caller.
        vec![unsafe { std::ptr::with_exposed_provenance::<usize>(rsp).read() }]
    }
}
