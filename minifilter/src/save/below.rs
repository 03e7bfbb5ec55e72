//! The lower instance: below the twins, where their pages pass.
//!
//! What is cached or mapped of a file is written when the memory manager sees fit, and what fails then is told to nobody. The
//! requests of a twin, those for its pages too, begin below the instance that opened it (minifilter-rules §1.8), so a second
//! instance sees them: pages that cannot be written wound the save, and heal when they are written after all.
//!
//! It is attached to a volume with the first save there, by the thread of the clock, and costs nothing elsewhere. Twins that are
//! open by then become known to it. It has a context on the twins and none of its own: whatever else it sees, it passes. With a
//! twin's close, which comes after the last of its pages, that context goes, and with it what it holds of the save.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::Result;
use kernel::callback::Callback;
use kernel::context::{Context, ContextKind, ContextRef, Entered};
use kernel::file::LowerFile;
use kernel::instance::{Instance, InstanceRef};
use kernel::pool::{PoolVec, Shared, Tag};
use kernel::string::upcase;
use kernel::sync::PushLock;
use wdk_sys::{IRP_PAGING_IO, IRP_SYNCHRONOUS_PAGING_IO};
use widestring::{U16Str, u16str};

use super::files::Files;
use super::live::Save;
use super::redirect::Redirect;
use super::state::{Effect, Place};
use super::wounds::Range;
use crate::Intact;

/// What the registry calls it.
pub const NAME: &U16Str = u16str!("Intact Below");

const TAG: Tag = Tag::new(b"InBe");

/// How many volumes may have one.
const MOST: usize = 32;

/// Those that there are, so that what they see costs nothing but the question whether they are it; zero: none.
static LOWER: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];

/// How many places of [`LOWER`] have been used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Whether it is a lower instance. Any IRQL.
#[inline]
pub fn is_lower(instance: Instance<'_>) -> bool {
    let used = USED.load(Ordering::Acquire);
    used != 0 && LOWER.iter().take(used).any(|place| place.load(Ordering::Acquire) == instance.key())
}

/// Whether an instance that is being set up is to be a lower one, by its name. PASSIVE_LEVEL.
pub fn is_meant(instance: Instance<'_>) -> Result<bool> {
    let mut name = [0; NAME.len() + 1];
    let length = instance.name(&mut name)?;
    let upcased = |unit: &u16| upcase(*unit);
    Ok(name.iter().take(length).map(upcased).eq(NAME.as_slice().iter().map(upcased)))
}

/// A lower instance is being set up. False if there are too many. PASSIVE_LEVEL.
pub fn comes(instance: Instance<'_>) -> bool {
    let free = |place: &AtomicUsize| {
        place.compare_exchange(0, instance.key(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    match LOWER.iter().position(free) {
        Some(place) => {
            USED.fetch_max(place.saturating_add(1), Ordering::AcqRel);
            true
        }
        None => false,
    }
}

/// An instance is torn down, which may be a lower one. PASSIVE_LEVEL.
pub fn goes(instance: Instance<'_>) {
    if let Some(place) = LOWER.iter().find(|place| place.load(Ordering::Acquire) == instance.key()) {
        place.store(0, Ordering::Release);
    }
}

/// What a twin is part of: its context below.
pub struct Below {
    save: Shared<Save>,
    place: Place,
}

impl Context for Below {
    const KIND: ContextKind = ContextKind::StreamHandle;
    const TAG: Tag = TAG;
}

impl Below {
    /// The twin whose pages are about to be written, if it is one; asked only while any handle is redirected. IRQL up to APC_LEVEL.
    #[inline]
    pub fn of_pages(data: &Callback<'_>) -> Option<ContextRef<Self>> {
        let paging = data.irp_flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) != 0;
        if !paging || data.is_fast_io() || !is_lower(data.instance()) {
            return None;
        }
        ContextRef::of_handle(data.instance(), data.file()?).ok()?
    }

    /// They were written, or were not. Up to DISPATCH_LEVEL.
    pub fn came_back(&self, data: &Callback<'_>) {
        let Some(written) = data.range() else { return };
        let range =
            u64::try_from(written.offset).ok().and_then(|at| Range::new(at, u64::from(written.length)));
        self.save.came_back(self.place, Effect::Pages(range), data.status());
    }
}

/// Makes a twin known to the lower instance, if that is there. IRQL up to APC_LEVEL.
pub fn watch(redirect: &Redirect, twin: &LowerFile) {
    if let (Some(files), Some(save), Some(filter)) = (redirect.files(), &redirect.save, Intact::filter())
        && twin.is_open()
        && let Some(lower) = files.below.get()
    {
        let below = Below { save: save.clone(), place: redirect.place };
        // Without memory it stays unknown; one that is known already keeps what it has.
        let _ =
            ContextRef::new(filter, below).and_then(|below| below.set_on_handle(lower.get(), twin.object()));
    }
}

/// As [`watch`], for a handle that others may be using.
pub fn watch_handle(redirect: &ContextRef<Redirect>) {
    if let Ok(entered) = Entered::enter(redirect.clone()) {
        watch(redirect, entered.inside());
    }
}

/// The lower instance of a volume.
pub struct Lower(PushLock<State>);

enum State {
    /// No save has been there yet.
    Unwanted,
    /// It is being attached, or cannot be.
    Wanted,
    /// It is there.
    Attached(InstanceRef),
}

impl Lower {
    /// None yet.
    pub const fn new() -> Self {
        Lower(PushLock::new(State::Unwanted))
    }

    fn get(&self) -> Option<InstanceRef> {
        match &*self.0.read() {
            State::Attached(lower) => lower.get().reference().ok(),
            State::Unwanted | State::Wanted => None,
        }
    }

    /// Whether it is wanted, and nobody has asked for it yet. IRQL up to APC_LEVEL.
    fn is_missing(&self) -> bool {
        let missing = |state: &State| match state {
            State::Unwanted => true,
            State::Wanted => false,
            // An administrator may have detached it.
            State::Attached(lower) => lower.get().reference().is_err(),
        };
        if !missing(&self.0.read()) {
            return false;
        }
        let gone = {
            let mut state = self.0.write();
            missing(&state).then(|| core::mem::replace(&mut *state, State::Wanted))
        };
        gone.is_some()
    }
}

impl Default for Lower {
    fn default() -> Self {
        Self::new()
    }
}

/// Volumes that are to get a lower instance, by their upper ones.
pub struct Volumes(PushLock<PoolVec<InstanceRef>>);

impl Volumes {
    /// None.
    pub const fn new() -> Self {
        Volumes(PushLock::new(PoolVec::new(TAG)))
    }

    /// There is a save. True if the volume is new here: the clock is to be woken. IRQL up to APC_LEVEL.
    pub fn want(&self, files: &Files, upper: Instance<'_>) -> bool {
        files.below.is_missing() && upper.reference().and_then(|upper| self.0.write().push(upper)).is_ok()
    }

    /// Attaches where it is wanted. PASSIVE_LEVEL, without locks.
    pub fn look(&self, intact: &Intact) {
        loop {
            let next = self.0.write().pop();
            let (Some(upper), Some(filter)) = (next, Intact::filter()) else { return };
            let upper = upper.get();
            let Ok(files) = ContextRef::<Files>::of_instance(upper) else { continue };
            match upper.another(filter, NAME) {
                Ok(lower) => {
                    *files.below.0.write() = State::Attached(lower);
                    watch_all(&files);
                }
                Err(status) => intact.report.no_lower_instance(status),
            }
        }
    }
}

impl Default for Volumes {
    fn default() -> Self {
        Self::new()
    }
}

/// Twins that were opened before it was there. Those that are opened from now on are made known as they are.
fn watch_all(files: &Files) {
    let mut after = 0;
    while let Some(save) = files.next(after) {
        after = save.number;
        let Ok(members) = save.members() else { continue };
        members.iter().for_each(watch_handle);
    }
}
