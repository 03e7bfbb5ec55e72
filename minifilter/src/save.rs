//! A save: one transaction and the files modified in it, ended by exactly one outcome.
//!
//! What it knows and how it decides is pure: [`state`], [`wounds`], [`failure`], [`fate`], [`outcome`]. What it holds and how the
//! outcome is carried out is in `live`, what stands between a handle and its twin in `redirect`, its files in `saved`, what it made outside of its transaction in `placeholder`; how
//! its twins are exchanged under live handles in `exchange`, and what becomes of byte-range locks then in `locks`; which saves
//! live on a volume, and who may join them, in `files`; whose they are in `partners`. How a handle leaves is in `leaving`; sections over a handle, and
//! handles closed while the file is mapped, are in `mapping` and `postponed`. Saves that wait for more are in `settling`, what
//! time does to live ones in `limits`, what becomes of their pages in `below`; all are looked after by the thread in `clock`.
//! Its form is that in `attendant`, which `postponed` has too.

pub mod failure;
pub mod fate;
pub mod outcome;
pub mod state;
pub mod wounds;

#[cfg(windows)]
pub mod attendant;
#[cfg(windows)]
pub mod below;
#[cfg(windows)]
pub mod clock;
#[cfg(windows)]
pub mod exchange;
#[cfg(windows)]
pub mod files;
#[cfg(windows)]
pub mod leaving;
#[cfg(windows)]
pub mod limits;
#[cfg(windows)]
pub mod live;
#[cfg(windows)]
pub mod locks;
#[cfg(windows)]
pub mod mapping;
#[cfg(windows)]
pub mod partners;
#[cfg(windows)]
pub mod placeholder;
#[cfg(windows)]
pub mod postponed;
#[cfg(windows)]
pub mod redirect;
#[cfg(windows)]
pub mod saved;
#[cfg(windows)]
pub mod settling;
