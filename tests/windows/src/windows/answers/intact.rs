//! Questions about Intact itself: they need it in front of the folder.

use std::process::Command;

use anyhow::Result;
use intact_faults::report::Verdict;
use intact_faults::{Answer, Intact};
use intact_scenarios::named;

use super::super::drive;
use super::super::nt::{READ, Status, WRITE, shown};
use super::super::view::View;
use super::{File, Finding, Laboratory, NEW, OLD, Open, holds, opened};

const NEEDED: &str =
    "needs Intact attached to the volume, a rule that covers the folder, and this program elevated";
/// FSCTL_TXFS_GET_METADATA_INFO (txf-ktm §4.13).
const TXFS_METADATA: u32 = 0x0009_416C;

impl Laboratory<'_> {
    fn without_intact(&self) -> bool {
        !self.machine.intact.is_in_front()
    }
}

/// The transaction that has the file behind a handle, if the file system tells.
fn locking_transaction(file: &File) -> String {
    match file.control(TXFS_METADATA, &[], 48) {
        Ok(data) => match data.get(16..32) {
            Some([0, rest @ ..]) if rest.iter().all(|byte| *byte == 0) => "none".into(),
            Some(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
            None => format!("{} bytes, too few", data.len()),
        },
        Err(status) => status.to_string(),
    }
}

fn granted(file: &File) -> String {
    file.granted().map_or_else(|status| status.to_string(), |granted| format!("{granted:#x}"))
}

/// M1.
pub(super) fn rights(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if laboratory.without_intact() {
        return Ok(Finding::Open(NEEDED.into()));
    }
    /// What the same opens grant where nobody redirects them.
    const READ_WRITE: u32 = 0x12_019F;
    let path = laboratory.fresh_covered("rights.txt")?;
    let bare = laboratory.fresh("rights.txt")?;
    for (what, access) in [
        ("GENERIC_READ|GENERIC_WRITE", READ | WRITE),
        ("GENERIC_WRITE", WRITE),
        ("FILE_APPEND_DATA", 4),
        ("MAXIMUM_ALLOWED", 0x200_0000),
    ] {
        let (covered, shown_covered) = opened(&path, Open::existing(access));
        let (plain, _) = opened(&bare, Open::existing(access));
        let rights = |file: &Option<File>| file.as_ref().map_or("nothing".into(), granted);
        answer.note(
            &format!("open with {what}"),
            format!("{shown_covered}, granted {}, outside the policy {}", rights(&covered), rights(&plain)),
        );
    }
    let file = File::open(&path, Open::existing(READ | WRITE));
    let Ok((file, _)) = file else { return Ok(Finding::Open("the file does not open".into())) };
    let rights = file.granted();
    let write = file.write(0, NEW);
    answer.note("write", shown(&write));
    let read = file.read(0, NEW.len());
    answer.note("read through the same handle shows it", read.as_ref().is_ok_and(|read| read == NEW));
    answer.note("transaction of the file, through this handle", locking_transaction(&file));
    drop(file);
    answer.note("the file holds, closed", holds(&path));
    let good = rights == Ok(READ_WRITE) && write.is_ok() && read.is_ok_and(|read| read == NEW);
    Ok(if good {
        Finding::Partly(
            "yes: the handle has the rights that were asked for, and reads and writes".into(),
            "that the open was redirected at all: see killed-half-way below (Ti)".into(),
        )
    } else {
        Finding::Concluded("no: the handle does not have or does not exercise the rights".into())
    })
}

/// M5.
pub(super) fn lower_filter(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if !laboratory.without_intact() {
        let path = laboratory.fresh_covered("lower.txt")?;
        let (file, shown_open) = opened(&path, Open::existing(READ | WRITE));
        answer.note("open", shown_open);
        if let Some(file) = file {
            answer.note("write", shown(&file.write(0, NEW)));
            answer.note("transaction of the file", locking_transaction(&file));
        }
    }
    Ok(Finding::Open(
        "only a filter below Intact sees its FltObjects. Load one that records FltObjects->Transaction in \
         pre-write (altitude below 225000), run `intact-faults run finishes`, and send what it recorded"
            .into(),
    ))
}

/// M6.
pub(super) fn sections(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if laboratory.without_intact() {
        return Ok(Finding::Open(NEEDED.into()));
    }
    let path = laboratory.fresh_covered("section.txt")?;
    let (file, shown_open) = opened(&path, Open::existing(READ | WRITE));
    answer.note("open", shown_open);
    let Some(file) = file else { return Ok(Finding::Open("the file does not open".into())) };
    answer.note("write", shown(&file.write(0, NEW)));
    let mut refused = 0;
    for (what, writable) in [("a view for reading", false), ("a view for writing", true)] {
        match View::of(&file, writable, NEW.len()) {
            Ok(mut view) => {
                answer.note(&format!("{what} shows what was written"), view.bytes(NEW.len()) == NEW);
                if writable {
                    view.write(b"through the view");
                    let flush = view.flush().map_or_else(|error| error.to_string(), |()| "done".into());
                    answer.note("FlushViewOfFile", flush);
                    let read = file.read(0, 16);
                    answer.note(
                        "the handle reads what the view wrote",
                        read.is_ok_and(|read| read == b"through the view"),
                    );
                }
            }
            Err(error) => {
                refused += 1;
                answer.note(what, error);
            }
        }
    }
    drop(file);
    answer.note("the file holds, closed", holds(&path));
    let open = "which file object the paging I/O arrives on: record FltObjects->FileObject of IRP_PAGING_IO \
                writes with a filter below, or break in the debugger on one";
    Ok(if refused == 2 {
        Finding::Partly("this version of Intact refuses sections on a file in a save".into(), open.into())
    } else {
        Finding::Partly(
            "sections are served; see above whether they agree with the handle".into(),
            open.into(),
        )
    })
}

/// M7.
pub(super) fn shadow(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if laboratory.machine.wine.is_none() {
        let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
        let kernel = std::fs::read(std::path::Path::new(&root).join(r"System32\ntoskrnl.exe"))?;
        for name in [&b"IoSetShadowFileInformation"[..], b"IoGetShadowFileInformation"] {
            let there = kernel.windows(name.len()).any(|bytes| bytes == name);
            answer.note(&format!("ntoskrnl.exe names {}", String::from_utf8_lossy(name)), there);
        }
    }
    Ok(Finding::Open(
        "Intact does not call it. If M6, the scenarios and Driver Verifier pass without, it is not needed for \
         them; a bugcheck in a section or cache routine with Intact's file object would say otherwise: send the \
         dump's !analyze -v"
            .into(),
    ))
}

/// M8.
pub(super) fn locks(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if laboratory.without_intact() {
        return Ok(Finding::Open(NEEDED.into()));
    }
    let path = laboratory.fresh_covered("locks.txt")?;
    let open = || File::open(&path, Open::existing(READ | WRITE));
    let (Ok((first, _)), Ok((second, _))) = (open(), open()) else {
        return Ok(Finding::Open("the file does not open twice".into()));
    };
    let lock = first.lock(0, 10);
    answer.note("lock of bytes 0 to 9 by one handle", shown(&lock));
    let conflict = second.lock(0, 10);
    answer.note("lock of the same by another handle of this process", shown(&conflict));
    let write = second.write(0, b"x");
    answer.note("write into them by the other handle", shown(&write));
    let elsewhere = second.write(15, b"x");
    answer.note("write elsewhere by the other handle", shown(&elsewhere));
    drop(first);
    let freed = second.lock(0, 10);
    answer.note("lock by the other handle after the first was closed", shown(&freed));
    answer.note("unlock", shown(&second.unlock(0, 10)));
    drop(second);
    let (after, _) = opened(&path, Open::existing(READ | WRITE));
    if let Some(after) = &after {
        answer.note("lock by a new handle, all closed", shown(&after.lock(0, 10)));
    }
    let right = lock.is_ok()
        && conflict == Err(Status(0xC000_0055))
        && write == Err(Status(0xC000_0054))
        && elsewhere.is_ok()
        && freed.is_ok();
    Ok(Finding::Concluded(
        if right { "locks work through a swapped file object as without" } else { "locks differ: see above" }
            .into(),
    ))
}

/// M9.
pub(super) fn unload(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if !matches!(laboratory.machine.intact, Intact::Attached { .. }) {
        return Ok(Finding::Open(NEEDED.into()));
    }
    let path = laboratory.fresh_covered("unload.txt")?;
    let (file, shown_open) = opened(&path, Open::existing(READ | WRITE));
    answer.note("open", shown_open);
    let Some(file) = file else { return Ok(Finding::Open("the file does not open".into())) };
    answer.note("write", shown(&file.write(0, &OLD[..4])));
    let tried = Command::new("fltmc").args(["unload", "intact"]).output()?;
    let said = String::from_utf8_lossy(&tried.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    answer.note("fltmc unload intact", format!("exit {:?}: {said}", tried.status.code()));
    let write = file.write(0, NEW);
    answer.note("write afterwards", shown(&write));
    drop(file);
    answer.note("the file holds, closed", holds(&path));
    Ok(match (tried.status.success(), write) {
        (false, Ok(_)) => Finding::Concluded("unload is refused, and the save goes on".into()),
        (true, write) => {
            Finding::Concluded(format!("unload is NOT refused; a write then: {}", shown(&write)))
        }
        (false, Err(status)) => Finding::Concluded(format!("unload is refused, but a write fails: {status}")),
    })
}

/// M10.
pub(super) fn verifier(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if laboratory.machine.wine.is_some() {
        return Ok(Finding::Open("there is no Driver Verifier in Wine".into()));
    }
    let mut active = false;
    for argument in ["/querysettings", "/query"] {
        let said = match Command::new("verifier").arg(argument).output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => error.to_string(),
        };
        active |= argument == "/query" && said.to_ascii_lowercase().contains("intact.sys");
        for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
            answer.note(&format!("verifier {argument}"), line);
        }
    }
    Ok(if active {
        Finding::Concluded(
            "Verifier watches intact.sys, and this program came so far without a bugcheck; if one comes at \
             unload, it is a finding"
                .into(),
        )
    } else {
        Finding::Open(
            "Verifier does not watch intact.sys: Enable-Verifier.ps1, restart, Test-Intact.ps1, then this again. \
             False leak reports of tail-called Flt functions are possible (minifilter-rules §3.9)"
                .into(),
        )
    })
}

/// Ti.
pub(super) fn exit_order(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    if laboratory.without_intact() {
        return Ok(Finding::Open(NEEDED.into()));
    }
    let mut as_modelled = true;
    for name in
        ["killed-half-way", "crashes", "ends-with-an-error", "ends-with-success", "killed-with-success"]
    {
        let Some(scenario) = named(name) else { continue };
        let report = drive::run(scenario, &laboratory.covered, laboratory.machine);
        let found: Vec<String> =
            report.files.iter().map(|file| format!("{} (expected {})", file.found, file.expected)).collect();
        let reason = report.reason.unwrap_or_default();
        answer.note(name, format!("{}{reason}", found.join(", ")));
        as_modelled &= report.verdict != Verdict::Unexpected;
    }
    let order = "whether the exit notification comes before the cleanups: log both with a filter, or break on \
                 PspExitProcess and ObKillProcess in the debugger";
    Ok(if as_modelled {
        Finding::Partly(
            "the exit status is there when the handles of a dying process are cleaned up".into(),
            order.into(),
        )
    } else {
        Finding::Partly(
            "the exit status is not what Intact expects at cleanup: see above".into(),
            order.into(),
        )
    })
}
