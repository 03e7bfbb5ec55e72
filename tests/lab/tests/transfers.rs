//! Reads and writes of asynchronous file objects that are under way while other requests come
//! (fileio/synchronous-and-asynchronous-i-o), and what ends them.

use std::rc::Rc;

use lab::io::SLOWEST;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Offset, Pending, Process, Status};
use lab_executive::scheduler::MILLISECOND;

const FILE: &str = r"C:\file";
const OLD: &[u8] = b"old";

fn slow(number: u64) -> Rc<Lab> {
    let lab = Lab::builder().slow_transfers(number).build().unwrap();
    lab.with_volume(|volume| volume.put_file("file", OLD)).unwrap();
    lab
}

fn open(program: &Process) -> Handle {
    program.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE).asynchronous()).unwrap()
}

fn write(program: &Process, handle: Handle, text: &'static [u8]) -> Pending<Result<usize, Status>> {
    let writing = program.submit(move |caller| caller.write(handle, Offset::At(0), text));
    // So that it has begun.
    program.call(|_| ());
    writing
}

fn contents(lab: &Rc<Lab>) -> Vec<u8> {
    lab.with_volume(|volume| volume.contents("file")).unwrap()
}

fn pass(lab: &Rc<Lab>) {
    lab.executive().advance(SLOWEST * MILLISECOND).unwrap();
}

/// Numbers of labs in which a write is under way whose data has not gone over, has gone over, or that is none of it.
fn sorted() -> [Vec<u64>; 3] {
    let mut sorted = [const { Vec::new() }; 3];
    for number in 0..40 {
        let lab = slow(number);
        let program = lab.process("program.exe");
        let writing = write(&program, open(&program), b"new");
        let kind = match (writing.is_done(), contents(&lab) == b"new") {
            (false, false) => 0,
            (false, true) => 1,
            (true, _) => 2,
        };
        sorted[kind].push(number);
    }
    assert!(sorted.iter().all(|numbers| numbers.len() > 3), "{sorted:?}");
    sorted
}

/// minifilter-rules §2.6.
#[test]
fn who_is_suspended_in_the_file_system_comes_out_of_it_first() {
    for number in &sorted()[0] {
        let lab = slow(*number);
        let program = lab.process("program.exe");
        let writing = write(&program, open(&program), b"new");
        program.suspend();
        pass(&lab);
        assert!(contents(&lab) == b"new" && !writing.is_done());
        program.resume();
        assert_eq!(writing.wait().unwrap(), Ok(3));
    }
}

#[test]
fn a_write_is_under_way_while_its_program_goes_on() {
    for number in sorted()[0..2].iter().flatten() {
        let lab = slow(*number);
        let program = lab.process("program.exe");
        let writing = write(&program, open(&program), b"new");
        let other = open(&program);
        pass(&lab);
        assert!(writing.is_done(), "{number}");
        assert_eq!((writing.wait().unwrap(), contents(&lab)), (Ok(3), b"new".to_vec()));
        program.close(other).unwrap();
    }
}

/// A close does not end what has begun before the cleanup (fileapi/CloseHandle says nothing of pending requests).
#[test]
fn what_is_under_way_outlives_its_handle() {
    for number in sorted()[0..2].iter().flatten() {
        let lab = slow(*number);
        let program = lab.process("program.exe");
        let handle = open(&program);
        let writing = write(&program, handle, b"new");
        program.close(handle).unwrap();
        assert_eq!((writing.wait().unwrap(), contents(&lab)), (Ok(3), b"new".to_vec()), "{number}");
        program.exit(0);
        assert!(lab.unload().is_clean());
    }
}

/// fileapi/CancelIoEx; txf-ktm §8.2.
#[test]
fn whose_data_has_not_gone_over_ends_when_it_is_cancelled_or_its_process_is_killed() {
    let [before, after, _] = sorted();
    for (numbers, told, left) in [(before, Err(Status::CANCELLED), OLD), (after, Ok(3), b"new".as_slice())] {
        for number in numbers {
            let lab = slow(number);
            let program = lab.process("program.exe");
            let handle = open(&program);
            let writing = write(&program, handle, b"new");
            program.call(move |caller| caller.cancel_io(handle)).unwrap();
            assert_eq!((writing.wait().unwrap(), contents(&lab)), (told, left.to_vec()), "{number}");

            let lab = slow(number);
            let program = lab.process("program.exe");
            let writing = write(&program, open(&program), b"new");
            program.kill(1);
            assert!(writing.is_done(), "{number}");
            assert_eq!(contents(&lab), left, "{number}");
            assert!(lab.unload().is_clean());
        }
    }
}

/// Whatever else the lab leaves to chance.
#[test]
fn a_request_takes_the_same_time_in_two_labs() {
    let took = |seed: u64, number: u64| {
        let lab = Lab::builder().seed(seed).slow_transfers(number).build().unwrap();
        lab.with_volume(|volume| volume.put_file("file", OLD)).unwrap();
        let program = lab.process("program.exe");
        let handle = open(&program);
        let begin = lab.executive().scheduler.now();
        write(&program, handle, b"new").wait().unwrap().unwrap();
        lab.executive().scheduler.now() - begin
    };
    for number in 0..10 {
        assert_eq!(took(1, number), took(2, number), "{number}");
    }
}

/// Two that are due at the same time go over in the order in which they came.
#[test]
fn what_was_asked_first_is_written_first_if_both_are_due() {
    let [before, ..] = sorted();
    for number in before {
        let lab = slow(number);
        let program = lab.process("program.exe");
        let (first, second) = (open(&program), open(&program));
        let writing = [write(&program, first, b"one"), write(&program, second, b"two")];
        for writing in writing {
            writing.wait().unwrap().unwrap();
        }
        assert_eq!(contents(&lab), b"two", "{number}");
    }
}

#[test]
fn without_being_asked_for_nothing_takes_time() {
    let lab = Lab::builder().build().unwrap();
    lab.with_volume(|volume| volume.put_file("file", OLD)).unwrap();
    let program = lab.process("program.exe");
    assert!(write(&program, open(&program), b"new").is_done());
}
