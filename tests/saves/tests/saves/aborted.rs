//! Whichever operation it is that meets the end of its transaction first: its program is told a status that it knows, and
//! the old version stays.

use intact_saves::{FILE, Happened, OLD, Scene};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Status};
use lab_volume::access;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE | access::WRITE_DAC;
/// STATUS_UNEXPECTED_IO_ERROR.
const UNEXPECTED: Status = Status(0xC000_00E9);
const GONE: &str = "the transaction had already ended";

type Act = fn(&Caller<'_>, Handle) -> Result<(), Status>;

const ACTS: [(&str, Act); 13] = [
    ("read", |caller, handle| caller.read(handle, Some(0), 1).map(drop)),
    ("write", |caller, handle| caller.write(handle, Offset::At(0), b"x").map(drop)),
    ("append", |caller, handle| caller.write(handle, Offset::Append, b"x").map(drop)),
    ("query", |caller, handle| caller.size(handle).map(drop)),
    ("end of file", |caller, handle| caller.set_end_of_file(handle, 3)),
    ("attributes", |caller, handle| caller.set_basic(handle, [None; 4], 0x80)),
    ("security", |caller, handle| caller.security(handle).map(drop)),
    ("extended attributes", |caller, handle| caller.query_ea(handle).map(drop)),
    ("lock", |caller, handle| caller.lock(handle, 0, 1, true, false)),
    ("unlock", |caller, handle| caller.unlock(handle, 4, 1)),
    ("flush", |caller, handle| caller.flush(handle)),
    ("rename", |caller, handle| caller.rename(handle, "moved.txt", false)),
    ("deletion", |caller, handle| caller.set_delete(handle, true)),
];

#[test]
fn the_first_operation_after_the_end_of_the_transaction_is_told_of_it() {
    for on_flush in ["Checkpoint", "Defer"] {
        for (what, act) in ACTS {
            let scene = Scene::builder().rule(|rule| rule.text("OnFlush", on_flush)).build();
            let writer = scene.program("writer.exe");
            let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
            writer.write(handle, 0, b"half").unwrap();
            writer.call(move |caller| caller.lock(handle, 4, 1, true, false)).unwrap();
            scene.lab.with_volume(|volume| volume.abort_after_operations(0));
            assert_eq!(writer.call(move |caller| act(caller, handle)), Err(UNEXPECTED), "{what}");
            assert_eq!(writer.read(handle, 0, 1), Err(UNEXPECTED), "after {what}");
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, OLD);
            assert_eq!(scene.happened(), [Happened::Begun, Happened::RolledBack(GONE.into())], "{what}");
            scene.end();
        }
    }
}
