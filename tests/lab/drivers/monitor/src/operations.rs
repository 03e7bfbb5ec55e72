//! What is noted of each operation.

use kernel::callback::{Before, Callback, Operation};
use kernel::context::ContextRef;
use kernel::fltkernel::*;
use kernel::name::{FileName, NameForm};
use kernel::{Result, Status};

use crate::contexts::{Follow, Open, Stream};
use crate::driver::{context, monitor};
use crate::format::Event;
use crate::log::Note;

/// The file object's open; `None` if it was opened before the monitor came.
fn open_of(data: &Callback<'_>) -> Option<ContextRef<Open>> {
    ContextRef::of_handle(data.instance(), data.file()?).ok().flatten()
}

/// Where something can be named: at PASSIVE_LEVEL, and not for the volume itself.
fn named(data: &Callback<'_>, form: NameForm, note: Note) -> Note {
    match FileName::of(data, form) {
        Ok(name) => note.with_name(name.full()),
        Err(_) => note,
    }
}

fn add(note: Note) {
    if let Some(monitor) = monitor() {
        monitor.log.add(note);
    }
}

/// Opens are noted when they have ended, which is at PASSIVE_LEVEL (minifilter-rules §2.5).
pub(crate) struct Create;

impl Operation for Create {
    const MAJOR: u8 = IRP_MJ_CREATE;
    type Carry = ();

    fn before(_: &mut Callback<'_>) -> Before<()> {
        Before::Watch(())
    }

    fn after(data: &mut Callback<'_>, (): ()) {
        if data.status() == Status::REPARSE {
            // It comes again under another name.
            return;
        }
        // The monitor sees less if memory is short, and stands in nobody's way.
        let (open, transaction) =
            if data.status().is_success() { remember(data).unwrap_or((0, 0)) } else { (0, 0) };
        add(named(data, NameForm::Opened, Note::about(data, Event::Opened).of_open(open, transaction)));
    }
}

/// Numbers an open.
fn remember(data: &Callback<'_>) -> Result<(u64, u64)> {
    let (monitor, file) =
        (monitor().ok_or(Status::NOT_FOUND)?, data.file().ok_or(Status::INVALID_PARAMETER)?);
    let transaction = Follow::number_of(data);
    let stream = Stream::of(data, file);
    let open = context(Open { number: monitor.number(), transaction, stream })?;
    open.set_on_handle(data.instance(), file)?;
    Ok((open.number, transaction))
}

/// Writes may end at DISPATCH_LEVEL: no name is asked for.
pub(crate) struct Write;

impl Operation for Write {
    const MAJOR: u8 = IRP_MJ_WRITE;
    type Carry = ContextRef<Open>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        match open_of(data) {
            Some(open) => Before::Watch(open),
            None => Before::Pass,
        }
    }

    fn after(data: &mut Callback<'_>, open: Self::Carry) {
        if data.status() == Status(STATUS_FLT_DISALLOW_FAST_IO) {
            // It comes again as a request.
            return;
        }
        if data.status().is_success() {
            open.wrote(data.information());
        }
        let mut note = Note::about(data, Event::Wrote).of_open(open.number, open.transaction);
        note.offset = data.range().map_or(0, |range| range.offset);
        note.length = if data.status().is_success() { data.information() as u32 } else { 0 };
        add(note);
    }
}

/// Renames are noted under the new name (the opened name stays what it was opened by), for which the operation has to come back where names can be asked for.
pub(crate) struct SetInformation;

/// `FileRenameInformation`, `FileRenameInformationEx`.
const RENAMES: [u32; 2] = [10, 65];

impl Operation for SetInformation {
    const MAJOR: u8 = IRP_MJ_SET_INFORMATION;
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        match data.information_class() {
            Some(class) if RENAMES.contains(&class) => Before::Synchronize(()),
            _ => Before::Pass,
        }
    }

    fn after(data: &mut Callback<'_>, (): ()) {
        if !data.status().is_success() {
            return;
        }
        let (open, transaction) = open_of(data).map_or((0, 0), |open| (open.number, open.transaction));
        add(named(data, NameForm::Normalized, Note::about(data, Event::Renamed).of_open(open, transaction)));
    }
}

/// Closes are noted before they happen, while the file still has its name.
pub(crate) struct Cleanup;

impl Operation for Cleanup {
    const MAJOR: u8 = IRP_MJ_CLEANUP;
    const WATCHES: bool = false;
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        let mut note = Note::about(data, Event::Closed);
        if let Some(open) = open_of(data) {
            let (bytes, writes) = open.so_far();
            note = note.of_open(open.number, open.transaction);
            note.offset = i64::try_from(bytes).unwrap_or(i64::MAX);
            note.length = writes;
        }
        add(named(data, NameForm::Opened, note));
        Before::Pass
    }
}
