//! Filter Manager declarations, shared by the kernel crate and the lab
