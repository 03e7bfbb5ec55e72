//! Runs the programs through `lab run`, as anybody could from the command line.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use lab::run::report::Report;

use crate::grid::Row;
use crate::programs::Program;

/// The policy of the demo: everything on the volume.
const POLICY: &str = include_str!("../everything.reg");

/// How the programs are run.
pub(crate) struct Runner {
    lab: PathBuf,
    intact: PathBuf,
    points: u32,
    seed: u64,
    work: PathBuf,
}

impl Runner {
    pub(crate) fn new(lab: Option<&Path>, intact: &Path, points: u32, seed: u64) -> Result<Runner> {
        let lab = match lab {
            Some(lab) => lab.to_owned(),
            None => std::env::current_exe()?.with_file_name("lab"),
        };
        for (what, path) in [("the lab's program", &lab), ("the driver", &intact.to_owned())] {
            if !path.is_file() {
                bail!("{what} is not at {}; `cargo xtask demo` builds both", path.display());
            }
        }
        let work = std::env::temp_dir().join(format!("intact-demo-{}", std::process::id()));
        fs::create_dir_all(&work)?;
        fs::write(work.join("policy.reg"), POLICY)?;
        let absolute = |path: &Path| std::path::absolute(path).context("the working folder is gone");
        Ok(Runner { lab: absolute(&lab)?, intact: absolute(intact)?, points, seed, work })
    }

    /// Runs all of them, as many at a time as there are processors. `progress` hears how many are done.
    pub(crate) fn all(
        &self,
        programs: &[&'static Program],
        progress: impl Fn(usize, usize, &str) + Sync,
    ) -> Result<Vec<Row>> {
        for program in programs {
            let folder = self.folder(program);
            fs::create_dir_all(&folder)?;
            (program.prepare)(&folder).with_context(|| format!("preparing the files of {}", program.name))?;
        }
        let jobs: Vec<_> =
            programs.iter().flat_map(|program| [(*program, false), (*program, true)]).collect();
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let reports: Vec<Mutex<Option<Result<Report>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some((program, with)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let index =
                            jobs.iter().position(|job| std::ptr::eq(job.0, *program) && job.1 == *with);
                        let report = self.one(program, *with);
                        if let Some(slot) = index.and_then(|index| reports.get(index)) {
                            *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(report);
                        }
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len(), program.name);
                    }
                });
            }
        });
        let mut reports = reports.into_iter().map(|slot| {
            let report = slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            report.context("a run was not started")?
        });
        let mut rows = Vec::new();
        for program in programs {
            let mut report = || reports.next().context("a run is missing")?;
            rows.push(Row { program, without: report()?, with: report()? });
        }
        Ok(rows)
    }

    fn folder(&self, program: &Program) -> PathBuf {
        self.work.join(program.name.replace([' ', '/'], "-"))
    }

    fn one(&self, program: &Program, with: bool) -> Result<Report> {
        let mut command = Command::new(&self.lab);
        command.current_dir(self.folder(program)).arg("run").arg("--json").arg("--undisturbed");
        let points = format!("*{}", self.points);
        for fault in ["--kill-after-writes", "--disk-full-after", "--power-cut-after"] {
            command.arg(fault).arg(&points);
        }
        command.arg("--seed").arg(self.seed.to_string());
        if with {
            command.arg("--driver").arg(&self.intact).arg("--policy").arg(self.work.join("policy.reg"));
        } else {
            command.arg("--without");
        }
        for file in program.files {
            command.arg("--files").arg(file);
        }
        command.arg("--").args(program.command);
        let output = command.output().with_context(|| format!("starting {}", self.lab.display()))?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("{}: `lab run` ({}) printed no report: {}", program.name, output.status, errors.trim())
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.work));
    }
}

/// Installs the programs that are missing, on Debian as root, and says which; elsewhere names them.
pub(crate) fn install(programs: &[&'static Program]) -> Result<()> {
    let missing = || -> Vec<(&str, &str)> {
        let needs = programs.iter().flat_map(|program| program.needs.iter().copied());
        let mut missing: Vec<_> = needs.filter(|(path, _)| !Path::new(path).is_file()).collect();
        missing.dedup();
        missing
    };
    let packages: Vec<&str> = missing().into_iter().map(|(_, package)| package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let root = fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0);
    if root && Path::new("/usr/bin/apt-get").is_file() {
        eprintln!("installing the programs of the demo: {}", packages.join(" "));
        let apt = |arguments: &[&str]| {
            let mut command = Command::new("/usr/bin/apt-get");
            command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            command.output()
        };
        let install =
            [&["install", "--yes", "--quiet", "--no-install-recommends"], packages.as_slice()].concat();
        if !apt(&install)?.status.success() {
            apt(&["update", "--quiet"])?;
            let output = apt(&install)?;
            if !output.status.success() {
                bail!("apt-get: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
        }
    }
    let missing: Vec<_> =
        missing().iter().map(|(path, package)| format!("{path} (package {package})")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("the demo needs {}; or choose programs with --only", missing.join(", "))
}
