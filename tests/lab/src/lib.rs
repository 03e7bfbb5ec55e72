//! A Windows I/O stack in a user-mode process: it loads minifilters and shows what they do to programs' files.
//!
//! ```no_run
//! use lab::{CreateOptions, GENERIC_WRITE, Lab};
//!
//! let lab = Lab::builder().seed(7).build().unwrap();
//! let program = lab.process("writer.exe");
//! let handle = program.create_file(CreateOptions::create(r"C:\report.txt", GENERIC_WRITE)).unwrap();
//! program.write(handle, 0, b"hello").unwrap();
//! program.close(handle).unwrap();
//! program.exit(0);
//! let report = lab.unload();
//! assert!(report.is_clean(), "{report}");
//! ```
//!
//! # The parts
//! | module | what |
//! |---|---|
//! | [`Lab`], [`Builder`] | a machine: volume, registry, drivers; seed, faults, switches |
//! | [`Process`], [`Caller`] | programs and what they call: typed NtXxxFile |
//! | [`io`] | file objects, requests, handles, NTFS at the bottom |
//! | [`flt`] | the Filter Manager |
//! | [`ktm`] | transactions |
//! | [`loading`] | services, drivers, their start and unload |
//! | [`mount`] | FUSE: unmodified Linux programs on the volume |
//! | [`load`], [`fidelity`] | `lab load`, `lab fidelity` |
//! | [`rules`], [`switches`], [`verifier`] | what `lab fidelity` prints besides imports |
//! | [`facts`], [`index`] | the collected facts, and which of them the lab models |
//! | [`run`] | `lab run`: a program, a fault, and what became of its files |
//!
//! The lab knows nothing of any driver: no code path asks which one it runs.

mod assembly;
pub mod bench;
pub mod caller;
pub mod facts;
pub mod fidelity;
pub mod flt;
pub mod index;
pub mod io;
pub mod ktm;
pub mod load;
pub mod loading;
mod memory;
pub mod mount;
mod opaque;
mod process;
mod report;
mod rooms;
pub mod rules;
pub mod run;
pub mod switches;
pub mod verifier;

pub use assembly::{Builder, Lab, PowerState, TransactionState};
pub use caller::{
    Acknowledgement, Caller, Change, Changes, CreateOptions, Created, DELETE, DIRECTORY, DirectoryEntry,
    GENERIC_READ, GENERIC_WRITE, Handle, Information, MappedFile, NON_DIRECTORY, Name, NetworkOpen, Offset,
    OplockBreak, READ_ATTRIBUTES, SHARE_ALL, SYNCHRONIZE, SYNCHRONOUS,
};
pub use io::Oplock;
pub use lab_executive::Violation;
pub use lab_volume::Status;
pub use process::{Pending, Process, spawn_call};
pub use report::Report;

/// The executive's part of a lab.
pub type Executive = lab_executive::Lab;

/// The README's scenario, run with the documentation's other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
