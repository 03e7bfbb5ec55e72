//! Programs that have a transaction of their own: their handles are never touched.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Offset};

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
