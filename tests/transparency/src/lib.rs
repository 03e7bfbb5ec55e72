//! Whether Intact can be noticed: generated programs run on a bare lab volume and on one with Intact, and every answer that
//! they get, and everything that is left at the end, is compared.
//!
//! Each request is made by a thread of its own in its process, at a time of its own, the same one on both machines; one that waits
//! for a byte-range lock stays pending while others are made, until the lock is free, its handle closed, or its process
//! killed. Reads and writes of asynchronous handles take time and stay under way likewise: each as long on both machines, and
//! what it is told is compared when it has ended on both. What Intact has wait for them is made as late on the bare machine. Two
//! requests that race are what `tests/faults` and the schedules of `tests/saves` are about: who comes first
//! would be no difference.
//!
//! | module | what |
//! |---|---|
//! | [`program`], [`generate`] | programs as data, and the generator |
//! | [`machine`], [`answer`] | a lab in which a program runs, and what its processes are told |
//! | [`reports`] | what somebody is told who watches the folders |
//! | [`ledger`] | what the driver counts, balanced after every step |
//! | [`pair`] | the two machines side by side |
//! | [`differences`] | the written list of what TxF forces to differ |
//! | [`limits`] | what shows each of the README's limits |
//! | [`atomic`] | kills and aborts at any operation: every file old or new |
//! | [`explore`], [`shrink`] | many programs; the shortest one that fails |

pub mod answer;
pub mod atomic;
pub mod differences;
pub mod explore;
pub mod generate;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod pair;
pub mod program;
pub mod reports;
pub mod shrink;
pub mod world;
