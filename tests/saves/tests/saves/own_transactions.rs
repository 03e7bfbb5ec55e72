//! Programs that have a transaction of their own: their handles are never touched.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Offset, Status};

#[test]
fn a_handle_of_a_programs_own_transaction_is_left_alone() {
    for commits in [true, false] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        writer.call(move |caller| {
            let transaction = caller.create_transaction().unwrap();
            let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE).inside(transaction);
            let handle = caller.create_file(&options).unwrap().handle;
            caller.write(handle, Offset::At(0), NEW).unwrap();
            let reading = CreateOptions::open(FILE, GENERIC_READ).inside(transaction);
            let reading = caller.create_file(&reading).unwrap().handle;
            assert_eq!(caller.read(reading, Some(0), NEW.len()).unwrap(), NEW);
            caller.close(reading).unwrap();
            caller.close(handle).unwrap();
            if commits {
                caller.commit_transaction(transaction).unwrap();
            } else {
                caller.rollback_transaction(transaction).unwrap();
            }
            caller.close(transaction).unwrap();
        });
        scene.assert_committed(FILE, if commits { NEW } else { OLD });
        scene.assert_happened(&[]);
        scene.end();
    }
}

/// Who has transactions knows what they say.
#[test]
fn a_handle_of_a_programs_own_transaction_is_told_of_conflicts_in_their_own_words() {
    const TAKEN: &str = r"C:\Saved\taken.txt";
    let scene = Scene::builder().file(r"Elsewhere\theirs.txt", OLD).build();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE | DELETE)).unwrap();
    writer.call(move |caller| caller.rename(handle, TAKEN, false)).unwrap();
    let told = writer.call(move |caller| {
        let transaction = caller.create_transaction().unwrap();
        let options = CreateOptions::open(r"C:\Elsewhere\theirs.txt", DELETE).inside(transaction);
        let theirs = caller.create_file(&options).unwrap().handle;
        let renamed = caller.rename(theirs, TAKEN, false);
        caller.close(theirs).unwrap();
        caller.close(transaction).unwrap();
        renamed
    });
    assert_eq!(told, Err(Status::TRANSACTIONAL_CONFLICT));
    writer.close(handle).unwrap();
    scene.assert_committed(TAKEN, OLD);
    scene.end();
}
