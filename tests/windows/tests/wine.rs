//! `intact-faults`, the program for Windows itself, under Wine on a mounted lab volume: with the real `intact.sys` in
//! front of it, without, and across a reset of the lab.
//!
//! It tests the program. Under Wine one server opens the files of all programs, so whatever depends on which process
//! opens a file, or on Windows itself, is left out by the scenarios.

#![cfg(not(windows))]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use intact_faults::report::{BROKEN, PROMISED, WITHOUT};
use intact_faults::{Answers, Report, Verdict};
use intact_saves::{Policy, Rule, Scene};
use intact_scenarios::{RESETS, SCENARIOS, Scenario};
use lab::mount::{self, Options};
use lab_volume::Base;

/// Where `cargo xtask test windows` says that things are.
fn given(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{variable} is not set: `cargo xtask test windows` runs this"))
}

/// Wine, with the mounted volume as drive T:.
struct Wine {
    exe: PathBuf,
    wine: PathBuf,
    prefix: PathBuf,
}

impl Wine {
    fn with_drive(folder: &Path) -> Wine {
        let (exe, wine) = (given("INTACT_FAULTS_EXE"), given("INTACT_WINE"));
        let prefix = given("INTACT_WINE_PREFIX");
        let drive = prefix.join("dosdevices/t:");
        drop(fs::remove_file(&drive));
        std::os::unix::fs::symlink(folder, &drive).expect("a drive of Wine's");
        Wine { exe, wine, prefix }
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=,winedbg.exe=d")
            .env_remove("DISPLAY");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.wine);
        self.environment(&mut command);
        command.arg(&self.exe).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Exit status and standard output.
    fn run(&self, arguments: &[&str]) -> (u8, String) {
        let output = self.command(arguments).output().expect("wine");
        let code = output.status.code().and_then(|code| u8::try_from(code).ok()).expect("an exit status");
        (code, String::from_utf8(output.stdout).expect("UTF-8"))
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        for flag in ["-k", "-w"] {
            let mut command = Command::new(given("INTACT_WINESERVER"));
            self.environment(&mut command);
            drop(command.arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status());
        }
        drop(fs::remove_file(self.prefix.join("dosdevices/t:")));
    }
}

/// A lab volume, as it was formatted or as a crash left it, with Intact in front of all of it or without.
fn scene(base: Option<Base>, with_intact: bool) -> Scene {
    let mut builder = Scene::builder().no_files().policy(Policy::of(Rule::new("All", &[r"C:\**"])));
    if let Some(base) = base {
        builder = builder.lab(|lab| lab.base(base));
    }
    if with_intact { builder.build() } else { builder.bare().build() }
}

/// Mounts the volume, runs `body` with Wine on it, and gives the disk effects counted meanwhile along.
fn mounted<R: Send>(scene: &Scene, body: impl FnOnce(&Wine, &AtomicU64) -> R + Send) -> R {
    let folder = std::env::temp_dir().join(format!("intact-faults-{}", std::process::id()));
    fs::create_dir(&folder).expect("a temporary folder");
    let effects = Arc::new(AtomicU64::new(0));
    let (counted, lab) = (effects.clone(), Rc::clone(&scene.lab));
    let after_request = Box::new(move |_: &lab::Executive, _| counted.store(lab.effects(), Ordering::SeqCst));
    let options = Options { after_request, ..Options::default() };
    let served = mount::serve(
        scene.lab.executive(),
        &folder,
        options,
        || (),
        |mounted| {
            let wine = Wine::with_drive(mounted.folder());
            body(&wine, &effects)
        },
    );
    drop(fs::remove_dir(&folder));
    served.unwrap_or_else(|error| panic!("{error}")).0
}

/// What is to be said about the report of a run: each scenario as it should be, none skipped that Wine can show.
#[track_caller]
fn assert_as_expected(report: &Report, scenarios: &[Scenario]) {
    assert!(report.machine.wine.is_some() && report.to_string().contains("NOT WINDOWS"));
    assert_eq!(report.scenarios.len(), scenarios.len(), "{report}");
    for (found, scenario) in report.scenarios.iter().zip(scenarios) {
        let expected = if scenario.not_under_wine.is_some() { Verdict::Skipped } else { Verdict::Expected };
        assert_eq!((&*found.name, found.verdict), (scenario.name, expected), "{report}");
    }
}

fn report(json: &str) -> Report {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

#[test]
#[ignore = "needs the program and Wine: `cargo xtask test windows`"]
fn with_intact_every_scenario_leaves_what_is_promised() {
    let scene = scene(None, true);
    let (code, json) =
        mounted(&scene, |wine, _| wine.run(&["run", "--json", "--assume-intact", "--folder", r"T:\faults"]));
    let report = report(&json);
    assert_as_expected(&report, SCENARIOS);
    assert_eq!(code, PROMISED, "{report}");
    // The program is not asked alone: the volume itself holds what it says.
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.not_under_wine.is_none()) {
        for file in scenario.files {
            let found = scene.committed(&format!(r"C:\faults\{}\{}", scenario.name, file.name));
            assert!(file.with_intact.admits(file, found.as_deref()), "{}: {}", scenario.name, file.name);
        }
    }
    scene.end();
}

#[test]
#[ignore = "needs the program and Wine: `cargo xtask test windows`"]
fn without_intact_every_scenario_leaves_what_it_says_and_nothing_is_claimed() {
    let scene = scene(None, false);
    let (honest, assuming) = mounted(&scene, |wine, _| {
        let run = ["run", "--json", "--folder", r"T:\faults", "ends-with-an-error", "finishes"];
        (wine.run(&run), wine.run(&[&run[..], &["--assume-intact"]].concat()))
    });
    let (code, kills) = (honest.0, report(&honest.1));
    assert_eq!(code, WITHOUT, "{kills}");
    assert!(kills.scenarios.iter().flat_map(|scenario| &scenario.files).any(|file| file.found == "damaged"));
    assert!(kills.meaning().contains("proves nothing about it"), "{kills}");
    // Whoever says that Intact is there is told what it would not have left.
    let (code, run) = (assuming.0, report(&assuming.1));
    let verdicts: Vec<Verdict> = run.scenarios.iter().map(|scenario| scenario.verdict).collect();
    assert_eq!((code, &*verdicts), (BROKEN, &[Verdict::Unexpected, Verdict::Expected][..]), "{run}");
}

/// Runs `prepare` until it is ready; the disk as a reset then leaves it.
fn reset(with_intact: bool, seed: u64) -> Base {
    let scene = scene(None, with_intact);
    let effects = mounted(&scene, |wine, effects| {
        let mut arguments = vec!["prepare", "--folder", r"T:\faults"];
        arguments.extend(with_intact.then_some("--assume-intact"));
        let mut child = wine.command(&arguments).stdout(Stdio::piped()).spawn().expect("wine");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let ready = output.lines().map_while(Result::ok).any(|line| line.starts_with("READY"));
        let effects = effects.load(Ordering::SeqCst);
        drop(child.kill());
        drop(child.wait());
        assert!(ready, "`prepare` ended before it was ready");
        effects
    });
    let disk = scene.lab.with_volume(|volume| volume.disk.clone());
    disk.crash_after(effects, seed)
}

#[test]
#[ignore = "needs the program and Wine: `cargo xtask test windows`"]
fn after_a_reset_check_finds_what_is_promised() {
    let scene = scene(Some(reset(true, 1)), true);
    let arguments = ["check", "--json", "--restarted", "--assume-intact", "--folder", r"T:\faults"];
    let (code, json) = mounted(&scene, |wine, _| wine.run(&arguments));
    let report = report(&json);
    assert_as_expected(&report, RESETS);
    assert_eq!(code, PROMISED, "{report}");
    scene.end();
}

#[test]
#[ignore = "needs the program and Wine: `cargo xtask test windows`"]
fn a_reset_without_intact_damages_and_check_says_so_without_a_claim() {
    let scene = scene(Some(reset(false, 1)), false);
    let (code, json) =
        mounted(&scene, |wine, _| wine.run(&["check", "--json", "--restarted", "--folder", r"T:\faults"]));
    let report = report(&json);
    assert_eq!(code, WITHOUT, "{report}");
    assert!(report.scenarios.iter().flat_map(|scenario| &scenario.files).any(|file| file.found == "damaged"));
}

#[test]
#[ignore = "needs the program and Wine: `cargo xtask test windows`"]
fn every_question_is_answered_or_left_open_and_none_claims_windows() {
    let scene = scene(None, true);
    let arguments =
        ["answers", "--json", "--assume-intact", "--folder", r"T:\faults", "--plain", r"T:\plain"];
    let (code, json) = mounted(&scene, |wine, _| wine.run(&arguments));
    let answers: Answers = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!((code, answers.answers.len()), (0, 20), "{answers}");
    assert!(answers.to_string().contains("nothing of this is a fact about Windows"));
    for answer in &answers.answers {
        assert!(answer.conclusion.is_some() || answer.open.is_some(), "{answers}");
        // Wine has no transactions, and whatever needs them must have noticed.
        if answer.id.starts_with('T') && answer.id != "Ti" {
            assert!(answer.open.as_ref().is_some_and(|why| why.contains("no transactions")), "{answers}");
        }
    }
}
