//! How Linux processes show in the lab: names, ends, and who closed a file.

use std::fs;
use std::process::Command;

use crate::support::{After, mounted, no_fuse, shell};
use lab::mount::Options;

/// Runs a script that holds a file open when it ends.
fn end(script: &str) -> After<()> {
    mounted(Options::default(), |folder| {
        shell(folder, &format!("exec 3>held; {script}"));
    })
}

#[test]
fn a_program_ends_with_its_own_status() {
    if no_fuse() {
        return;
    }
    for status in [0, 3, 255] {
        let after = end(&format!("exit {status}"));
        assert_eq!(after.end_of("dash.exe").or(after.end_of("sh.exe")), Some(status), "{:?}", after.ended);
    }
}

#[test]
fn a_signal_is_what_the_same_cause_gives_on_windows() {
    if no_fuse() {
        return;
    }
    for (signal, status) in [("KILL", 1), ("SEGV", 0xC000_0005u32 as i32), ("INT", 0xC000_013Au32 as i32)] {
        let after = end(&format!("kill -{signal} $$"));
        assert_eq!(after.end_of("dash.exe").or(after.end_of("sh.exe")), Some(status), "{:?}", after.ended);
    }
}

#[test]
fn a_program_is_known_by_its_executable_after_exec() {
    if no_fuse() {
        return;
    }
    let after = end("exec stat held");
    let images: Vec<&str> = after.ended.iter().map(|(image, _)| image.as_str()).collect();
    assert!(images.contains(&"stat.exe"), "{images:?}");
}

#[test]
fn an_inherited_file_is_closed_by_whoever_holds_it_last() {
    if no_fuse() {
        return;
    }
    // The shell is killed while its child still writes: the file is closed after both, and complete.
    let after = mounted(Options::default(), |folder| {
        shell(folder, "exec 3>held; (sleep 0.2; echo late >&3) & kill -9 $$");
        // The child is nobody's now; the mount waits for its files.
    });
    assert_eq!(after.on_volume("held"), Some(b"late\n".to_vec()));
}

#[test]
fn every_process_has_ended_when_the_mount_has() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        for number in 0..5 {
            let file = folder.join(format!("{number}"));
            fs::write(&file, b"x").unwrap();
            assert!(Command::new("/bin/cat").arg(&file).output().unwrap().status.success());
        }
    });
    let left: Vec<_> =
        after.lab.executive().processes.all().into_iter().filter(|process| process.id != 4).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(after.ended.iter().filter(|(image, _)| image == "cat.exe").count(), 5);
}
