//! A program of a scenario, as a process of its own: does the steps that it is told, and ends as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use intact_scenarios::{Action, Scenario, Step, judge};
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
};

use super::nt::{DELETE, File, Open, READ_ATTRIBUTES, SHARE_ALL, Status, contents};

/// Serves steps from standard input until it is told to end: `do NUMBER` is answered by the status as eight
/// digits and, after a blank, what was found instead of what should be; `exit STATUS` and `crash` end it.
///
/// # Errors
/// The other end says something else.
pub(crate) fn serve(scenario: &Scenario, folder: &Path) -> Result<()> {
    let mut actor = Actor { scenario, folder: folder.to_owned(), open: BTreeMap::new() };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("do", number) => {
                let number: usize = number.parse().context("the number of a step")?;
                let step = scenario.steps.get(number).context("no such step")?;
                let answer = match actor.perform(step) {
                    Ok(None) => "00000000".to_owned(),
                    Ok(Some(found)) => format!("00000000 {found}"),
                    Err(status) => format!("{:08x}", status.0),
                };
                println!("{answer}");
                std::io::stdout().flush()?;
            }
            // What is open is closed by the system, after the exit status is set.
            ("exit", status) => std::process::exit(status.parse().context("an exit status")?),
            ("crash", _) => crash(),
            _ => bail!("{line:?} is not understood"),
        }
    }
    bail!("the one who gives the orders is gone")
}

fn crash() -> ! {
    // SAFETY: no box may wait for somebody to press a button; then an access violation, which is the purpose.
    unsafe {
        SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
        std::hint::black_box(16 as *mut u64).write_volatile(1);
    }
    unreachable!("address 16 is writable")
}

struct Actor<'a> {
    scenario: &'a Scenario,
    folder: PathBuf,
    open: BTreeMap<usize, File>,
}

const INVALID_HANDLE: Status = Status(0xC000_0008);

impl Actor<'_> {
    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(self.scenario.files[number].name)
    }

    fn file(&self, slot: usize) -> Result<&File, Status> {
        self.open.get(&slot).ok_or(INVALID_HANDLE)
    }

    /// Something only if what was found is not what the step says.
    fn perform(&mut self, step: &Step) -> Result<Option<String>, Status> {
        match step.action {
            Action::Open { slot, file, access, share, disposition, options } => {
                let how = Open { access: access.mask(), share, disposition: disposition as u32, options };
                let (opened, _) = File::open(&self.path(file), how)?;
                self.open.insert(slot, opened);
            }
            Action::Write { slot, file, offset, length } => {
                let data = self.scenario.files[file].new_part(offset, length);
                let written = self.file(slot)?.write(offset, &data)?;
                if written != data.len() {
                    return Ok(Some(format!("wrote {written} of {} bytes", data.len())));
                }
            }
            Action::ReadsNew { slot, file, offset, length } => {
                let read = self.file(slot)?.read(offset, length as usize)?;
                if read != self.scenario.files[file].new_part(offset, length) {
                    return Ok(Some("read something else than the new version".into()));
                }
            }
            Action::SetSize { slot, size } => self.file(slot)?.set_size(size)?,
            Action::Flush { slot } => self.file(slot)?.flush()?,
            Action::Lock { slot, offset, length } => self.file(slot)?.lock(offset, length)?,
            Action::Unlock { slot, offset, length } => self.file(slot)?.unlock(offset, length)?,
            Action::Close { slot } => drop(self.open.remove(&slot).ok_or(INVALID_HANDLE)?),
            Action::FindsOld { file } | Action::FindsNew { file } => {
                let wanted = match step.action {
                    Action::FindsOld { .. } => intact_scenarios::Outcome::Old,
                    _ => intact_scenarios::Outcome::New,
                };
                let found = judge(&self.scenario.files[file], contents(&self.path(file))?.as_deref());
                if found != wanted {
                    return Ok(Some(format!("found it {}, not {}", found.word(), wanted.word())));
                }
            }
            Action::Rename { from, to } => {
                let how = Open { share: SHARE_ALL, ..Open::existing(DELETE | READ_ATTRIBUTES) };
                let (file, _) = File::open(&self.path(from), how)?;
                file.rename(&self.path(to), false)?;
            }
        }
        Ok(None)
    }
}
