//! Counting the instructions that are executed inside one driver image, exactly.
//!
//! While nothing of the image runs, its code is not executable. The first instruction of a call into it
//! faults; the handler makes the code executable and sets the processor's trap flag, so that each instruction
//! traps after it was executed. The first trap outside the image (a call of an import, a return to the lab)
//! takes both away again. What imports execute is thereby neither counted nor slowed down. A repeated string
//! instruction counts once per repetition.

use std::fs;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::{Result, bail};

/// Pages of code that are watched; an image has one or two such sections.
const MOST: usize = 8;

static STARTS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
static ENDS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
static RANGES: AtomicUsize = AtomicUsize::new(0);
static INSTRUCTIONS: AtomicU64 = AtomicU64::new(0);
static STEPPING: AtomicBool = AtomicBool::new(false);
static mut BEFORE: [Option<libc::sigaction>; 2] = [None, None];

const TRAP_FLAG: i64 = 0x100;
const TRAP_TRACE: libc::c_int = 2;

/// Watches the executable pages of one image, until it is dropped. One at a time in a process, and only the
/// thread that made it may run the image.
pub(crate) struct Steps(());

impl Steps {
    /// Begins to watch the image mapped at `image`.
    ///
    /// The fault handlers of the lab must be installed already: what is not ours is handed to them.
    pub(crate) fn watch(image: Range<usize>) -> Result<Steps> {
        let code = executable(&image)?;
        if code.is_empty() || code.len() > MOST || RANGES.load(Ordering::SeqCst) != 0 {
            bail!("{} executable ranges in the image, or another image is watched", code.len());
        }
        for (index, range) in code.iter().enumerate() {
            STARTS[index].store(range.start, Ordering::SeqCst);
            ENDS[index].store(range.end, Ordering::SeqCst);
        }
        INSTRUCTIONS.store(0, Ordering::SeqCst);
        RANGES.store(code.len(), Ordering::SeqCst);
        for (index, signal) in [libc::SIGSEGV, libc::SIGTRAP].into_iter().enumerate() {
            // SAFETY: zeroed sigactions are valid; the handler has the signature that SA_SIGINFO asks for.
            // Nothing else touches BEFORE: there is one watch at a time, made and dropped by one thread.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut before: libc::sigaction = std::mem::zeroed();
                let handler: unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    on_signal;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(signal, &action, &mut before);
                BEFORE[index] = Some(before);
            }
        }
        protect(libc::PROT_READ);
        Ok(Steps(()))
    }
}

/// Instructions executed inside the watched image so far.
pub(crate) fn instructions() -> u64 {
    INSTRUCTIONS.load(Ordering::SeqCst)
}

impl Drop for Steps {
    fn drop(&mut self) {
        protect(libc::PROT_READ | libc::PROT_EXEC);
        RANGES.store(0, Ordering::SeqCst);
        for (index, signal) in [libc::SIGSEGV, libc::SIGTRAP].into_iter().enumerate() {
            // SAFETY: puts back what `watch` found.
            unsafe {
                if let Some(before) = BEFORE[index] {
                    libc::sigaction(signal, &before, ptr::null_mut());
                }
            }
        }
    }
}

/// The executable mappings inside a range, from `/proc/self/maps`.
fn executable(image: &Range<usize>) -> Result<Vec<Range<usize>>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let parse = |line: &str| -> Option<Range<usize>> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let executable = fields.next()?.contains('x');
        (executable && range.start >= image.start && range.end <= image.end).then_some(range)
    };
    Ok(maps.lines().filter_map(parse).collect())
}

fn inside(address: usize) -> bool {
    let count = RANGES.load(Ordering::Relaxed);
    (0..count).any(|index| {
        (STARTS[index].load(Ordering::Relaxed)..ENDS[index].load(Ordering::Relaxed)).contains(&address)
    })
}

fn protect(protection: libc::c_int) {
    for index in 0..RANGES.load(Ordering::Relaxed) {
        let (start, end) = (STARTS[index].load(Ordering::Relaxed), ENDS[index].load(Ordering::Relaxed));
        // SAFETY: whole pages of an image that the lab has mapped and keeps; only execution is taken or given.
        unsafe { libc::mprotect(start as *mut libc::c_void, end - start, protection) };
    }
}

/// Only calls what may be called in a signal handler: atomics and system calls.
unsafe extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes valid pointers for the duration of the handler.
    let (code, registers) =
        unsafe { ((*info).si_code, &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs) };
    let rip = registers[libc::REG_RIP as usize] as usize;
    if signal == libc::SIGSEGV && inside(rip) && !STEPPING.load(Ordering::Relaxed) {
        STEPPING.store(true, Ordering::Relaxed);
        protect(libc::PROT_READ | libc::PROT_EXEC);
        registers[libc::REG_EFL as usize] |= TRAP_FLAG;
        return;
    }
    if signal == libc::SIGTRAP && code == TRAP_TRACE && STEPPING.load(Ordering::Relaxed) {
        INSTRUCTIONS.fetch_add(1, Ordering::Relaxed);
        if !inside(rip) {
            STEPPING.store(false, Ordering::Relaxed);
            protect(libc::PROT_READ);
            registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
        }
        return;
    }
    let index = usize::from(signal == libc::SIGTRAP);
    // SAFETY: BEFORE was filled by the thread that runs this, before the first signal could come.
    let before = unsafe { BEFORE[index] };
    if let Some(before) = before
        && before.sa_sigaction != libc::SIG_DFL
        && before.sa_sigaction != libc::SIG_IGN
    {
        // SAFETY: an installed SA_SIGINFO handler, called with the arguments that the kernel gave us.
        let handler: unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(before.sa_sigaction) };
        // SAFETY: as above.
        unsafe { handler(signal, info, context) };
    } else {
        // SAFETY: the default action, when the instruction runs again.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mov eax, 5; dec eax; jnz -4; ret`: 1 + 5 × 2 + 1 instructions.
    const LOOP: [u8; 10] = [0xB8, 5, 0, 0, 0, 0xFF, 0xC8, 0x75, 0xFC, 0xC3];

    #[test]
    fn each_instruction_of_the_image_counts_and_no_other() {
        // SAFETY: a fresh page that becomes code: the machine code above, called with its true signature.
        unsafe {
            let page = libc::mmap(
                ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            ptr::copy_nonoverlapping(LOOP.as_ptr(), page.cast(), LOOP.len());
            libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC);
            let code: extern "C" fn() = std::mem::transmute(page);
            let steps = Steps::watch(page as usize..page as usize + 4096).unwrap();
            code();
            assert_eq!(instructions(), 12);
            std::hint::black_box(vec![0u8; 1000]);
            code();
            assert_eq!(instructions(), 24);
            drop(steps);
            code();
        }
    }
}
