//! How Linux processes show in the lab: names, ends, and who closed a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::iter::successors;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use crate::support::{After, mounted, mounted_on, no_ends, no_fuse, shell};
use lab::Lab;
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

/// Image name and the image names of the ancestors, the nearest first, of every lab process that a mount had.
fn lines(body: impl FnOnce(&Path) + Send) -> Vec<Vec<String>> {
    let lab = Lab::builder().seed(1).build().expect("a lab");
    let seen: Rc<RefCell<BTreeMap<u32, (u32, String)>>> = Rc::default();
    let all = seen.clone();
    lab.executive().processes.on_views_torn_down(move |_, process| {
        all.borrow_mut().insert(process.id, (process.parent, process.image_name().to_owned()));
    });
    mounted_on(lab, Options::default(), |mounted| body(mounted.folder()));
    let seen = seen.borrow();
    let line = |id: &u32| {
        let up = |id: &u32| seen.get(id).map(|(parent, _)| *parent);
        successors(Some(*id), up).filter_map(|id| Some(seen.get(&id)?.1.clone())).collect()
    };
    seen.keys().map(line).collect()
}

fn has_line(lines: &[Vec<String>], line: &[&str]) -> bool {
    lines.iter().any(|all| all.starts_with(&line.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()))
}

#[test]
fn a_process_is_the_child_of_who_started_it_whether_that_one_uses_the_volume_or_not() {
    if no_fuse() {
        return;
    }
    // The shells work elsewhere and never make a request.
    let lines = lines(|folder| {
        let script = "/bin/sh -c '/bin/cp \"$0/a\" \"$0/b\"; true' \"$0\"; /bin/cat \"$0/b\"; true";
        fs::write(folder.join("a"), b"x").unwrap();
        let shell = Command::new("/bin/sh").args(["-c", script]).arg(folder).current_dir("/").output();
        assert_eq!(shell.unwrap().stdout, b"x");
    });
    assert!(has_line(&lines, &["cp.exe", "dash.exe", "dash.exe"]), "{lines:?}");
    assert!(has_line(&lines, &["cat.exe", "dash.exe"]), "{lines:?}");
    // What the mount's own process starts has no parent.
    assert!(lines.iter().any(|line| line == &["dash.exe"]), "{lines:?}");
}

#[test]
fn who_has_lost_its_parent_before_it_is_seen_has_none() {
    if no_fuse() {
        return;
    }
    let lines = lines(|folder| {
        let script = "(/bin/sleep 0.2; echo x > \"$0/a\"; exec /bin/cat \"$0/a\") & exit 0";
        let shell = Command::new("/bin/sh").args(["-c", script]).arg(folder).current_dir("/").output();
        assert_eq!(shell.unwrap().stdout, b"x\n");
    });
    assert!(lines.iter().any(|line| line == &["cat.exe", "dash.exe"]), "{lines:?}");
}

#[test]
fn the_end_of_a_process_that_holds_nothing_is_known_with_its_status() {
    if no_fuse() || no_ends() {
        return;
    }
    // Each of them has closed what it had before it ends, and the mount goes on.
    let order = mounted(Options::default(), |folder| {
        shell(
            folder,
            "/bin/sh -c 'echo x > a; exit 3'; /bin/sh -c 'echo x > b; kill -9 $$'; /bin/cat a; exit 5",
        );
    });
    let ends: Vec<i32> =
        order.ended.iter().filter(|(image, _)| image == "dash.exe").map(|(_, status)| *status).collect();
    assert_eq!(ends, [3, 1, 5], "{:?}", order.ended);
    let cat = order.ended.iter().position(|(image, _)| image == "cat.exe");
    let second = order.ended.iter().position(|end| *end == ("dash.exe".into(), 1));
    assert!(second < cat, "an end comes before what is asked after it: {:?}", order.ended);
}

#[test]
fn a_process_in_the_middle_of_execve_keeps_nobody_waiting() {
    if no_fuse() {
        return;
    }
    // The child asks for something while its parent, not known yet, closes a file on the volume in execve.
    let script = "import os\nos.close(os.dup(F.fileno()))\nif os.fork() == 0:\n    os.listdir(D)\n    os._exit(0)\n\
                  os.execv('/usr/bin/stat', ['stat', D])";
    for _ in 0..20 {
        let after = mounted(Options::default(), |folder| {
            let script = format!("import sys\nD = sys.argv[1]\nF = open(D + '/a', 'w')\n{script}");
            let mut python = Command::new("/usr/bin/python3");
            python.args(["-c", &script]).arg(folder).current_dir("/");
            python.output().unwrap().status.success()
        });
        assert!(after.result);
    }
}
