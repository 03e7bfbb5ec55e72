//! Processes: their identity, their handles, and the order in which they die.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::Lab;
use crate::handle::HandleTable;
use crate::status;
use crate::thread::Thread;

/// The security identifier of Local System, S-1-5-18.
pub const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];

/// A process.
pub struct Process {
    /// The process id, a multiple of 4.
    pub id: u32,
    /// The id of its maker.
    pub parent: u32,
    /// NT path of its image, e.g. `\Device\HarddiskVolume1\Windows\notepad.exe`; empty for the system process.
    pub image: String,
    /// Address of the EPROCESS body.
    pub eprocess: *mut u8,
    /// System time at which it was made.
    pub created: i64,
    /// Its user, as a SID.
    pub user: Vec<u8>,
    /// Its handles.
    pub handles: HandleTable,
    exit_status: Cell<i32>,
    exiting: Cell<bool>,
    threads: RefCell<Vec<Rc<Thread>>>,
}

impl Process {
    /// The exit status; `STATUS_PENDING` (0x103) while it runs (`txf-ktm §8.1`).
    pub fn exit_status(&self) -> i32 {
        self.exit_status.get()
    }

    /// Whether it has begun to exit.
    pub fn exiting(&self) -> bool {
        self.exiting.get()
    }

    /// The last component of the image path.
    pub fn image_name(&self) -> &str {
        self.image.rsplit('\\').next().unwrap_or(&self.image)
    }

    /// The image name and id, for reports.
    pub fn label(&self) -> String {
        let name = if self.image.is_empty() { "System" } else { self.image_name() };
        format!("process {:#x} \"{name}\"", self.id)
    }

    /// Its threads.
    pub fn threads(&self) -> Vec<Rc<Thread>> {
        self.threads.borrow().clone()
    }

    pub(crate) fn add_thread(&self, thread: &Rc<Thread>) {
        self.threads.borrow_mut().push(thread.clone());
    }

    pub(crate) fn remove_thread(&self, thread: &Rc<Thread>) {
        self.threads.borrow_mut().retain(|t| t.id != thread.id);
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label())
    }
}

/// A registered process notify routine.
#[derive(Clone)]
pub(crate) struct Notify {
    pub(crate) routine: usize,
    pub(crate) extended: bool,
    /// Calls of it that are under way.
    pub(crate) running: Rc<Cell<u32>>,
}

/// Something to do for a process at one point of its exit.
pub type ExitHook = Rc<dyn Fn(&Lab, &Rc<Process>)>;

/// The processes of one lab.
#[derive(Default)]
pub struct Processes {
    all: RefCell<Vec<Rc<Process>>>,
    pub(crate) notify: RefCell<Vec<Notify>>,
    views: RefCell<Vec<ExitHook>>,
    system_variable: Cell<usize>,
}

impl Processes {
    pub(crate) fn start(&self, lab: &Lab) {
        let system = lab.create_process("", LOCAL_SYSTEM.to_vec(), None);
        debug_assert_eq!(system.id, 4);
    }

    /// The system process, id 4.
    ///
    /// # Panics
    /// Never: it is made with the lab.
    pub fn system(&self) -> Rc<Process> {
        self.all.borrow()[0].clone()
    }

    /// Address of the variable `PsInitialSystemProcess`.
    pub(crate) fn system_variable(&self, lab: &Lab) -> *const u8 {
        if self.system_variable.get() == 0 {
            let variable = lab.allocate_own(size_of::<*mut u8>(), b"PsIs").cast::<*mut u8>();
            // SAFETY: just allocated with this size.
            unsafe { variable.write(self.system().eprocess) };
            self.system_variable.set(variable.expose_provenance());
        }
        std::ptr::with_exposed_provenance(self.system_variable.get())
    }

    /// The process with this id, also while it exits.
    pub fn find(&self, id: u32) -> Option<Rc<Process>> {
        self.all.borrow().iter().find(|p| p.id == id).cloned()
    }

    /// All processes that have not ended, oldest first.
    pub fn all(&self) -> Vec<Rc<Process>> {
        self.all.borrow().clone()
    }

    /// Adds what tears down a process's mapped views: after its handles were swept, before it is signalled
    /// (`txf-ktm §8.2`).
    pub fn on_views_torn_down(&self, hook: impl Fn(&Lab, &Rc<Process>) + 'static) {
        self.views.borrow_mut().push(Rc::new(hook));
    }
}

impl Lab {
    /// Makes a process. `image` is its NT path; notify routines hear of it in the calling thread, if there is
    /// one: that thread's process is the creator, whoever is the `parent` (`txf-ktm §8.1`). Threads are made with [`spawn`](Lab::spawn).
    pub fn create_process(&self, image: &str, user: Vec<u8>, parent: Option<&Rc<Process>>) -> Rc<Process> {
        let id = self.scheduler.next_id();
        let body = self.objects.create(self, &self.objects.type_named("Process"), 0xB80, None);
        self.init_dispatcher(body, crate::wait::PROCESS, 0);
        let process = Rc::new(Process {
            id,
            parent: parent.map_or(0, |p| p.id),
            image: image.into(),
            eprocess: body,
            created: self.scheduler.now(),
            user,
            handles: HandleTable::new(0),
            exit_status: Cell::new(status::PENDING),
            exiting: Cell::new(false),
            threads: RefCell::default(),
        });
        self.objects.set_payload(body, process.clone());
        self.processes.all.borrow_mut().push(process.clone());
        self.trace.event("process", u64::from(id));
        if self.in_thread() {
            self.notify_process(&process, true);
        }
        process
    }

    /// Ends the calling thread's own process with `status`: the second half of ExitProcess.
    ///
    /// The order is that of `txf-ktm §8.2`: exit status, then the thread is terminating, the other threads end,
    /// notify routines, handles (each file's `IRP_MJ_CLEANUP` in this thread), views, signal. The thread
    /// continues and must end soon.
    ///
    /// # Panics
    /// If the calling thread is not one of the process's.
    pub fn exit_process(&self, status: i32) {
        let thread = self.thread();
        let Some(process) = thread.owner() else { panic!("{} has no process", thread.label()) };
        assert!(process.id != 4, "the system process does not exit");
        if process.exiting.replace(true) {
            return;
        }
        process.exit_status.set(status);
        for other in process.threads() {
            self.terminate_thread(&other);
        }
        self.block_until("the other threads of an exiting process", None, || {
            process.threads.borrow().len() == 1
        });
        self.notify_process(&process, false);
        self.sweep_handles(&process);
        let views = self.processes.views.borrow().clone();
        for hook in views {
            hook(self, &process);
        }
        self.signal_object(process.eprocess, 1);
        self.processes.all.borrow_mut().retain(|p| p.id != process.id);
        self.trace.event("exit", (u64::from(process.id) << 32) | u64::from(status as u32));
        self.objects.dereference(self, process.eprocess);
    }

    /// Ends a process from outside, as TerminateProcess: a thread of its own does the work, so that cleanup runs
    /// in the dying process. Its other threads are marked terminating and run to their end.
    pub fn terminate_process(&self, process: &Rc<Process>, status: i32) -> Rc<Thread> {
        process.exit_status.set(status);
        for thread in process.threads() {
            self.terminate_thread(&thread);
        }
        self.spawn(process, "exit", move |lab| lab.exit_process(status))
    }

    /// Ends a process that is debugged from outside, in a thread of `by`: the terminator sweeps its handles itself, attached to
    /// it and with normal APCs off, before the process ends as usual (`txf-ktm §8.2`, exceptions).
    pub fn terminate_debugged(&self, process: &Rc<Process>, by: &Rc<Process>, status: i32) -> Rc<Thread> {
        let process = process.clone();
        self.spawn(by, "terminator", move |lab| {
            if lab.config.exit_status_when_swept {
                process.exit_status.set(status);
            }
            for thread in process.threads() {
                lab.terminate_thread(&thread);
            }
            lab.attached(&process, || lab.sweep_handles(&process));
            process.exit_status.set(status);
            let exit = lab.spawn(&process, "exit", move |lab| lab.exit_process(status));
            lab.block_until("the end of a debugged process", None, || exit.finished());
        })
    }

    /// Attaches the calling thread to a process until `f` returns, as KeStackAttachProcess: handles are those of
    /// that process, and requests have it as requestor.
    pub fn attached<R>(&self, process: &Rc<Process>, f: impl FnOnce() -> R) -> R {
        let thread = self.thread();
        thread.attached.borrow_mut().push(process.clone());
        let result = f();
        thread.attached.borrow_mut().pop();
        result
    }

    /// Runs `body` in a fresh system thread, as a worker thread would. Windows' limit on worker threads is not
    /// modelled.
    pub fn spawn_worker(&self, name: impl Into<String>, body: impl FnOnce(&Lab) + 'static) -> Rc<Thread> {
        let system = self.processes.system();
        self.spawn(&system, name, body)
    }
}
