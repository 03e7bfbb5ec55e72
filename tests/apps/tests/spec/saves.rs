//! Programs that save on a mounted volume with Intact in front of it, by `lab run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::no_fuse;
use clap::Parser;
use lab::run::report::{Exit, Report};
use lab::run::{self, Arguments};

/// The driver, as `cargo xtask build` leaves it.
pub(crate) fn intact() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/intact/intact.sys");
    let path = std::env::var_os("INTACT_SYS").map_or(built, PathBuf::from);
    assert!(path.is_file(), "{} is not there: `cargo xtask build` makes it", path.display());
    path
}

/// A folder with files for a program.
pub(crate) struct Desk(pub(crate) PathBuf);

impl Desk {
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Desk {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("intact-desk-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        for (name, contents) in files {
            fs::write(folder.join(name), contents).unwrap();
        }
        Desk(folder)
    }

    pub(crate) fn run(&self, options: &[&str], program: &[&str]) -> Report {
        let folder = self.0.to_str().unwrap();
        let mut line = vec!["run", "--folder", folder];
        line.extend(options);
        line.push("--");
        line.extend(program);
        run::run(&Arguments::parse_from(line)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn bare(&self, options: &[&str], program: &[&str]) -> Report {
        self.run(&[&["--without"], options].concat(), program)
    }

    fn guarded(&self, options: &[&str], program: &[&str]) -> Report {
        let driver = intact();
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("everything.reg");
        let with = ["--driver", driver.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
        let report = self.run(&[&with, options].concat(), program);
        for trial in &report.trials {
            assert!(trial.trouble.is_empty(), "{report}");
        }
        report
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The states of a file, one per trial.
pub(crate) fn states<'a>(report: &'a Report, name: &str) -> Vec<&'a str> {
    let of = |trial: &'a run::report::Trial| {
        trial.files.iter().find(|file| file.name == name).map_or("nothing", |file| file.state.as_str())
    };
    report.trials.iter().map(of).collect()
}

fn numbers() -> Desk {
    let lines: String =
        (0..20_000u32).map(|line| format!("{}\n", line.wrapping_mul(7919) % 50_000)).collect();
    Desk::with(&[("numbers", lines.as_bytes())])
}

const SORT: &[&str] = &["/usr/bin/sort", "-n", "-o", "numbers", "numbers"];

pub(crate) fn shell(script: &str) -> [&str; 3] {
    ["/bin/sh", "-c", script]
}

#[test]
fn a_save_that_finishes_is_there_with_and_without() {
    if no_fuse() {
        return;
    }
    assert_eq!(states(&numbers().bare(&[], SORT), "numbers"), ["new"]);
    assert_eq!(states(&numbers().guarded(&[], SORT), "numbers"), ["new"]);
}

#[test]
fn a_killed_writer_damages_a_bare_file_and_leaves_the_old_one_with_intact() {
    if no_fuse() {
        return;
    }
    let options = ["--kill-after-writes", "1,50%,90%"];
    let bare = numbers().bare(&options, SORT);
    assert_eq!(states(&bare, "numbers"), ["damaged"; 3]);
    assert_eq!(bare.exit_code(), 1);
    let guarded = numbers().guarded(&options, SORT);
    assert_eq!(states(&guarded, "numbers"), ["old"; 3]);
    assert_eq!(guarded.exit_code(), 0);
    assert!(guarded.trials.iter().all(|trial| trial.struck && trial.exit == Exit::Signal(libc::SIGKILL)));
}

/// A program that gives its file another name, or none, while it writes it: by path, in its own process.
fn python(change: &str) -> String {
    format!(
        "import os\nf = open('numbers', 'r+b', 0)\nfor part in range(6):\n    f.write(b'x' * 20000)\n    \
         if part == 2: {change}\nf.close()\n"
    )
}

#[test]
fn a_file_that_is_renamed_while_it_is_saved_has_its_old_name_and_data_or_the_new_ones() {
    if no_fuse() {
        return;
    }
    let script = python("os.rename('numbers', 'moved')");
    let program = ["/usr/bin/python3", "-c", &script];
    let finished = numbers().guarded(&["--files", "numbers"], &program);
    assert_eq!(states(&finished, "moved"), ["new"], "{finished}");
    assert_eq!(finished.trials[0].exit, Exit::Code(0), "{finished}");
    let killed = numbers().guarded(&["--files", "numbers", "--kill-after-writes", "1,3,5"], &program);
    assert_eq!(states(&killed, "numbers"), ["old"; 3], "{killed}");
    let cut = numbers().guarded(&["--files", "numbers", "--power-cut-after", "*4"], &program);
    let whole = |report: &Report, name: &str| states(report, name).iter().all(|state| *state != "damaged");
    assert!(whole(&cut, "numbers") && whole(&cut, "moved"), "{cut}");
}

#[test]
fn a_file_that_is_removed_while_it_is_saved_is_old_or_gone() {
    if no_fuse() {
        return;
    }
    let script = python("os.remove('numbers')");
    let program = ["/usr/bin/python3", "-c", &script];
    let finished = numbers().guarded(&["--files", "numbers"], &program);
    assert_eq!(finished.trials[0].exit, Exit::Code(0), "{finished}");
    let bare = numbers().bare(&["--files", "numbers"], &program);
    assert_eq!(states(&finished, "numbers"), states(&bare, "numbers"), "{finished}");
    let killed = numbers().guarded(&["--files", "numbers", "--kill-after-writes", "4,5"], &program);
    assert_eq!(states(&killed, "numbers"), ["old"; 2], "{killed}");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    if no_fuse() {
        return;
    }
    let options = ["--disk-full-after", "*3"];
    assert_eq!(states(&numbers().bare(&options, SORT), "numbers"), ["damaged"; 3]);
    assert_eq!(states(&numbers().guarded(&options, SORT), "numbers"), ["old"; 3]);
}

#[test]
fn no_state_that_a_power_cut_leaves_is_damaged() {
    if no_fuse() {
        return;
    }
    let report = numbers().guarded(&["--power-cut-after", "0,*6,100%", "--all"], SORT);
    let states = states(&report, "numbers");
    assert!(states.iter().all(|state| ["old", "new"].contains(state)), "{report}");
    assert_eq!((states.first(), states.last()), (Some(&"old"), Some(&"new")));
}

#[test]
fn a_fault_past_the_end_does_not_strike() {
    if no_fuse() {
        return;
    }
    let report = numbers().bare(&["--kill-after-writes", "100000"], SORT);
    assert_eq!(states(&report, "numbers"), ["new"]);
    assert!(!report.trials[0].struck);
}

#[test]
fn a_program_that_exits_with_an_open_file_saves_by_its_status() {
    if no_fuse() {
        return;
    }
    let desk = Desk::with(&[("report", b"the old version")]);
    for (status, state) in [("exit 0", "new"), ("exit 3", "old"), ("kill -SEGV $$", "old")] {
        // Undisturbed and bare, each of them leaves the new version.
        let script = format!("exec 3>report; printf 'a newer version' >&3; {status}");
        let report = desk.guarded(&["--files", "report"], &shell(&script));
        assert_eq!(states(&report, "report"), [state], "{report}");
    }
}

#[test]
fn a_holder_that_dies_badly_wounds_the_save_of_another() {
    if no_fuse() {
        return;
    }
    let desk = Desk::with(&[("report", b"the old version")]);
    let script = "exec 3>report; /bin/sh -c 'printf half >&3; kill -9 $$'; exec 3>&-; exit 0";
    let report = desk.guarded(&["--files", "report"], &shell(script));
    assert_eq!(states(&report, "report"), ["old"], "{report}");
}

#[test]
fn whoever_asks_after_a_close_sees_the_save() {
    if no_fuse() {
        return;
    }
    let desk = Desk::with(&[("report", b"the old version")]);
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        printf $n >report; test \"$(/bin/cat report)\" = $n || exit 9; done";
    let report = desk.guarded(&["--files", "report"], &shell(script));
    assert_eq!(report.trials[0].exit, Exit::Code(0), "{report}");
    assert_eq!(states(&report, "report"), ["new"]);
}

#[test]
fn a_program_sees_what_it_has_written_so_far_and_others_the_old_version() {
    if no_fuse() {
        return;
    }
    let desk = Desk::with(&[("report", b"old"), ("seen", b"")]);
    let script = "open(F, '+>', 'report'); syswrite(F, 'newer'); sysseek(F, 0, 0); sysread(F, $own, 9);
        $other = `/bin/cat report`; open(S, '>', 'seen'); print S \"$own $other\"; close(S); close(F);
        exit($own eq 'newer' && $other eq 'old' && -s 'report' == 5 ? 0 : 9)";
    let report = desk.guarded(&["--files", "report", "--files", "seen"], &["/usr/bin/perl", "-e", script]);
    assert_eq!(report.trials[0].exit, Exit::Code(0), "{report}");
}

#[test]
fn a_policy_names_programs_by_their_executables() {
    if no_fuse() {
        return;
    }
    let policy = |process: &str| {
        let wide: Vec<String> = format!("{process}\0\0")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let everything =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("everything.reg")).unwrap();
        format!("{everything}\"Processes\"=hex(7):{}\n", wide.join(","))
    };
    let driver = intact();
    for (process, state) in [("sort.exe", "old"), ("tar.exe", "damaged")] {
        let desk = numbers();
        let file = desk.0.join("policy.reg");
        fs::write(&file, policy(process)).unwrap();
        let options = [
            "--driver",
            driver.to_str().unwrap(),
            "--policy",
            file.to_str().unwrap(),
            "--kill-after-writes",
            "50%",
        ];
        assert_eq!(states(&desk.run(&options, SORT), "numbers"), [state], "{process}");
    }
}

#[test]
fn a_program_that_never_saves_the_same_twice_is_judged_by_a_check_or_not_at_all() {
    if no_fuse() {
        return;
    }
    let desk = Desk::with(&[("stamp", b"old")]);
    let program = shell("/bin/date +good-%N > stamp");
    let judged = |options: &[&str]| {
        let report = desk.bare(&[&["--files", "stamp"], options].concat(), &program);
        (states(&report, "stamp")[0].to_owned(), report.exit_code())
    };
    assert_eq!(judged(&[]), ("changed, cannot be compared".into(), 0));
    assert_eq!(judged(&["--check", "grep -q good stamp"]), ("sound".into(), 0));
    assert_eq!(judged(&["--check", "grep -q better stamp"]), ("damaged".into(), 1));
}

#[test]
fn what_is_kept_can_be_mounted_again() {
    if no_fuse() {
        return;
    }
    let desk = numbers();
    let image = desk.0.join("volume.image");
    let report = desk.bare(&["--keep", image.to_str().unwrap()], SORT);
    assert_eq!(states(&report, "numbers"), ["new"]);
    let base = lab_volume::Base::load(&image).unwrap();
    let volume = lab_volume::Volume::mount(base).unwrap();
    let sorted = volume.contents("numbers").unwrap();
    assert!(sorted.starts_with(b"0\n") && sorted.len() as u64 == report.trials[0].files[0].new.unwrap());
}

#[test]
fn a_program_that_names_no_file_is_told_how_to() {
    let error = run::run(&Arguments::parse_from(["run", "--", "/bin/true", "no-such-file"])).unwrap_err();
    assert!(error.to_string().contains("--files"), "{error}");
}
