//! Every scenario in the lab, by requests of lab processes: with the real `intact.sys` below them, and without.

use std::cell::RefCell;
use std::collections::BTreeMap;

use intact_saves::Scene;
use intact_scenarios::{Action, Actor, End, File, Outcome, RESETS, SCENARIOS, Scenario, Step, judge};
use lab::{CreateOptions, DELETE, GENERIC_READ, Handle, NON_DIRECTORY, Name, Offset, Process};
use lab_volume::{Status, Volume};

/// STATUS_ACCESS_VIOLATION.
const CRASHED: u32 = 0xC000_0005;
const FOLDER: &str = r"C:\Saved";

fn path(file: &File) -> String {
    format!(r"{FOLDER}\{}", file.name)
}

fn scene(scenario: &Scenario, with_intact: bool) -> Scene {
    let mut builder = Scene::builder();
    if !with_intact {
        builder = builder.bare();
    }
    builder = builder.no_files();
    for file in scenario.files {
        if let Some(old) = file.old_contents() {
            builder = builder.file(&format!(r"Saved\{}", file.name), &old);
        }
    }
    builder.file(r"Saved\folder.txt", b"so that there is a folder").build()
}

/// The programs of a scenario, with the handles that they hold.
struct Actors {
    program: Process,
    other: Process,
    handles: RefCell<BTreeMap<(Actor, usize), Handle>>,
}

impl Actors {
    fn new(scene: &Scene) -> Actors {
        let (program, other) = (scene.program("program.exe"), scene.program("other.exe"));
        Actors { program, other, handles: RefCell::default() }
    }

    fn process(&self, actor: Actor) -> &Process {
        match actor {
            Actor::Program => &self.program,
            Actor::Other => &self.other,
        }
    }

    fn perform(&self, scenario: &Scenario, step: &Step, with_intact: bool) -> Result<(), Status> {
        let process = self.process(step.by);
        let handle = |slot: usize| self.handles.borrow()[&(step.by, slot)];
        let file = |number: usize| scenario.files[number];
        match step.action {
            Action::Open { slot, file: number, access, share, disposition, options } => {
                let name = Name::Path(path(&file(number)));
                let open = CreateOptions::new(name, access.mask(), disposition as u32).share(share);
                let handle = process.create_file(open.options(NON_DIRECTORY | options))?;
                self.handles.borrow_mut().insert((step.by, slot), handle);
            }
            Action::Write { slot, file: number, offset, length } => {
                let data = file(number).new_part(offset, length);
                let (handle, expected) = (handle(slot), data.len());
                let written = process.call(move |caller| caller.write(handle, Offset::At(offset), &data))?;
                assert_eq!(written, expected);
            }
            Action::ReadsNew { slot, file: number, offset, length } => {
                let read = process.read(handle(slot), offset, length as usize)?;
                assert!(read == file(number).new_part(offset, length), "{}: {step:?}", scenario.name);
            }
            Action::SetSize { slot, size } => {
                let handle = handle(slot);
                process.call(move |caller| caller.set_end_of_file(handle, size))?;
            }
            Action::Flush { slot } => process.flush(handle(slot))?,
            Action::Lock { slot, offset, length } => {
                let handle = handle(slot);
                process.call(move |caller| caller.lock(handle, offset, length, true, false))?;
            }
            Action::Unlock { slot, offset, length } => {
                let handle = handle(slot);
                process.call(move |caller| caller.unlock(handle, offset, length))?;
            }
            Action::Close { slot } => {
                process.close(handle(slot))?;
                self.handles.borrow_mut().remove(&(step.by, slot));
            }
            Action::FindsOld { file: number } | Action::FindsNew { file: number } => {
                let contents = process.contents(&path(&file(number)))?;
                let expected = match step.action {
                    Action::FindsOld { .. } => Outcome::Old,
                    _ => Outcome::New,
                };
                let found = judge(&file(number), Some(&contents));
                assert!(!with_intact || found == expected, "{}: {step:?} found {found:?}", scenario.name);
            }
            Action::Rename { from, to } => {
                let open = CreateOptions::open(&path(&file(from)), DELETE | GENERIC_READ);
                let handle = process.create_file(open)?;
                let to = path(&file(to));
                let renamed = process.call(move |caller| caller.rename(handle, &to, true));
                process.close(handle)?;
                renamed?;
            }
        }
        Ok(())
    }

    fn perform_all(&self, scenario: &Scenario, with_intact: bool) {
        for step in scenario.steps {
            let status = self.perform(scenario, step, with_intact).map_or_else(|status| status.0, |()| 0);
            assert_eq!(status, step.status, "{}, intact {with_intact}: {step:?}", scenario.name);
        }
    }

    fn end(&self, end: End) {
        match end {
            End::Exits(status) => self.program.exit(status.cast_signed()),
            End::Crashes => self.program.exit(CRASHED.cast_signed()),
            End::Killed(status) => self.program.kill(status.cast_signed()),
            End::Reset => unreachable!("the machine ends, not the program"),
        }
    }
}

fn expected(file: &File, with_intact: bool) -> Outcome {
    if with_intact { file.with_intact } else { file.without }
}

#[track_caller]
fn assert_left(scenario: &Scenario, with_intact: bool, contents: impl Fn(&File) -> Option<Vec<u8>>) {
    for file in scenario.files {
        let (found, expected) = (contents(file), expected(file, with_intact));
        assert!(
            expected.admits(file, found.as_deref()),
            "{}, intact {with_intact}: {} should be {}, but is {} ({:?} bytes)",
            scenario.name,
            file.name,
            expected.word(),
            judge(file, found.as_deref()).word(),
            found.map(|found| found.len()),
        );
    }
}

fn run(with_intact: bool) {
    for scenario in SCENARIOS {
        let scene = scene(scenario, with_intact);
        let actors = Actors::new(&scene);
        actors.perform_all(scenario, with_intact);
        actors.end(scenario.end);
        assert_left(scenario, with_intact, |file| scene.committed(&path(file)));
        if with_intact {
            scene.end();
        }
    }
}

#[test]
fn with_intact_each_scenario_leaves_what_is_promised() {
    run(true);
}

#[test]
fn without_intact_each_scenario_leaves_what_it_says() {
    run(false);
}

#[test]
fn after_a_reset_each_file_is_what_is_promised() {
    for scenario in RESETS {
        let scene = scene(scenario, true);
        Actors::new(&scene).perform_all(scenario, true);
        let disk = scene.lab.with_volume(|volume| volume.disk.clone());
        // The power goes while the program runs: every effect so far has happened, in one of the legal states.
        for seed in 0..40 {
            let base = disk.crash_after(disk.effect_count(), seed);
            let volume = Volume::mount(base).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
            assert_left(scenario, true, |file| volume.contents(&format!(r"Saved\{}", file.name)));
        }
    }
}
