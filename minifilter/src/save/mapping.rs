//! Sections that a program makes over a redirected handle.
//!
//! The program's own file object would map the last committed version. So while a section is being made over it, it has
//! the section pointers of its twin, and a read-only section of ours over the twin sees to it that the twin, and no
//! other file object, is the one that pages are read from and written to. After that the loan is over: the section
//! knows its pages by itself (minifilter-rules §1.5, §1.8).
//!
//! A twin with sections cannot be exchanged: they are its own.

use arrayvec::ArrayVec;
use kernel::file::{FileObject, LowerFile};
use kernel::process;
use kernel::section::{self, Loan, Section};
use kernel::sync::SpinLock;
use kernel::{Result, Status};

/// How many threads may be making sections over one handle at once.
const MAKERS: usize = 4;

/// The sections that are being made over one handle.
pub struct Mapping(SpinLock<Making>);

struct Making {
    threads: ArrayVec<usize, MAKERS>,
    held: Option<(Loan, Section)>,
}

impl Mapping {
    /// None.
    pub const fn new() -> Self {
        Mapping(SpinLock::new(Making { threads: ArrayVec::new_const(), held: None }))
    }

    /// The current thread begins to make a section over `own`, which is to be one of `twin`. PASSIVE_LEVEL, without
    /// locks, inside the twin's gate. Fails for an empty twin, for too many threads, and as the memory manager fails.
    pub fn begin(&self, own: FileObject<'_>, twin: &LowerFile) -> Result<()> {
        let keeper = Section::over(twin)?;
        let mut making = self.0.lock();
        making.threads.try_push(process::current_thread()).map_err(|_| Status::INSUFFICIENT_RESOURCES)?;
        if making.held.is_none() {
            making.held = Some((Loan::make(own, twin.object()), keeper));
        }
        Ok(())
    }

    /// The current thread has made its section, or will not. The last one ends the loan. IRQL up to APC_LEVEL.
    pub fn end(&self) {
        let thread = process::current_thread();
        let mut making = self.0.lock();
        making.threads.retain(|maker| *maker != thread);
        let held = if making.threads.is_empty() { making.held.take() } else { None };
        drop(making);
        drop(held);
    }

    /// The twin will be closed: the loan ends, whoever is still making a section. One that is made now maps the last
    /// committed version, and what is written through it goes nowhere. IRQL up to APC_LEVEL.
    pub fn abandon(&self) {
        let held = self.0.lock().held.take();
        drop(held);
    }

    /// Whether `twin` has sections, or one is being made. IRQL up to APC_LEVEL, at the held gate of the twin.
    pub fn is_in_use(&self, twin: &LowerFile) -> bool {
        !self.0.lock().threads.is_empty() || section::is_mapped(twin.object())
    }
}

impl Default for Mapping {
    fn default() -> Self {
        Self::new()
    }
}
