//! The minifilter intact.sys: makes the saves of unmodified programs atomic
