//! `cargo xtask test`: the slices, in the order in which they run.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::driver::{self, Builder};
use crate::image::{self, Image};
use crate::lab;
use crate::report::{Log, Outcome};
use crate::tools::{For, Tools};
use crate::{bindings, policy, sanitizer, toolchain, wine, workspace};

/// A named part of the tests.
pub(crate) struct Slice {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What must be there; installed in one go before the first slice runs.
    pub(crate) needs: &'static [For],
    pub(crate) run: fn(&mut Log) -> Result<Outcome>,
}

/// For building the driver and running it in the lab.
const BUILD: &[For] = &[For::Bindings, For::Driver, For::Mount];

/// All of them. What is quick and fails often comes first.
pub(crate) const SLICES: &[Slice] = &[
    Slice { name: "fmt", about: "the source is formatted", needs: &[For::Format], run: fmt },
    Slice {
        name: "clippy",
        about: "no lint warns, for the host and for the driver's target",
        needs: &[For::HostClippy, For::Clippy, For::Bindings, For::Driver],
        run: clippy,
    },
    Slice {
        name: "unit",
        about: "decisions, policy, declarations and these tools, on the host",
        needs: &[For::Bindings],
        run: unit,
    },
    Slice {
        name: "asan",
        about: "the same decisions under AddressSanitizer",
        needs: &[For::Sanitizer],
        run: asan,
    },
    Slice {
        name: "layout",
        about: "Filter Manager structures against Wine's header and windows-sys",
        needs: &[For::Bindings, For::Layout],
        run: layout,
    },
    Slice {
        name: "image",
        about: "intact.sys: imports, sections, flags, no reachable panic",
        needs: BUILD,
        run: image,
    },
    Slice {
        name: "wine",
        about: "another NT loader maps, binds and enters intact.sys",
        needs: &[For::Bindings, For::Driver, For::Wine],
        run: wine,
    },
    Slice {
        name: "policy",
        about: "intact-policy.exe under Wine says what intact-policy says here",
        needs: &[For::Program, For::Wine],
        run: policy_under_wine,
    },
    Slice {
        name: "inf",
        about: "intact.inf by the rules of minifilter-rules §3.7 and §3.8",
        needs: &[],
        run: inf,
    },
    Slice {
        name: "lab",
        about: "the drivers in the lab: every operation, every fault",
        needs: BUILD,
        run: lab_tests,
    },
    Slice {
        name: "windows",
        about: "intact-faults.exe under Wine, on lab volumes with intact.sys and without",
        needs: &[For::Bindings, For::Driver, For::Mount, For::Wine, For::Program],
        run: crate::windows::test,
    },
    Slice {
        name: "demo",
        about: "real programs under every fault, with and without Intact",
        needs: BUILD,
        run: demo,
    },
    Slice {
        name: "faults",
        about: "power cuts at every moment of short programs, twice alike",
        needs: BUILD,
        run: faults,
    },
    Slice {
        name: "deny",
        about: "licences and advisories of what is linked (where cargo-deny is)",
        needs: &[],
        run: deny,
    },
];

/// Packages of the lab, and those whose tests run a built driver in it.
const LAB: &[&str] = &[
    "lab",
    "lab-executive",
    "lab-volume",
    "lab-nt",
    "intact-apps",
    "intact-saves",
    "monitor",
    "scanner",
    "intact-scenarios",
    "intact-faults",
    "intact-transparency",
    "faults",
];
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(toolchain::cargo());
    command.current_dir(workspace::root()).args(arguments);
    command
}

fn packages<'a>(names: &[&'a str]) -> impl Iterator<Item = &'a str> {
    names.iter().flat_map(|name| ["--package", *name]).collect::<Vec<_>>().into_iter()
}

fn fmt(log: &mut Log) -> Result<Outcome> {
    Tools::ensure(&[For::Format])?;
    log.run(&mut cargo(&["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed(String::new()))
}

fn clippy(log: &mut Log) -> Result<Outcome> {
    let tools = Tools::ensure(&[For::HostClippy, For::Bindings])?;
    bindings::ensure(&tools)?;
    log.run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    Tools::ensure(&[For::Driver, For::Clippy])?;
    let mut command = Builder::prepare()?.clippy()?;
    let drivers = driver::test_drivers()?;
    // What these are made of is linted along, with the features that they choose.
    command.args(["--lib", "--profile", "driver", "--package", "intact"]);
    command.args(drivers.iter().flat_map(|name| ["--package", name]));
    log.run(command.args(["--", "--deny", "warnings"]))?;
    Ok(Outcome::Passed("host and driver".into()))
}

fn unit(log: &mut Log) -> Result<Outcome> {
    let tools = Tools::ensure(&[For::Bindings])?;
    bindings::ensure(&tools)?;
    // What no other slice runs, so that a new package cannot be forgotten.
    let mut command = cargo(&["test", "--workspace", "--exclude", "inf-lint"]);
    let drivers = driver::test_drivers()?;
    let elsewhere = LAB.iter().copied().chain(drivers.iter().map(String::as_str));
    command.args(elsewhere.flat_map(|name| ["--exclude", name]));
    let count = log.tests(&mut command)?;
    Ok(Outcome::Passed(format!("{count} tests")))
}

fn asan(log: &mut Log) -> Result<Outcome> {
    sanitizer::run(log)
}

fn layout(log: &mut Log) -> Result<Outcome> {
    let tools = Tools::ensure(&[For::Bindings, For::Layout])?;
    bindings::ensure(&tools)?;
    let mut command = cargo(&["test", "--package", "xtask", "--test", "layout", "--", "--include-ignored"]);
    command.env("INTACT_CLANG", tools.clang()?).env("INTACT_WINE_HEADERS", tools.wine_headers()?);
    let count = log.tests(&mut command)?;
    Ok(Outcome::Passed(format!("{count} tests")))
}

fn image(log: &mut Log) -> Result<Outcome> {
    let builder = Builder::prepare()?;
    log.say("building intact.sys");
    let folder = driver::build_intact(&builder)?;
    let path = folder.join("intact.sys");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let image = Image::parse(&bytes)?;
    let mut findings = image.findings("intact");
    findings.extend(image::machine_paths(&bytes, &machine_paths()));
    // The check that finds no panic must find one where there is one.
    let panicking = builder.build("panicking", &driver::test_drivers_folder())?.image;
    let witness = Image::parse(&std::fs::read(&panicking)?)?.findings("panicking");
    if witness != [image::Finding::ReachablePanic] {
        bail!("the driver that can panic should have that finding and no other, but has {witness:?}");
    }
    findings.extend(image.not_in_lab(&lab::known_imports(log)?));
    for finding in &findings {
        log.say(&format!("{}: {finding}", path.display()));
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(Outcome::Passed(format!("{} imports, {} bytes", image.imported().len(), bytes.len())))
}

/// Paths that name this machine rather than the source.
fn machine_paths() -> Vec<String> {
    let mut paths = vec![workspace::root().display().to_string()];
    paths.extend(std::env::home_dir().map(|home| home.join(".cargo").display().to_string()));
    paths
}

fn wine(log: &mut Log) -> Result<Outcome> {
    if !Tools::obtainable(For::Wine) {
        return Ok(Outcome::Skipped("there is no Wine on this machine".into()));
    }
    wine::run(log)
}

fn policy_under_wine(log: &mut Log) -> Result<Outcome> {
    if !Tools::obtainable(For::Wine) || !Tools::obtainable(For::Program) {
        return Ok(Outcome::Skipped("there is no Wine on this machine, or no gcc of mingw-w64".into()));
    }
    policy::under_wine(log)
}

fn inf(log: &mut Log) -> Result<Outcome> {
    let count = log.tests(&mut cargo(&["test", "--package", "inf-lint"]))?;
    Ok(Outcome::Passed(format!("{count} tests")))
}

fn lab_tests(log: &mut Log) -> Result<Outcome> {
    let builder = Builder::prepare()?;
    log.say("building the drivers");
    driver::build_intact(&builder)?;
    driver::build_test_drivers(&builder)?;
    Tools::ensure(&[For::Mount])?;
    let count = log.tests(cargo(&["test"]).args(packages(LAB)).envs(lab::environment()))?;
    Ok(Outcome::Passed(format!("{count} tests")))
}

fn demo(log: &mut Log) -> Result<Outcome> {
    let output = log.run(&mut lab::demo(&[])?)?;
    let found = output.lines().find(|line| line.starts_with("files damaged")).unwrap_or_default();
    Ok(Outcome::Passed(found.to_owned()))
}

/// The same seed twice: what happened must be the same, to the last call.
fn faults(log: &mut Log) -> Result<Outcome> {
    let slice = ["--slice".to_owned()];
    let mut traces = Vec::new();
    for _ in 0..2 {
        let output = log.run(&mut lab::faults(&slice)?)?;
        let trace = output.lines().find(|line| line.starts_with("trace")).map(str::to_owned);
        traces.push(trace.context("the fault tests printed no trace")?);
    }
    if traces[0] != traces[1] {
        bail!("two runs with one seed differ: {} and {}", traces[0], traces[1]);
    }
    Ok(Outcome::Passed(traces.swap_remove(0)))
}

fn deny(log: &mut Log) -> Result<Outcome> {
    if crate::tools::on_path("cargo-deny").is_none() {
        return Ok(Outcome::Skipped("cargo-deny is not installed (cargo install cargo-deny)".into()));
    }
    log.run(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
    Ok(Outcome::Passed(String::new()))
}

/// The slices with these names, in the order of the table; all of them for none.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Slice>> {
    if let Some(unknown) = names.iter().find(|name| SLICES.iter().all(|slice| slice.name != **name)) {
        let known: Vec<&str> = SLICES.iter().map(|slice| slice.name).collect();
        bail!("there is no slice {unknown:?}; there are {}", known.join(", "));
    }
    Ok(SLICES
        .iter()
        .filter(|slice| names.is_empty() || names.iter().any(|name| name == slice.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_selects_all_and_names_select_in_the_order_of_the_table() {
        assert_eq!(select(&[]).unwrap().len(), SLICES.len());
        let names: Vec<&str> =
            select(&["lab".into(), "fmt".into()]).unwrap().iter().map(|slice| slice.name).collect();
        assert_eq!(names, ["fmt", "lab"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = select(&["lap".into()]).err().unwrap().to_string();
        assert!(error.contains("\"lap\"") && error.contains("lab"), "{error}");
    }
}
