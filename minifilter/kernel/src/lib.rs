//! Owner types for the kernel objects that a minifilter uses
