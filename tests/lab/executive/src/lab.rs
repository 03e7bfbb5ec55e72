//! One lab: the state that imports reach, and how they reach it.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr;
use std::rc::Rc;

use crate::etw::Etw;
use crate::image::Images;
use crate::import::Calls;
use crate::locks::Locks;
use crate::mapping::Mapping;
use crate::object::Objects;
use crate::obligations::Obligations;
use crate::pcr::Pcr;
use crate::pool::Pool;
use crate::process::Processes;
use crate::random::Random;
use crate::registry::Registry;
use crate::scheduler::{Scheduler, Strategy};
use crate::timers::Timers;
use crate::trace::Trace;
use crate::user_memory::UserMemory;
use crate::violation::Violation;

/// What a lab is started with. Two labs with equal settings and equal inputs run alike.
#[derive(Debug, Clone)]
pub struct Config {
    /// Decides every choice.
    pub seed: u64,
    /// Chance of a switch at the end of an import below `DISPATCH_LEVEL`, in thousandths; waits always switch.
    pub preempt_per_mille: u32,
    /// Chance that a thread is held back there for up to 15 ms, in thousandths, as Driver Verifier's synchronization delay
    /// fuzzing does. Only virtual time passes.
    pub delay_per_mille: u32,
    /// Who runs next.
    pub strategy: Strategy,
    /// System time at boot, in 100 ns since 1601.
    pub boot_time: i64,
    /// Whether pageable memory (paged pool, `PAGE…` sections) is taken away at `DISPATCH_LEVEL`. Costs two
    /// system calls per live pageable range and level change.
    pub page_out_at_dispatch: bool,
    /// Stack that a driver may use below one request, in bytes. Windows x64: 24 KiB
    /// (kernel/using-the-kernel-stack).
    pub kernel_stack: usize,
    /// What one nested call through the kernel (import, I/O manager, Filter Manager, next callback) is taken to
    /// use of that stack. Approximated: Windows' own frames are not known.
    pub nested_call_stack: usize,
    /// How many blocks a lookaside list keeps. 0, as under Driver Verifier, gives each block back to the pool at once, so
    /// that its guards are checked; more is what lists do without it.
    pub lookaside_depth: u16,
    /// A rule that is not checked, to see what depends on its check. For tests of the verifier.
    pub unchecked: Option<&'static str>,
    /// Whether the deletion of a key is told to who watches that key. Windows' older page says that it is not
    /// (winreg/RegNotifyChangeKeyValue), newer ones say nothing.
    pub deleted_key_tells_its_watchers: bool,
    /// Whether loading a hive below a key is told to who watches that key's names. No page says.
    pub loaded_hive_tells_watchers: bool,
    /// Whether a process that is debugged has its exit status when its terminator sweeps its handles. Not known: `txf-ktm §8.2`.
    pub exit_status_when_swept: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            preempt_per_mille: 100,
            delay_per_mille: 0,
            strategy: Strategy::Random,
            // 2026-01-01 00:00 UTC.
            boot_time: 134_116_992_000_000_000,
            page_out_at_dispatch: true,
            kernel_stack: 24 * 1024,
            nested_call_stack: 1536,
            exit_status_when_swept: false,
            lookaside_depth: 0,
            unchecked: None,
            deleted_key_tells_its_watchers: false,
            loaded_hive_tells_watchers: false,
        }
    }
}

/// A kernel small enough to read: everything that the imports of one loaded driver work on.
///
/// Not `Send`: a lab lives on the OS thread that made it. Several labs may live on one OS thread; the one whose
/// [`run_until`](Lab::run_until) is on the stack is the current one.
pub struct Lab {
    /// What it was started with.
    pub config: Config,
    /// Every choice.
    pub random: Random,
    /// Threads, waits and time.
    pub scheduler: Scheduler,
    /// Pool memory.
    pub pool: Pool,
    /// User buffers.
    pub user_memory: UserMemory,
    /// Object types, objects and their references.
    pub objects: Objects,
    /// Processes and their notify routines.
    pub processes: Processes,
    /// The registry.
    pub registry: Registry,
    /// Event tracing: registered providers and what they wrote.
    pub etw: Etw,
    /// Loaded images.
    pub images: Images,
    /// Call counts, call sites and planned faults.
    pub calls: Calls,
    /// Who holds which lock, and in which order locks were taken.
    pub locks: Locks,
    /// What drivers set up and must take down.
    pub obligations: Obligations,
    /// Kernel timers that are set.
    pub timers: Timers,
    /// What the debugger's console would show, line by line.
    pub debug_output: RefCell<Vec<String>>,
    /// The rolling hash of what happened.
    pub trace: Trace,
    pub(crate) pcr: Pcr,
    pub(crate) thunks: RefCell<BTreeMap<usize, Mapping>>,
    pub(crate) dead: RefCell<Option<Rc<Violation>>>,
    rooms: RefCell<BTreeMap<TypeId, Rc<dyn Any>>>,
}

thread_local! {
    static CURRENT: Cell<*const Lab> = const { Cell::new(ptr::null()) };
}

impl Lab {
    /// Starts a lab: the system process exists, nothing runs yet.
    pub fn new(mut config: Config) -> Box<Lab> {
        config.page_out_at_dispatch &= config.unchecked != Some("paged-at-dispatch");
        let lab = Box::new(Lab {
            random: Random::new(config.seed),
            scheduler: Scheduler::new(config.boot_time),
            pool: Pool::new(config.unchecked),
            user_memory: UserMemory::new(config.unchecked),
            objects: Objects::new(),
            processes: Processes::default(),
            registry: Registry::default(),
            etw: Etw::default(),
            images: Images::default(),
            calls: Calls::default(),
            locks: Locks::default(),
            obligations: Obligations::default(),
            timers: Timers::default(),
            debug_output: RefCell::default(),
            thunks: RefCell::default(),
            trace: Trace::default(),
            pcr: Pcr::new(),
            dead: RefCell::new(None),
            rooms: RefCell::new(BTreeMap::new()),
            config,
        });
        lab.objects.add_standard_types(&lab);
        lab.processes.start(&lab);
        lab
    }

    /// State that another crate hangs on the lab, made on first use.
    pub fn room<T: Default + 'static>(&self) -> Rc<T> {
        let mut rooms = self.rooms.borrow_mut();
        let room = rooms.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(T::default())).clone();
        match room.downcast::<T>() {
            Ok(room) => room,
            Err(_) => unreachable!("rooms are keyed by their type"),
        }
    }

    /// Makes this lab the current one while `f` runs.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave(*const Lab);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _leave = Leave(CURRENT.replace(ptr::from_ref(self)));
        f()
    }
}

/// Runs `f` with the current lab: the one whose run loop is on this OS thread's stack.
///
/// # Panics
/// If no lab runs on this OS thread: imports may be called by lab threads only.
pub fn with_lab<R>(f: impl FnOnce(&Lab) -> R) -> R {
    match try_lab(f) {
        Some(result) => result,
        None => {
            panic!("no lab runs on this thread; call imports from a lab thread (Lab::spawn, Lab::run_until)")
        }
    }
}

/// Like [`with_lab`], or `None` if no lab runs on this OS thread.
pub fn try_lab<R>(f: impl FnOnce(&Lab) -> R) -> Option<R> {
    let lab = CURRENT.get();
    if lab.is_null() {
        return None;
    }
    // SAFETY: `enter` set the pointer from a reference that outlives its closure and clears it afterwards. A
    // coroutine that holds this reference across a switch runs only inside `enter` of the same lab, and one that
    // is abandoned never uses it again.
    Some(f(unsafe { &*lab }))
}
