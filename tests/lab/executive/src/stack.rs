//! Between the lab and driver code: calling in, being called, and how deep the driver's stack is.
//!
//! Import thunks leave the driver's stack pointer, and the lab notes it when it calls in, so the stack that
//! driver frames use is measured exactly. What Windows' own frames would use between two stretches of driver code
//! is a nominal value, [`Config::nested_call_stack`](crate::Config::nested_call_stack).

use std::arch::asm;

use crate::Lab;
use crate::fault::RawFault;
use crate::import::Import;
use crate::irql;
use crate::pcr::CallerRegisters;
use crate::random::{HASH_START, mix};
use crate::thread::{Segment, Thread};

const MAX_FRAMES: usize = 48;

/// Registers that a thread's top segment had before an import call, to be put back after it.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    rsp: usize,
    rbp: usize,
}

impl Lab {
    /// Calls into a driver: `f` makes the call. Every call of driver code goes through here; `what` names it.
    ///
    /// Stops the run if the driver returns at another level or with another count of critical regions than it was
    /// called with.
    pub fn call_driver<R>(&self, what: &str, f: impl FnOnce() -> R) -> R {
        let thread = self.thread();
        let before = (thread.irql.get(), thread.critical_regions.get(), thread.guarded_regions.get());
        let spin_locks = self.locks.spin_locks_of(thread.id);
        let budget = thread.segments.borrow().last().map_or(self.config.kernel_stack, |s| s.budget);
        let nested = if thread.segments.borrow().is_empty() { 0 } else { self.config.nested_call_stack };
        let segment = Segment {
            entry: stack_pointer(),
            used_before: self.stack_used(&thread) + nested,
            site_before: self.call_stack_hash(&thread),
            import_rsp: 0,
            import_rbp: 0,
            budget,
            fault_rip: None,
        };
        thread.segments.borrow_mut().push(segment);
        let import = thread.import.replace(None);
        let caller = thread.caller.replace(None);
        let result = f();
        thread.import.set(import);
        thread.caller.set(caller);
        thread.segments.borrow_mut().pop();
        let after = (thread.irql.get(), thread.critical_regions.get(), thread.guarded_regions.get());
        if after != before {
            self.report(
                "state-after-callback",
                "Driver Verifier: a callback returns at the IRQL and APC state it was called with",
                format!(
                    "{what} was entered at {} with {} critical and {} guarded regions, and returned at {} with {} and {}",
                    irql::name(before.0), before.1, before.2, irql::name(after.0), after.1, after.2
                ),
            );
        }
        self.check_locks_after(&thread, what, spin_locks);
        result
    }

    /// Runs `f` with a fresh stack budget, as KeExpandKernelStackAndCalloutEx does.
    pub(crate) fn with_fresh_stack<R>(&self, budget: usize, f: impl FnOnce() -> R) -> R {
        let thread = self.thread();
        let segment = Segment {
            entry: stack_pointer(),
            used_before: 0,
            site_before: self.call_stack_hash(&thread),
            import_rsp: 0,
            import_rbp: 0,
            budget,
            fault_rip: None,
        };
        thread.segments.borrow_mut().push(segment);
        let import = thread.import.replace(None);
        let caller = thread.caller.replace(None);
        let result = f();
        thread.import.set(import);
        thread.caller.set(caller);
        thread.segments.borrow_mut().pop();
        result
    }

    /// Notes where driver code stands at an import; returns the image that called, if one did.
    pub(crate) fn begin_import(
        &self,
        thread: &Thread,
        registers: CallerRegisters,
    ) -> (Option<usize>, Option<Outer>) {
        let mut segments = thread.segments.borrow_mut();
        let Some(top) = segments.last_mut() else { return (None, None) };
        let outer = Outer { rsp: top.import_rsp, rbp: top.import_rbp };
        if !registers.has_driver() {
            return (None, Some(outer));
        }
        top.import_rsp = registers.rsp;
        top.import_rbp = registers.rbp;
        // SAFETY: an import thunk stored its stack pointer, which points at the return address of its caller.
        let return_address = unsafe { std::ptr::with_exposed_provenance::<usize>(registers.rsp).read() };
        (self.images.index_of(return_address), Some(outer))
    }

    pub(crate) fn end_import(&self, thread: &Thread, outer: Option<Outer>) {
        if let (Some(top), Some(outer)) = (thread.segments.borrow_mut().last_mut(), outer) {
            top.import_rsp = outer.rsp;
            top.import_rbp = outer.rbp;
        }
    }

    /// Stack that driver frames (and nominal kernel frames between them) use on this thread, in bytes.
    pub fn stack_used(&self, thread: &Thread) -> usize {
        match thread.segments.borrow().last() {
            Some(top) if top.import_rsp != 0 => top.used_before + top.entry.saturating_sub(top.import_rsp),
            Some(top) => top.used_before,
            None => 0,
        }
    }

    /// Stack left below the calling driver, as IoGetRemainingStackSize gives it.
    pub fn stack_remaining(&self, thread: &Thread) -> usize {
        let budget = thread.segments.borrow().last().map_or(self.config.kernel_stack, |s| s.budget);
        budget.saturating_sub(self.stack_used(thread))
    }

    /// Where the caller stands and where its part of the stack begins.
    pub(crate) fn stack_bounds(&self, thread: &Thread) -> (usize, usize) {
        match thread.segments.borrow().last() {
            Some(top) if top.import_rsp != 0 => (top.import_rsp, top.entry),
            Some(top) => (top.entry, top.entry),
            None => (stack_pointer(), stack_pointer()),
        }
    }

    pub(crate) fn check_stack(&self, thread: &Thread, import: &Import) {
        let used = self.stack_used(thread);
        self.images.note_stack(used);
        if self.stack_remaining(thread) == 0 {
            self.report(
                "stack-budget",
                "kernel/using-the-kernel-stack: 24 KiB on x64",
                format!("the driver's frames use {used} bytes of stack at its call of {}", import.name),
            );
        }
    }

    /// Return addresses of the driver's frames in the thread's innermost segment, innermost first.
    fn top_frames(&self, thread: &Thread) -> Vec<usize> {
        match thread.segments.borrow().last() {
            Some(top) if top.import_rsp != 0 => {
                self.images.walk(top.import_rsp, top.import_rbp, top.entry, MAX_FRAMES)
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn frame_addresses(&self, thread: &Thread) -> Vec<usize> {
        if thread.caller.get().is_some() { self.top_frames(thread) } else { Vec::new() }
    }

    /// The driver's frames on this thread as text, innermost first.
    pub(crate) fn driver_frames(&self, thread: &Thread) -> Vec<String> {
        let segments = thread.segments.borrow();
        let mut frames = Vec::new();
        for segment in segments.iter().rev().filter(|s| s.import_rsp != 0) {
            let addresses = match segment.fault_rip {
                Some(rip) => self.images.walk_from(
                    rip,
                    segment.import_rsp,
                    segment.import_rbp,
                    segment.entry,
                    MAX_FRAMES,
                ),
                None => self.images.walk(segment.import_rsp, segment.import_rbp, segment.entry, MAX_FRAMES),
            };
            for address in addresses {
                frames.push(self.images.describe(address).unwrap_or_else(|| "?".into()));
            }
        }
        frames
    }

    /// Whether a thread stands in an image's code, at an import that has not returned.
    pub(crate) fn runs_code_of(&self, thread: &Thread, image: usize) -> bool {
        let segments = thread.segments.borrow();
        segments.iter().filter(|s| s.import_rsp != 0).any(|s| {
            let frames = self.images.walk(s.import_rsp, s.import_rbp, s.entry, 1);
            frames.first().is_some_and(|f| self.images.index_of(*f) == Some(image))
        })
    }

    /// A hash of the driver's call chain, outer segments included; independent of addresses.
    pub(crate) fn call_stack_hash(&self, thread: &Thread) -> u64 {
        let start = thread.segments.borrow().last().map_or(HASH_START, |s| s.site_before);
        self.top_frames(thread).iter().fold(start, |hash, address| match self.images.rva(*address) {
            Some((image, rva)) => mix(mix(hash, image as u64), u64::from(rva)),
            None => hash,
        })
    }

    /// Makes the faulting instruction's frames those of the report.
    pub(crate) fn note_fault_registers(&self, thread: &Thread, fault: &RawFault) {
        if self.images.rva(fault.rip).is_none() {
            return;
        }
        if let Some(top) = thread.segments.borrow_mut().last_mut() {
            top.fault_rip = Some(fault.rip);
            top.import_rsp = fault.rsp;
            top.import_rbp = fault.rbp;
        }
    }
}

#[inline(always)]
fn stack_pointer() -> usize {
    let rsp: usize;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    rsp
}
