//! One operation on its way through the instances: its callback data, where it stands, and who waits for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fltkernel::*;
use lab_executive::process::Process;

use crate::Executive;
use crate::flt::instance::Instance;
use crate::io::create::CreatePacket;
use crate::memory;

/// How an operation reaches the Filter Manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// An I/O request packet.
    Irp,
    /// A fast I/O call.
    FastIo,
    /// A call through the file system filter interface: section and paging synchronisation, query open.
    FsFilter,
}

/// Where an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Next is the pre-operation callback of the instance at this index of the chain.
    Down(usize),
    /// A pre-operation callback of the instance at this index runs or has pended.
    InPre(usize),
    /// Next is the file system.
    FileSystem,
    /// The file system has it.
    InFileSystem,
    /// Next is the topmost open frame's post-operation callback, or the end.
    Up,
    /// A post-operation callback runs or has asked for more time.
    InPost,
    /// Completed; the callback data is gone.
    Done,
}

/// An instance that has been passed on the way down and wants the operation back.
pub(crate) struct Frame {
    /// Who.
    pub(crate) instance: Rc<Instance>,
    /// Index of the instance in the chain.
    pub(crate) level: usize,
    /// The parameters as the instance received them: what it and everybody above sees on the way up.
    pub(crate) received: FLT_IO_PARAMETER_BLOCK,
    /// Its completion context.
    pub(crate) context: PVOID,
    /// Its callback; absent for a frame that only waits (never made).
    pub(crate) post: PFLT_POST_OPERATION_CALLBACK,
    /// The only thread that may run the callback, for creates, fast I/O and synchronised operations.
    pub(crate) thread: Option<u32>,
}

/// The memory of one operation that drivers see: callback data, two parameter blocks, related objects.
///
/// Two blocks, because `Iopb` may differ between pre- and post-operation, and a driver must not keep it
/// (minifilter-rules §1.1): the way up uses the second one.
pub(crate) struct Block {
    base: *mut u8,
}

const DATA: usize = size_of::<FLT_CALLBACK_DATA>().next_multiple_of(16);
const IOPB: usize = size_of::<FLT_IO_PARAMETER_BLOCK>().next_multiple_of(16);
const RELATED: usize = size_of::<FLT_RELATED_OBJECTS>();

impl Block {
    fn new(lab: &Executive, instances: usize) -> Self {
        Self { base: lab.allocate_own(DATA + 2 * IOPB + instances.max(1) * RELATED, b"FmCd") }
    }

    pub(crate) fn data(&self) -> *mut FLT_CALLBACK_DATA {
        self.base.cast()
    }

    /// The parameters on the way down.
    pub(crate) fn down(&self) -> *mut FLT_IO_PARAMETER_BLOCK {
        self.base.wrapping_add(DATA).cast()
    }

    /// The parameters on the way up.
    pub(crate) fn up(&self) -> *mut FLT_IO_PARAMETER_BLOCK {
        self.base.wrapping_add(DATA + IOPB).cast()
    }

    pub(crate) fn related(&self, level: usize) -> *mut FLT_RELATED_OBJECTS {
        self.base.wrapping_add(DATA + 2 * IOPB + level * RELATED).cast()
    }
}

/// What an operation is about, given by its issuer.
pub(crate) struct Operation {
    pub(crate) form: Form,
    pub(crate) major: u8,
    pub(crate) minor: u8,
    pub(crate) irp_flags: u32,
    pub(crate) operation_flags: u8,
    pub(crate) parameters: FLT_PARAMETERS,
    pub(crate) file: PFILE_OBJECT,
    /// User mode is 1.
    pub(crate) mode: i8,
    /// Whether its completion may come later and elsewhere, as an asynchronous IRP's.
    pub(crate) asynchronous: bool,
    /// Made by a filter rather than by the I/O manager.
    pub(crate) generated: bool,
    /// For creates.
    pub(crate) create: Option<Rc<CreatePacket>>,
}

impl Operation {
    /// A synchronous kernel-mode IRP without parameters.
    pub(crate) fn irp(major: u8, file: PFILE_OBJECT) -> Self {
        Self {
            form: Form::Irp,
            major,
            minor: 0,
            irp_flags: 0,
            operation_flags: 0,
            parameters: FLT_PARAMETERS { Others: [0; 6] },
            file,
            mode: 0,
            asynchronous: false,
            generated: false,
            create: None,
        }
    }
}

/// An operation under way.
pub(crate) struct Request {
    /// Counts operations; the same in every run with the same seed.
    pub(crate) id: u64,
    pub(crate) form: Form,
    pub(crate) major: u8,
    pub(crate) asynchronous: bool,
    pub(crate) block: Block,
    /// Top-down; a snapshot, so that attaching and detaching do not move what is under way.
    pub(crate) chain: Vec<Rc<Instance>>,
    /// The thread that issued it.
    pub(crate) issuer: u32,
    /// The process that the issuing thread was attached to.
    pub(crate) process: Rc<Process>,
    /// The file object that the issuer named; swaps do not change it.
    pub(crate) file: PFILE_OBJECT,
    pub(crate) create: Option<Rc<CreatePacket>>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) frames: RefCell<Vec<Frame>>,
    /// The parameters as the instance in a pre-operation received them.
    pub(crate) received: Cell<Option<FLT_IO_PARAMETER_BLOCK>>,
    /// A completion that came before the callback had said that it pends.
    pub(crate) early: Cell<Option<(i32, PVOID)>>,
    /// As `early`, for a post-operation.
    pub(crate) early_post: Cell<bool>,
    /// Whose post-operation asked for more time.
    pub(crate) pended_post: RefCell<Option<Rc<Instance>>>,
    /// Somebody wants it to end (io/NtCancelIoFileEx): it does if it waits in the file system.
    pub(crate) cancelled: Cell<bool>,
    /// Whether a thread is moving it along right now.
    pub(crate) moving: Cell<bool>,
    /// The result, once done.
    pub(crate) result: Cell<IO_STATUS_BLOCK>,
}

/// An I/O status block.
pub(crate) fn status_block(status: i32, information: usize) -> IO_STATUS_BLOCK {
    IO_STATUS_BLOCK { Status: status, StatusPadding: 0, Information: information }
}

impl Request {
    pub(crate) fn new(lab: &Executive, id: u64, chain: Vec<Rc<Instance>>, operation: Operation) -> Rc<Self> {
        let thread = lab.thread();
        let process = thread.process().unwrap_or_else(|| lab.processes.system());
        let block = Block::new(lab, chain.len());
        let iopb = FLT_IO_PARAMETER_BLOCK {
            IrpFlags: operation.irp_flags,
            MajorFunction: operation.major,
            MinorFunction: operation.minor,
            OperationFlags: operation.operation_flags,
            Reserved: 0,
            TargetFileObject: operation.file,
            TargetInstance: std::ptr::null_mut(),
            Parameters: operation.parameters,
        };
        memory::write(block.down(), iopb);
        memory::write(block.up(), iopb);
        let form = match operation.form {
            Form::Irp => FLTFL_CALLBACK_DATA_IRP_OPERATION,
            Form::FastIo => FLTFL_CALLBACK_DATA_FAST_IO_OPERATION,
            Form::FsFilter => FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION,
        };
        let generated = if operation.generated { FLTFL_CALLBACK_DATA_GENERATED_IO } else { 0 };
        memory::write(
            block.data(),
            FLT_CALLBACK_DATA {
                Flags: form | generated,
                Thread: thread.ethread.cast(),
                Iopb: block.down(),
                IoStatus: status_block(0, 0),
                TagData: std::ptr::null_mut(),
                FilterContext: [std::ptr::null_mut(); 4],
                RequestorMode: operation.mode,
            },
        );
        Rc::new(Self {
            id,
            form: operation.form,
            major: operation.major,
            asynchronous: operation.asynchronous,
            block,
            chain,
            issuer: thread.id,
            process,
            file: operation.file,
            create: operation.create,
            phase: Cell::new(Phase::Down(0)),
            frames: RefCell::default(),
            received: Cell::new(None),
            early: Cell::new(None),
            early_post: Cell::new(false),
            pended_post: RefCell::new(None),
            cancelled: Cell::new(false),
            moving: Cell::new(false),
            result: Cell::new(status_block(0, 0)),
        })
    }

    pub(crate) fn data(&self) -> FLT_CALLBACK_DATA {
        memory::read(self.block.data())
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut FLT_CALLBACK_DATA)) {
        let mut data = self.data();
        change(&mut data);
        memory::write(self.block.data(), data);
    }

    /// The parameters on the way down, as the last instance left them.
    pub(crate) fn iopb(&self) -> FLT_IO_PARAMETER_BLOCK {
        memory::read(self.block.down())
    }

    pub(crate) fn set_status(&self, status: i32, information: usize) {
        self.update(|data| data.IoStatus = status_block(status, information));
    }

    pub(crate) fn done(&self) -> bool {
        self.phase.get() == Phase::Done
    }

    /// For reports: what and which.
    pub(crate) fn label(&self) -> String {
        format!("{} #{}", super::registration::major_name(self.major), self.id)
    }
}
