//! Host files that a program works on: which ones, and their way onto a lab volume.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

/// A file to put on the volume.
#[derive(Clone, Debug)]
pub struct HostFile {
    /// Its bytes.
    pub contents: Vec<u8>,
    /// When it was last modified: some programs store that.
    pub modified: SystemTime,
    /// Nobody may write it.
    pub readonly: bool,
}

/// Files by name relative to their folder, `/` between components.
pub type HostFiles = BTreeMap<String, HostFile>;

/// Collects the files that a command line names, and `more`.
///
/// An argument counts if it is a relative path to an existing file or folder. An absolute path cannot be the
/// same on a volume that is mounted elsewhere: such an argument is left alone, and the program works on the
/// host's file.
///
/// # Errors
/// A file of `more` that does not exist, lies outside the folder, or cannot be read.
pub fn collect(folder: &Path, arguments: &[String], more: &[PathBuf]) -> Result<HostFiles> {
    let mut files = HostFiles::new();
    for argument in arguments {
        let path = Path::new(argument);
        if path.is_relative() && !argument.is_empty() && folder.join(path).exists() && inside(path).is_some()
        {
            add(&mut files, folder, path)?;
        }
    }
    for path in more {
        if inside(path).is_none() {
            bail!("{}: name it relative to the folder, without \"..\"", path.display());
        }
        add(&mut files, folder, path)?;
    }
    Ok(files)
}

/// The components of a relative path that stays inside its folder.
fn inside(path: &Path) -> Option<String> {
    let mut components = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => components.push(name.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(components.join("/"))
}

fn add(files: &mut HostFiles, folder: &Path, path: &Path) -> Result<()> {
    let host = folder.join(path);
    let about = fs::metadata(&host).with_context(|| path.display().to_string())?;
    if about.is_dir() {
        for entry in fs::read_dir(&host).with_context(|| path.display().to_string())? {
            add(files, folder, &path.join(entry?.file_name()))?;
        }
        return Ok(());
    }
    if !about.is_file() {
        return Ok(());
    }
    let Some(name) = inside(path) else { return Ok(()) };
    let file = HostFile {
        contents: fs::read(&host).with_context(|| path.display().to_string())?,
        modified: about.modified()?,
        readonly: about.permissions().readonly(),
    };
    files.insert(name, file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_inside_the_working_folder_have_a_place_on_the_volume() {
        assert_eq!(inside(Path::new("./a/b.txt")), Some("a/b.txt".into()));
        assert_eq!(inside(Path::new("../a")), None);
        assert_eq!(inside(Path::new("/etc/passwd")), None);
    }
}
