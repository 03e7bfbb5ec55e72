//! The lab's executive: everything of `ntoskrnl.exe` that is not I/O manager, Filter Manager, NTFS or KTM.
//!
//! A [`Lab`] is a kernel small enough to read. It knows Windows and nothing of the drivers that it runs.
//!
//! ```
//! use lab_executive::{Config, Lab, Timeout, wait};
//!
//! let lab = Lab::new(Config { seed: 7, ..Config::default() });
//! // Every kernel routine runs in a lab thread; this one waits until another signals.
//! let event = lab.allocate_own(24, b"Evnt");
//! lab.init_dispatcher(event, wait::NOTIFICATION_EVENT, 0);
//! let system = lab.processes.system();
//! lab.spawn(&system, "signaller", move |lab| { lab.signal_object(event, 1); });
//! let status = lab.run(move |lab| lab.wait_for(&[event], false, Timeout::Never))?;
//! assert_eq!(status, 0);
//! # Ok::<(), std::rc::Rc<lab_executive::Violation>>(())
//! ```
//!
//! # The parts
//! | module | what |
//! |---|---|
//! | [`lab`](Lab) | the state of one lab; [`with_lab`] reaches the current one; [`Lab::room`] hangs other crates' state on it |
//! | [`import`] and [`imports!`](macro@imports) | declaring what a driver may import, with its levels, fidelity and source; call sites and planned faults |
//! | [`image`] | PE images: mapping, relocation, binding, unwinding |
//! | [`scheduler`] | coroutine threads, the seeded choice, virtual time, injected work |
//! | [`wait`] | dispatcher objects |
//! | [`object`], [`handle`], [`process`] | objects and references, handles, processes and their death |
//! | [`pool`], [`user_memory`] | guarded memory; user buffers that a driver must not touch |
//! | [`locks`], [`irql`] | who holds what, lock order, levels |
//! | [`violation`] | a broken contract: recorded, the thread abandoned, the process alive |
//! | [`registry`], [`etw`] | the hive; providers and decoded events |
//! | [`imports`](mod@imports) | the kernel's routines themselves |
//!
//! # Rules for code that runs in a lab
//! - Never hold a `RefCell` borrow of lab state across something that may switch threads (waits, yields, the end
//!   of an import) or call a driver.
//! - Call driver code through [`Lab::call_driver`] only.
//! - Never let an address decide an order or enter the trace: same seed, same run.
//! - Fail closed: what is not modelled calls [`Lab::violate`].

pub mod acquire;
pub mod etw;
mod fault;
mod format;
pub mod handle;
pub mod image;
pub mod import;
pub mod imports;
pub mod irql;
mod lab;
mod layout;
mod levels;
pub mod locks;
mod mapping;
pub mod object;
pub mod obligations;
mod pcr;
pub mod pool;
pub mod process;
pub mod random;
pub mod registry;
pub mod scheduler;
mod stack;
pub mod status;
pub mod strings;
pub mod thread;
pub mod timers;
pub mod trace;
pub mod user_memory;
pub mod violation;
pub mod wait;

pub use handle::{Handle, HandleEntry, Mode};
pub use import::{Fidelity, Import};
pub use irql::Irql;
pub use lab::{Config, Lab, try_lab, with_lab};
pub use process::Process;
pub use thread::Thread;
pub use violation::Violation;
pub use wait::Timeout;
