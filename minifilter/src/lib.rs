//! The minifilter intact.sys: makes the saves of unmodified programs atomic
#![cfg_attr(not(test), no_std)]

pub mod save;
