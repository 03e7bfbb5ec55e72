//! The tests that are asked: which changes each of them reaches, and whether it notices one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::copy::{Built, DRIVERS, programs};
use super::switch::{NOTHING, RECORD, RECORD_TO, Switched};
use crate::run;
use crate::{toolchain, workspace};

/// Tests of the workspace that run the drivers: package, test, folder.
const LAB: &[(&str, &str, &str)] = &[
    ("intact-saves", "saves", "tests/saves"),
    ("lab", "monitor", "tests/lab"),
    ("lab", "owners", "tests/lab"),
    ("intact-transparency", "transparency", "tests/transparency"),
];

/// A program that is one test, and what it is given.
const FAULTS: &str = "intact-fault-tests";
const FAULTS_OF: &[&[&str]] = &[&["--only", "calls", "--actions", "1", "--minutes", "60", "--threads", "1"]];

/// What takes longest and is about the policy rather than about saves: left out.
const LEFT_OUT: &[&str] = &[
    "reload::a_policy_of_a_hundred_thousand_patterns_loads_in_bounded_memory",
    "reload::a_policy_that_is_too_large_is_refused_and_the_old_one_stays",
    "reload_amid_saves::every_save_follows_one_policy_old_or_new_and_none_is_lost",
];

/// How much longer than usual tests may take with a change in them, in time of the processor, whatever else runs.
const PATIENCE: u32 = 3;
/// And that much in any case.
const AT_LEAST: Duration = Duration::from_secs(4);
/// By the clock, many times that: it is for those that wait and do not end.
const WAITING: u32 = 10;
/// `SIGXCPU`: the time of the processor was over.
const OUT_OF_TIME: i32 = 24;

/// A program with tests.
pub(super) struct Program {
    pub(super) name: String,
    path: PathBuf,
    folder: PathBuf,
    kind: Kind,
}

enum Kind {
    /// Unit tests: the program is itself what is switched; for all others the drivers are.
    Unit(Switched),
    /// Tests that use the drivers.
    Lab,
    /// One test that uses the drivers, with its arguments.
    Whole(&'static [&'static str]),
}

impl Program {
    /// Whether it is the unit tests of what is changed.
    pub(super) fn is_unit(&self) -> bool {
        self.own().is_some()
    }

    fn own(&self) -> Option<&Switched> {
        match &self.kind {
            Kind::Unit(own) => Some(own),
            Kind::Lab | Kind::Whole(_) => None,
        }
    }
}

/// A test.
pub(super) struct Test {
    pub(super) program: usize,
    pub(super) name: String,
    /// The changes that it reaches.
    pub(super) reached: BTreeSet<u32>,
    pub(super) takes: Duration,
}

/// The programs and what is switched for them.
pub(super) struct Suite {
    pub(super) programs: Vec<Program>,
    pub(super) tests: Vec<Test>,
    drivers: Vec<Switched>,
    folder: PathBuf,
}

/// Copies of what is switched, so that several changes can be asked at once.
pub(super) struct Bench {
    folder: PathBuf,
    drivers: Vec<Switched>,
    /// By their programs.
    units: BTreeMap<usize, Switched>,
}

impl Bench {
    /// Switches everything.
    fn switch(&self, number: u32) -> Result<()> {
        self.drivers.iter().chain(self.units.values()).try_for_each(|switched| switched.set(number))
    }
}

/// A copy of a program: it is run for hours, and may be built anew meanwhile.
fn kept(built: &Path, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(built.file_name().unwrap_or_default());
    fs::copy(built, &path).with_context(|| format!("copying {}", built.display()))?;
    Ok(path)
}

/// What an earlier run has recorded of the same tests.
struct Known {
    identity: u64,
    tests: BTreeMap<String, (BTreeSet<u32>, Duration)>,
}

impl Known {
    fn read(path: &Path, identity: u64) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut tests = BTreeMap::new();
        if value["of"].as_u64() == Some(identity) {
            for (name, test) in value["tests"].as_object().into_iter().flatten() {
                let numbers = test["reached"].as_array().into_iter().flatten().filter_map(Value::as_u64);
                let reached = numbers.filter_map(|number| u32::try_from(number).ok()).collect();
                let takes = Duration::from_millis(test["takes"].as_u64().unwrap_or(0));
                tests.insert(name.clone(), (reached, takes));
            }
        }
        Self { identity, tests }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let tests = self.tests.iter().map(|(name, (reached, takes))| {
            (
                name.clone(),
                json!({ "reached": reached, "takes": u64::try_from(takes.as_millis()).unwrap_or(u64::MAX) }),
            )
        });
        let value = json!({ "of": self.identity, "tests": tests.collect::<Map<String, Value>>() });
        fs::write(path, value.to_string()).with_context(|| format!("writing {}", path.display()))
    }
}

/// How tests ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    /// The test that failed first, and what it said.
    Failed(String, String),
    /// The program ended during a test.
    Crashed(String, String),
    /// Not in time, in this test.
    TimedOut(String),
}

impl Suite {
    /// Builds the tests that use the drivers, and gives everything switches.
    pub(super) fn prepare(built: &Built, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut drivers = Vec::new();
        for (name, image) in DRIVERS.iter().zip(&built.drivers) {
            let copy = Switched::copy(image, &folder.join(format!("{name}.sys")))?;
            // The fault tests name places by its symbols.
            let symbols = image.with_extension("pdb");
            fs::copy(&symbols, folder.join(format!("{name}.pdb")))
                .with_context(|| format!("copying {}", symbols.display()))?;
            drivers.push(copy.with_context(|| format!("{} has no switch", image.display()))?);
        }
        let mut suite = Self { programs: Vec::new(), tests: Vec::new(), drivers, folder: folder.to_owned() };
        for (name, path) in &built.tests {
            let copy = folder.join(format!("{name}-tests"));
            // One in which nothing is changed says nothing about changes.
            if let Some(own) = Switched::copy(path, &copy)? {
                let folder = workspace::root().to_owned();
                let kind = Kind::Unit(own);
                suite.programs.push(Program { name: name.clone(), path: copy, folder, kind });
            }
        }
        for (package, test, place) in LAB {
            let mut command = Command::new(toolchain::cargo());
            command.current_dir(workspace::root()).args(["test", "--no-run"]);
            command.args(["--package", package, "--test", test]);
            let path = programs(&mut command)?.into_iter().find(|(name, _)| name == test);
            let (_, built) = path.with_context(|| format!("{package} has no test {test}"))?;
            let path = kept(&built, &suite.folder)?;
            let folder = workspace::root().join(place);
            suite.programs.push(Program { name: (*test).to_owned(), path, folder, kind: Kind::Lab });
        }
        let mut command = Command::new(toolchain::cargo());
        command.current_dir(workspace::root()).args(["build", "--package", "faults", "--bins"]);
        let path = programs(&mut command)?.into_iter().find(|(name, _)| name == FAULTS);
        let (_, built) = path.with_context(|| format!("there is no program {FAULTS}"))?;
        let path = kept(&built, &suite.folder)?;
        for arguments in FAULTS_OF {
            let (folder, kind) = (workspace::root().to_owned(), Kind::Whole(arguments));
            let name = format!("{FAULTS} {}", arguments.join(" "));
            suite.programs.push(Program { name, path: path.clone(), folder, kind });
        }
        Ok(suite)
    }

    /// What the suite consists of, for people.
    pub(super) fn describe(&self) -> String {
        let count = |index: usize| self.tests.iter().filter(|test| test.program == index).count();
        let parts = self.programs.iter().enumerate().map(|(index, program)| match program.kind {
            Kind::Unit(_) => format!("unit tests of {} ({})", program.name, count(index)),
            Kind::Lab => format!("tests in the lab, {} ({})", program.name, count(index)),
            Kind::Whole(_) => program.name.clone(),
        });
        format!("{}; without {}", parts.collect::<Vec<_>>().join(", "), LEFT_OUT.join(", "))
    }

    /// A bench of this name.
    pub(super) fn bench(&self, name: &str) -> Result<Bench> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        let place = |path: &Path| folder.join(path.file_name().unwrap_or_default());
        let mut drivers = Vec::new();
        for driver in &self.drivers {
            drivers.push(driver.again(&place(&driver.path))?);
            let symbols = driver.path.with_extension("pdb");
            fs::copy(&symbols, place(&symbols)).with_context(|| format!("copying {}", symbols.display()))?;
        }
        let mut units = BTreeMap::new();
        for (index, program) in self.programs.iter().enumerate() {
            if let Some(own) = program.own() {
                units.insert(index, own.again(&place(&own.path))?);
            }
        }
        Ok(Bench { folder, drivers, units })
    }

    /// Runs every test alone and unchanged, on as many benches as there are: it has to pass, and tells what it reaches.
    pub(super) fn record(&mut self, benches: &[Bench]) -> Result<()> {
        let mut names = Vec::new();
        for (index, program) in self.programs.iter().enumerate() {
            if let Kind::Whole(_) = program.kind {
                names.push((index, program.name.clone()));
                continue;
            }
            let mut command = Command::new(&program.path);
            command.current_dir(&program.folder).args(["--list", "--format", "terse"]);
            let listed = run::quiet(&mut command)?;
            let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
            names.extend(tests.map(|name| (index, name.to_owned())));
        }
        if let Some(unknown) =
            LEFT_OUT.iter().find(|left_out| names.iter().all(|(_, name)| name != *left_out))
        {
            bail!("there is no test {unknown} that could be left out");
        }
        names.retain(|(_, name)| !LEFT_OUT.contains(&name.as_str()));
        let known_path = self.folder.join("reached.json");
        let known = Mutex::new(Known::read(&known_path, self.identity()?));
        let next = AtomicUsize::new(0);
        let suite = &*self;
        std::thread::scope(|threads| {
            let run = |bench| {
                let (known, next, names, path) = (&known, &next, &names, &known_path);
                move || suite.record_on(bench, names, next, known, path)
            };
            let threads: Vec<_> = benches.iter().map(|bench| threads.spawn(run(bench))).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
        })?;
        let known = known.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (program, name) in names {
            let recorded = known.tests.get(&format!("{} {name}", self.programs[program].name)).cloned();
            let (reached, takes) = recorded.with_context(|| format!("{name} was not recorded"))?;
            self.tests.push(Test { program, name, reached, takes });
        }
        benches.iter().try_for_each(|bench| bench.switch(NOTHING))
    }

    fn record_on(
        &self,
        bench: &Bench,
        names: &[(usize, String)],
        next: &AtomicUsize,
        known: &Mutex<Known>,
        known_path: &Path,
    ) -> Result<()> {
        let known = || known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let note = bench.folder.join("reached");
        bench.switch(RECORD)?;
        while let Some((program, name)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let key = format!("{} {name}", self.programs[*program].name);
            if known().tests.contains_key(&key) {
                continue;
            }
            let _ = fs::remove_file(&note);
            let begun = Instant::now();
            let ended = self.run(bench, *program, &[name], Some(&note), Duration::from_secs(300))?;
            if ended != Ended::Passed {
                bail!("{name} of {} fails with nothing changed: {ended:?}", self.programs[*program].name);
            }
            let takes = begun.elapsed();
            let words = fs::read(&note).unwrap_or_default();
            let numbers =
                words.chunks_exact(4).filter_map(|word| word.try_into().ok()).map(u32::from_le_bytes);
            let mut known = known();
            known.tests.insert(key, (numbers.collect(), takes));
            known.write(known_path)?;
        }
        Ok(())
    }

    /// What everything that is run consists of.
    fn identity(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        let drivers = self.drivers.iter().map(|driver| &driver.path);
        for path in drivers.chain(self.programs.iter().map(|program| &program.path)) {
            fs::read(path)?.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    /// Runs these tests, in this order, with a change, until one notices it.
    pub(super) fn ask(&self, bench: &Bench, number: u32, order: &[usize]) -> Result<Ended> {
        bench.switch(number)?;
        let mut rest = order;
        let mut size = 4;
        while let Some(first) = rest.first() {
            // A program at a time, and more and more of its tests together.
            let program = self.tests[*first].program;
            let same = rest.iter().take_while(|test| self.tests[**test].program == program).count();
            let (group, after) = rest.split_at(same.min(size));
            let names: Vec<&str> = group.iter().map(|test| self.tests[*test].name.as_str()).collect();
            let usual: Duration = group.iter().map(|test| self.tests[*test].takes).sum();
            let ended = self.run(bench, program, &names, None, AT_LEAST + usual * PATIENCE)?;
            if ended != Ended::Passed {
                return Ok(ended);
            }
            rest = after;
            size = size.saturating_mul(2);
        }
        Ok(Ended::Passed)
    }

    /// `limit`: of the processor's time.
    fn run(
        &self,
        bench: &Bench,
        program: usize,
        tests: &[&str],
        note: Option<&Path>,
        limit: Duration,
    ) -> Result<Ended> {
        let path = bench.units.get(&program).map_or(&self.programs[program].path, |own| &own.path);
        let program = &self.programs[program];
        let mut command = Command::new("sh");
        let limited = format!("ulimit -S -t {}; exec \"$@\"", limit.as_secs().saturating_add(1));
        match note {
            // The shell opens the descriptor that the switch writes to.
            Some(note) => command.arg("-c").arg(format!("exec {RECORD_TO}>>\"$0\"; {limited}")).arg(note),
            None => command.args(["-c", &limited, "sh"]),
        };
        command.arg(path);
        command.current_dir(&program.folder);
        match program.kind {
            Kind::Whole(arguments) => command.args(arguments),
            Kind::Unit(_) | Kind::Lab => {
                command.args(["--exact", "--test-threads=1", "--nocapture"]).args(tests)
            }
        };
        command.env("INTACT_SYS", bench.folder.join("intact.sys"));
        // The lab's own tests find them by a name of their own.
        command.env("INTACT_TEST_DRIVERS", &bench.folder).env("INTACT_DRIVERS", &bench.folder);
        command.env("RUST_BACKTRACE", "0").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", path.display()))?;
        let ended = watch(&mut child, tests, limit * WAITING);
        // Whatever is left of it, and what it has started.
        end(&child);
        let _ = child.wait();
        match (ended?, &program.kind) {
            // Its status says what it has found.
            (Ended::Crashed(test, why), Kind::Whole(_)) if why.starts_with("exit status: 1") => {
                Ok(Ended::Failed(test, why))
            }
            (ended, _) => Ok(ended),
        }
    }
}

/// Ends a program and all that it has started.
fn end(child: &Child) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
}

/// What a program says last.
const TAIL: usize = 4096;

fn watch(child: &mut Child, tests: &[&str], limit: Duration) -> Result<Ended> {
    let deadline = Instant::now() + limit;
    let (sender, lines) = mpsc::channel();
    let output = child.stdout.take().context("it is piped")?;
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut errors = child.stderr.take().context("it is piped")?;
    let said = std::thread::spawn(move || {
        let (mut tail, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = errors.read(&mut buffer) {
            tail.extend_from_slice(&buffer[..count]);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        String::from_utf8_lossy(&tail).into_owned()
    });
    let mut running = tests.first().copied().unwrap_or_default().to_owned();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.split(" ... ").next())
                    && tests.contains(&name)
                {
                    running = name.to_owned();
                }
                if line == "FAILED" || line.ends_with(" FAILED") && !line.starts_with("test result") {
                    end(child);
                    return Ok(Ended::Failed(running, gist(&said.join().unwrap_or_default())));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Ended::TimedOut(running)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // Its output is closed, so it is ending, or something that it has started is.
    let status = child.wait()?;
    if status.success() {
        return Ok(Ended::Passed);
    }
    end(child);
    if status.signal() == Some(OUT_OF_TIME) {
        return Ok(Ended::TimedOut(running));
    }
    let said = gist(&said.join().unwrap_or_default());
    Ok(Ended::Crashed(running, format!("{} {said}", how(status)).trim_end().to_owned()))
}

fn how(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}

/// The line that says why.
fn gist(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
    let why = lines.nth(1).or_else(|| said.lines().last()).unwrap_or_default();
    why.trim().chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(script: &str, limit: Duration) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ended = watch(&mut child, &["a", "b"], limit).unwrap();
        end(&child);
        let _ = child.wait();
        ended
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_that_ends_well_has_passed() {
        let ended =
            watched("echo 'test a ... ok'; echo 'test b ... ok'; echo 'test result: ok. 2 passed'", LONG);
        assert_eq!(ended, Ended::Passed);
    }

    #[test]
    fn the_first_failure_is_the_end_and_says_why() {
        let script = "echo 'test a ... ok'; echo 'test b ... seed 5'; \
                      printf 'thread b panicked at x.rs:1:\\nit is wrong\\n' >&2; echo FAILED; sleep 100";
        let begun = Instant::now();
        assert_eq!(watched(script, LONG), Ended::Failed("b".into(), "it is wrong".into()));
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn a_program_that_is_killed_has_crashed_in_the_test_that_ran() {
        let ended = watched("printf 'test b ... '; kill -SEGV $$", LONG);
        assert_eq!(ended, Ended::Crashed("b".into(), "signal 11".into()));
        let ended = watched("echo 'test b ... said something'; exit 3", LONG);
        assert_eq!(ended, Ended::Crashed("b".into(), "exit status: 3".into()));
    }

    #[test]
    fn a_program_that_has_used_up_its_time_did_not_end_in_time() {
        let ended = watched("echo 'test b ... said something'; kill -XCPU $$", LONG);
        assert_eq!(ended, Ended::TimedOut("b".into()));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let ended = watched("echo 'test b ... said something'; sleep 100", Duration::from_millis(300));
        assert_eq!(ended, Ended::TimedOut("b".into()));
    }
}
