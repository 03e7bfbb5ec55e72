//! Which opens become part of a save, and which are left alone.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene};
use lab::{CreateOptions, DELETE, DIRECTORY, GENERIC_READ, GENERIC_WRITE, Name, READ_ATTRIBUTES, Status};
use lab_volume::access;

const OPEN: u32 = 1;
const OPEN_IF: u32 = 3;
const OVERWRITE: u32 = 4;
const OVERWRITE_IF: u32 = 5;
const SUPERSEDE: u32 = 0;
const CREATE: u32 = 2;

const DELETE_ON_CLOSE: u32 = 0x1000;
const REQUIRE_OPLOCK: u32 = 0x1_0000;
const MAXIMUM_ALLOWED: u32 = 0x200_0000;
const READ_ONLY: u32 = 0x1;

/// Opens, writes, is killed; whether a save took part.
fn is_saved(scene: &Scene, options: CreateOptions) -> bool {
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(options).unwrap();
    assert_eq!(writer.write(handle, 0, NEW), Ok(NEW.len()));
    writer.kill(1);
    scene.happened().contains(&Happened::Begun)
}

#[test]
fn every_way_to_open_an_existing_file_for_writing_is_saved() {
    let by_path = |access, disposition| CreateOptions::new(Name::Path(FILE.into()), access, disposition);
    let ways = [
        ("FILE_WRITE_DATA", by_path(access::WRITE_DATA, OPEN)),
        ("FILE_APPEND_DATA", by_path(access::APPEND_DATA, OPEN)),
        ("GENERIC_WRITE", by_path(GENERIC_WRITE, OPEN)),
        ("GENERIC_ALL", by_path(0x1000_0000, OPEN)),
        ("MAXIMUM_ALLOWED", by_path(MAXIMUM_ALLOWED, OPEN)),
        ("open if", by_path(GENERIC_WRITE, OPEN_IF)),
        ("overwrite", by_path(GENERIC_WRITE, OVERWRITE)),
        ("overwrite if", by_path(GENERIC_WRITE, OVERWRITE_IF)),
        ("supersede", by_path(GENERIC_WRITE, SUPERSEDE)),
        ("asynchronous", by_path(GENERIC_WRITE, OPEN).asynchronous()),
        ("no sharing", by_path(GENERIC_WRITE, OPEN).share(0)),
        ("write-through", by_path(GENERIC_WRITE, OPEN).options(0x2)),
    ];
    for (name, options) in ways {
        let scene = Scene::new();
        assert!(is_saved(&scene, options), "{name}");
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

#[test]
fn what_an_open_alone_does_to_the_file_is_part_of_the_save() {
    for disposition in [OVERWRITE, OVERWRITE_IF, SUPERSEDE] {
        for (killed, expected) in [(true, OLD), (false, &b""[..])] {
            let scene = Scene::new();
            let writer = scene.program("writer.exe");
            let options = CreateOptions::new(Name::Path(FILE.into()), GENERIC_WRITE, disposition);
            let handle = writer.create_file(options).unwrap();
            scene.assert_committed(FILE, OLD);
            if killed {
                writer.kill(1)
            } else {
                writer.close(handle).unwrap()
            }
            // Nothing was written: the save waits for more, for two seconds.
            scene.pass(2_100);
            scene.assert_committed(FILE, expected);
            scene.end();
        }
    }
}

#[test]
fn opens_that_make_the_file_are_saved() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    for disposition in [CREATE, OPEN_IF, OVERWRITE_IF, SUPERSEDE] {
        let scene = Scene::new();
        assert!(is_saved(&scene, CreateOptions::new(Name::Path(FRESH.into()), GENERIC_WRITE, disposition)));
        assert_eq!(scene.committed(FRESH), None, "disposition {disposition}");
        scene.end();
    }
}

#[test]
fn a_new_file_keeps_what_it_was_created_with() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    const HIDDEN: u32 = 0x2;
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let options =
        CreateOptions::create(FRESH, GENERIC_WRITE | READ_ATTRIBUTES).attributes(HIDDEN | READ_ONLY);
    let handle = writer.create_file(options).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    assert_eq!(writer.call(move |caller| caller.information(handle)).unwrap().attributes & 0x3, 0x3);
    writer.close(handle).unwrap();
    scene.assert_committed(FRESH, NEW);
    let attributes = scene.lab.with_volume(|volume| volume.tree()[r"Saved\fresh.txt"].attributes);
    assert_eq!(attributes & 0x3, HIDDEN | READ_ONLY);
    scene.end();
}

#[test]
fn the_way_to_the_name_does_not_matter() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let folder =
        writer.create_file(CreateOptions::open(r"C:\Saved", GENERIC_READ).options(DIRECTORY)).unwrap();
    let below = CreateOptions::new(Name::Relative(folder, "REPORT.TXT".into()), GENERIC_WRITE, OPEN);
    let handle = writer.create_file(below).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    assert!(scene.happened().contains(&Happened::Begun));
    scene.end();
}

#[test]
fn a_file_opened_by_its_id_is_saved() {
    let scene = Scene::new();
    let id = scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].id.0);
    assert!(is_saved(&scene, CreateOptions::new(Name::Id(id), GENERIC_WRITE, OPEN)));
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_hard_link_is_saved_under_the_name_that_the_policy_knows() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    maker.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, READ_ATTRIBUTES)).unwrap().handle;
        caller.link(handle, r"C:\Saved\second.txt", false).unwrap();
        caller.close(handle).unwrap();
    });
    assert!(is_saved(&scene, CreateOptions::open(r"C:\Saved\second.txt", GENERIC_WRITE)));
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn two_names_of_one_file_are_one_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    writer.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, READ_ATTRIBUTES)).unwrap().handle;
        caller.link(handle, r"C:\Saved\second.txt", false).unwrap();
        caller.close(handle).unwrap();
    });
    let first = scene.write_new(&writer);
    let second = writer.create_file(CreateOptions::open(r"C:\Saved\second.txt", GENERIC_WRITE)).unwrap();
    writer.write(second, 0, b"X").unwrap();
    writer.close(second).unwrap();
    scene.assert_committed(FILE, OLD);
    assert_eq!(writer.read(first, 0, 1).unwrap(), b"X");
    writer.close(first).unwrap();
    scene.assert_happened(&[Happened::Begun, Happened::Joined("writer".into()), Happened::Committed]);
    scene.end();
}

#[test]
fn a_named_stream_is_saved_like_the_file() {
    const STREAM: &str = r"C:\Saved\report.txt:notes";
    for killed in [true, false] {
        let scene = Scene::builder().file(r"Saved\report.txt:notes", OLD).build();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::open(STREAM, GENERIC_WRITE)).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        scene.assert_committed(STREAM, OLD);
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        scene.assert_committed(STREAM, if killed { OLD } else { NEW });
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

#[test]
fn what_only_reads_is_not_a_save() {
    let scene = Scene::new();
    let reader = scene.program("reader.exe");
    for access in [GENERIC_READ, READ_ATTRIBUTES, access::READ_DATA, 0] {
        let handle = reader.create_file(CreateOptions::open(FILE, access)).unwrap();
        reader.close(handle).unwrap();
    }
    scene.assert_happened(&[]);
    scene.end();
}

#[test]
fn maximum_allowed_without_a_right_to_write_is_not_a_save() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    let read_only = lab_volume::descriptor(
        LOCAL_SYSTEM,
        &[lab_volume::Ace { allow: true, sid: EVERYONE, mask: 0x12_0089 }],
    );
    maker.call(move |caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, 0x4_0000)).unwrap().handle;
        caller.set_security(handle, 4, &read_only).unwrap();
        caller.close(handle).unwrap();
    });
    let reader = scene.program("reader.exe");
    let handle = reader.create_file(CreateOptions::open(FILE, MAXIMUM_ALLOWED)).unwrap();
    assert_eq!(reader.read(handle, 0, 100).unwrap(), OLD);
    assert_eq!(reader.write(handle, 0, b"x"), Err(Status::ACCESS_DENIED));
    assert_eq!(reader.create_file(CreateOptions::open(FILE, GENERIC_WRITE)), Err(Status::ACCESS_DENIED));
    scene.assert_happened(&[]);
    scene.end();
}

#[test]
fn these_opens_pass_untouched() {
    let cases = [
        ("delete on close", CreateOptions::open(FILE, GENERIC_WRITE | DELETE).options(DELETE_ON_CLOSE)),
        ("requires an oplock", CreateOptions::open(FILE, GENERIC_WRITE).options(REQUIRE_OPLOCK)),
        ("another folder", CreateOptions::open(r"C:\Elsewhere\report.txt", GENERIC_WRITE)),
        ("an excluded path", CreateOptions::open(r"C:\Saved\scratch.tmp", GENERIC_WRITE)),
    ];
    for (name, options) in cases {
        let scene = Scene::builder()
            .rule(|rule| rule.strings("ExcludePaths", &[r"**\*.tmp"]))
            .file(r"Elsewhere\report.txt", OLD)
            .file(r"Saved\scratch.tmp", OLD)
            .build();
        assert!(!is_saved(&scene, options), "{name}");
        scene.assert_happened(&[]);
        scene.end();
    }
}

#[test]
fn directories_are_left_alone() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    let options = CreateOptions::create(r"C:\Saved\folder", GENERIC_WRITE).options(DIRECTORY);
    let folder = maker.create_file(options).unwrap();
    maker.close(folder).unwrap();
    let folder = maker.create_file(CreateOptions::open(r"C:\Saved\folder", GENERIC_WRITE)).unwrap();
    maker.kill(1);
    let _ = folder;
    assert!(scene.lab.with_volume(|volume| volume.tree()[r"Saved\folder"].directory));
    scene.assert_happened(&[]);
    scene.end();
}

#[test]
fn only_the_programs_of_a_rule_are_saved() {
    let rule = |rule: Rule| {
        rule.strings("Processes", &["editor.exe", "word*.exe"]).strings("ExcludeProcesses", &["wordpad.exe"])
    };
    for (image, saved) in [
        ("editor.exe", true),
        ("EDITOR.EXE", true),
        ("wordy.exe", true),
        ("wordpad.exe", false),
        ("vi.exe", false),
    ] {
        let scene = Scene::builder().rule(rule).build();
        let program = scene.program(image);
        scene.write_new(&program);
        program.kill(1);
        scene.assert_committed(FILE, if saved { OLD } else { NEW });
        scene.end();
    }
}

#[test]
fn failures_to_open_are_those_of_the_file_system() {
    let scene = Scene::new();
    let bare = Scene::builder().bare().build();
    let open = |access, disposition| {
        move |path: &str| CreateOptions::new(Name::Path(path.into()), access, disposition)
    };
    for (path, options) in [
        (r"C:\Saved\missing.txt", open(GENERIC_WRITE, OPEN)),
        (r"C:\Saved\missing.txt", open(GENERIC_WRITE, OVERWRITE)),
        (r"C:\Saved\no folder\missing.txt", open(GENERIC_WRITE, OPEN)),
        (r"C:\Saved\no folder\missing.txt", open(GENERIC_WRITE, OVERWRITE_IF)),
        (FILE, open(GENERIC_WRITE, CREATE)),
        (r"C:\Saved\a*b", open(GENERIC_WRITE, OVERWRITE_IF)),
        (r"C:\Saved\report.txt\below", open(GENERIC_WRITE, OPEN)),
    ] {
        let with = scene.program("writer.exe").create_file(options(path));
        let without = bare.program("writer.exe").create_file(options(path));
        assert!(without.is_err());
        assert_eq!(with, without, "{path}");
    }
    scene.assert_committed(FILE, OLD);
    scene.exit_all();
    scene.end();
}

#[test]
fn a_read_only_file_refuses_writers_as_without_intact() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    maker.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, access::WRITE_ATTRIBUTES)).unwrap().handle;
        caller.set_basic(handle, [None; 4], READ_ONLY).unwrap();
        caller.close(handle).unwrap();
    });
    let writer = scene.program("writer.exe");
    let refused = Err(Status::ACCESS_DENIED);
    assert_eq!(writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE)), refused);
    assert_eq!(writer.create_file(CreateOptions::overwrite_if(FILE, GENERIC_WRITE)), refused);
    scene.assert_happened(&[]);
    scene.end();
}

#[test]
fn an_open_with_little_stack_left_passes_through_and_says_why() {
    let little = |lab: lab::Builder| lab.config(|config| config.kernel_stack = 10 * 1024);
    let scene = Scene::builder().lab(little).build();
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    let happened = scene.happened();
    assert!(matches!(happened[..], [Happened::PassedThrough(_)]), "{happened:?}");
    scene.end();
}
