//! A driver that can panic: it indexes an array with a number that it is given. The checks of built images must
//! notice, or what they say of `intact.sys` means nothing.

#![cfg_attr(windows, no_std)]

#[cfg(windows)]
mod driver;
