//! The copy of the workspace with all changes in it, built once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::rewrite::{Rewritten, rewrite};
use super::sites::{self, Change, Site};
use super::switch;
use crate::driver::Builder;
use crate::run::{self, Step};
use crate::{toolchain, workspace};

/// The crates that are changed: where they are, and what their code calls the module of the switch.
const CRATES: &[(&str, &str)] =
    &[("minifilter/src", "::kernel::mutants"), ("minifilter/kernel/src", "crate::mutants")];

/// What is changed in them: the save, the operations, and the whole of `kernel`.
const CHANGED: &[&str] = &[
    "minifilter/src/save.rs",
    "minifilter/src/save/",
    "minifilter/src/operations.rs",
    "minifilter/src/operations/",
    "minifilter/kernel/src/",
];

/// Where the switch is declared. There is nothing to change in it, nor in the other.
const KERNEL: &str = "minifilter/kernel/src/lib.rs";
const DRIVER: &str = "minifilter/src/lib.rs";

/// The drivers that are made of them.
pub(super) const DRIVERS: &[&str] = &["intact", "monitor", "scanner", "nothing", "leaking", "owners"];
/// The packages with tests of their own that run on the host.
const HOST: &[&str] = &["kernel", "intact"];

/// A file and its places.
pub(super) struct Source {
    /// Its path in the workspace.
    pub(super) path: String,
    text: String,
    sites: Vec<Site>,
    /// The number of its first change.
    first: u32,
    switch: &'static str,
}

/// A change of the driver.
pub(super) struct Mutant {
    pub(super) number: u32,
    pub(super) file: String,
    pub(super) change: Change,
    /// What tells it from all others, also after lines have moved.
    pub(super) key: String,
}

/// The sources that are changed, in the order of their paths.
pub(super) fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut first = 1_u32;
    for (folder, switch) in CRATES {
        for path in files(&root.join(folder))? {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            if !CHANGED
                .iter()
                .any(|changed| name == *changed || name.starts_with(changed) && changed.ends_with('/'))
                || path.extension().is_none_or(|extension| extension != "rs")
            {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
            if name == KERNEL || is_for_tests(&path)? {
                continue;
            }
            let sites = sites::find(&text).with_context(|| name.clone())?;
            let count: usize = sites.iter().map(|site| site.changes.len()).sum();
            sources.push(Source { path: name, text, sites, first, switch });
            first = first.checked_add(u32::try_from(count)?).context("too many changes")?;
        }
    }
    Ok(sources)
}

/// Whether the file is a module that its parent has for tests only.
fn is_for_tests(path: &Path) -> Result<bool> {
    let parent = path.parent().map(|folder| folder.with_extension("rs")).filter(|parent| parent.is_file());
    let (Some(parent), Some(name)) = (parent, path.file_stem()) else { return Ok(false) };
    let modules = sites::test_modules(&fs::read_to_string(parent)?)?;
    Ok(modules.iter().any(|module| name == module.as_str()))
}

/// The changes of all sources, in the order of their numbers, which begin with 1.
pub(super) fn mutants(sources: &[Source]) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources {
        let changes = source.sites.iter().flat_map(|site| &site.changes);
        for (number, change) in (source.first..).zip(changes) {
            let same = format!("{} {}: {} in `{}`", source.path, change.function, change.what, change.text);
            let count = seen.entry(same.clone()).or_default();
            *count += 1;
            let key = if *count == 1 { same } else { format!("{same} ({count})") };
            mutants.push(Mutant { number, file: source.path.clone(), change: change.clone(), key });
        }
    }
    mutants
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() { found.extend(files(&entry)?) } else { found.push(entry) }
    }
    Ok(found)
}

/// The copy.
pub(super) struct Copy {
    root: PathBuf,
    folder: PathBuf,
    builder: Builder,
}

/// What was built of it.
pub(super) struct Built {
    /// A driver each of [`DRIVERS`].
    pub(super) drivers: Vec<PathBuf>,
    /// The test programs of the host: package and path.
    pub(super) tests: Vec<(String, PathBuf)>,
}

impl Copy {
    /// Copies the workspace, of which `sources` will be changed, into `folder`.
    pub(super) fn make(folder: &Path, sources: &[Source]) -> Result<Self> {
        let root = folder.join("source");
        let changed: BTreeSet<&Path> = sources
            .iter()
            .map(|source| source.path.as_str())
            .chain([KERNEL, DRIVER])
            .map(Path::new)
            .collect();
        for entry in fs::read_dir(workspace::root())?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let from = entry.path();
            let all = if from.is_dir() { files(&from)? } else { vec![from] };
            for file in all {
                let text = fs::read(&file)?;
                let name = file.strip_prefix(workspace::root())?;
                // What is changed is written later, and only if it is another then.
                if !changed.contains(name) {
                    put(&root.join(name), &text)?;
                }
            }
        }
        let builder = Builder::prepare()?.for_copy(root.clone(), folder.join("driver-build"));
        Ok(Self { root, folder: folder.to_owned(), builder })
    }

    /// Writes the changes but for those in `without`. Returns what was written, by path.
    fn write<'s>(
        &self,
        sources: &'s [Source],
        without: &BTreeSet<u32>,
    ) -> Result<BTreeMap<&'s str, Rewritten>> {
        let keep = |number: u32| !without.contains(&number);
        let mut written = BTreeMap::new();
        let mut count = 0;
        for source in sources {
            let changed = rewrite(&source.text, &source.sites, source.first, &keep, source.switch);
            count += source.sites.iter().map(|site| site.changes.len()).sum::<usize>();
            written.insert(source.path.as_str(), changed);
        }
        // Nobody reads what the compiler thinks of all that.
        let library = |name: &str| -> Result<String> {
            let text = fs::read_to_string(workspace::root().join(name)).with_context(|| name.to_owned())?;
            Ok(format!("#![allow(warnings)]\n{text}"))
        };
        put(&self.root.join(DRIVER), library(DRIVER)?.as_bytes())?;
        let kernel = library(KERNEL)? + "\n#[doc(hidden)]\npub mod mutants;\n";
        put(&self.root.join(KERNEL), kernel.as_bytes())?;
        for (path, changed) in &written {
            put(&self.root.join(path), changed.text.as_bytes())?;
        }
        put(&self.root.join("minifilter/kernel/src/mutants.rs"), switch::module(count).as_bytes())?;
        Ok(written)
    }

    /// Finds the changes that do not compile, beginning with those in `known`.
    pub(super) fn unviable(&self, sources: &[Source], known: BTreeSet<u32>) -> Result<BTreeSet<u32>> {
        let mut unviable = known;
        loop {
            let step =
                Step::start(format!("checking, without {} changes that do not compile", unviable.len()));
            let written = self.write(sources, &unviable)?;
            let mut driver = self.builder.cargo("check");
            driver.args(["--profile", "driver", "--lib"]);
            driver.args(DRIVERS.iter().flat_map(|name| ["--package", name]));
            let mut host = self.host("check");
            host.args(["--lib", "--profile", "test"]);
            let mut errors = errors(&mut driver)?;
            errors.extend(self::errors(&mut host)?);
            step.done();
            if errors.is_empty() {
                return Ok(unviable);
            }
            let before = unviable.len();
            for error in &errors {
                unviable.extend(culprits(error, &written));
            }
            if unviable.len() == before {
                let rendered = errors.iter().filter_map(|error| error["rendered"].as_str());
                bail!(
                    "the copy does not compile, and no change is the reason:\n{}",
                    rendered.collect::<String>()
                );
            }
        }
    }

    /// Builds it with all changes but those that do not compile.
    pub(super) fn build(&self, sources: &[Source], unviable: &BTreeSet<u32>) -> Result<Built> {
        self.write(sources, unviable)?;
        let mut drivers = Vec::new();
        for name in DRIVERS {
            drivers.push(self.builder.build(name, &self.folder.join("drivers"))?.image);
        }
        let mut command = self.host("test");
        command.args(["--lib", "--no-run"]);
        let tests = programs(&mut command)?;
        Ok(Built { drivers, tests })
    }

    fn host(&self, subcommand: &str) -> Command {
        let mut command = Command::new(toolchain::cargo());
        command.current_dir(&self.root).arg(subcommand);
        command.env("CARGO_TARGET_DIR", self.folder.join("host-build")).env("CARGO_PROFILE_DEV_DEBUG", "0");
        command.args(HOST.iter().flat_map(|name| ["--package", name]));
        command
    }
}

/// Writes a file, unless it is so already: what is older than what was built of it is not built again.
fn put(path: &Path, text: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// What Cargo says in JSON.
fn messages(command: &mut Command) -> Result<(Vec<Value>, bool)> {
    command.arg("--message-format=json").stdin(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().with_context(|| format!("starting {}", run::display(command)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let values: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if values.is_empty() {
        bail!("{}\n{}", run::display(command), String::from_utf8_lossy(&output.stderr));
    }
    Ok((values, output.status.success()))
}

/// The errors of a build.
fn errors(command: &mut Command) -> Result<Vec<Value>> {
    let (values, success) = messages(command)?;
    let messages = values.into_iter().filter(|value| value["reason"] == "compiler-message");
    let errors: Vec<Value> = messages
        .map(|mut value| value["message"].take())
        .filter(|message| {
            message["level"] == "error" && message["spans"].as_array().is_some_and(|s| !s.is_empty())
        })
        .collect();
    if !success && errors.is_empty() {
        bail!("{} failed without an error that names a place", run::display(command));
    }
    Ok(errors)
}

/// The test programs that a build made: package and path.
pub(super) fn programs(command: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    let (values, success) = messages(command)?;
    if !success {
        let rendered = values.iter().filter_map(|value| value["message"]["rendered"].as_str());
        bail!("{} failed\n{}", run::display(command), rendered.collect::<String>());
    }
    let made = values.iter().filter(|value| value["reason"] == "compiler-artifact");
    Ok(made
        .filter_map(|value| {
            let path = value["executable"].as_str()?;
            Some((value["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
        })
        .collect())
}

/// The changes that an error is about: those in whose text it is, or else those in whose text its explanations are.
fn culprits(error: &Value, written: &BTreeMap<&str, Rewritten>) -> BTreeSet<u32> {
    let mut places = Vec::new();
    gather(error, &mut places);
    for primary in [true, false] {
        let mut found = BTreeSet::new();
        for (path, range, _) in places.iter().filter(|(_, _, is_primary)| *is_primary == primary) {
            let Some(file) = written.get(path.as_str()) else { continue };
            let around =
                file.added.iter().filter(|(_, added)| added.start <= range.start && range.end <= added.end);
            // The nearest: an error in a statement that may be left out is not the statement's.
            if let Some((number, _)) = around.min_by_key(|(_, added)| added.len()) {
                found.insert(*number);
            }
        }
        if !found.is_empty() {
            return found;
        }
    }
    // What is around the error, such as a statement whose effect is missed later.
    BTreeSet::new()
}

/// The places that an error names, those of its notes included: file, bytes, and whether it is there.
fn gather(message: &Value, places: &mut Vec<(String, Range<usize>, bool)>) {
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    for span in message["spans"].as_array().into_iter().flatten() {
        let path = span["file_name"].as_str().unwrap_or_default().to_owned();
        let range = number(&span["byte_start"])..number(&span["byte_end"]);
        places.push((path, range, span["is_primary"] == true));
    }
    for child in message["children"].as_array().into_iter().flatten() {
        let mut inner = Vec::new();
        gather(child, &mut inner);
        places.extend(inner.into_iter().map(|(path, range, _)| (path, range, false)));
    }
}
