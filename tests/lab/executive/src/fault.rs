//! Processor faults in lab threads: caught, named, and the thread abandoned; the process lives on.

use std::cell::Cell;
use std::ptr;
use std::sync::Once;

use corosensei::trap::CoroutineTrapHandler;

use crate::Lab;
use crate::irql;
use crate::scheduler::Fiber;

/// What the signal handler keeps; formatted later, outside the handler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawFault {
    pub(crate) signal: i32,
    /// The address touched; 0 if the processor does not say (general protection).
    pub(crate) address: usize,
    pub(crate) general_protection: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
    pub(crate) rip: usize,
    pub(crate) rsp: usize,
    pub(crate) rbp: usize,
    pub(crate) rcx: usize,
    pub(crate) registers: [usize; 16],
    pub(crate) code: [u8; 16],
    pub(crate) code_len: usize,
}

thread_local! {
    static HANDLER: Cell<Option<CoroutineTrapHandler<()>>> = const { Cell::new(None) };
    static CAUGHT: Cell<Option<RawFault>> = const { Cell::new(None) };
    static PREPARED: Cell<bool> = const { Cell::new(false) };
}

static INSTALLED: Once = Once::new();

/// Room for the signal handler.
const HANDLER_STACK: usize = 64 * 1024;

const SIGNALS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];

/// Installs the handlers once, and an alternate stack for this OS thread: the fault may be a stack overflow.
pub(crate) fn install() {
    INSTALLED.call_once(|| {
        for signal in SIGNALS {
            // SAFETY: a zeroed sigaction is valid; the handler has the signature that SA_SIGINFO asks for.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let handler: unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    on_signal;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(signal, &action, ptr::null_mut());
            }
        }
    });
    if !PREPARED.replace(true) {
        // SAFETY: the stack handed over is never freed, so it outlives every use.
        unsafe {
            let mut present: libc::stack_t = std::mem::zeroed();
            libc::sigaltstack(ptr::null(), &mut present);
            // The standard library's own is too small for this handler besides the processor's state.
            if present.ss_flags & libc::SS_DISABLE != 0 || present.ss_size < HANDLER_STACK {
                let memory = Box::leak(vec![0u8; HANDLER_STACK].into_boxed_slice());
                let stack =
                    libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
                libc::sigaltstack(&stack, ptr::null_mut());
            }
        }
    }
}

/// Watches one resumption of a coroutine.
pub(crate) struct Watch(());

pub(crate) fn watch(fiber: &Fiber) -> Watch {
    CAUGHT.set(None);
    HANDLER.set(Some(fiber.trap_handler()));
    Watch(())
}

impl Watch {
    /// Ends the watch and says what was caught.
    pub(crate) fn finish(self) -> Option<RawFault> {
        CAUGHT.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        HANDLER.set(None);
    }
}

unsafe extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes valid pointers for the duration of the handler.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    let registers = &mut context.uc_mcontext.gregs;
    let get = |r: libc::c_int| registers[r as usize] as usize;
    let Some(handler) = HANDLER.get().filter(|h| h.stack_ptr_in_bounds(get(libc::REG_RSP))) else {
        // Not ours: the default action, when the instruction runs again.
        // SAFETY: resetting a disposition touches no memory of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    let mut fault = RawFault {
        signal,
        // SAFETY: the signals handled here carry an address.
        address: unsafe { info.si_addr() } as usize,
        general_protection: signal == libc::SIGSEGV && info.si_code == 128,
        write: get(libc::REG_ERR) & 2 != 0,
        execute: get(libc::REG_ERR) & 16 != 0,
        rip: get(libc::REG_RIP),
        rsp: get(libc::REG_RSP),
        rbp: get(libc::REG_RBP),
        rcx: get(libc::REG_RCX),
        registers: REGISTERS.map(|r| registers[r as usize] as usize),
        code: [0; 16],
        code_len: 0,
    };
    fault.code_len = read_own_memory(fault.rip, &mut fault.code);
    if let Some(length) = emulate_cr8(&fault, registers) {
        registers[libc::REG_RIP as usize] += length;
        return;
    }
    CAUGHT.set(Some(fault));
    // SAFETY: the stack pointer lies in the coroutine that the handler belongs to, as just checked, and the
    // registers are updated below. What the abandoned frames had borrowed is never used again: the lab is dead.
    let next = unsafe { handler.setup_trap_handler(|| ()) };
    registers[libc::REG_RIP as usize] = next.rip as i64;
    registers[libc::REG_RSP as usize] = next.rsp as i64;
    registers[libc::REG_RBP as usize] = next.rbp as i64;
    registers[libc::REG_RDI as usize] = next.rdi as i64;
    registers[libc::REG_RSI as usize] = next.rsi as i64;
}

/// Indices of the general registers in the order of their encoding.
const REGISTERS: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

const REGISTER_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// Reads memory that may not be there.
pub(crate) fn read_own_memory(address: usize, into: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
    // SAFETY: the kernel checks the remote range; the local one is the slice.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    usize::try_from(read).unwrap_or(0)
}

/// Serves `mov r64, cr8` and `mov cr8, r64`, which other compilers inline for KeGetCurrentIrql and friends.
fn emulate_cr8(fault: &RawFault, registers: &mut [libc::greg_t; 23]) -> Option<i64> {
    let [rex, 0x0F, opcode, modrm] = *fault.code.first_chunk::<4>()? else { return None };
    // REX.R selects cr8; bits of ModRM: mod 3, reg 0, rm the general register.
    if fault.code_len < 4 || rex & 0xF4 != 0x44 || modrm & 0xF8 != 0xC0 {
        return None;
    }
    let register = REGISTERS[usize::from((modrm & 7) | ((rex & 1) << 3))] as usize;
    crate::try_lab(|lab| {
        let thread = lab.try_thread()?;
        match opcode {
            0x20 => registers[register] = i64::from(thread.irql.get()),
            0x22 => {
                thread.irql.set(u8::try_from(registers[register]).ok().filter(|l| *l <= irql::HIGH_LEVEL)?)
            }
            _ => return None,
        }
        Some(4)
    })?
}

impl Lab {
    pub(crate) fn report_fault(&self, fault: &RawFault) {
        let place = self.images.describe(fault.rip).unwrap_or_else(|| "lab code".into());
        let what = describe(self, fault);
        if let Some(thread) = self.try_thread() {
            self.note_fault_registers(&thread, fault);
        }
        let code =
            fault.code[..fault.code_len].iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
        self.record_violation(
            rule(self, fault),
            "lab: a processor fault in kernel mode is a bugcheck",
            format!("{what}; the instruction at {place} begins {code}"),
        );
    }
}

fn rule(lab: &Lab, fault: &RawFault) -> &'static str {
    match fault.signal {
        libc::SIGSEGV | libc::SIGBUS if fault.general_protection => match privileged(fault) {
            Some(_) => "unserved-instruction",
            None => "bad-address",
        },
        libc::SIGSEGV | libc::SIGBUS => lab.classify_address(fault.address, fault.rsp).0,
        libc::SIGTRAP => "breakpoint",
        _ => "processor-exception",
    }
}

fn describe(lab: &Lab, fault: &RawFault) -> String {
    match fault.signal {
        libc::SIGSEGV | libc::SIGBUS if fault.general_protection => match privileged(fault) {
            Some(name) => format!("{name} cannot be served"),
            None => format!("touched an address outside the canonical user range{}", kernel_addresses(fault)),
        },
        libc::SIGSEGV | libc::SIGBUS => {
            let verb = match (fault.execute, fault.write) {
                (true, _) => "executed",
                (false, true) => "wrote to",
                (false, false) => "read",
            };
            format!("{verb} {}", lab.classify_address(fault.address, fault.rsp).1)
        }
        libc::SIGILL => "illegal instruction".into(),
        libc::SIGFPE => "arithmetic exception (division by zero or overflow)".into(),
        libc::SIGTRAP => "breakpoint (int 3)".into(),
        other => format!("signal {other}"),
    }
}

fn kernel_addresses(fault: &RawFault) -> String {
    let mut text = String::new();
    for (name, value) in REGISTER_NAMES.iter().zip(fault.registers) {
        if value >> 47 != 0 {
            let note = if value >> 12 == 0xF_FFFF_7800_0000 { " (shared user data)" } else { "" };
            text.push_str(&format!("; {name} = {value:#x}{note}"));
        }
    }
    text
}

/// Names the privileged instruction at a general-protection fault, if it is one.
fn privileged(fault: &RawFault) -> Option<String> {
    let mut code = &fault.code[..fault.code_len];
    while let [0x40..=0x4F | 0x66 | 0xF2 | 0xF3, rest @ ..] = code {
        code = rest;
    }
    let name = match code {
        [0xCD, 0x29, ..] => {
            return Some(format!("fast fail (int 29h) with code {}", fault.rcx & 0xFFFF_FFFF));
        }
        [0xCD, vector, ..] => return Some(format!("interrupt {vector:#x}")),
        [0xFA, ..] => "cli",
        [0xFB, ..] => "sti",
        [0xF4, ..] => "hlt",
        [0xE4..=0xE7 | 0xEC..=0xEF, ..] => "port input or output",
        [0x0F, 0x30, ..] => "wrmsr",
        [0x0F, 0x32, ..] => "rdmsr",
        [0x0F, 0x33, ..] => "rdpmc",
        [0x0F, 0x20 | 0x22, ..] => "a move to or from a control register",
        [0x0F, 0x21 | 0x23, ..] => "a move to or from a debug register",
        [0x0F, 0x01, ..] => "a system-table or virtualisation instruction",
        [0x0F, 0x08 | 0x09, ..] => "a cache-flush instruction",
        _ => return None,
    };
    Some(name.into())
}
