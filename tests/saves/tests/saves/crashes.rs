//! Power cuts: whatever the disk holds afterwards, each file is entirely old or entirely new.
//!
//! Every point between two disk effects of a workload, and for each point several of the states that the crash model
//! allows. Each state is started from: recovery, with the driver attached again.

use intact_saves::{Cut, FILE, Scene, cuts};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Offset};

const OTHER: &str = r"C:\Saved\other.dat";
const FRESH: &str = r"C:\Saved\fresh.dat";
const MOVED: &str = r"C:\Saved\Sub\moved.dat";
const SECTORS: usize = 512;
const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;

fn old() -> Vec<u8> {
    vec![b'o'; 20 * SECTORS]
}

fn new() -> Vec<u8> {
    vec![b'N'; 20 * SECTORS]
}

fn scene(intact: bool) -> Scene {
    let builder = Scene::builder()
        .file(r"Saved\report.txt", &old())
        .file(r"Saved\other.dat", &old())
        .file(r"Saved\Sub\inner.dat", &old());
    if intact { builder.build() } else { builder.bare().build() }
}

/// What a file holds; `None`: it is not there.
type Contents = Option<Vec<u8>>;

/// A program's work, and the versions of each file that may be found.
struct Workload {
    name: &'static str,
    work: fn(&Caller<'_>),
    /// Each file, its old and its new version.
    files: Vec<(&'static str, Contents, Contents)>,
    /// They are of one save: all old or all new.
    together: bool,
}

fn open(caller: &Caller<'_>, path: &str) -> lab::Handle {
    caller.create_file(&CreateOptions::open(path, GENERIC_READ | GENERIC_WRITE)).unwrap().handle
}

fn write_all(caller: &Caller<'_>, handle: lab::Handle, from: usize, bytes: &[u8]) {
    for (part, piece) in bytes.chunks(5 * SECTORS).enumerate() {
        caller.write(handle, Offset::At((from + part * 5 * SECTORS) as u64), piece).unwrap();
    }
}

fn in_place(caller: &Caller<'_>) {
    let handle = open(caller, FILE);
    write_all(caller, handle, 0, &new());
    caller.flush(handle).unwrap();
    caller.close(handle).unwrap();
}

fn truncate_and_write(caller: &Caller<'_>) {
    let handle = caller.create_file(&CreateOptions::overwrite_if(FILE, GENERIC_WRITE)).unwrap().handle;
    write_all(caller, handle, 0, &new());
    caller.flush(handle).unwrap();
    caller.close(handle).unwrap();
}

fn append(caller: &Caller<'_>) {
    let handle = open(caller, FILE);
    write_all(caller, handle, 20 * SECTORS, &new());
    caller.flush(handle).unwrap();
    caller.close(handle).unwrap();
}

fn grow_and_change(caller: &Caller<'_>) {
    let handle = open(caller, FILE);
    caller.set_end_of_file(handle, 40 * SECTORS as u64).unwrap();
    write_all(caller, handle, 30 * SECTORS, &new()[..10 * SECTORS]);
    caller.write(handle, Offset::At(0), b"HEADER").unwrap();
    caller.flush(handle).unwrap();
    caller.close(handle).unwrap();
}

fn new_file(caller: &Caller<'_>) {
    let handle = caller.create_file(&CreateOptions::create(FRESH, GENERIC_WRITE)).unwrap().handle;
    write_all(caller, handle, 0, &new());
    caller.flush(handle).unwrap();
    caller.close(handle).unwrap();
}

fn two_files(caller: &Caller<'_>) {
    let (one, two) = (open(caller, FILE), open(caller, OTHER));
    write_all(caller, one, 0, &new());
    write_all(caller, two, 0, &new());
    caller.flush(one).unwrap();
    caller.close(one).unwrap();
    caller.close(two).unwrap();
}

fn with_names(caller: &Caller<'_>, path: &str, change: impl FnOnce(lab::Handle)) {
    let handle = caller.create_file(&CreateOptions::open_if(path, ALL)).unwrap().handle;
    write_all(caller, handle, 0, &new()[..10 * SECTORS]);
    change(handle);
    write_all(caller, handle, 10 * SECTORS, &new()[10 * SECTORS..]);
    caller.flush(handle).unwrap();
    caller.close(handle).unwrap();
}

fn renamed(caller: &Caller<'_>) {
    with_names(caller, FILE, |handle| caller.rename(handle, MOVED, false).unwrap());
}

fn replacing(caller: &Caller<'_>) {
    with_names(caller, FILE, |handle| caller.rename(handle, OTHER, true).unwrap());
}

fn linked(caller: &Caller<'_>) {
    with_names(caller, FILE, |handle| caller.link(handle, MOVED, false).unwrap());
}

fn deleted(caller: &Caller<'_>) {
    with_names(caller, FILE, |handle| caller.set_delete(handle, true).unwrap());
}

fn new_and_replacing(caller: &Caller<'_>) {
    with_names(caller, FRESH, |handle| caller.rename(handle, FILE, true).unwrap());
}

fn workloads() -> Vec<Workload> {
    let mut workloads = data_workloads();
    let name = |name, work, files| Workload { name, work, files, together: true };
    let (file, gone) = ((FILE, Some(old()), None), (FILE, Some(old()), Some(new())));
    workloads.extend([
        name("renamed", renamed, vec![file.clone(), (MOVED, None, Some(new()))]),
        name("replacing", replacing, vec![file.clone(), (OTHER, Some(old()), Some(new()))]),
        name("linked", linked, vec![gone.clone(), (MOVED, None, Some(new()))]),
        name("deleted", deleted, vec![file]),
        name("new and replacing", new_and_replacing, vec![gone, (FRESH, None, None)]),
    ]);
    workloads
}

fn data_workloads() -> Vec<Workload> {
    let file = |new| vec![(FILE, Some(old()), Some(new))];
    let data = |name, work: fn(&Caller<'_>), files| Workload { name, work, files, together: false };
    let appended = [old(), new()].concat();
    let mut grown = [old(), vec![0; 10 * SECTORS], vec![b'N'; 10 * SECTORS]].concat();
    grown[..6].copy_from_slice(b"HEADER");
    vec![
        data("in place", in_place, file(new())),
        data("truncate and write", truncate_and_write, file(new())),
        data("append", append, file(appended)),
        data("grow and change", grow_and_change, file(grown)),
        data("new file", new_file, vec![(FRESH, None, Some(new()))]),
        data(
            "two files",
            two_files,
            vec![(FILE, Some(old()), Some(new())), (OTHER, Some(old()), Some(new()))],
        ),
    ]
}

/// Does the work; the states that a power cut at any point of it may leave.
fn states(workload: &Workload, intact: bool, seeds: u64) -> Vec<Cut> {
    let scene = scene(intact);
    let program = scene.program("writer.exe");
    let work = workload.work;
    program.call(work);
    for (path, _, new) in &workload.files {
        assert_eq!(&scene.committed(path), new, "{}: {path} without a crash", workload.name);
    }
    cuts(&scene.lab, scene.effects, seeds)
}

/// The first file that is neither old nor new after recovery.
fn damage(workload: &Workload, cut: Cut, intact: bool) -> Option<String> {
    let (after, seed) = (cut.after, cut.seed);
    let builder = Scene::builder().lab(|lab| lab.base(cut.base)).no_files();
    let recovered = if intact { builder.build() } else { builder.bare().build() };
    let mut damaged = None;
    let mut versions = std::collections::BTreeSet::new();
    for (path, old, new) in &workload.files {
        let found = recovered.committed(path);
        // A power cut may leave the placeholder of a new file.
        let placeholder = old.is_none() && found.as_ref().is_some_and(Vec::is_empty);
        if found != *old && found != *new && !placeholder {
            damaged = Some(format!("{}: {path} after effect {after}, seed {seed}", workload.name));
        }
        if old != new && !placeholder {
            versions.insert(found == *new);
        }
    }
    if intact {
        recovered.end();
    }
    if workload.together && versions.len() > 1 {
        let apart = format!("{}: new and old names after effect {after}, seed {seed}", workload.name);
        damaged.get_or_insert(apart);
    }
    damaged
}

#[test]
fn with_intact_every_file_is_old_or_new_after_every_power_cut() {
    for workload in workloads() {
        let states = states(&workload, true, 6);
        assert!(states.len() > 40, "{}: only {} states", workload.name, states.len());
        for cut in states {
            if let Some(damaged) = damage(&workload, cut, true) {
                panic!("{damaged}");
            }
        }
    }
}

#[test]
fn without_intact_the_same_power_cuts_damage_files() {
    for workload in workloads() {
        let damaged = states(&workload, false, 6).into_iter().filter_map(|cut| damage(&workload, cut, false));
        assert!(damaged.count() > 0, "{}", workload.name);
    }
}

#[test]
fn what_was_closed_before_the_power_cut_is_there_after_it() {
    for workload in workloads() {
        let scene = scene(true);
        let program = scene.program("writer.exe");
        let work = workload.work;
        program.call(work);
        for cut in cuts(&scene.lab, scene.lab.effects(), 8) {
            let recovered = Scene::builder().lab(|lab| lab.base(cut.base)).no_files().build();
            for (path, _, new) in &workload.files {
                assert_eq!(&recovered.committed(path), new, "{}: {path}, seed {}", workload.name, cut.seed);
            }
        }
    }
}

#[test]
fn a_save_that_is_open_at_the_power_cut_is_undone() {
    let defer = |rule: intact_saves::Rule| rule.text("OnFlush", "Defer");
    let scene = Scene::builder().file(r"Saved\report.txt", &old()).rule(defer).build();
    let program = scene.program("writer.exe");
    program.call(|caller| {
        let handle = open(caller, FILE);
        write_all(caller, handle, 0, &new());
        caller.flush(handle).unwrap();
    });
    for cut in cuts(&scene.lab, scene.effects, 6) {
        let recovered = Scene::builder().lab(|lab| lab.base(cut.base)).no_files().build();
        recovered.assert_committed(FILE, &old());
    }
}

/// Versions one after the other, each made durable by a flush: a power cut leaves one of them, whole, and never one that
/// is older than the last flush that had come back.
#[test]
fn a_power_cut_leaves_the_version_of_the_last_flush_or_a_later_whole_one() {
    let version = |number: u8| vec![number; 20 * SECTORS];
    let scene = scene(true);
    let program = scene.program("writer.exe");
    let handle = program.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE)).unwrap();
    let mut flushed = vec![(scene.effects, old())];
    for number in 1..=3 {
        program.call(move |caller| {
            write_all(caller, handle, 0, &vec![number; 20 * SECTORS]);
            caller.flush(handle).unwrap();
        });
        flushed.push((scene.lab.effects(), version(number)));
    }
    program.call(move |caller| write_all(caller, handle, 0, &[b'x'; 10 * SECTORS]));
    let states = cuts(&scene.lab, scene.effects, 6);
    assert!(states.len() > 100, "only {} states", states.len());
    for cut in states {
        let (after, seed) = (cut.after, cut.seed);
        let recovered = Scene::builder().lab(|lab| lab.base(cut.base)).no_files().build();
        let found = recovered.committed(FILE).unwrap();
        let known = flushed.iter().rposition(|(effects, _)| *effects <= after).unwrap();
        let legal = flushed[known..].iter().take(2).any(|(_, version)| *version == found);
        assert!(legal, "after effect {after}, seed {seed}: {:?}", &found[..4]);
        recovered.end();
    }
}
