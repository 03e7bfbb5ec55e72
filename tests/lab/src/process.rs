//! Processes of a lab, as scripted tests and mounts use them.

use std::cell::RefCell;
use std::rc::Rc;

use lab_executive::Violation;
use lab_volume::Status;

use crate::caller::{Caller, CreateOptions, Handle};
use crate::{Executive, Lab};

/// A process that makes requests.
///
/// Each call runs in a thread of the process. The calls that return a result at once drive the lab until it is
/// there, and panic with the report if a broken rule stopped the lab: a test fails with it. [`try_call`] gives the
/// report instead; [`submit`] starts a call and returns, so that several are under way.
///
/// [`try_call`]: Process::try_call
/// [`submit`]: Process::submit
#[derive(Clone)]
pub struct Process {
    pub(crate) lab: Rc<Lab>,
    pub(crate) inner: Rc<lab_executive::Process>,
}

/// A call under way.
pub struct Pending<R> {
    lab: Rc<Lab>,
    slot: Rc<RefCell<Option<R>>>,
}

impl<R> Pending<R> {
    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        self.slot.borrow().is_some()
    }

    /// Drives the lab until the call has ended.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn wait(self) -> Result<R, Rc<Violation>> {
        let slot = self.slot.clone();
        self.lab.executive().run_until(move |_| slot.borrow().is_some())?;
        match self.slot.borrow_mut().take() {
            Some(result) => Ok(result),
            None => unreachable!("run_until returned because the result is there"),
        }
    }
}

/// Starts a call in a new thread of `process`, from inside a running lab (a job of the injector, another thread).
/// `body` gets the caller's API; it reports its result by itself.
pub fn spawn_call(
    lab: &Executive,
    process: &Rc<lab_executive::Process>,
    name: &str,
    body: impl FnOnce(&Caller<'_>) + 'static,
) {
    lab.spawn(process, name, move |lab| body(&Caller::new(lab)));
}

/// The NT path of an image: `image` is that, or a name in `C:\Programs`.
pub(crate) fn image_path(image: &str) -> String {
    if image.contains('\\') {
        image.to_owned()
    } else {
        format!(r"{}\Programs\{image}", crate::io::VOLUME_DEVICE)
    }
}

impl Process {
    /// The executive's process.
    pub fn inner(&self) -> &Rc<lab_executive::Process> {
        &self.inner
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// Starts a call without waiting for it.
    pub fn submit<R: 'static>(&self, body: impl FnOnce(&Caller<'_>) -> R + 'static) -> Pending<R> {
        let slot = Rc::new(RefCell::new(None));
        let result = slot.clone();
        spawn_call(self.lab.executive(), &self.inner, "call", move |caller| {
            let value = body(caller);
            *result.borrow_mut() = Some(value);
        });
        Pending { lab: self.lab.clone(), slot }
    }

    /// Makes a call and waits for its end.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn try_call<R: 'static>(
        &self,
        body: impl FnOnce(&Caller<'_>) -> R + 'static,
    ) -> Result<R, Rc<Violation>> {
        self.submit(body).wait()
    }

    /// Makes a call and waits for its end.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn call<R: 'static>(&self, body: impl FnOnce(&Caller<'_>) -> R + 'static) -> R {
        match self.try_call(body) {
            Ok(result) => result,
            Err(violation) => panic!("{violation}"),
        }
    }

    /// Suspends all of its threads, as a debugger or NtSuspendProcess does ([`lab_executive::Lab::suspend_thread`]).
    pub fn suspend(&self) {
        let lab = self.lab.executive();
        self.inner.threads().iter().for_each(|thread| lab.suspend_thread(thread));
    }

    /// Resumes them.
    pub fn resume(&self) {
        let lab = self.lab.executive();
        self.inner.threads().iter().for_each(|thread| lab.resume_thread(thread));
    }

    /// Starts another one, of the same user; `image` as for [`Lab::process`]. It is its creator and its parent.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn start(&self, image: &str) -> Process {
        self.start_under(image, self)
    }

    /// Starts another one with `parent` as its parent, as PROC_THREAD_ATTRIBUTE_PARENT_PROCESS does: this one is only its
    /// creator (`txf-ktm §8.1`).
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn start_under(&self, image: &str, parent: &Process) -> Process {
        let (path, user, parent) = (image_path(image), self.inner.user.clone(), parent.inner.clone());
        let slot = Rc::new(RefCell::new(None));
        let made = slot.clone();
        let lab = self.lab.executive();
        lab.spawn(&self.inner, "creator", move |lab| {
            *made.borrow_mut() = Some(lab.create_process(&path, user, Some(&parent)));
        });
        let pending = Pending { lab: self.lab.clone(), slot };
        match pending.wait() {
            Ok(inner) => Process { lab: self.lab.clone(), inner },
            Err(violation) => panic!("{violation}"),
        }
    }

    /// Ends the process by itself with `status`, as ExitProcess: handles that are open are swept.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn exit(&self, status: i32) {
        if let Err(violation) = self.try_exit(status) {
            panic!("{violation}");
        }
    }

    /// As [`exit`](Self::exit).
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn try_exit(&self, status: i32) -> Result<(), Rc<Violation>> {
        let lab = self.lab.executive();
        let thread = lab.spawn(&self.inner, "exit", move |lab| lab.exit_process(status));
        lab.run_until(|_| thread.finished())
    }

    /// Ends the process from outside, as TerminateProcess with `status`.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn kill(&self, status: i32) {
        let lab = self.lab.executive();
        let thread = lab.terminate_process(&self.inner, status);
        if let Err(violation) = lab.run_until(|_| thread.finished()) {
            panic!("{violation}");
        }
    }

    /// Ends the process from outside while `debugger` debugs it: its handles are swept in a thread of the debugger.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn kill_debugged(&self, debugger: &Process, status: i32) {
        let lab = self.lab.executive();
        let thread = lab.terminate_debugged(&self.inner, &debugger.inner, status);
        if let Err(violation) = lab.run_until(|_| thread.finished()) {
            panic!("{violation}");
        }
    }

    /// Closes one of its handles from another process, as tools do that close other programs' handles.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn close_from(&self, other: &Process, handle: Handle) -> Result<(), Status> {
        let own = self.inner.clone();
        other.call(move |caller| {
            let lab = caller.executive();
            let closed = lab.attached(&own, || lab.close_handle(handle.0, lab_executive::Mode::User));
            closed.map_err(|status| Status(status.cast_unsigned()))
        })
    }

    /// Opens or creates; returns the handle.
    ///
    /// # Errors
    /// Those of NtCreateFile.
    pub fn create_file(&self, options: CreateOptions) -> Result<Handle, Status> {
        self.call(move |caller| caller.create_file(&options).map(|created| created.handle))
    }

    /// Reads at an offset.
    ///
    /// # Errors
    /// Those of NtReadFile; END_OF_FILE at or past the end.
    pub fn read(&self, handle: Handle, offset: u64, len: usize) -> Result<Vec<u8>, Status> {
        self.call(move |caller| caller.read(handle, Some(offset), len))
    }

    /// Writes at an offset; returns the bytes written.
    ///
    /// # Errors
    /// Those of NtWriteFile.
    pub fn write(&self, handle: Handle, offset: u64, data: &[u8]) -> Result<usize, Status> {
        let data = data.to_vec();
        self.call(move |caller| caller.write(handle, crate::caller::Offset::At(offset), &data))
    }

    /// Flushes.
    ///
    /// # Errors
    /// Those of NtFlushBuffersFile.
    pub fn flush(&self, handle: Handle) -> Result<(), Status> {
        self.call(move |caller| caller.flush(handle))
    }

    /// Closes.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn close(&self, handle: Handle) -> Result<(), Status> {
        self.call(move |caller| caller.close(handle))
    }

    /// Sends a device control to a driver's device; returns what came back.
    ///
    /// # Errors
    /// What the driver answers; see [`Caller::device_control`].
    pub fn device_control(
        &self,
        handle: Handle,
        code: u32,
        input: &[u8],
        output: usize,
    ) -> Result<Vec<u8>, Status> {
        let input = input.to_vec();
        self.call(move |caller| caller.device_control(handle, code, &input, output))
    }

    /// The whole contents of a file, through an open of its own that shares everything.
    ///
    /// # Errors
    /// Those of opening and reading.
    pub fn contents(&self, path: &str) -> Result<Vec<u8>, Status> {
        let path = path.to_owned();
        self.call(move |caller| caller.contents(&path))
    }

    /// Creates or replaces a file with these contents.
    ///
    /// # Errors
    /// Those of opening and writing.
    pub fn put(&self, path: &str, contents: &[u8]) -> Result<(), Status> {
        let (path, contents) = (path.to_owned(), contents.to_vec());
        self.call(move |caller| caller.put(&path, &contents))
    }

    /// Gives another process a handle to what `handle` stands for.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn duplicate(&self, handle: Handle, to: &Process) -> Result<Handle, Status> {
        let duplicated = self.lab.executive().duplicate_handle(&self.inner, handle.0, &to.inner);
        duplicated.map(Handle).map_err(|status| Status(status.cast_unsigned()))
    }

    /// Whether the process holds this handle.
    pub fn holds(&self, handle: Handle) -> bool {
        self.inner.handles.entries().iter().any(|(own, _)| *own == handle.0)
    }
}
