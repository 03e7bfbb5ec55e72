//! `IRP_MJ_DIRECTORY_CONTROL`: enumerating a directory, and waiting for changes in it.

use std::cell::RefCell;

use lab_executive::status;
use lab_nt::_FILE_INFORMATION_CLASS as Class;
use lab_volume::{DirectoryEntry, NotifyRecord, Watching};

use super::bytes::Bytes;
use super::{Answer, Call, fail, status_of};
use crate::memory;
use crate::rooms::Rooms;

const QUERY: u8 = 1;
const NOTIFY: u8 = 2;
const WATCH_TREE: u8 = 1;
const RESTART_SCAN: u8 = 1;
const RETURN_SINGLE_ENTRY: u8 = 2;
const NO_SUCH_FILE: i32 = 0xC000_000F_u32.cast_signed();
const NO_MORE_FILES: i32 = 0x8000_0006_u32.cast_signed();

/// Where an enumeration stands.
pub(crate) struct Scan {
    pattern: Option<Vec<u16>>,
    entries: Vec<DirectoryEntry>,
    next: usize,
}

pub(super) fn control(call: &Call<'_>) -> Answer {
    match call.iopb.MinorFunction {
        QUERY => query(call),
        NOTIFY => notify(call),
        _ => fail(status_of::INVALID_DEVICE_REQUEST),
    }
}

/// Waits for a change (minifilter-rules §2.8), in the thread that has brought the request here.
fn notify(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of this request; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.NotifyDirectory };
    let length = parameters.Length as usize;
    let tree = call.iopb.OperationFlags & WATCH_TREE != 0;
    let watching = Watching { filter: parameters.CompletionFilter, tree, length };
    let request = call.with_volume(|volume| volume.notify_changes(open, watching))?;
    let thread = call.lab.thread();
    let ended = RefCell::new(None);
    call.lab.block_until("a change in a directory", None, || {
        // The scheduler may ask more than once before this thread runs.
        if ended.borrow().is_none() {
            let cancelled = thread.terminating.get() || call.request.cancelled.get();
            *ended.borrow_mut() = call.lab.io().with_volume(call.lab, |volume| {
                if cancelled {
                    volume.cancel_notify(request);
                }
                volume.notified(request)
            });
        }
        ended.borrow().is_some()
    });
    let Some(ended) = ended.take() else { return fail(status::UNSUCCESSFUL) };
    if ended.status != lab_volume::Status::SUCCESS {
        return Err(ended.status.into());
    }
    let records = NotifyRecord::encode(&ended.records);
    memory::fill(call.buffer(parameters.DirectoryBuffer, length), &records);
    Ok(records.len())
}

fn query(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of this query; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.DirectoryControl };
    let class = parameters.FileInformationClass;
    if fixed_part(class).is_none() {
        return fail(status::INVALID_INFO_CLASS);
    }
    let mut scan = call.file.scan.borrow_mut().take();
    let first = scan.is_none();
    if first || call.iopb.OperationFlags & RESTART_SCAN != 0 {
        let given = (!parameters.FileName.is_null()).then(|| memory::units_at(parameters.FileName));
        let pattern = given.filter(|units| !units.is_empty()).or_else(|| scan.and_then(|scan| scan.pattern));
        let entries = call.with_volume(|volume| volume.directory(open, pattern.as_deref()))?;
        scan = Some(Scan { pattern, entries, next: 0 });
    }
    let Some(mut scan) = scan else { return fail(status::INVALID_PARAMETER) };
    let single = call.iopb.OperationFlags & RETURN_SINGLE_ENTRY != 0;
    let answer = give(call, class, &parameters, &mut scan, first, single);
    *call.file.scan.borrow_mut() = Some(scan);
    answer
}

fn give(
    call: &Call<'_>,
    class: u32,
    parameters: &fltkernel::QUERY_DIRECTORY,
    scan: &mut Scan,
    first: bool,
    single: bool,
) -> Answer {
    let length = parameters.Length as usize;
    let mut out = Vec::new();
    let mut last_at = None;
    while let Some(entry) = scan.entries.get(scan.next) {
        let at = out.len().next_multiple_of(8);
        let bytes = structure(class, entry).0;
        if at + bytes.len() > length {
            break;
        }
        if let Some(last) = last_at {
            let last: usize = last;
            let step = (at - last) as u32;
            out.resize(at, 0);
            out[last..last + 4].copy_from_slice(&step.to_le_bytes());
        }
        out.extend_from_slice(&bytes);
        last_at = Some(at);
        scan.next += 1;
        if single {
            break;
        }
    }
    if out.is_empty() {
        return fail(match scan.entries.get(scan.next) {
            Some(_) => status_of::BUFFER_OVERFLOW,
            None if first => NO_SUCH_FILE,
            None => NO_MORE_FILES,
        });
    }
    memory::fill(call.buffer(parameters.DirectoryBuffer, length), &out);
    Ok(out.len())
}

/// Offset of the name in an entry of a class.
fn fixed_part(class: u32) -> Option<usize> {
    Some(match class {
        Class::FileDirectoryInformation => 64,
        Class::FileFullDirectoryInformation => 68,
        Class::FileBothDirectoryInformation => 94,
        Class::FileNamesInformation => 12,
        Class::FileIdBothDirectoryInformation => 104,
        Class::FileIdFullDirectoryInformation => 80,
        Class::FileIdExtdDirectoryInformation => 88,
        _ => return None,
    })
}

fn structure(class: u32, entry: &DirectoryEntry) -> Bytes {
    let name_bytes = (entry.name.0.len() * 2) as u32;
    let start = Bytes::default().u32(0).u32(0);
    if class == Class::FileNamesInformation {
        return start.u32(name_bytes).units(&entry.name.0);
    }
    let times = &entry.times;
    let common = start.i64(times.creation).i64(times.access).i64(times.write).i64(times.change);
    let common = common.u64(entry.size).u64(entry.allocation).u32(entry.attributes).u32(name_bytes);
    let with_ea = |bytes: Bytes| bytes.u32(entry.ea_size_or_tag);
    let bytes = match class {
        Class::FileFullDirectoryInformation => with_ea(common),
        Class::FileBothDirectoryInformation => with_ea(common).zeros(26),
        Class::FileIdBothDirectoryInformation => with_ea(common).zeros(28).u64(entry.id.0),
        Class::FileIdFullDirectoryInformation => with_ea(common).zeros(4).u64(entry.id.0),
        Class::FileIdExtdDirectoryInformation => with_ea(common).u32(0).u64(entry.id.0).zeros(8),
        _ => common,
    };
    bytes.units(&entry.name.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_volume::{FileId, Times, Wide};

    #[test]
    fn names_stand_where_the_structures_have_them() {
        let times = Times { creation: 1, access: 2, write: 3, change: 4 };
        let name = Wide::from("ab");
        let entry = DirectoryEntry {
            name,
            id: FileId(7),
            times,
            size: 5,
            allocation: 6,
            attributes: 0x20,
            ea_size_or_tag: 0,
        };
        for class in [1, 2, 3, 12, 37, 38, 60] {
            let bytes = structure(class, &entry).0;
            assert_eq!(bytes.len(), fixed_part(class).unwrap() + 4, "class {class}");
            assert_eq!(&bytes[bytes.len() - 4..], b"a\0b\0", "class {class}");
        }
    }
}
