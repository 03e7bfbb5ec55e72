//! Loading driver images.
