//! Handles: per-process tables, and the kernel's own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Lab;
use crate::irql::PASSIVE_LEVEL;
use crate::object::Closing;
use crate::process::Process;
use crate::status;

/// A handle's value, as in a HANDLE.
pub type Handle = usize;

/// Bits that mark a kernel handle's value.
pub(crate) const KERNEL_HANDLE: usize = 0xFFFF_FFFF_8000_0000;
const CURRENT_PROCESS: usize = usize::MAX;
const CURRENT_THREAD: usize = usize::MAX - 1;

/// Who uses a handle: a program, or the kernel and its drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Handles of the process only, and access is checked.
    User,
    /// Kernel handles too, and access is not checked.
    Kernel,
}

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandleEntry {
    /// The object's body.
    pub body: *mut u8,
    /// The access that it grants.
    pub granted: u32,
    /// Whether a child process gets a copy.
    pub inherit: bool,
    /// Image of the driver that opened it, for the report at unload.
    pub opener: Option<usize>,
}

/// A table of handles.
pub struct HandleTable {
    base: usize,
    next: Cell<usize>,
    entries: RefCell<BTreeMap<Handle, HandleEntry>>,
}

impl HandleTable {
    pub(crate) fn new(base: usize) -> Self {
        Self { base, next: Cell::new(4), entries: RefCell::default() }
    }

    fn insert(&self, entry: HandleEntry) -> Handle {
        let handle = self.base | self.next.get();
        self.next.set(self.next.get() + 4);
        self.entries.borrow_mut().insert(handle, entry);
        handle
    }

    /// All handles, in order of their making.
    pub fn entries(&self) -> Vec<(Handle, HandleEntry)> {
        self.entries.borrow().iter().map(|(h, e)| (*h, *e)).collect()
    }
}

impl Lab {
    /// Opens a handle to an object: in `process`'s table, or a kernel handle for `None`.
    pub fn open_handle(
        &self,
        process: Option<&Rc<Process>>,
        body: *mut u8,
        granted: u32,
        inherit: bool,
    ) -> Handle {
        self.objects.handle_opened(body);
        let entry = HandleEntry { body, granted, inherit, opener: self.caller() };
        match process {
            Some(process) => process.handles.insert(entry),
            None => self.objects.kernel_handles.insert(entry),
        }
    }

    /// What a handle stands for in the current process.
    ///
    /// # Errors
    /// `INVALID_HANDLE`; also for a kernel handle used by a program.
    pub fn handle(&self, handle: Handle, mode: Mode) -> Result<HandleEntry, i32> {
        let thread = self.thread();
        let everything = |body| HandleEntry { body, granted: 0x1F_FFFF, inherit: false, opener: None };
        match handle {
            CURRENT_THREAD => return Ok(everything(thread.ethread)),
            CURRENT_PROCESS => {
                return thread.process().map(|p| everything(p.eprocess)).ok_or(status::INVALID_HANDLE);
            }
            _ => {}
        }
        let entry = if handle & KERNEL_HANDLE == KERNEL_HANDLE {
            if mode == Mode::User {
                return Err(status::INVALID_HANDLE);
            }
            self.objects.kernel_handles.entries.borrow().get(&handle).copied()
        } else {
            thread.process().and_then(|p| p.handles.entries.borrow().get(&handle).copied())
        };
        entry.ok_or(status::INVALID_HANDLE)
    }

    /// Closes a handle of the current process, or a kernel handle.
    ///
    /// # Errors
    /// `INVALID_HANDLE`. A driver that closes what it does not hold stops the run, as under Driver Verifier.
    pub fn close_handle(&self, handle: Handle, mode: Mode) -> Result<(), i32> {
        let thread = self.thread();
        let kernel = handle & KERNEL_HANDLE == KERNEL_HANDLE;
        if kernel && mode == Mode::User {
            return Err(status::INVALID_HANDLE);
        }
        if handle == CURRENT_PROCESS || handle == CURRENT_THREAD {
            return Ok(());
        }
        let process = if kernel { Some(self.processes.system()) } else { thread.process() };
        let process = process.ok_or(status::INVALID_HANDLE)?;
        if self.close_in(&process, kernel, handle) {
            return Ok(());
        }
        if mode == Mode::Kernel && self.caller().is_some() {
            self.report(
                "invalid-handle",
                "wdm/ZwClose; Driver Verifier: invalid handle in kernel mode",
                format!("closes handle {handle:#x}, which {} does not hold", process.label()),
            );
        }
        Err(status::INVALID_HANDLE)
    }

    fn close_in(&self, process: &Rc<Process>, kernel: bool, handle: Handle) -> bool {
        let table = if kernel { &self.objects.kernel_handles } else { &process.handles };
        // The handle is gone before its owner hears of it: nobody can use it during the cleanup.
        let Some(entry) = table.entries.borrow_mut().remove(&handle) else { return false };
        let process_handles = table.entries.borrow().values().filter(|e| e.body == entry.body).count() + 1;
        let closing = Closing {
            body: entry.body,
            process: process.clone(),
            granted: entry.granted,
            process_handles,
            system_handles: self.objects.handles(entry.body),
        };
        self.objects.handle_closed(self, &closing);
        true
    }

    /// Gives `target` a handle to what `handle` of `source` stands for, with the same access.
    ///
    /// # Errors
    /// `INVALID_HANDLE`.
    pub fn duplicate_handle(
        &self,
        source: &Rc<Process>,
        handle: Handle,
        target: &Rc<Process>,
    ) -> Result<Handle, i32> {
        let entry = source.handles.entries.borrow().get(&handle).copied().ok_or(status::INVALID_HANDLE)?;
        Ok(self.open_handle(Some(target), entry.body, entry.granted, entry.inherit))
    }

    /// Closes every handle of a process, in the order of the table, inside a critical region (`txf-ktm §8.2`).
    pub(crate) fn sweep_handles(&self, process: &Rc<Process>) {
        let thread = self.thread();
        debug_assert_eq!(thread.irql.get(), PASSIVE_LEVEL);
        thread.critical_regions.set(thread.critical_regions.get() + 1);
        while let Some((handle, _)) = process.handles.entries().first().copied() {
            self.close_in(process, false, handle);
        }
        thread.critical_regions.set(thread.critical_regions.get() - 1);
    }

    /// Handles that an image opened and did not close, as text.
    pub(crate) fn handles_held(&self, image: usize) -> Vec<String> {
        let mut entries = self.objects.kernel_handles.entries();
        // A driver's handle in a process's table; what programs open there has no opener.
        self.processes.all().iter().for_each(|p| entries.extend(p.handles.entries()));
        let mine = entries.iter().filter(|(_, e)| e.opener == Some(image));
        mine.map(|(handle, e)| {
            let kind = self.objects.type_of(e.body).map_or("?", |t| t.name);
            format!("handle {handle:#x} to a {kind} object")
        })
        .collect()
    }
}
