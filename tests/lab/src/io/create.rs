//! Opening: the I/O manager's half of NtCreateFile.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fltkernel::*;
use lab_executive::{Mode, status};
use lab_nt::{
    ACCESS_STATE, FILE_OBJECT, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FO_ALERTABLE_IO,
    FO_HANDLE_CREATED, FO_NO_INTERMEDIATE_BUFFERING, FO_OPENED_CASE_SENSITIVE, FO_RANDOM_ACCESS,
    FO_SEQUENTIAL_ONLY, FO_SYNCHRONOUS_IO, FO_TEMPORARY_FILE, FO_VOLUME_OPEN, FO_WRITE_THROUGH,
    IO_SECURITY_CONTEXT, SL_CASE_SENSITIVE, SL_FORCE_ACCESS_CHECK, SL_OPEN_TARGET_DIRECTORY,
};
use lab_volume::Subject;

use super::file::{File, Transacted, counted};
use crate::Executive;
use crate::flt::altitude::Altitude;
use crate::flt::extra_parameters::ExtraOfCreate;
use crate::flt::passage;
use crate::flt::request::{Form, Operation};
use crate::memory;
use crate::rooms::Rooms;

/// `OBJ_CASE_INSENSITIVE`.
const CASE_INSENSITIVE: u32 = 0x40;
/// `IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION`.
const CREATE_IRP: u32 = 0x80 | 0x4 | 0x800;
/// `IO_TYPE_FILE`.
const IO_TYPE_FILE: i16 = 5;
/// `TOKEN_HAS_TRAVERSE_PRIVILEGE`, which everybody has.
const TRAVERSE: u32 = 0x1;
const MOST_REPARSES: usize = 32;
const FILE_OPEN_BY_FILE_ID: u32 = 0x2000;

/// What belongs to one create besides its parameters.
pub(crate) struct CreatePacket {
    /// The transaction of the create.
    pub(crate) transaction: Option<Rc<Transacted>>,
    /// Its extra create parameters.
    pub(crate) extra: Rc<ExtraOfCreate>,
    /// ACCESS_STATE, followed by IO_SECURITY_CONTEXT.
    pub(crate) access_state: *mut ACCESS_STATE,
    pub(crate) security_context: *mut IO_SECURITY_CONTEXT,
    /// IO_IGNORE_SHARE_ACCESS_CHECK.
    pub(crate) ignore_share: bool,
    /// Whose access is checked; `None` is kernel mode.
    pub(crate) subject: Option<Subject>,
    /// The reparse point that the create ran into.
    pub(crate) reparse: RefCell<Option<lab_volume::ReparseStop>>,
}

/// An open, as NtCreateFile and FltCreateFileEx2 ask for it.
pub(crate) struct Open {
    /// From the root of the volume, or below `related`; for an open by id, its bytes as units.
    pub(crate) name: Vec<u16>,
    pub(crate) related: Option<Rc<File>>,
    pub(crate) mode: Mode,
    /// Access is checked although the mode is kernel.
    pub(crate) force_check: bool,
    pub(crate) access: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    pub(crate) options: u32,
    pub(crate) attributes: u32,
    /// `OBJ_*`.
    pub(crate) object_attributes: u32,
    pub(crate) ea: Vec<u8>,
    pub(crate) allocation: i64,
    /// A self-relative descriptor for a new file.
    pub(crate) security: Option<Vec<u8>>,
    pub(crate) transaction: Option<Rc<Transacted>>,
    pub(crate) extra: Rc<ExtraOfCreate>,
    /// Only instances lower than this see the open and its later operations.
    pub(crate) ceiling: Option<Altitude>,
    /// On this mount of the volume; `None`: on the one that is mounted, or that of `related`.
    pub(crate) mount: Option<usize>,
    pub(crate) ignore_share: bool,
    pub(crate) target_directory: bool,
    pub(crate) generated: bool,
}

impl Open {
    pub(crate) fn new(name: Vec<u16>, mode: Mode) -> Self {
        Self {
            name,
            related: None,
            mode,
            force_check: false,
            access: 0,
            share: 7,
            disposition: 1,
            options: 0,
            attributes: 0,
            object_attributes: CASE_INSENSITIVE,
            ea: Vec::new(),
            allocation: 0,
            security: None,
            transaction: None,
            extra: Rc::default(),
            ceiling: None,
            mount: None,
            ignore_share: false,
            target_directory: false,
            generated: false,
        }
    }
}

/// A file object that the file system has opened; the caller holds its first reference.
pub(crate) struct Opened {
    pub(crate) file: Rc<File>,
    /// SUCCESS or OPLOCK_BREAK_IN_PROGRESS.
    pub(crate) status: i32,
    pub(crate) information: usize,
    /// What a handle to it may do.
    pub(crate) granted: u32,
}

/// Opens; reparse points are followed.
///
/// # Errors
/// The status, and the information that came with it.
pub(crate) fn open(lab: &Executive, open: Open) -> Result<Opened, (i32, usize)> {
    check(&open).map_err(|status| (status, 0))?;
    let extra = open.extra.clone();
    lab.flt().extra_parameters.begin(lab, &extra);
    let opened = follow(lab, open);
    // Not before, so that what filters add is there behind a reparse point too (minifilter-rules §1.10).
    lab.flt().extra_parameters.end(lab, &extra);
    opened
}

fn follow(lab: &Executive, mut open: Open) -> Result<Opened, (i32, usize)> {
    for _ in 0..MOST_REPARSES {
        match open_once(lab, &open)? {
            Ended::Opened(opened) => return Ok(opened),
            Ended::Replaced(name) => {
                open.name = name;
                open.related = None;
            }
        }
    }
    // STATUS_REPARSE_POINT_NOT_RESOLVED
    Err((0xC000_0280_u32.cast_signed(), 0))
}

enum Ended {
    Opened(Opened),
    /// STATUS_REPARSE with another name.
    Replaced(Vec<u16>),
}

/// The parameter checks of IoCreateFile that matter here.
fn check(open: &Open) -> Result<(), i32> {
    let synchronous = open.options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT) != 0;
    let wants_wait = open.access & (0x10_0000 | 0xB000_0000) != 0 || open.access & 0x200_0000 != 0;
    let both = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    let wants_delete = open.access & 0x1201_0000 != 0;
    let bad = open.disposition > 5
        || open.share & !7 != 0
        || (synchronous && !wants_wait)
        || open.options & both == both
        || (open.options & 0x1000 != 0 && !wants_delete)
        || open.options & 0x41 == 0x41
        || (open.options & 0x8 != 0 && open.access & 0x4 != 0 && open.access & 0x2 == 0)
        || open.attributes & !0x7FB7 != 0;
    if bad { Err(status::INVALID_PARAMETER) } else { Ok(()) }
}

pub(super) fn flags_of(open: &Open) -> u32 {
    let mut flags = 0;
    for (option, flag) in [
        (FILE_SYNCHRONOUS_IO_ALERT, FO_SYNCHRONOUS_IO | FO_ALERTABLE_IO),
        (FILE_SYNCHRONOUS_IO_NONALERT, FO_SYNCHRONOUS_IO),
        (0x8, FO_NO_INTERMEDIATE_BUFFERING),
        (0x2, FO_WRITE_THROUGH),
        (0x4, FO_SEQUENTIAL_ONLY),
        (0x800, FO_RANDOM_ACCESS),
    ] {
        if open.options & option != 0 {
            flags |= flag;
        }
    }
    if open.object_attributes & CASE_INSENSITIVE == 0 {
        flags |= FO_OPENED_CASE_SENSITIVE;
    }
    if open.attributes & 0x100 != 0 {
        flags |= FO_TEMPORARY_FILE;
    }
    if open.name.is_empty() && open.related.is_none() {
        flags |= FO_VOLUME_OPEN;
    }
    flags
}

/// What goes before the name of a create that is relative to this file (minifilter-rules §3.5). One that was opened by its id is
/// asked for its name.
fn prefix_of(io: &super::Io, related: &File) -> Vec<u16> {
    if !related.by_id {
        return related.opened_as.borrow().clone();
    }
    let open = related.open.get();
    let name = open.and_then(|open| io.volume.borrow_mut().as_mut()?.name(open).ok());
    name.map_or_else(Vec::new, |name| name.0)
}

fn make_file(lab: &Executive, open: &Open, mount: usize) -> Rc<File> {
    let io = lab.io();
    let body: *mut FILE_OBJECT =
        lab.objects.create(lab, &io.file_type(), size_of::<FILE_OBJECT>(), None).cast();
    let by_id = open.options & FILE_OPEN_BY_FILE_ID != 0;
    let mut path = open.related.as_ref().map_or_else(Vec::new, |related| prefix_of(&io, related));
    if !by_id {
        let stream = open.name.first() == Some(&u16::from(b':'));
        if open.related.is_some()
            && !stream
            && !open.name.is_empty()
            && path.last() != Some(&u16::from(b'\\'))
        {
            path.push(u16::from(b'\\'));
        }
        path.extend_from_slice(&open.name);
    }
    let transaction_block = match &open.transaction {
        Some(transaction) => {
            lab.objects.reference(lab, transaction.object);
            let block = lab.allocate_own(size_of::<lab_nt::TXN_PARAMETER_BLOCK>(), b"IoTx");
            let value = lab_nt::TXN_PARAMETER_BLOCK {
                Length: size_of::<lab_nt::TXN_PARAMETER_BLOCK>() as u16,
                TxFsContext: transaction.miniversion,
                TransactionObject: transaction.object.cast(),
            };
            memory::write(block.cast(), value);
            block
        }
        None => std::ptr::null_mut(),
    };
    let opener = match lab.caller() {
        Some(image) => lab.images.get(image).name.clone(),
        None => lab.thread().process().map_or_else(String::new, |process| process.label()),
    };
    let file = Rc::new(File {
        number: io.next_number(),
        body,
        open: Cell::new(None),
        mount,
        ceiling: open.ceiling.clone(),
        transaction: open.transaction.clone(),
        transaction_block,
        opened_as: RefCell::new(if by_id { Vec::new() } else { path }),
        by_id,
        id: Cell::new(None),
        directory: Cell::new(false),
        fcb: RefCell::new(None),
        ccb: Cell::new(std::ptr::null_mut()),
        unlocked: RefCell::default(),
        cancelled: Cell::new(false),
        scan: RefCell::new(None),
        opener,
    });
    let name = counted(lab, &open.name, b"IoNm");
    file.update(|object| {
        object.Type = IO_TYPE_FILE;
        object.Size = size_of::<FILE_OBJECT>() as i16;
        object.DeviceObject = super::imports::volume_device(lab).cast();
        object.RelatedFileObject = open.related.as_ref().map_or(std::ptr::null_mut(), |related| related.body);
        object.Flags = flags_of(open);
        object.FileName = name;
    });
    io.add_file(file.clone());
    file
}

/// Mapped access, as SeCreateAccessState does it.
pub(super) fn make_packet(lab: &Executive, open: &Open) -> CreatePacket {
    let access = lab.io().file_type().map_generic(open.access) | (open.access & 0x300_0000);
    let process = lab.thread().process();
    let user = process.map_or_else(Vec::new, |process| process.user.clone());
    let privileged = user == lab_executive::process::LOCAL_SYSTEM;
    let checked = open.mode == Mode::User || open.force_check;
    let state_size = size_of::<ACCESS_STATE>();
    let base = lab.allocate_own(state_size + size_of::<IO_SECURITY_CONTEXT>(), b"SeAc");
    let access_state: *mut ACCESS_STATE = base.cast();
    let security_context: *mut IO_SECURITY_CONTEXT = base.wrapping_add(state_size).cast();
    let mut state = memory::read(access_state);
    state.Flags = TRAVERSE;
    state.RemainingDesiredAccess = access;
    state.OriginalDesiredAccess = access;
    if let Some(security) = &open.security {
        let copy = lab.allocate_own(security.len(), b"SeSd");
        memory::fill(copy, security);
        state.SecurityDescriptor = copy.cast();
    }
    memory::write(access_state, state);
    let mut context = memory::read(security_context);
    context.AccessState = access_state;
    context.DesiredAccess = access;
    context.FullCreateOptions = open.options;
    memory::write(security_context, context);
    CreatePacket {
        transaction: open.transaction.clone(),
        extra: open.extra.clone(),
        access_state,
        security_context,
        ignore_share: open.ignore_share,
        subject: checked.then(|| Subject { sids: vec![user], privileged }),
        reparse: RefCell::new(None),
    }
}

/// The mount that an open is on. Whoever opens on none in particular has the volume mounted (minifilter-rules §2.7).
///
/// # Errors
/// Those of mounting.
fn mount_for(lab: &Executive, open: &Open) -> Result<usize, i32> {
    match open.mount.or(open.related.as_ref().map(|related| related.mount)) {
        Some(mount) => Ok(mount),
        None => super::dismount::mount(lab),
    }
}

fn open_once(lab: &Executive, open: &Open) -> Result<Ended, (i32, usize)> {
    let mount = mount_for(lab, open).map_err(|status| (status, 0))?;
    if let Some(related) = &open.related {
        lab.objects.reference(lab, related.body.cast());
    }
    let file = make_file(lab, open, mount);
    let packet = Rc::new(make_packet(lab, open));
    let ea = if open.ea.is_empty() {
        std::ptr::null_mut()
    } else {
        let copy = lab.allocate_own(open.ea.len(), b"IoEa");
        memory::fill(copy, &open.ea);
        copy
    };
    let mut flags = 0;
    for (set, flag) in [
        (open.force_check, SL_FORCE_ACCESS_CHECK),
        (open.target_directory, SL_OPEN_TARGET_DIRECTORY),
        (open.object_attributes & CASE_INSENSITIVE == 0, SL_CASE_SENSITIVE),
    ] {
        if set {
            flags |= flag as u8;
        }
    }
    let result = passage::issue(
        lab,
        Operation {
            form: Form::Irp,
            irp_flags: CREATE_IRP,
            operation_flags: flags,
            parameters: FLT_PARAMETERS {
                Create: CREATE {
                    SecurityContext: packet.security_context.cast(),
                    Options: (open.disposition << 24) | (open.options & 0xFF_FFFF),
                    Padding1: 0,
                    FileAttributes: open.attributes as u16,
                    ShareAccess: open.share as u16,
                    Padding2: 0,
                    EaLength: open.ea.len() as u32,
                    Padding3: 0,
                    EaBuffer: ea.cast(),
                    AllocationSize: open.allocation,
                },
            },
            mode: i8::from(open.mode == Mode::User),
            generated: open.generated,
            create: Some(packet.clone()),
            ..Operation::irp(IRP_MJ_CREATE, file.pointer())
        },
        open.ceiling.as_ref(),
    );
    let ended = finish(lab, open, &file, &packet, &result);
    let state = memory::read(packet.access_state);
    if !state.SecurityDescriptor.is_null() && open.security.is_some() {
        lab.free_own(state.SecurityDescriptor.cast());
    }
    if !ea.is_null() {
        lab.free_own(ea);
    }
    lab.free_own(packet.access_state.cast());
    if ended.is_err() || matches!(ended, Ok(Ended::Replaced(_))) {
        lab.objects.dereference(lab, file.body.cast());
    } else {
        // Valid during the create only (wdm/FILE_OBJECT).
        file.update(|object| object.RelatedFileObject = std::ptr::null_mut());
    }
    if let Some(related) = &open.related {
        lab.objects.dereference(lab, related.body.cast());
    }
    ended
}

fn finish(
    lab: &Executive,
    open: &Open,
    file: &Rc<File>,
    packet: &CreatePacket,
    result: &IO_STATUS_BLOCK,
) -> Result<Ended, (i32, usize)> {
    const STATUS_REPARSE: i32 = 0x104;
    if result.Status < 0 {
        return Err((result.Status, result.Information));
    }
    if result.Status == STATUS_REPARSE {
        let name = match packet.reparse.borrow_mut().take() {
            Some(stop) => super::file_system::reparse::follow(&file.opened_as.borrow(), &stop)?,
            // A filter replaced the name in the file object (IoReplaceFileObjectName).
            None => {
                super::file_system::reparse::below_volume(&memory::units(&string(file.object().FileName)))?
            }
        };
        return Ok(Ended::Replaced(name));
    }
    if file.open.get().is_none() {
        lab.report(
            "foreign-file-object",
            "minifilter-rules §1.4: the lab has no file objects that a filter owns",
            format!("a create of \"{}\" succeeded without the file system", memory::text(&open.name)),
        );
    }
    let state = memory::read(packet.access_state);
    let granted = state.PreviouslyGrantedAccess;
    // The file system leaves none.
    if state.RemainingDesiredAccess != 0 {
        lab.report(
            "access-remaining",
            "minifilter-rules §1.3.2: what is granted is removed from RemainingDesiredAccess",
            format!(
                "a create of \"{}\" succeeded while rights {:#x} remain to be granted",
                memory::text(&open.name),
                state.RemainingDesiredAccess
            ),
        );
    }
    let (status, information) = (result.Status, result.Information);
    Ok(Ended::Opened(Opened { file: file.clone(), status, information, granted }))
}

fn string(value: lab_nt::UNICODE_STRING) -> UNICODE_STRING {
    UNICODE_STRING { Length: value.Length, MaximumLength: value.MaximumLength, Buffer: value.Buffer }
}

/// Makes a handle to an opened file object and drops the create's own reference: in the current process's table,
/// or a kernel handle.
pub(crate) fn make_handle(lab: &Executive, opened: &Opened, kernel: bool, inherit: bool) -> usize {
    let process = lab.thread().process();
    let process = if kernel { None } else { process };
    let body = opened.file.body.cast();
    let handle = lab.open_handle(process.as_ref(), body, opened.granted, inherit);
    opened.file.set_flags(FO_HANDLE_CREATED);
    lab.objects.dereference(lab, body);
    handle
}

/// Asks for information by name without opening: the file object lives for the call only. `None` if somebody
/// disallows it, so that the caller must open.
///
/// `fill` sets the major function, the form and the parameters from the information buffer and its length.
pub(crate) fn query_open(
    lab: &Executive,
    open: Open,
    fill: impl FnOnce(&mut Operation, PVOID, *mut u32),
) -> Option<(i32, Vec<u8>)> {
    const ROOM: usize = 72;
    if open.related.is_some() || open.name.is_empty() {
        return None;
    }
    let Ok(mount) = mount_for(lab, &open) else { return None };
    let file = make_file(lab, &open, mount);
    let packet = Rc::new(make_packet(lab, &open));
    let information = lab.allocate_own(ROOM + 8, b"IoQo");
    let length: *mut u32 = information.wrapping_add(ROOM).cast();
    memory::write(length, ROOM as u32);
    let mut operation = Operation::irp(IRP_MJ_QUERY_OPEN, file.pointer());
    operation.mode = 1;
    operation.create = Some(packet.clone());
    fill(&mut operation, information.cast(), length);
    let result = passage::issue(lab, operation, None);
    let bytes = memory::bytes(information, ROOM);
    lab.free_own(information);
    lab.free_own(packet.access_state.cast());
    if lab.objects.references(file.body.cast()) > 1 {
        lab.report(
            "query-open-file-object-kept",
            "minifilter-rules §2.2: the file object of a query open lives for the call only",
            format!("{} was referenced by a filter", file.label()),
        );
    }
    lab.objects.dereference(lab, file.body.cast());
    let refused = [STATUS_FLT_DISALLOW_FAST_IO, crate::flt::contract::STATUS_FLT_DISALLOW_FSFILTER_IO];
    (!refused.contains(&result.Status)).then_some((result.Status, bytes))
}
