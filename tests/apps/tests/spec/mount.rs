//! What a program finds on a mounted lab volume.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use crate::support::{mounted, no_fuse, shell};
use lab::mount::Options;

fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn what_a_program_writes_is_on_the_volume() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        fs::create_dir(folder.join("reports")).unwrap();
        fs::write(folder.join("reports/may.txt"), b"all good").unwrap();
        fs::read(folder.join("reports/may.txt")).unwrap()
    });
    assert_eq!(after.result, b"all good");
    assert_eq!(after.on_volume("reports\\may.txt"), Some(b"all good".to_vec()));
    assert_eq!((after.account.writes, after.account.bytes), (1, 8));
}

#[test]
fn large_files_come_back_byte_for_byte() {
    if no_fuse() {
        return;
    }
    let bytes: Vec<u8> = (0..3_000_001u32).map(|number| (number * 7 / 3) as u8).collect();
    let after = mounted(Options::default(), |folder| {
        fs::write(folder.join("big"), &bytes).unwrap();
        let mut file = File::open(folder.join("big")).unwrap();
        file.seek(SeekFrom::Start(1_234_567)).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        rest == bytes[1_234_567..]
    });
    assert!(after.result);
    assert_eq!(after.on_volume("big"), Some(bytes));
}

#[test]
fn a_truncating_open_empties_the_file_and_another_open_does_not() {
    if no_fuse() {
        return;
    }
    let sizes = mounted(Options::default(), |folder| {
        let path = folder.join("a");
        fs::write(&path, b"0123456789").unwrap();
        drop(OpenOptions::new().write(true).open(&path).unwrap());
        let kept = fs::metadata(&path).unwrap().len();
        drop(OpenOptions::new().write(true).truncate(true).open(&path).unwrap());
        (kept, fs::metadata(&path).unwrap().len())
    });
    assert_eq!(sizes.result, (10, 0));
}

#[test]
fn appending_writes_at_the_end_wherever_that_is_by_then() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        let open = || OpenOptions::new().append(true).create(true).open(folder.join("log")).unwrap();
        let (mut one, mut two) = (open(), open());
        one.write_all(b"one ").unwrap();
        two.write_all(b"two ").unwrap();
        one.write_all(b"three").unwrap();
    });
    assert_eq!(after.on_volume("log"), Some(b"one two three".to_vec()));
}

#[test]
fn a_close_is_over_before_the_next_request() {
    if no_fuse() {
        return;
    }
    // Nobody shares: an open finds the file free only if the close before it was finished.
    let options = Options { share: 0, ..Options::default() };
    let refused = mounted(options, |folder| {
        let path = folder.join("a");
        fs::write(&path, b"x").unwrap();
        (0..300).filter(|_| OpenOptions::new().write(true).open(&path).is_err()).count()
    });
    assert_eq!(refused.result, 0);
}

#[test]
fn a_sharing_violation_is_a_busy_file() {
    if no_fuse() {
        return;
    }
    let options = Options { share: 1, ..Options::default() };
    let after = mounted(options, |folder| {
        let path = folder.join("a");
        fs::write(&path, b"x").unwrap();
        let _reader = File::open(&path).unwrap();
        (errno(File::open(&path)), errno(OpenOptions::new().write(true).open(&path)))
    });
    assert_eq!(after.result, (None, Some(libc::EBUSY)));
}

#[test]
fn errors_are_those_that_linux_programs_know() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        fs::create_dir_all(folder.join("full/of")).unwrap();
        fs::write(folder.join("file"), b"").unwrap();
        let exclusive = OpenOptions::new().write(true).create_new(true).open(folder.join("file"));
        [
            errno(File::open(folder.join("nothing"))),
            errno(exclusive),
            errno(fs::remove_dir(folder.join("full"))),
            errno(fs::create_dir(folder.join("full"))),
            errno(File::open(folder.join("file/below"))),
            errno(OpenOptions::new().write(true).open(folder.join("full"))),
            errno(symlink("file", folder.join("link"))),
            errno(fs::write(folder.join(OsStr::from_bytes(b"caf\xE9")), b"")),
            errno(fs::write(folder.join("n".repeat(256)), b"")),
        ]
    });
    let expected = [
        libc::ENOENT,
        libc::EEXIST,
        libc::ENOTEMPTY,
        libc::EEXIST,
        libc::ENOTDIR,
        libc::EISDIR,
        libc::EPERM,
        libc::EILSEQ,
        libc::ENAMETOOLONG,
    ];
    assert_eq!(after.result, expected.map(Some));
}

#[test]
fn names_that_windows_does_not_know_come_back() {
    if no_fuse() {
        return;
    }
    let names = ["a:b", "what?", "Übersicht.txt", "back\\slash", "two  spaces"];
    let after = mounted(Options::default(), |folder| {
        for name in names {
            fs::write(folder.join(name), name).unwrap();
        }
        let mut listed: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        listed.sort();
        let read = names.map(|name| fs::read_to_string(folder.join(name)).unwrap());
        (listed, read)
    });
    let mut expected = names.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(after.result, (expected, names.map(str::to_owned)));
}

#[test]
fn a_rename_replaces_and_an_open_file_follows() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        fs::write(folder.join("old"), b"old").unwrap();
        fs::write(folder.join("new"), b"new").unwrap();
        let mut open = OpenOptions::new().append(true).open(folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join("old")).unwrap();
        open.write_all(b"er").unwrap();
        errno(File::open(folder.join("new")))
    });
    assert_eq!(after.result, Some(libc::ENOENT));
    assert_eq!(after.on_volume("old"), Some(b"newer".to_vec()));
}

#[test]
fn a_folder_that_moves_takes_its_files_along() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        fs::create_dir(folder.join("drafts")).unwrap();
        fs::write(folder.join("drafts/a"), b"a").unwrap();
        fs::rename(folder.join("drafts"), folder.join("final")).unwrap();
        fs::read(folder.join("final/a")).unwrap()
    });
    assert_eq!(after.result, b"a");
}

#[test]
fn an_unlinked_name_is_gone_at_once_and_the_open_file_lives_on() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        let path = folder.join("a");
        fs::write(&path, b"still here").unwrap();
        let file = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut bytes = [0; 10];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (errno(File::open(&path)), bytes)
    });
    assert_eq!(after.result, (Some(libc::ENOENT), *b"still here"));
    assert_eq!(after.on_volume("a"), None);
}

#[test]
fn a_hard_link_is_the_same_file() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        fs::write(folder.join("a"), b"one").unwrap();
        fs::hard_link(folder.join("a"), folder.join("b")).unwrap();
        fs::write(folder.join("b"), b"two").unwrap();
        let (a, b) = (fs::metadata(folder.join("a")).unwrap(), fs::metadata(folder.join("b")).unwrap());
        (a.ino() == b.ino(), a.nlink(), fs::read(folder.join("a")).unwrap())
    });
    assert_eq!(after.result, (true, 2, b"two".to_vec()));
}

#[test]
fn the_read_only_bit_keeps_writers_out() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        let path = folder.join("a");
        fs::write(&path, b"x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let refused = OpenOptions::new().write(true).open(&path).map_err(|error| error.kind()).err();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        (refused, mode, OpenOptions::new().write(true).open(&path).is_ok())
    });
    assert_eq!(after.result, (Some(ErrorKind::PermissionDenied), 0o444, true));
}

#[test]
fn times_that_a_program_sets_stay() {
    if no_fuse() {
        return;
    }
    let then = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_700);
    let after = mounted(Options::default(), |folder| {
        let file = File::create(folder.join("a")).unwrap();
        file.set_modified(then).unwrap();
        drop(file);
        fs::metadata(folder.join("a")).unwrap().modified().unwrap()
    });
    assert_eq!(after.result, then);
}

#[test]
fn a_file_is_cut_and_grown_with_and_without_a_handle() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| {
        let path = folder.join("a");
        fs::write(&path, b"0123456789").unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(4).unwrap();
        drop(file);
        shell(folder, "truncate -s 6 a").status.success()
    });
    assert!(after.result);
    assert_eq!(after.on_volume("a"), Some(b"0123\0\0".to_vec()));
}

#[test]
fn a_full_volume_says_so_and_keeps_what_it_has() {
    if no_fuse() {
        return;
    }
    let options = Options::default();
    let lab = lab::Lab::builder().seed(1).disk_full_after(64 * 1024).build().unwrap();
    let after = crate::support::mounted_on(lab, options, |mounted| {
        fs::write(mounted.folder().join("small"), vec![1; 10_000]).unwrap();
        errno(fs::write(mounted.folder().join("large"), vec![2; 100_000]))
    });
    assert_eq!(after.result, Some(libc::ENOSPC));
    assert_eq!(after.on_volume("small"), Some(vec![1; 10_000]));
    assert!(after.account.full > 0);
}

#[test]
fn a_shared_mapping_reaches_the_file_where_the_kernel_allows_it() {
    if no_fuse() {
        return;
    }
    let lab = lab::Lab::builder().seed(1).build().unwrap();
    let after = crate::support::mounted_on(lab, Options::default(), |mounted| {
        let path = mounted.folder().join("a");
        fs::write(&path, vec![b'.'; 8192]).unwrap();
        let script = "import mmap\nf = open('a', 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nm[5000:5006] = b'mapped'\nm.close()";
        let python = std::process::Command::new("/usr/bin/python3")
            .args(["-c", script])
            .current_dir(mounted.folder())
            .output();
        let worked = python.is_ok_and(|output| output.status.success());
        (mounted.shared_mappings() == lab::mount::SharedMappings::Allowed, worked)
    });
    let (allowed, worked) = after.result;
    assert_eq!(allowed, worked);
    let expected: &[u8] = if allowed { b"mapped" } else { b"......" };
    assert_eq!(&after.on_volume("a").unwrap()[5000..5006], expected);
}

#[test]
fn the_volume_tells_its_size() {
    if no_fuse() {
        return;
    }
    let after = mounted(Options::default(), |folder| shell(folder, "stat -f -c '%s %b %f' .").stdout);
    let text = String::from_utf8(after.result).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert!(numbers[0] == 4096 && numbers[1] >= numbers[2] && numbers[2] > 0, "{text}");
}

#[test]
fn what_the_volume_does_not_serve_is_refused_and_stops_nothing() {
    if no_fuse() {
        return;
    }
    // Owners, devices, extended attributes, locks, holes: some the kernel keeps for itself, some come here.
    let after = mounted(Options::default(), |folder| {
        shell(
            folder,
            "echo x > a; chown 12345 a; mknod pipe p; setfattr -n user.a -v b a; flock a true; \
             cp --sparse=always a b; fallocate -p -l 1 a; fallocate -l 9000 a; sync -f a; cat a b",
        )
        .stdout
    });
    assert!(after.result.starts_with(b"x\n"));
    assert_eq!(after.on_volume("a").map(|bytes| bytes.len()), Some(9000));
}
