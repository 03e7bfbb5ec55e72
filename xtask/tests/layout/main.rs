//! The layouts that the driver and the lab share, compared with sources that know nothing of either.
//!
//! An error in `fltkernel` or in the generated structures would be invisible to both: they would agree with each
//! other and disagree with Windows. So they are compared with Wine's `ddk/fltkernel.h`, through a C compiler, and
//! with `windows-sys`, which is made from Microsoft's metadata, where that is right for 64 bits (its
//! `FLT_PARAMETERS` is not: minifilter-rules §4.2).

mod windows_sys;
mod wine;
