//! The programs: how each is called, what it works on, and the Debian package that it comes from.
//!
//! They were chosen because they save in place, each in another way. None of them knows of Intact, and none
//! of them is careless: this is how most programs save.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::inputs;

/// A program of the demo.
pub(crate) struct Program {
    /// How people call it.
    pub(crate) name: &'static str,
    /// How it saves.
    pub(crate) way: &'static str,
    /// The command line, relative to a folder that `prepare` has filled.
    pub(crate) command: &'static [&'static str],
    /// Files that the command line names in a form that `lab run` cannot recognise.
    pub(crate) files: &'static [&'static str],
    /// The file that must not be damaged.
    pub(crate) document: &'static str,
    /// Programs that must be there, with the Debian package of each.
    pub(crate) needs: &'static [(&'static str, &'static str)],
    /// Makes its input files in a folder.
    pub(crate) prepare: fn(&Path) -> Result<()>,
}

/// Appends a file to an archive, as scripts do.
const APPEND: &str =
    "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'a') as archive: archive.write(sys.argv[2])";

/// All of them.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "sort -o",
        way: "reads the file, truncates it, writes it anew",
        command: &["/usr/bin/sort", "-n", "-o", "numbers.txt", "numbers.txt"],
        files: &[],
        document: "numbers.txt",
        needs: &[("/usr/bin/sort", "coreutils")],
        prepare: |folder| write(folder, "numbers.txt", &inputs::numbers(20_000)),
    },
    Program {
        name: "cp",
        way: "opens the old file truncating it, copies the new one into it",
        command: &["/usr/bin/cp", "draft.bin", "report.bin"],
        files: &[],
        document: "report.bin",
        needs: &[("/usr/bin/cp", "coreutils")],
        prepare: |folder| {
            write(folder, "report.bin", &inputs::noise(1, 900_000))?;
            write(folder, "draft.bin", &inputs::noise(2, 1_000_000))
        },
    },
    Program {
        name: "tar -r",
        way: "overwrites the end of the archive and goes on from there",
        command: &["/usr/bin/tar", "-rf", "backup.tar", "photos/two.bin"],
        files: &[],
        document: "backup.tar",
        needs: &[("/usr/bin/tar", "tar")],
        prepare: |folder| {
            fs::create_dir(folder.join("photos"))?;
            write(folder, "photos/one.bin", &inputs::noise(3, 200_000))?;
            write(folder, "photos/two.bin", &inputs::noise(4, 200_000))?;
            run(folder, &["/usr/bin/tar", "-cf", "backup.tar", "photos/one.bin"])
        },
    },
    Program {
        name: "zip -g",
        way: "overwrites the table of contents with data, writes a new one at the end",
        command: &["/usr/bin/zip", "-q", "-0", "-g", "reports.zip", "june.txt"],
        files: &[],
        document: "reports.zip",
        needs: &[("/usr/bin/zip", "zip")],
        prepare: |folder| {
            write(folder, "may.txt", &inputs::numbers(20_000))?;
            write(folder, "june.txt", &inputs::numbers(18_000))?;
            run(folder, &["/usr/bin/zip", "-q", "reports.zip", "may.txt"])
        },
    },
    Program {
        name: "python zipfile",
        way: "the same in Python, which tidies up after a failed write and closes",
        command: &["/usr/bin/python3", "-c", APPEND, "reports.zip", "june.txt"],
        files: &[],
        document: "reports.zip",
        needs: &[("/usr/bin/python3", "python3")],
        prepare: |folder| {
            write(folder, "may.txt", &inputs::numbers(20_000))?;
            write(folder, "june.txt", &inputs::numbers(18_000))?;
            run(folder, &["/usr/bin/python3", "-c", APPEND, "reports.zip", "may.txt"])
        },
    },
    Program {
        name: "exiftool",
        way: "writes a temporary file, then copies it over the original, then cuts it to size",
        command: &["/usr/bin/exiftool", "-q", "-overwrite_original_in_place", "-Artist=Ada", "photo.png"],
        files: &[],
        document: "photo.png",
        needs: &[("/usr/bin/exiftool", "libimage-exiftool-perl")],
        prepare: |folder| write(folder, "photo.png", &inputs::picture(300, 200)),
    },
    Program {
        name: "metaflac",
        way: "overwrites the header of the file within its padding",
        command: &["/usr/bin/metaflac", "--set-tag-from-file=LYRICS=lyrics.txt", "song.flac"],
        files: &["lyrics.txt"],
        document: "song.flac",
        needs: &[("/usr/bin/metaflac", "flac")],
        prepare: |folder| {
            write(folder, "song.wav", &inputs::sound(2))?;
            write(folder, "lyrics.txt", &inputs::numbers(12_000))?;
            run(folder, &["/usr/bin/flac", "--silent", "--padding=100000", "song.wav"])
        },
    },
    Program {
        name: "mid3v2",
        way: "grows the file, moves its contents up, writes the header into the gap",
        command: &["/usr/bin/mid3v2", "--artist=Ada", "--song=Engine", "song.mp3"],
        files: &[],
        document: "song.mp3",
        needs: &[("/usr/bin/mid3v2", "python3-mutagen")],
        prepare: |folder| write(folder, "song.mp3", &inputs::mp3(900)),
    },
    Program {
        name: "xmlstarlet ed -L",
        way: "parses the file, truncates it, writes it anew",
        command: &["/usr/bin/xmlstarlet", "ed", "-L", "-u", "//price", "-v", "9.99", "prices.xml"],
        files: &[],
        document: "prices.xml",
        needs: &[("/usr/bin/xmlstarlet", "xmlstarlet")],
        prepare: |folder| write(folder, "prices.xml", &inputs::prices(3_000)),
    },
];

fn write(folder: &Path, name: &str, contents: &[u8]) -> Result<()> {
    fs::write(folder.join(name), contents).with_context(|| name.to_owned())
}

fn run(folder: &Path, command: &[&str]) -> Result<()> {
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).current_dir(folder).env("TZ", "UTC").env("LC_ALL", "C");
    let output = process.output().with_context(|| command[0].to_owned())?;
    if !output.status.success() {
        bail!("{}: {}\n{}", command.join(" "), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_names_its_document_among_its_files() {
        for program in PROGRAMS {
            let named =
                program.command.iter().chain(program.files).any(|argument| *argument == program.document);
            assert!(named, "{}", program.name);
            assert!(program.needs.iter().any(|(path, _)| *path == program.command[0]), "{}", program.name);
        }
    }
}
