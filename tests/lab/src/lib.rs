//! A small user-mode Windows I/O stack that loads minifilters
