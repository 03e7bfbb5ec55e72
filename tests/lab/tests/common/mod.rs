//! Where the built test drivers are, and the source of the lab.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The image of a test driver, from `INTACT_DRIVERS` or the workspace's target folder.
///
/// # Panics
/// If it was not built.
pub(crate) fn driver(name: &str) -> PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder =
        std::env::var_os("INTACT_DRIVERS").map_or_else(|| here.join("../../target/drivers"), PathBuf::from);
    let path = folder.join(format!("{name}.sys"));
    assert!(path.is_file(), "{} is not there: build the drivers with `cargo xtask build`", path.display());
    path
}

/// The files of the lab's own code, without its tests: path below `tests/lab`, and text.
pub(crate) fn code() -> Vec<(String, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "executive/src", "volume/src"] {
        collect(&here.join(folder), &mut files);
    }
    let shown = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (path.strip_prefix(here).unwrap().display().to_string(), text)
    };
    files.into_iter().map(shown).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// The names of rules that the code stops a run with: the first text of a call that does so, or of a tuple that says it.
pub(crate) fn rules_in_the_code() -> BTreeSet<String> {
    const STOPS: [&str; 6] =
        ["violate(", "report(", "record_violation(", "broken(", "broken(lab,", "Broken("];
    const CHOSEN: [&str; 4] = ["=> \"", "return (\"", "Some((\"", "(\""];
    let mut rules = BTreeSet::new();
    for (path, text) in code() {
        if path.ends_with("verifier.rs") {
            continue;
        }
        let flat: String = text.lines().map(str::trim).collect::<Vec<_>>().join(" ").replace("( ", "(");
        let mut name = |from: &str| {
            let Some(rest) = from.trim_start().strip_prefix('"') else { return };
            let word = rest.split('"').next().unwrap_or_default();
            let plain = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            if plain && word.len() > 2 {
                rules.insert(word.to_owned());
            }
        };
        for stop in STOPS {
            flat.match_indices(stop).for_each(|(at, _)| name(&flat[at + stop.len()..]));
        }
        // Where the rule is chosen before the call: classifications of addresses and faults, borders of pool.
        if ["fault.rs", "pool.rs", "image.rs"].iter().any(|file| path.ends_with(file))
            && path.contains("executive/src")
            && !path.contains("imports")
        {
            for chosen in CHOSEN {
                flat.match_indices(chosen).for_each(|(at, _)| {
                    let from = &flat[at + chosen.len() - 1..];
                    if from[1..]
                        .split('"')
                        .next()
                        .is_some_and(|word| word.contains('-') || word == "breakpoint")
                    {
                        name(from);
                    }
                });
            }
        }
    }
    for elsewhere in ["paged-at-dispatch", "null-pointer"] {
        assert!(rules.contains(elsewhere), "{elsewhere} was not found: the search is out of date");
    }
    rules
}
