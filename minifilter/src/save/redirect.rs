//! The redirect of a handle: what stands between an application's file object and its twin.

use core::sync::atomic::AtomicBool;

use kernel::callback::Callback;
use kernel::context::{Context, ContextKind, ContextRef};
use kernel::file::{FileObject, FileRef, LowerFile};
use kernel::gate::{Gate, Held};
use kernel::instance::Instance;
use kernel::pool::{Shared, Tag};
use kernel::sync::SpinLock;
use kernel::{Result, Status};

use super::below;
use super::files::{Files, Pass};
use super::live::Save;
use super::locks::{self, Locks};
use super::mapping::Mapping;
use super::state::Place;
use crate::Intact;
use crate::report::counters;

const TAG: Tag = Tag::new(b"InRd");

/// What a redirected handle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes part in the save.
    Writer,
    /// It sees the save's view while the save lives.
    Reader,
}

/// How a twin was opened, to open it again in the same way.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// The rights that it was granted. They are a handle's: a change of the file's security does not take them away.
    pub access: u32,
    /// `FILE_SHARE_*`.
    pub share: u32,
    /// `FILE_*` options.
    pub options: u32,
    /// Whether case matters.
    pub case_sensitive: bool,
}

/// The redirect of a handle: the context of the application's file object.
pub struct Redirect {
    /// The file below. Operations that have to be out before it is closed or exchanged are inside; others wait meanwhile.
    pub gate: Gate<LowerFile>,
    /// How it was opened.
    pub how: How,
    /// The save that it is part of; `None`: a plain twin that stays plain.
    pub save: Option<Shared<Save>>,
    /// What it may do.
    pub role: Role,
    /// The file, and which of its streams.
    pub place: Place,
    /// Byte-range locks.
    pub locks: SpinLock<Locks>,
    /// Its cleanup found it.
    pub cleaned_up: AtomicBool,
    /// Its file was made empty through it.
    pub emptied: AtomicBool,
    /// The sections that are being made over it.
    pub mapping: Mapping,
    /// Of a handle that only reads, from its open to the end of its save or its cleanup: the application's file object, to
    /// which its locks go back.
    own: SpinLock<Option<FileRef>>,
    /// What keeps the driver here as long as a redirected handle writes; readers have none.
    pass: Option<Pass>,
}

impl Drop for Redirect {
    fn drop(&mut self) {
        counters::not_redirected();
    }
}

impl Redirect {
    /// Binds a twin to what it is for. IRQL up to APC_LEVEL. Fails with `INSUFFICIENT_RESOURCES`; the twin is closed
    /// then.
    pub fn new(
        twin: LowerFile,
        how: How,
        save: Option<Shared<Save>>,
        pass: Option<Pass>,
        place: Place,
    ) -> Result<ContextRef<Redirect>> {
        let filter = Intact::filter().ok_or(Status::UNSUCCESSFUL)?;
        let gate = Gate::new(TAG, twin)?;
        let role = if pass.is_some() { Role::Writer } else { Role::Reader };
        let locks = SpinLock::new(Locks::new());
        let (cleaned_up, emptied) = (AtomicBool::new(false), AtomicBool::new(false));
        // Before the context is set, so that no operation on the handle misses it; taken back by `Drop`.
        counters::redirected();
        ContextRef::new(
            filter,
            Redirect {
                gate,
                how,
                save,
                role,
                place,
                locks,
                cleaned_up,
                emptied,
                mapping: Mapping::new(),
                own: SpinLock::new(None),
                pass,
            },
        )
    }

    /// Takes the twin out of use: no operation enters any more, those inside come out, the handle is closed. Those inside
    /// are waited for at most this long in milliseconds (`None`: for ever); a twin that is not closed then is when the
    /// redirect goes. PASSIVE_LEVEL. May be repeated.
    pub fn close_twin(&self, patience: Option<u32>) {
        if let Some(twin) = self.gate.close_and_hold(patience) {
            self.mapping.abandon();
            twin.close();
        }
        drop(self.forget_own());
    }

    /// Its save ends before the handle does: the locks that are taken through it go back to this file object then. IRQL up to
    /// DISPATCH_LEVEL.
    pub fn may_go_back_to(&self, own: FileObject<'_>) {
        *self.own.lock() = Some(own.reference());
    }

    /// A handle that only reads is closed, or the save that it saw is over: its own file object goes without us. IRQL up to
    /// DISPATCH_LEVEL.
    pub fn forget_own(&self) -> Option<FileRef> {
        self.own.lock().take()
    }

    /// A handle that only reads goes back to its own file object, with the locks that it holds. `twin`: nobody is inside.
    /// PASSIVE_LEVEL. A lock for which somebody else was faster is lost.
    pub fn go_back(&self, twin: &Held<'_, LowerFile>, instance: Instance<'_>) {
        self.mapping.abandon();
        if twin.is_open() {
            locks::end(&self.locks, twin.object(), instance);
        }
        twin.close();
        if let Some(own) = self.forget_own() {
            let _ = locks::take_again(&self.locks, own.object(), instance);
        }
        // Not before: what gives a lock back waits until it is where it will be.
        self.gate.close();
    }

    /// Whether any handle is redirected that the instance of an operation may see. Any IRQL.
    #[inline]
    pub fn any(data: &Callback<'_>) -> bool {
        counters::any_redirected() && !below::is_lower(data.instance())
    }

    /// The redirect of the handle that an operation is about. Nearly every operation of a system is about a handle that
    /// is not redirected, so the first question costs one load. IRQL up to APC_LEVEL.
    #[inline]
    pub fn of(data: &Callback<'_>) -> Result<Option<ContextRef<Redirect>>> {
        if !Self::any(data) {
            return Ok(None);
        }
        match data.file() {
            Some(file) => ContextRef::of_handle(data.instance(), file),
            None => Ok(None),
        }
    }

    /// The saves of its volume; readers have no business there.
    pub fn files(&self) -> Option<&ContextRef<Files>> {
        self.pass.as_ref().map(Pass::files)
    }
}

impl Context for Redirect {
    const KIND: ContextKind = ContextKind::StreamHandle;
    const TAG: Tag = TAG;
}

kernel::gated!(Redirect, gate: LowerFile);
