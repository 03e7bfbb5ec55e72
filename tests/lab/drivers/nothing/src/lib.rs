//! A minifilter that attaches everywhere and does nothing
