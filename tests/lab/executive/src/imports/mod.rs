//! The kernel's routines.
