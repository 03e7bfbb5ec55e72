//! A lab with Intact in it.

use std::path::PathBuf;
use std::rc::Rc;

use lab::loading::Service;
use lab::{Builder, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Process};
use lab_executive::scheduler::MILLISECOND;

use crate::drivers::{intact, intact_service};
use crate::events::{Happened, happened, seen};
use crate::policy::{Policy, Rule};

/// The file that most tests are about: the policy covers it, and it holds [`OLD`].
pub const FILE: &str = r"C:\Saved\report.txt";
/// Its name on the volume.
pub const VOLUME_FILE: &str = r"Saved\report.txt";
/// What it holds.
pub const OLD: &[u8] = b"the old version";
/// What programs write into it: longer, so that nothing of the old version shows.
pub const NEW: &[u8] = b"a newer version of the whole report";

/// What a scene is made from.
pub struct SceneBuilder {
    lab: Builder,
    files: Vec<(String, Vec<u8>)>,
    policy: Policy,
    drivers: Vec<(Service, PathBuf)>,
}

impl Default for SceneBuilder {
    fn default() -> Self {
        SceneBuilder {
            lab: Lab::builder(),
            files: vec![(VOLUME_FILE.into(), OLD.to_vec())],
            policy: Policy::of(Rule::new("Saved", &[r"C:\Saved\**"])),
            drivers: vec![(intact_service(), intact())],
        }
    }
}

impl SceneBuilder {
    /// Changes the lab's own settings.
    pub fn lab(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.lab = change(self.lab);
        self
    }

    /// With this seed.
    pub fn seed(self, seed: u64) -> Self {
        self.lab(|lab| lab.seed(seed))
    }

    /// With a file on the volume, by its name there.
    pub fn file(mut self, name: &str, contents: &[u8]) -> Self {
        self.files.push((name.into(), contents.to_vec()));
        self
    }

    /// With nothing put on the volume: what is there stays.
    pub fn no_files(mut self) -> Self {
        self.files.clear();
        self
    }

    /// With this policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// With the usual rule, changed.
    pub fn rule(self, change: impl FnOnce(Rule) -> Rule) -> Self {
        self.policy(Policy::of(change(Rule::new("Saved", &[r"C:\Saved\**"]))))
    }

    /// With another driver, loaded before Intact.
    pub fn driver(mut self, name: &str, image: PathBuf, altitude: &str) -> Self {
        self.drivers.insert(0, (Service::new(name, altitude), image));
        self
    }

    /// Without any driver: the same programs on the bare volume.
    pub fn bare(mut self) -> Self {
        self.drivers.clear();
        self
    }

    /// Puts the files on the volume, writes the policy, loads the drivers.
    ///
    /// # Panics
    /// If something of that fails.
    pub fn build(self) -> Scene {
        let (scene, loaded) = self.try_build();
        if let Err(why) = loaded {
            panic!("{why}");
        }
        scene
    }

    /// As [`build`](Self::build), but a driver that does not load is a result.
    ///
    /// # Panics
    /// If the volume cannot be made.
    pub fn try_build(self) -> (Scene, Result<(), String>) {
        let lab = self.lab.build().unwrap_or_else(|error| panic!("{error}"));
        lab.with_volume(|volume| {
            for (name, contents) in &self.files {
                volume.put_file(name, contents).unwrap_or_else(|status| panic!("{name}: {status}"));
            }
        });
        self.policy.write(lab.executive());
        let mut loaded = Ok(());
        for (service, image) in &self.drivers {
            loaded = loaded.and_then(|()| match lab.load(image, service) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{}: {error}", service.name)),
            });
        }
        let effects = lab.effects();
        (Scene { lab, effects }, loaded)
    }
}

/// A lab with Intact loaded.
pub struct Scene {
    /// The lab.
    pub lab: Rc<Lab>,
    /// Disk effects before the programs began.
    pub effects: u64,
}

impl Scene {
    /// The usual scene.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Scene {
        SceneBuilder::default().build()
    }

    /// A scene to be changed first.
    pub fn builder() -> SceneBuilder {
        SceneBuilder::default()
    }

    /// Starts a program.
    pub fn program(&self, image: &str) -> Process {
        self.lab.process(image)
    }

    /// Opens [`FILE`] for reading and writing.
    ///
    /// # Panics
    /// If that fails.
    pub fn open_file(&self, program: &Process) -> Handle {
        match program.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE)) {
            Ok(handle) => handle,
            Err(status) => panic!("{FILE}: {status}"),
        }
    }

    /// Opens [`FILE`] and writes [`NEW`] over it; the handle stays open.
    ///
    /// # Panics
    /// If that fails.
    pub fn write_new(&self, program: &Process) -> Handle {
        let handle = self.open_file(program);
        assert_eq!(program.write(handle, 0, NEW), Ok(NEW.len()));
        handle
    }

    /// Puts another policy in the place of the one that is there. The driver reads it a little later.
    pub fn change_policy(&self, policy: &Policy) {
        policy.replace(self.lab.executive());
    }

    /// Lets time pass, and what becomes due happen.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn pass(&self, milliseconds: i64) {
        if let Err(violation) = self.lab.executive().advance(milliseconds * MILLISECOND) {
            panic!("{violation}");
        }
    }

    /// What is committed on the volume, past every open and cache.
    pub fn committed(&self, path: &str) -> Option<Vec<u8>> {
        self.lab.with_volume(|volume| volume.contents(path.strip_prefix(r"C:\").unwrap_or(path)))
    }

    /// Asserts what is committed on the volume.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    pub fn assert_committed(&self, path: &str, expected: &[u8]) {
        let committed = self.committed(path);
        let show = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
        assert_eq!(committed.as_deref().map(show), Some(show(expected)), "{path}");
        assert!(committed.as_deref() == Some(expected), "{path} differs after its first bytes");
    }

    /// What happened to saves.
    pub fn happened(&self) -> Vec<Happened> {
        happened(&self.lab)
    }

    /// Asserts how saves began and ended.
    ///
    /// # Panics
    /// If something else happened.
    #[track_caller]
    pub fn assert_happened(&self, expected: &[Happened]) {
        assert_eq!(self.happened(), expected);
    }

    /// Asserts that one save began, and that it was rolled back for this reason.
    ///
    /// # Panics
    /// If something else happened.
    #[track_caller]
    pub fn assert_rolled_back(&self, reason: &str) {
        self.assert_happened(&[Happened::Begun, Happened::RolledBack(reason.into())]);
    }

    /// Asserts that one save began and was committed.
    ///
    /// # Panics
    /// If something else happened.
    #[track_caller]
    pub fn assert_one_commit(&self) {
        self.assert_happened(&[Happened::Begun, Happened::Committed]);
    }

    /// Ends the scene: every program ends, the drivers unload, nothing is left, and the driver's sums agree with its
    /// events.
    ///
    /// # Panics
    /// If one of that is not so.
    #[track_caller]
    pub fn end(self) {
        self.exit_all();
        let report = self.lab.unload();
        assert!(report.is_clean(), "{report}");
        self.assert_sums();
    }

    /// Ends every program that still runs, as if it had finished.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn exit_all(&self) {
        let lab = self.lab.executive();
        for process in
            lab.processes.all().into_iter().filter(|process| process.id != lab.processes.system().id)
        {
            let thread = lab.spawn(&process, "exit", |lab| lab.exit_process(0));
            if let Err(violation) = lab.run_until(|_| thread.finished()) {
                panic!("{violation}");
            }
        }
    }

    #[track_caller]
    fn assert_sums(&self) {
        let events = seen(&self.lab);
        let Some(totals) = events.iter().find(|event| event.name() == "Totals") else {
            panic!("the driver told no totals at unload");
        };
        let miscounted = events.iter().find(|event| event.name() == "Miscounted");
        assert!(miscounted.is_none(), "{miscounted:?}");
        let happened = self.happened();
        let count = |what: fn(&Happened) -> bool| happened.iter().filter(|event| what(event)).count() as u64;
        let sums = [
            ("Begun", count(|event| matches!(event, Happened::Begun))),
            ("Committed", count(|event| matches!(event, Happened::Committed))),
            ("RolledBack", count(|event| matches!(event, Happened::RolledBack(_)))),
            ("CommitFailed", count(|event| matches!(event, Happened::CommitFailed))),
            ("PassedThrough", count(|event| matches!(event, Happened::PassedThrough(_)))),
            ("Checkpointed", count(|event| matches!(event, Happened::Checkpointed))),
            ("Demoted", count(|event| matches!(event, Happened::Demoted(_)))),
            ("Denied", count(|event| matches!(event, Happened::Denied(_)))),
            ("Live", 0),
        ];
        for (name, counted) in sums {
            assert_eq!(totals.number(name), counted, "{name}");
        }
        let ended = totals.number("Committed") + totals.number("RolledBack") + totals.number("CommitFailed");
        assert_eq!(totals.number("Begun"), ended, "saves that began and saves that ended");
    }
}
