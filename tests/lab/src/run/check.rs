//! Judging files that cannot be compared, by a command that knows their format.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Tree;
use super::program::Folder;

/// Runs the command in a folder with these files. What keeps it from being run counts against the files.
pub(crate) fn is_sound(check: &str, files: &Tree) -> bool {
    let Ok(folder) = Folder::new() else { return false };
    let put = |(name, contents): (&String, &Vec<u8>)| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, contents)
    };
    if files.iter().try_for_each(put).is_err() {
        return false;
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", check]).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let sound = command.status().is_ok_and(|status| status.success());
    drop(fs::remove_dir_all(folder.path()));
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_sees_the_files_and_decides() {
        let files = Tree::from([("a/b".to_owned(), b"good".to_vec())]);
        assert!(is_sound("test \"$(cat a/b)\" = good", &files));
        assert!(!is_sound("test \"$(cat a/b)\" = bad", &files));
        assert!(!is_sound("no-such-command", &files));
    }
}
