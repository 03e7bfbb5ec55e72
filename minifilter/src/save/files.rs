//! The saves that live on a volume, and who may join them: the context of an instance.

use core::sync::atomic::{AtomicU32, Ordering};

use kernel::Result;
use kernel::context::{Context, ContextKind, ContextRef};
use kernel::instance::Instance;
use kernel::pool::{PoolVec, Shared, Tag};
use kernel::process::ProcessKey;
use kernel::sync::PushLock;
use widestring::U16Str;

use super::below::Lower;
use super::live::Save;
use crate::Intact;
use crate::report::counters;

/// The saves of one volume.
pub struct Files {
    saves: PushLock<PoolVec<Shared<Save>>>,
    /// How many have come and gone, both counted.
    changes: AtomicU32,
    /// Redirected writing handles, and creates on the way to become one.
    handles: AtomicU32,
    /// The instance that sees the pages of its twins.
    pub(super) below: Lower,
}

impl Context for Files {
    const KIND: ContextKind = ContextKind::Instance;
    const TAG: Tag = Tag::new(b"InFi");
}

impl Files {
    /// Gives a new instance its context. PASSIVE_LEVEL.
    pub fn attach(instance: Instance<'_>) -> Result<()> {
        let filter = Intact::filter().ok_or(kernel::Status::UNSUCCESSFUL)?;
        let files = Files {
            saves: PushLock::new(PoolVec::new(Self::TAG)),
            changes: AtomicU32::new(0),
            handles: AtomicU32::new(0),
            below: Lower::new(),
        };
        ContextRef::new(filter, files)?.set_on_instance(instance)
    }

    /// Whether no handle is redirected on this volume. Every save has one, or a [`Pass`] while it waits.
    pub fn is_idle(instance: Instance<'_>) -> bool {
        ContextRef::<Files>::of_instance(instance)
            .is_ok_and(|files| files.handles.load(Ordering::Acquire) == 0)
    }

    /// Ends every save, because the volume goes. PASSIVE_LEVEL.
    pub fn break_off(intact: &Intact, instance: Instance<'_>) {
        let Ok(files) = ContextRef::<Files>::of_instance(instance) else { return };
        loop {
            let next = files.saves.write().pop();
            let Some(save) = next else { return };
            save.break_off(intact, instance, &files);
            save.wait_if_ending();
        }
    }

    /// How many saves have come and gone, both counted.
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether the process has a live save here, or takes part in one that others of its family have. IRQL up to APC_LEVEL.
    pub fn has(&self, process: ProcessKey) -> bool {
        self.saves.read().iter().any(|save| save.belongs_to(process))
    }

    /// The process's save of this file, live or ending. IRQL up to APC_LEVEL.
    pub fn find(&self, process: ProcessKey, file: u64) -> Option<Shared<Save>> {
        self.saves.read().iter().find(|save| save.belongs_to(process) && save.files.has(file)).cloned()
    }

    /// The first save that is wanted. IRQL up to APC_LEVEL.
    pub fn first(&self, wanted: impl Fn(&Save) -> bool) -> Option<Shared<Save>> {
        self.saves.read().iter().find(|save| wanted(save)).cloned()
    }

    /// The save with the next higher number. IRQL up to APC_LEVEL.
    pub fn next(&self, after: u64) -> Option<Shared<Save>> {
        let saves = self.saves.read();
        saves.iter().filter(|save| save.number > after).min_by_key(|save| save.number).cloned()
    }

    /// A save of the process that is on the way to its first twin: of the file with this name, or of any. IRQL up to
    /// APC_LEVEL.
    pub fn opening(&self, process: ProcessKey, name: Option<&U16Str>) -> Option<Shared<Save>> {
        let saves = self.saves.read();
        let is_wanted = |save: &&Shared<Save>| {
            save.belongs_to(process)
                && save.files.is_empty()
                && name.is_none_or(|name| save.label.file().as_slice() == name.as_slice())
        };
        saves.iter().find(is_wanted).cloned()
    }

    /// Of the process's saves in which names have changed, the first with a higher number. One that goes on without a
    /// transaction has changed them for everybody. IRQL up to APC_LEVEL.
    pub fn renamed_after(&self, process: ProcessKey, number: u64) -> Option<Shared<Save>> {
        let saves = self.saves.read();
        let wanted = saves.iter().filter(|save| save.belongs_to(process) && save.number > number);
        let wanted = wanted.filter(|save| save.has_changed_names() && save.is_transacted());
        wanted.min_by_key(|save| save.number).cloned()
    }

    /// None of the process's saves may commit: something was asked of one of them, and it is not known which. IRQL up to
    /// APC_LEVEL.
    pub fn force(&self, process: ProcessKey) {
        self.saves.read().iter().filter(|save| save.belongs_to(process)).for_each(|save| save.force());
    }

    /// The process's save of all that it modifies under a rule, if more can become part of it. IRQL up to APC_LEVEL.
    pub fn of_process(&self, process: ProcessKey, rule: &[u16]) -> Option<Shared<Save>> {
        of_process(&self.saves.read(), process, rule)
    }

    /// Makes a save known; one of all that a process modifies only if there is no other, which is the answer otherwise. Fails
    /// with `INSUFFICIENT_RESOURCES`.
    pub fn insert_or_find(&self, save: &Shared<Save>) -> Result<Option<Shared<Save>>> {
        let mut saves = self.saves.write();
        if save.is_of_process()
            && let Some(other) = of_process(&saves, save.process, save.label.rule().as_slice())
        {
            return Ok(Some(other));
        }
        saves.push(save.clone())?;
        self.changes.fetch_add(1, Ordering::AcqRel);
        Ok(None)
    }

    /// Forgets a save.
    pub fn remove(&self, save: &Save) {
        let taken = self.saves.write().take(|other| other.number == save.number);
        if taken.is_some() {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn of_process(saves: &[Shared<Save>], process: ProcessKey, rule: &[u16]) -> Option<Shared<Save>> {
    let wanted = |save: &&Shared<Save>| {
        save.belongs_to(process)
            && save.is_of_process()
            && save.takes_more()
            && save.label.rule().as_slice() == rule
    };
    saves.iter().find(wanted).cloned()
}

/// The right to redirect a writing handle of a volume. While one exists the volume cannot be detached from, nor the
/// driver unloaded.
pub struct Pass {
    files: ContextRef<Files>,
}

impl Pass {
    /// Asks for it; `None` if the driver is being unloaded.
    pub fn enter(files: &ContextRef<Files>) -> Option<Self> {
        if !counters::enter() {
            return None;
        }
        files.handles.fetch_add(1, Ordering::AcqRel);
        Some(Pass { files: files.clone() })
    }
}

impl Pass {
    /// The volume's saves.
    pub fn files(&self) -> &ContextRef<Files> {
        &self.files
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.files.handles.fetch_sub(1, Ordering::AcqRel);
        counters::leave();
    }
}
