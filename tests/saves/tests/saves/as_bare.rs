//! What a program is told at opening is what it is told without Intact: every access, share mode and disposition, on
//! the bare volume and with the driver, and what a second open of the same file is told then.

use intact_saves::{OLD, Scene};
use lab::{
    Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Name, Offset, READ_ATTRIBUTES, Status,
};
use lab_volume::access;

/// Every kind of access that share modes or TxF tell apart.
const ACCESSES: [u32; 9] = [
    GENERIC_READ,
    GENERIC_WRITE,
    GENERIC_READ | GENERIC_WRITE,
    access::APPEND_DATA,
    access::WRITE_DATA | DELETE,
    DELETE,
    READ_ATTRIBUTES,
    access::WRITE_ATTRIBUTES,
    0x200_0000, // MAXIMUM_ALLOWED
];
const SECOND_ACCESSES: [u32; 5] =
    [GENERIC_READ, GENERIC_READ | GENERIC_WRITE, access::APPEND_DATA, DELETE, READ_ATTRIBUTES];
const DISPOSITIONS: [u32; 6] = [0, 1, 2, 3, 4, 5];
const SHARES: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// FileAccessInformation.
const ACCESS: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Case {
    number: usize,
    exists: bool,
    access: u32,
    share: u32,
    disposition: u32,
    second: u32,
    second_share: u32,
    same_process: bool,
}

/// What one open is told: information and granted access; whether it reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    opened: Result<(u32, u32), Status>,
    read: Option<Status>,
    written: Option<Status>,
}

/// The first open, and the second while the first is open.
type Answers = (Told, Told);

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for exists in [true, false] {
        for access in ACCESSES {
            for share in SHARES {
                for disposition in DISPOSITIONS {
                    let number = cases.len();
                    // Who comes second changes from case to case; all of them come with every first one.
                    for same_process in [true, false] {
                        let turn = number + access as usize + share as usize;
                        cases.push(Case {
                            number: cases.len(),
                            exists,
                            access,
                            share,
                            disposition,
                            second: SECOND_ACCESSES[turn % SECOND_ACCESSES.len()],
                            second_share: [7, 3, 1, 0][turn / SECOND_ACCESSES.len() % 4],
                            same_process,
                        });
                    }
                }
            }
        }
    }
    cases
}

fn try_open(caller: &Caller<'_>, options: &CreateOptions) -> (Option<Handle>, Result<(u32, u32), Status>) {
    match caller.create_file(options) {
        Err(status) => (None, Err(status)),
        Ok(created) => {
            let granted = caller.query_information(created.handle, ACCESS, 4).unwrap();
            let granted = u32::from_le_bytes(granted[..4].try_into().unwrap());
            (Some(created.handle), Ok((created.information, granted)))
        }
    }
}

fn probe(caller: &Caller<'_>, handle: Option<Handle>, opened: Result<(u32, u32), Status>) -> Told {
    let read = handle.and_then(|handle| caller.read(handle, Some(0), 1).err());
    let written = handle.and_then(|handle| caller.write(handle, Offset::At(0), b"X").err());
    Told { opened, read, written }
}

fn answers(scene: &Scene, cases: &[Case]) -> Vec<Answers> {
    let (one, two) = (scene.program("one.exe"), scene.program("two.exe"));
    let mut all = Vec::new();
    for case in cases.iter().copied() {
        let path = format!(r"C:\Saved\{}.txt", case.number);
        let first =
            CreateOptions::new(Name::Path(path.clone()), case.access, case.disposition).share(case.share);
        let second = CreateOptions::open(&path, case.second).share(case.second_share);
        let (handle, opened) = one.call(move |caller| try_open(caller, &first));
        let program = if case.same_process { &one } else { &two };
        let second = program.call(move |caller| {
            let (handle, opened) = try_open(caller, &second);
            let told = probe(caller, handle, opened);
            handle.map(|handle| caller.close(handle));
            told
        });
        let first = one.call(move |caller| {
            let told = probe(caller, handle, opened);
            handle.map(|handle| caller.close(handle));
            told
        });
        all.push((first, second));
    }
    all
}

/// Why an answer has to be another one than without Intact; `None`: it has to be the same.
fn forced(case: &Case, bare: &Answers, intact: &Answers) -> Option<&'static str> {
    let (first, second) = bare;
    let rights = first.opened.map_or(0, |(_, granted)| granted);
    let writes = rights & (access::WRITE_DATA | access::APPEND_DATA) != 0;
    let saved = first.opened.is_ok() && (writes || matches!(case.disposition, 0 | 2 | 4 | 5));
    let replaced = case.exists && matches!(case.disposition, 0 | 4 | 5);
    if saved
        && first == &intact.0
        && !case.same_process
        && replaced
        && second.read == Some(Status::END_OF_FILE)
        && intact.1.read.is_none()
    {
        return Some("others see the old version until the outcome (txf-ktm §4.1)");
    }
    None
}

#[test]
fn every_open_is_told_what_it_is_told_without_intact() {
    let cases = cases();
    let build = |bare: bool| {
        let mut builder = Scene::builder();
        for case in cases.iter().filter(|case| case.exists) {
            builder = builder.file(&format!(r"Saved\{}.txt", case.number), OLD);
        }
        if bare { builder.bare().build() } else { builder.build() }
    };
    let (bare, intact) = (build(true), build(false));
    let expected = answers(&bare, &cases);
    let found = answers(&intact, &cases);
    let mut wrong = Vec::new();
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for ((case, expected), found) in cases.iter().zip(&expected).zip(&found) {
        if expected == found {
            continue;
        }
        match forced(case, expected, found) {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => wrong.push(format!("{case:x?}\n   bare {expected:x?}\n   with {found:x?}")),
        }
    }
    let shown = wrong.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), cases.len());
    assert_eq!(reasons.len(), 1, "the reason is met: {reasons:?}");
    intact.end();
}
