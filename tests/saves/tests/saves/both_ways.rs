//! What nobody knows of Windows: the core of saving holds whichever way it is.

use intact_saves::{FILE, Happened, NEW, OLD, Scene};
use lab::switches::{SWITCHES, Setting};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const FRESH: &str = r"C:\Saved\fresh.txt";

fn scene(setting: &Setting) -> Scene {
    Scene::builder().lab(setting.apply).build()
}

/// Overwritten by name or in place, finished: the new version.
fn a_finished_save_is_there(scene: Scene) {
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.flush(handle).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    writer.put(FILE, b"again").unwrap();
    scene.assert_committed(FILE, b"again");
    writer.exit(0);
    assert!(scene.happened().contains(&Happened::Committed));
    scene.end();
}

/// Killed half-way: the old version, and another program can save it.
fn a_killed_save_leaves_the_old_file(scene: Scene) {
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    let next = scene.program("next.exe");
    next.put(FILE, NEW).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// A new file: there when finished, gone when killed.
fn a_new_file_is_whole_or_not_there(scene: Scene) {
    for (finishes, expected) in [(false, None), (true, Some(NEW.to_vec()))] {
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        if finishes {
            writer.close(handle).unwrap()
        } else {
            writer.kill(1)
        }
        assert_eq!(scene.committed(FRESH), expected);
    }
    scene.end();
}

/// Superseded, as some programs save.
fn a_superseded_file_is_the_old_or_the_new_one(scene: Scene) {
    const SUPERSEDE: u32 = 0;
    for (finishes, expected) in [(false, OLD), (true, NEW)] {
        let writer = scene.program("writer.exe");
        let options = CreateOptions::new(lab::Name::Path(FILE.into()), ALL, SUPERSEDE);
        let handle = writer.create_file(options).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        if finishes {
            writer.close(handle).unwrap()
        } else {
            writer.kill(1)
        }
        scene.assert_committed(FILE, expected);
    }
    scene.end();
}

/// If superseding a file gives it another id, the twin cannot be told from another file, and the open is refused: a
/// limit, in which nothing is lost.
fn a_supersede_that_changes_the_id_is_refused(scene: Scene) {
    let writer = scene.program("writer.exe");
    let options = CreateOptions::new(lab::Name::Path(FILE.into()), ALL, 0);
    assert_eq!(writer.create_file(options), Err(lab::Status::SHARING_VIOLATION));
    scene.assert_committed(FILE, OLD);
    writer.put(FILE, NEW).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// A reader beside a save sees one version, never a mixture.
fn readers_see_one_version(scene: Scene) {
    let (writer, reader) = (scene.program("writer.exe"), scene.program("reader.exe"));
    let handle = scene.write_new(&writer);
    assert_eq!(reader.contents(FILE).unwrap(), OLD);
    assert_eq!(writer.read(handle, 0, 100).unwrap(), NEW);
    writer.close(handle).unwrap();
    assert_eq!(reader.contents(FILE).unwrap(), NEW);
    scene.end();
}

#[test]
fn the_core_of_saving_holds_for_every_setting_of_every_switch() {
    for switch in SWITCHES {
        for setting in switch.settings {
            let superseded: fn(Scene) = match (switch.name, setting.name) {
                ("supersede_changes_id", "yes") => a_supersede_that_changes_the_id_is_refused,
                _ => a_superseded_file_is_the_old_or_the_new_one,
            };
            let core: [fn(Scene); 5] = [
                a_finished_save_is_there,
                a_killed_save_leaves_the_old_file,
                a_new_file_is_whole_or_not_there,
                superseded,
                readers_see_one_version,
            ];
            for test in core {
                // Shown with a failure: which setting it was.
                println!("{}: {}", switch.name, setting.name);
                test(scene(setting));
            }
        }
    }
}
