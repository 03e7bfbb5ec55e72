//! The policy: its matcher's own measurement, its command for Windows, and how well its tests test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::{Log, Outcome};
use crate::tools::{For, Tools, on_path};
use crate::wine::Session;
use crate::{driver, program, run, toolchain, windows, workspace};

/// `cargo xtask bench policy`: the matcher against the crates that one would otherwise take. They are built for this
/// command alone.
pub(crate) fn bench(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(toolchain::cargo());
    command.current_dir(workspace::root());
    command.args(["build", "--release", "--package", "policy-bench", "--features", "peers"]);
    run::visible(&mut command)?;
    let mut program = Command::new(workspace::target_dir().join("release/policy-bench"));
    program.args(arguments.iter().filter(|argument| *argument != "--"));
    Ok(program)
}

/// `cargo xtask policy windows`: `intact-policy.exe` beside the driver.
pub(crate) fn windows() -> Result<PathBuf> {
    let built = program::build("intact-policy", "intact-policy", &[])?;
    let folder = driver::intact_folder();
    fs::create_dir_all(&folder)?;
    let path = folder.join("intact-policy.exe");
    driver::replace(&built, &path)?;
    Ok(path)
}

/// What an administrator might type, on files of [`lay_out`].
const COMMANDS: &[&[&str]] = &[
    &["--help"],
    &["check", "sample.reg"],
    &["check", "wrong.reg"],
    &["check", "utf16.reg"],
    &["check", "sample.reg", "--volume", r"D:=\Device\HarddiskVolume5"],
    &["check", "binary.hiv"],
    &["show", "sample.reg"],
    &["show", "wrong.reg"],
    &["explain", "--policy", "sample.reg", r"D:\Reports\2026\q1.xlsx", "--process", "excel.exe"],
    &["explain", "--policy", "sample.reg", r"C:\Users\Zoë\Documents\été 😀.docx"],
    &["explain", "--policy", "sample.reg", "relative.txt"],
    &["convert", "sample.reg", "--to", "json", "--output", "out.json"],
    &["show", "out.json"],
    &["convert", "out.json", "--to", "oma-uri"],
    &["convert", "out.json", "--to", "reg", "--output", "out.reg"],
    &["check", "out.reg"],
    &["convert", "wrong.reg", "--to", "json"],
    &["template", "admx"],
    &["template", "adml"],
    &["judge"],
];

/// The files that both programs write.
const WRITTEN: &[&str] = &["out.json", "out.reg"];

/// Runs `intact-policy.exe` under Wine and `intact-policy` here, each in a folder of its own with the same files, and
/// compares exit status, output, and the files written.
pub(crate) fn under_wine(log: &mut Log) -> Result<Outcome> {
    let tools = Tools::ensure(&[For::Program, For::Wine])?;
    log.say("building intact-policy.exe");
    let program = self::windows()?;
    log.run(Command::new(toolchain::cargo()).current_dir(workspace::root()).args([
        "build",
        "--package",
        "intact-policy",
    ]))?;
    let here = workspace::target_dir().join("debug/intact-policy");
    let folder = workspace::root().join("target/policy-wine");
    let folders = [folder.join("here"), folder.join("wine")];
    for folder in &folders {
        lay_out(folder)?;
    }
    let session = Session::open(tools.wine()?, log)?;
    windows::stand_in(&tools, &session, log)?;
    for arguments in COMMANDS {
        let output = Command::new(&here).args(*arguments).current_dir(&folders[0]).output()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let expected = (output.status.code(), text);
        let told = session.program(&program, arguments, &folders[1])?;
        if told != expected {
            log.say(&format!("here: {expected:?}\nunder Wine: {told:?}"));
            let lines = expected.1.lines().chain([""]).zip(told.1.lines().chain([""]));
            let (here, wine) = lines.into_iter().find(|(here, wine)| here != wine).unwrap_or_default();
            bail!(
                "intact-policy {}: here it ends with {:?}, under Wine with {:?}; the first lines that differ are {here:?} and {wine:?}",
                arguments.join(" "),
                expected.0,
                told.0
            );
        }
    }
    for name in WRITTEN {
        let [here, wine] = folders.each_ref().map(|folder| fs::read(folder.join(name)));
        if here.with_context(|| format!("{name} here"))?
            != wine.with_context(|| format!("{name} under Wine"))?
        {
            bail!("{name} is not the same here and under Wine");
        }
    }
    Ok(Outcome::Passed(format!("{} commands say the same", COMMANDS.len())))
}

/// Good and bad files to judge.
fn lay_out(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let sample = fs::read_to_string(workspace::root().join("inf/intact-sample.reg"))?;
    let utf16: Vec<u8> =
        "\u{FEFF}".encode_utf16().chain(sample.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let wrong = "Windows Registry Editor Version 5.00\r\n\r\n\
                 [HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\r\n\
                 \"Paths\"=hex(7):43,00,3a,00,2f,00,78,00,00,00,\\\r\n  00,00\r\n\
                 \"Scope\"=\"Everything\"\r\n\"Path\"=dword:1\r\n";
    fs::write(folder.join("sample.reg"), sample)?;
    fs::write(folder.join("utf16.reg"), utf16)?;
    fs::write(folder.join("wrong.reg"), wrong)?;
    fs::write(folder.join("binary.hiv"), b"regf and then nothing")?;
    Ok(())
}

/// The tests that are nearest to some files: most changes are noticed by them, which is quicker than asking all.
struct Near {
    files: &'static [&'static str],
    features: &'static [&'static str],
    tests: &'static [&'static str],
}

const CORE: &[&str] = &["--no-default-features", "--features", "std"];

const NEAR: &[Near] = &[
    Near {
        files: &["block", "compile", "gather", "glob", "pattern", "policy", "problem", "schema", "text"],
        features: CORE,
        tests: &["--lib", "--test", "edges", "--test", "rules", "--test", "patterns"],
    },
    Near {
        files: &["index", "walk"],
        features: CORE,
        tests: &["--lib", "--test", "scale", "--test", "edges", "--test", "rules", "--test", "patterns"],
    },
    Near {
        files: &["reg", "reg/*"],
        features: &[],
        tests: &["--lib", "--test", "reg_file", "--test", "forms"],
    },
    Near { files: &["tools/*"], features: &[], tests: &["--test", "forms", "--test", "templates"] },
    Near { files: &["bin/**/*"], features: &[], tests: &["--test", "command"] },
];

/// `cargo xtask policy mutants`: first each file with the tests nearest to it, then what is left with all tests.
pub(crate) fn mutants(jobs: u32, shard: Option<&str>) -> Result<()> {
    if on_path("cargo-mutants").is_none() {
        bail!("cargo-mutants is not installed: cargo install --locked cargo-mutants --version 27.0.0");
    }
    let folder = workspace::root().join("target/mutants/policy");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let last = Near { files: &["**/*"], features: &[], tests: &["--lib", "--bins", "--tests"] };
    let (mut noticed, mut cannot) = (0, 0);
    for near in NEAR.iter().chain([&last]) {
        let mut command = Command::new(toolchain::cargo());
        command.current_dir(workspace::root());
        command.args([
            "mutants",
            "--config",
            "policy/mutants.toml",
            "--package",
            "intact-policy",
            "--iterate",
        ]);
        command.args(["--jobs", &jobs.to_string()]).arg("--output").arg(&folder).args(near.features);
        command
            .args(near.files.iter().flat_map(|file| ["--file".to_owned(), format!("policy/src/{file}.rs")]));
        command.args(shard.iter().flat_map(|shard| ["--shard", *shard]));
        command.arg("--").args(near.tests);
        // Without information for debuggers the tests are built in half of the time.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
        let status = command.status().context("starting cargo mutants")?;
        // 2: some were not noticed, 3: some never ended.
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            bail!("{} ended with {status}", run::display(&command));
        }
        noticed += lines(&folder, "caught.txt") + lines(&folder, "timeout.txt");
        cannot += lines(&folder, "unviable.txt");
        if near.features.is_empty() && near.files == last.files {
            let missed = lines(&folder, "missed.txt");
            let score = 100.0 * noticed as f64 / (noticed + missed).max(1) as f64;
            println!("{noticed} noticed, {missed} not, {cannot} that do not compile: {score:.1} %");
        }
    }
    Ok(())
}

/// How many mutants a list of cargo-mutants names.
fn lines(folder: &Path, list: &str) -> usize {
    fs::read_to_string(folder.join("mutants.out").join(list)).map_or(0, |text| text.lines().count())
}
