//! The switch: a number in the built file, in front of which there is a mark.
//!
//! Its module is put into the copy of the crate `kernel`; the driver that is shipped has none. With no number nothing is
//! changed; with the number of a change that change is made; with [`RECORD`] nothing is changed, and the number of every
//! change that is reached is written, once for each load, to the open file with the descriptor [`RECORD_TO`]. Of a
//! condition that becomes true or false only that change is written which would make it another than it is. The driver
//! runs in a process of Linux, and a system call of its own is what tells it from outside without help from the lab.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const MARK: &[u8; 24] = b"the switch of mutations:";

/// Nothing is changed, and what is reached is told.
pub(super) const RECORD: u32 = u32::MAX;
/// Nothing is changed.
pub(super) const NOTHING: u32 = 0;
/// Where it is told.
pub(super) const RECORD_TO: u32 = 9;

/// The text of the module, for this many changes.
pub(super) fn module(count: usize) -> String {
    let mark = String::from_utf8_lossy(MARK);
    let bytes = count / 8 + 1;
    format!(
        r#"
use core::cell::UnsafeCell;
use core::ptr::{{read_volatile, write_volatile}};

#[repr(C)]
struct Switch {{
    mark: [u8; {length}],
    on: UnsafeCell<u32>,
    reached: UnsafeCell<[u8; {bytes}]>,
}}

// SAFETY: the number is only read; a bit that is lost is told once more.
unsafe impl Sync for Switch {{}}

#[used]
static SWITCH: Switch =
    Switch {{ mark: *b"{mark}", on: UnsafeCell::new(0), reached: UnsafeCell::new([0; {bytes}]) }};

#[inline(never)]
pub fn on(number: u32) -> bool {{
    // SAFETY: a static.
    let on = unsafe {{ read_volatile(SWITCH.on.get()) }};
    if on == {RECORD} {{
        tell(number);
    }}
    on == number
}}

#[inline(never)]
pub fn is(number: u32) -> bool {{
    // SAFETY: a static.
    unsafe {{ read_volatile(SWITCH.on.get()) == number }}
}}

#[inline(never)]
pub fn seen(if_true: u32, if_false: u32, value: bool) -> bool {{
    let number = if value {{ if_true }} else {{ if_false }};
    // SAFETY: a static.
    if unsafe {{ read_volatile(SWITCH.on.get()) }} == {RECORD} && number != {NOTHING} {{
        tell(number);
    }}
    value
}}

#[cold]
fn tell(number: u32) {{
    let (byte, bit) = (SWITCH.reached.get().cast::<u8>().wrapping_add(number as usize / 8), 1_u8 << (number % 8));
    // SAFETY: there is a bit for each number.
    let told = unsafe {{ read_volatile(byte) }};
    if told & bit == 0 {{
        // SAFETY: as above.
        unsafe {{ write_volatile(byte, told | bit) }};
        // SAFETY: write(2) of four bytes.
        unsafe {{
            core::arch::asm!(
                "syscall",
                inlateout("rax") 1_u64 => _,
                in("rdi") {RECORD_TO}_u64,
                in("rsi") &number,
                in("rdx") 4_u64,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }}
    }}
}}
"#,
        length = MARK.len(),
    )
}

/// A copy of a built file that can be switched.
pub(super) struct Switched {
    pub(super) path: PathBuf,
    at: u64,
}

impl Switched {
    /// Copies `built` to `path`. None if the file has no switch, because nothing that can be changed is in it.
    pub(super) fn copy(built: &Path, path: &Path) -> Result<Option<Self>> {
        let mut bytes = fs::read(built).with_context(|| format!("reading {}", built.display()))?;
        let mut marks = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
        let Some((mark, _)) = marks.next() else { return Ok(None) };
        if marks.next().is_some() {
            bail!("{} has more than one switch", built.display());
        }
        forget_checksum(&mut bytes);
        fs::write(path, &bytes).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(path, fs::metadata(built)?.permissions())?;
        let at = u64::try_from(mark.saturating_add(MARK.len()))?;
        Ok(Some(Self { path: path.to_owned(), at }))
    }

    /// Another copy, to be switched by itself.
    pub(super) fn again(&self, path: &Path) -> Result<Self> {
        fs::copy(&self.path, path).with_context(|| format!("copying {}", self.path.display()))?;
        Ok(Self { path: path.to_owned(), at: self.at })
    }

    /// Switches to a change.
    pub(super) fn set(&self, number: u32) -> Result<()> {
        // Not kept open: a program that is open for writing does not start.
        let write = || {
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.seek(SeekFrom::Start(self.at))?;
            file.write_all(&number.to_le_bytes())
        };
        write().with_context(|| format!("writing {}", self.path.display()))
    }
}

/// A driver's checksum is zero from now on, and nobody checks it then: it would change with the number.
fn forget_checksum(bytes: &mut [u8]) {
    const HEADER_AT: usize = 0x3C;
    const CHECKSUM: usize = 4 + 20 + 64;
    let header = bytes
        .get(HEADER_AT..HEADER_AT + 4)
        .and_then(|at| at.try_into().ok())
        .map_or(0, |at| u32::from_le_bytes(at) as usize);
    let is_image =
        bytes.starts_with(b"MZ") && bytes.get(header..).is_some_and(|rest| rest.starts_with(b"PE"));
    let start = header.saturating_add(CHECKSUM);
    if let Some(checksum) = bytes.get_mut(start..start.saturating_add(4)).filter(|_| is_image) {
        checksum.fill(0);
    }
}
