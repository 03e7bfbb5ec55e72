//! The processor control region: what inlined code of other compilers reads through `gs:`.
//!
//! `gs:[188h]` holds the current thread (KPCR.Prcb.CurrentThread; the offset is what public listings of
//! PsGetCurrentThread and KeGetCurrentThread on x64 show). The page also holds the slots that import thunks fill.

use std::ptr;

use crate::mapping::Mapping;

const CURRENT_THREAD: usize = 0x188;
const SELF: usize = 0x18;
const CALLER: usize = 0x800;

const ARCH_SET_GS: libc::c_int = 0x1001;
const ARCH_GET_GS: libc::c_int = 0x1004;

/// Where a driver's import thunk left its stack and frame pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct CallerRegisters {
    /// Points at the return address.
    pub(crate) rsp: usize,
    pub(crate) rbp: usize,
}

pub(crate) struct Pcr {
    page: Mapping,
}

impl Pcr {
    pub(crate) fn new() -> Self {
        let page = Mapping::anonymous(4096, libc::PROT_READ | libc::PROT_WRITE);
        let pcr = Self { page };
        // SAFETY: SELF lies inside the page, which is writable and ours.
        unsafe { ptr::write(pcr.page.at(SELF).cast::<usize>(), pcr.page.address()) };
        pcr
    }

    /// Publishes the current thread for `gs:[188h]`.
    pub(crate) fn set_thread(&self, ethread: *mut u8) {
        // SAFETY: the slot lies inside the page, which is writable and ours.
        unsafe { ptr::write_volatile(self.page.at(CURRENT_THREAD).cast::<*mut u8>(), ethread) };
    }

    /// Address of the slot that thunks write their registers to.
    pub(crate) fn caller_slot(&self) -> usize {
        self.page.address() + CALLER
    }

    /// Takes what the last thunk left; `rsp` is 0 if the import was called by the lab itself.
    pub(crate) fn take_caller(&self) -> CallerRegisters {
        let slot = self.page.at(CALLER).cast::<CallerRegisters>();
        // SAFETY: the slot lies inside the page, is aligned, and holds plain numbers.
        unsafe {
            let registers = ptr::read_volatile(slot);
            ptr::write_volatile(slot, CallerRegisters { rsp: 0, rbp: 0 });
            registers
        }
    }

    /// Points the OS thread's GS base at this page and returns the former base.
    ///
    /// Linux programs on x86-64 do not use GS; where the call is refused (some emulators), drivers that read
    /// `gs:` stop at a named fault instead.
    pub(crate) fn activate(&self) -> usize {
        let mut before = 0usize;
        // SAFETY: arch_prctl reads and sets this thread's GS base only.
        unsafe {
            libc::syscall(libc::SYS_arch_prctl, ARCH_GET_GS, ptr::from_mut(&mut before));
            libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, self.page.address());
        }
        before
    }

    /// Restores a base that [`activate`](Self::activate) returned.
    pub(crate) fn restore(base: usize) {
        // SAFETY: as in `activate`.
        unsafe {
            libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base);
        }
    }
}
