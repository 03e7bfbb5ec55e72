//! What a driver may import, and what happens around every call of it.
//!
//! An import is declared once, with [`imports!`](macro@crate::imports): its name, module, levels, fidelity and source.
//! The declaration makes an `extern "win64"` function that checks the caller, offers a place for a planned fault,
//! counts, and then runs the body.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::Lab;
use crate::irql::{self, Irql};
use crate::pcr::CallerRegisters;
use crate::random::{HASH_START, mix};
use crate::stack::Outer;
use crate::thread::Thread;

/// How true an import is to Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fidelity {
    /// As documented, as far as a driver can see.
    Modelled,
    /// Different from Windows in the way that the text says.
    Approximated(&'static str),
    /// Windows' behaviour is unknown; the named switch decides, and tests run both ways.
    Switch(&'static str),
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modelled => f.write_str("modelled"),
            Self::Approximated(how) => write!(f, "approximated: {how}"),
            Self::Switch(which) => write!(f, "switch: {which}"),
        }
    }
}

/// How an import can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its contract knows no failure.
    Never,
    /// It returns an NTSTATUS.
    Status,
    /// It returns a null pointer.
    Null,
    /// It waits, and gives up when the time that it was given is over: only calls that were given one.
    Timeout,
}

/// STATUS_INSUFFICIENT_RESOURCES: what an import is failed with that declares no statuses of its own.
pub const NO_RESOURCES: u32 = 0xC000_009A;

/// Where an import's address comes from.
pub enum Target {
    /// A function with the x64 Windows ABI.
    Function(*const ()),
    /// A variable; the function gives its address in a lab.
    Data(fn(&Lab) -> *const u8),
}

/// One importable name.
pub struct Import {
    /// Module that exports it, e.g. `ntoskrnl.exe`.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The code or data behind it.
    pub target: Target,
    /// Lowest level at which it may be called.
    pub floor: Irql,
    /// Highest level at which it may be called.
    pub ceiling: Irql,
    /// How true it is.
    pub fidelity: Fidelity,
    /// How it can fail.
    pub failure: Failure,
    /// The failure statuses that its page documents, as far as a caller could tell them apart.
    pub failures: &'static [u32],
    /// Where its contract is written.
    pub source: &'static str,
}

// SAFETY: the only field that is not `Sync` by itself is the code address, which nobody writes through.
unsafe impl Sync for Import {}

/// Identifies a call site: an import, called through one particular chain of driver frames. Independent of
/// addresses: the same image gives the same sites in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u64);

/// What a planned fault does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The call returns this NTSTATUS without doing anything.
    Status(i32),
    /// The call returns null without doing anything.
    Null,
    /// The wait lasts until its time is over, whatever happens meanwhile.
    Timeout,
}

/// "The `call`th call (from 1) of `site` fails like this."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFault {
    /// The site, from a former run's [`Calls::sites`].
    pub site: SiteId,
    /// Which call of it.
    pub call: u64,
    /// How it fails.
    pub kind: FaultKind,
}

/// A call site as the run met it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its identity.
    pub id: SiteId,
    /// The import called.
    pub import: &'static str,
    /// How that import can fail.
    pub failure: Failure,
    /// With which statuses.
    pub failures: &'static [u32],
    /// Where in which image the call is: its return address, from the image's base.
    pub place: Option<(usize, u32)>,
    /// The driver's frames at the first call, innermost first.
    pub frames: Vec<String>,
    /// Calls so far.
    pub calls: u64,
}

/// Call counts, call sites and planned faults of one lab.
#[derive(Default)]
pub struct Calls {
    counts: RefCell<BTreeMap<usize, (&'static str, u64)>>,
    sites: RefCell<BTreeMap<SiteId, Site>>,
    plan: RefCell<Vec<PlannedFault>>,
    fired: RefCell<Vec<PlannedFault>>,
    surprises: RefCell<Vec<Surprise>>,
    total: Cell<u64>,
}

/// The call of an import that fails, of those to come.
struct Surprise {
    import: &'static str,
    /// How many calls come before it.
    skip: u64,
    kind: FaultKind,
}

impl Calls {
    /// Adds a fault to the plan.
    pub fn plan(&self, fault: PlannedFault) {
        self.plan.borrow_mut().push(fault);
    }

    /// Lets a call to come of an import fail, once, after `skip` others: also where no such failure is documented, for what a
    /// driver does that does not rely on it.
    pub fn surprise(&self, import: &'static str, skip: u64, kind: FaultKind) {
        self.surprises.borrow_mut().push(Surprise { import, skip, kind });
    }

    /// Surprises that have not happened yet.
    pub fn surprises_left(&self) -> usize {
        self.surprises.borrow().len()
    }

    /// What becomes of this call by [`Self::surprise`].
    fn surprised(&self, import: &str) -> Option<FaultKind> {
        let mut surprises = self.surprises.borrow_mut();
        let mut due = None;
        for (index, surprise) in surprises.iter_mut().enumerate().filter(|(_, one)| one.import == import) {
            match surprise.skip.checked_sub(1) {
                Some(rest) => surprise.skip = rest,
                None => due = due.or(Some(index)),
            }
        }
        due.map(|index| surprises.remove(index).kind)
    }

    /// The planned faults that have happened.
    pub fn fired(&self) -> Vec<PlannedFault> {
        self.fired.borrow().clone()
    }

    /// Call counts by import name, in order of name.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().values().copied().collect()
    }

    /// How often `import` was called.
    pub fn count(&self, import: &str) -> u64 {
        self.counts.borrow().values().filter(|(name, _)| *name == import).map(|(_, n)| n).sum()
    }

    /// Calls of all imports.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// Every call site met so far that can fail, in order of id.
    pub fn sites(&self) -> Vec<Site> {
        self.sites.borrow().values().cloned().collect()
    }
}

/// What the wrapper must restore when the call ends.
struct Entered {
    import: Option<&'static Import>,
    caller: Option<usize>,
    outer: Option<Outer>,
}

impl Lab {
    fn enter_import(&self, import: &'static Import) -> (Entered, Option<FaultKind>) {
        let registers = self.pcr.take_caller();
        let Some(thread) = self.try_thread() else {
            panic!("{} was called outside a lab thread", import.name);
        };
        let (image, outer) = self.begin_import(&thread, registers);
        let entered = Entered {
            import: thread.import.replace(Some(import)),
            caller: thread.caller.replace(image),
            outer,
        };
        self.check_stack(&thread, import);
        self.check_level(&thread, import);
        self.calls.total.set(self.calls.total.get() + 1);
        self.calls.counts.borrow_mut().entry(ptr::from_ref(import).addr()).or_insert((import.name, 0)).1 += 1;
        self.trace.event(import.name, (u64::from(thread.id) << 8) | u64::from(thread.irql.get()));
        let immediate = matches!(import.failure, Failure::Status | Failure::Null);
        let fault = if immediate { self.fault_site(&thread, import) } else { None };
        (entered, fault.or_else(|| self.calls.surprised(import.name)))
    }

    fn leave_import(&self, entered: &Entered) {
        let thread = self.thread();
        thread.import.set(entered.import);
        thread.caller.set(entered.caller);
        self.end_import(&thread, entered.outer);
        self.preemption_point();
    }

    fn check_level(&self, thread: &Thread, import: &'static Import) {
        let level = thread.irql.get();
        if level > import.ceiling {
            self.report(
                "irql-ceiling",
                import.source,
                format!(
                    "{} may be called at {} or below, but was called at {}",
                    import.name,
                    irql::name(import.ceiling),
                    irql::name(level)
                ),
            );
        }
        if level < import.floor {
            self.report(
                "irql-floor",
                import.source,
                format!(
                    "{} needs at least {}, but was called at {}",
                    import.name,
                    irql::name(import.floor),
                    irql::name(level)
                ),
            );
        }
    }

    fn fault_site(&self, thread: &Thread, import: &'static Import) -> Option<FaultKind> {
        let stack = self.call_stack_hash(thread);
        let id = SiteId(import.name.bytes().fold(mix(HASH_START, stack), |h, b| mix(h, u64::from(b))));
        let mut sites = self.calls.sites.borrow_mut();
        let site = sites.entry(id).or_insert_with(|| Site {
            id,
            import: import.name,
            failure: import.failure,
            failures: import.failures,
            place: self.frame_addresses(thread).first().and_then(|address| self.images.rva(*address)),
            frames: self.driver_frames(thread),
            calls: 0,
        });
        site.calls += 1;
        let call = site.calls;
        drop(sites);
        let fault = self.calls.plan.borrow().iter().find(|f| f.site == id && f.call == call).copied()?;
        self.calls.fired.borrow_mut().push(fault);
        self.trace.event("fault", call);
        Some(fault.kind)
    }

    /// Whether the running import, a wait that was given a time, is planned to last until the time is over.
    pub(crate) fn is_planned_timeout(&self) -> bool {
        let thread = self.thread();
        let Some(import) = thread.import.get().filter(|import| import.failure == Failure::Timeout) else {
            return false;
        };
        self.fault_site(&thread, import) == Some(FaultKind::Timeout)
    }

    /// Whether the running import was called by a loaded image rather than by the lab; then its index.
    pub fn caller(&self) -> Option<usize> {
        self.try_thread().and_then(|thread| thread.caller.get())
    }
}

/// What an import can return, and how a planned fault looks in it.
pub trait Returned: Sized {
    /// The value of a call that fails in this way, if the type can say so.
    fn failing(kind: FaultKind) -> Option<Self> {
        let _ = kind;
        None
    }
}

impl Returned for i32 {
    fn failing(kind: FaultKind) -> Option<Self> {
        match kind {
            FaultKind::Status(status) => Some(status),
            FaultKind::Null | FaultKind::Timeout => None,
        }
    }
}

impl<T> Returned for *mut T {
    fn failing(kind: FaultKind) -> Option<Self> {
        (kind == FaultKind::Null).then(ptr::null_mut)
    }
}

impl<T> Returned for *const T {
    fn failing(kind: FaultKind) -> Option<Self> {
        (kind == FaultKind::Null).then(ptr::null)
    }
}

impl Returned for () {}
impl Returned for u8 {}
impl Returned for u16 {}
impl Returned for u32 {}
impl Returned for u64 {}
impl Returned for i64 {}
impl Returned for usize {}

/// The frame around every import's body; made by [`imports!`](macro@crate::imports), not called by hand.
#[doc(hidden)]
pub fn call<R: Returned>(import: &'static Import, body: impl FnOnce(&Lab) -> R) -> R {
    crate::with_lab(|lab| {
        let (entered, fault) = lab.enter_import(import);
        let result = match fault.and_then(R::failing) {
            Some(failed) => failed,
            // The caller may be driver code, through which nothing may unwind.
            None => match catch_unwind(AssertUnwindSafe(|| body(lab))) {
                Ok(result) => result,
                Err(panic) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied())
                        .unwrap_or("no message");
                    lab.violate("lab-defect", "lab: no import may panic", format!("{}: {text}", import.name))
                }
            },
        };
        lab.leave_import(&entered);
        result
    })
}

impl CallerRegisters {
    pub(crate) fn has_driver(self) -> bool {
        self.rsp != 0
    }
}

/// Declares imports, at the level of a module: a table, and one `extern "win64"` function for each.
///
/// ```
/// lab_executive::imports! {
///     /// Levels.
///     pub static LEVELS in "ntoskrnl.exe";
///
///     /// Returns the level.
///     [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeGetCurrentIrql"]
///     fn KeGetCurrentIrqlExample(lab;) -> u8 { lab.thread().irql.get() }
///
///     /// Can be made to fail: a call site of it returns a status of a fault plan's choosing.
///     [ceiling: PASSIVE_LEVEL, Approximated("always succeeds"), fails: Status, source: "example"]
///     fn ZwExample(_lab; value: u32) -> i32 { i32::from(value == 0) }
/// }
/// # fn main() { assert_eq!(LEVELS.len(), 2) }
/// ```
///
/// In the attribute, `; floor: LEVEL` may follow the ceiling, and `fails: Status` may list the statuses that are
/// documented: `fails: Status(0xC000_009A, 0xC000_0022)`. The body gets the lab under the name before the `;`.
/// Arguments come as the ABI delivers them; the body is unsafe code's border and says what it relies on.
#[macro_export]
macro_rules! imports {
    (
        $(#[$table_meta:meta])*
        $vis:vis static $table:ident in $module:literal;
        $(
            $(#[$meta:meta])*
            [ceiling: $ceiling:ident $(; floor: $floor:ident)?, $fidelity:ident $(($how:literal))?
                $(, fails: $failure:ident $(($($status:literal),+))?)?, source: $source:literal]
            fn $name:ident($lab:ident; $($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
        )*
    ) => {
        $(
            $(#[$meta])*
            ///
            /// # Safety
            /// As the contract of the function of that name: pointers valid for what it does with them.
            #[allow(non_snake_case, clippy::too_many_arguments)]
            pub unsafe extern "win64" fn $name($($arg: $ty),*) $(-> $ret)? {
                $crate::import::call(&$name::IMPORT, |$lab: &$crate::Lab| $(-> $ret)? { $body })
            }

            #[allow(non_snake_case)]
            mod $name {
                pub(super) static IMPORT: $crate::import::Import = $crate::import::Import {
                    module: $module,
                    name: stringify!($name),
                    target: $crate::import::Target::Function(super::$name as *const ()),
                    floor: $crate::imports!(@floor $($floor)?),
                    ceiling: $crate::irql::$ceiling,
                    fidelity: $crate::import::Fidelity::$fidelity $(($how))?,
                    failure: $crate::imports!(@failure $($failure)?),
                    failures: $crate::imports!(@failures $($($($status),+)?)?),
                    source: $source,
                };
            }
        )*

        $(#[$table_meta])*
        $vis static $table: &[&$crate::import::Import] = &[$(&$name::IMPORT),*];
    };
    (@floor) => { $crate::irql::PASSIVE_LEVEL };
    (@floor $floor:ident) => { $crate::irql::$floor };
    (@failure) => { $crate::import::Failure::Never };
    (@failure $failure:ident) => { $crate::import::Failure::$failure };
    (@failures) => { &[$crate::import::NO_RESOURCES] };
    (@failures $($status:literal),+) => { &[$($status),+] };
}
