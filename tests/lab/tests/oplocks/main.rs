//! Oplocks on the bare volume (minifilter-rules §2.9).

mod acknowledging;
mod breaking;
mod granting;
mod opening;
mod scene;
