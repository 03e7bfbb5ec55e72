//! The example driver in the lab: a monitor with a control device. A tour of how a driver of one's own is tested here.

mod common;

use std::rc::Rc;

use lab::loading::{SERVICES, Service};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Process, Status};
use lab_executive::process::LOCAL_SYSTEM;
use lab_executive::registry::Value;
use monitor::format::{self, Event, LOST, READ, Read};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
/// STATUS_FLT_DO_NOT_DETACH.
const DO_NOT_DETACH: Status = Status(0xC01C_0010);

/// STATUS_BUFFER_TOO_SMALL.
const BUFFER_TOO_SMALL: Status = Status(0xC000_0023);

/// A lab with `C:\a`, ten digits, and the monitor.
fn scene(seed: u64) -> Rc<Lab> {
    let lab = Lab::builder().seed(seed).build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    lab.load(&common::driver("monitor"), &Service::new("monitor", "385100")).unwrap();
    lab
}

/// A program that may read the log, and its handle to it.
fn reader(lab: &Rc<Lab>) -> (Process, Handle) {
    let reader = lab.process_of("readlog.exe", LOCAL_SYSTEM.to_vec());
    let handle = reader.create_file(CreateOptions::open(r"\\.\FileMonitor", GENERIC_READ)).unwrap();
    (reader, handle)
}

/// All notes, taken in buffers of this size.
fn notes(reader: &Process, handle: Handle, room: usize) -> Vec<Read> {
    let mut all = Vec::new();
    loop {
        let bytes = reader.device_control(handle, READ, b"", room).unwrap();
        if bytes.is_empty() {
            return all;
        }
        all.extend(format::read(&bytes).expect("what the driver wrote is of its own form"));
    }
}

/// Closes the device, and unloads everything: nothing may be left.
fn clean(lab: &Lab, reader: &Process, handle: Handle) {
    reader.close(handle).unwrap();
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn what_a_program_does_to_a_file_can_be_read() {
    for seed in 0..8 {
        let lab = scene(seed);
        let writer = lab.process("writer.exe");
        let file = writer.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
        writer.write(file, 0, b"hello").unwrap();
        writer.write(file, 5, b"!").unwrap();
        writer.close(file).unwrap();
        writer.call(|caller| caller.rename_path(r"C:\a", r"C:\b", false)).unwrap();
        assert!(writer.create_file(CreateOptions::open(r"C:\nothing", ALL)).is_err());
        let (program, log) = reader(&lab);
        let notes = notes(&program, log, 4096);
        let own: Vec<_> = notes.iter().filter(|note| note.process == writer.id()).collect();
        let of = |event| own.iter().filter(move |note| note.event == event).collect::<Vec<_>>();
        let (opened, wrote, renamed, closed) =
            (of(Event::Opened), of(Event::Wrote), of(Event::Renamed), of(Event::Closed));
        assert_eq!(opened[0].name, r"\Device\HarddiskVolume1\a");
        assert_eq!((opened[0].status, opened[0].transaction), (0, 0));
        assert_eq!(opened.last().unwrap().status, Status::OBJECT_NAME_NOT_FOUND.0);
        assert_eq!(opened.last().unwrap().open, 0);
        let writes: Vec<_> = wrote.iter().map(|note| (note.open, note.offset, note.length)).collect();
        assert_eq!(writes, [(opened[0].open, 0, 5), (opened[0].open, 5, 1)], "seed {seed}");
        assert_eq!(renamed[0].name, r"\Device\HarddiskVolume1\b");
        assert_eq!((closed[0].open, closed[0].offset, closed[0].length), (opened[0].open, 6, 2));
        assert!(notes.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "none is lost");
        writer.exit(0);
        clean(&lab, &program, log);
    }
}

/// Two handles of one file have one stream, and count into it.
#[test]
fn writes_are_counted_by_stream_and_not_by_handle() {
    let lab = scene(1);
    let writer = lab.process("writer.exe");
    let [one, other] = [0; 2].map(|_| writer.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap());
    writer.write(one, 0, b"hello").unwrap();
    writer.write(other, 5, b"!").unwrap();
    writer.close(one).unwrap();
    writer.close(other).unwrap();
    let (program, log) = reader(&lab);
    let closed: Vec<_> =
        notes(&program, log, 4096).into_iter().filter(|note| note.event == Event::Closed).collect();
    let counted: Vec<_> = closed
        .iter()
        .filter(|note| note.process == writer.id())
        .map(|note| (note.offset, note.length))
        .collect();
    assert_eq!(counted, [(6, 2), (6, 2)]);
    clean(&lab, &program, log);
}

#[test]
fn a_transaction_is_followed_to_its_end() {
    for (commit, end) in [(true, Event::Committed), (false, Event::RolledBack)] {
        let lab = scene(1);
        let writer = lab.process("writer.exe");
        writer.call(move |caller| {
            let transaction = caller.create_transaction().unwrap();
            let options = CreateOptions::open(r"C:\a", ALL).inside(transaction);
            let file = caller.create_file(&options).unwrap().handle;
            caller.write(file, lab::Offset::At(0), b"new").unwrap();
            caller.close(file).unwrap();
            let ended = if commit {
                caller.commit_transaction(transaction)
            } else {
                caller.rollback_transaction(transaction)
            };
            ended.unwrap();
            caller.close(transaction).unwrap();
        });
        let (program, log) = reader(&lab);
        let notes = notes(&program, log, 4096);
        let wrote = notes.iter().find(|note| note.event == Event::Wrote).unwrap();
        assert_ne!(wrote.transaction, 0);
        let ends: Vec<_> = notes.iter().filter(|note| note.event == end).collect();
        assert_eq!(ends.len(), 1, "{notes:?}");
        assert_eq!(ends[0].transaction, wrote.transaction);
        assert!(ends[0].number > wrote.number);
        clean(&lab, &program, log);
    }
}

#[test]
fn the_log_is_not_for_everybody() {
    let lab = scene(1);
    let user = lab.process("curious.exe");
    let refused = user.create_file(CreateOptions::open(r"\\.\FileMonitor", GENERIC_READ));
    assert_eq!(refused, Err(Status::ACCESS_DENIED));
    user.exit(0);
    let (program, log) = reader(&lab);
    clean(&lab, &program, log);
}

#[test]
fn a_buffer_takes_what_fits_and_the_rest_waits() {
    let lab = scene(1);
    let user = lab.process("user.exe");
    for _ in 0..20 {
        user.contents(r"C:\a").unwrap();
    }
    user.exit(0);
    let (program, log) = reader(&lab);
    assert_eq!(program.device_control(log, READ, b"", 40), Err(BUFFER_TOO_SMALL));
    let taken = notes(&program, log, 250);
    assert_eq!(taken.iter().filter(|note| note.event == Event::Closed).count(), 20);
    assert!(taken.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
    assert_eq!(program.device_control(log, READ, b"", 250).unwrap(), b"");
    assert_eq!(program.device_control(log, 0x22_6FFC, b"", 8).err().unwrap().0, 0xC000_0010);
    clean(&lab, &program, log);
}

#[test]
fn a_log_that_nobody_reads_keeps_the_newest_notes_and_counts_the_others() {
    let lab = Lab::builder().build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"x").unwrap());
    lab.executive().change_registry(|registry| {
        let key = registry.create(&format!(r"{SERVICES}\monitor\Parameters"));
        registry.set(&key, Value::dword("Entries", 16));
    });
    lab.load(&common::driver("monitor"), &Service::new("monitor", "385100")).unwrap();
    let user = lab.process("user.exe");
    for _ in 0..20 {
        user.contents(r"C:\a").unwrap();
    }
    user.exit(0);
    let (program, log) = reader(&lab);
    let kept = notes(&program, log, 1 << 16);
    assert_eq!(kept.len(), 16);
    let lost = program.device_control(log, LOST, b"", 8).unwrap();
    let lost = u64::from_le_bytes(lost.try_into().unwrap());
    assert_eq!(kept[0].number, lost + 1);
    assert!(lost > 0);
    clean(&lab, &program, log);
}

#[test]
fn it_does_not_go_while_somebody_reads() {
    let lab = scene(1);
    let driver = lab.drivers().remove(0);
    let (program, log) = reader(&lab);
    assert_eq!(lab.unload_driver(&driver).err(), Some(DO_NOT_DETACH));
    program.close(log).unwrap();
    let report = lab.unload_driver(&driver).unwrap();
    assert!(report.is_clean(), "{report}");
    let gone = program.create_file(CreateOptions::open(r"\\.\FileMonitor", GENERIC_READ));
    assert_eq!(gone, Err(Status::OBJECT_PATH_NOT_FOUND));
    lab.load(&common::driver("monitor"), &Service::new("monitor", "385100")).unwrap();
    let (program, log) = reader(&lab);
    clean(&lab, &program, log);
}

/// Every call that the driver makes fails once: whatever it answers, programs notice nothing and nothing is left.
#[test]
fn whatever_fails_inside_it_programs_notice_nothing() {
    let run = |fault: Option<lab_executive::import::PlannedFault>| {
        let mut builder = Lab::builder();
        if let Some(fault) = fault {
            builder = builder.fault(fault);
        }
        let lab = builder.build().unwrap();
        lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
        let loaded = lab.load(&common::driver("monitor"), &Service::new("monitor", "385100")).is_ok();
        let program = lab.process("writer.exe");
        program.put(r"C:\b", b"hello").unwrap();
        program.call(|caller| caller.rename_path(r"C:\b", r"C:\c", false)).unwrap();
        assert_eq!(program.contents(r"C:\c").unwrap(), b"hello");
        program.exit(0);
        let sites = lab.executive().calls.sites();
        let report = lab.unload();
        assert!(report.is_clean(), "{fault:?}: {report}");
        (sites, loaded)
    };
    let (sites, loaded) = run(None);
    assert!(loaded);
    let mut tried = 0;
    for site in sites {
        use lab_executive::import::{Failure, FaultKind, PlannedFault};
        let kind = match site.failure {
            Failure::Null => FaultKind::Null,
            _ => FaultKind::Status(0xC000_009A_u32.cast_signed()),
        };
        run(Some(PlannedFault { site: site.id, call: 1, kind }));
        tried += 1;
    }
    assert!(tried > 15, "{tried} sites");
}

#[test]
fn it_has_no_reachable_panic() {
    let lab = scene(1);
    let image = lab.executive().images.get(lab.drivers()[0].image.unwrap());
    assert!(image.imports.iter().all(|import| import.name != "KeBugCheckEx"));
}
