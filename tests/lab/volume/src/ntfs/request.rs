//! What a create is asked, and what it answers.

use std::sync::Arc;

use bitflags::bitflags;

use super::OpenId;
use super::record::{Ea, FileId, Reparse};
use super::security::Subject;
use crate::Status;
use crate::ktm::TxId;
use crate::names::Wide;

bitflags! {
    /// FILE_SHARE_*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Share: u32 {
        /// Others may read.
        const READ = 1;
        /// Others may write.
        const WRITE = 2;
        /// Others may delete and rename.
        const DELETE = 4;
    }
}

bitflags! {
    /// The create options that the file system looks at, by their NT values. Others may be set and are the
    /// I/O manager's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Options: u32 {
        /// FILE_DIRECTORY_FILE.
        const DIRECTORY_FILE = 0x1;
        /// FILE_NON_DIRECTORY_FILE.
        const NON_DIRECTORY_FILE = 0x40;
        /// FILE_DELETE_ON_CLOSE.
        const DELETE_ON_CLOSE = 0x1000;
        /// FILE_OPEN_BY_FILE_ID: said by [`Target::Id`], ignored here.
        const OPEN_BY_FILE_ID = 0x2000;
        /// FILE_OPEN_REPARSE_POINT.
        const OPEN_REPARSE_POINT = 0x20_0000;
        const _ = !0;
    }
}

/// The create disposition, by its NT value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Disposition {
    /// Replace what is there, or create.
    Supersede = 0,
    /// Open what is there.
    #[default]
    Open = 1,
    /// Create; fail if there is something.
    Create = 2,
    /// Open, or create.
    OpenIf = 3,
    /// Empty what is there.
    Overwrite = 4,
    /// Empty what is there, or create.
    OverwriteIf = 5,
}

impl Disposition {
    /// From its NT value.
    pub fn from_nt(value: u32) -> Option<Disposition> {
        use Disposition::*;
        [Supersede, Open, Create, OpenIf, Overwrite, OverwriteIf].get(value as usize).copied()
    }

    /// Whether what exists is replaced.
    pub fn replaces(self) -> bool {
        matches!(self, Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf)
    }
}

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path from the root of the volume, `\dir\file:stream`. Empty is the volume itself.
    Path(Wide),
    /// A path below an open directory; empty reopens, `:stream` opens a stream of an open file.
    Relative(OpenId, Wide),
    /// A file id.
    Id(FileId),
}

/// Everything that a create is asked.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// What to open.
    pub target: Target,
    /// Desired access; generic rights and MAXIMUM_ALLOWED are understood.
    pub access: u32,
    /// Share access.
    pub share: Share,
    /// Create disposition.
    pub disposition: Disposition,
    /// Create options.
    pub options: Options,
    /// Attributes for a new or replaced file.
    pub attributes: u32,
    /// Self-relative security descriptor for a new file; `None` copies the directory's.
    pub security: Option<Arc<[u8]>>,
    /// EAs for a new or replaced file.
    pub ea: Vec<Ea>,
    /// Bytes to allocate for a new or replaced file.
    pub allocation: u64,
    /// The transaction of the create (the I/O manager's transaction parameter block, default view).
    pub transaction: Option<TxId>,
    /// The requesting process.
    pub process: u64,
    /// IO_IGNORE_SHARE_ACCESS_CHECK: neither checked nor recorded. The transactional lock matrix still
    /// applies; whether it does on Windows is unknown.
    pub ignore_share: bool,
    /// On whose behalf access is checked; `None` is kernel mode without a forced check.
    pub subject: Option<Subject>,
    /// SL_OPEN_TARGET_DIRECTORY: open the parent instead, and say whether the last component exists.
    pub open_target_directory: bool,
}

impl CreateRequest {
    /// A request to open a path, with all sharing and no rights; change the fields that matter.
    pub fn path(path: &str) -> CreateRequest {
        CreateRequest::new(Target::Path(path.into()))
    }

    /// As [`path`](CreateRequest::path), for any target.
    pub fn new(target: Target) -> CreateRequest {
        CreateRequest {
            target,
            access: 0,
            share: Share::all(),
            disposition: Disposition::Open,
            options: Options::empty(),
            attributes: 0,
            security: None,
            ea: Vec::new(),
            allocation: 0,
            transaction: None,
            process: 0,
            ignore_share: false,
            subject: None,
            open_target_directory: false,
        }
    }

    /// With this desired access.
    pub fn access(self, access: u32) -> CreateRequest {
        CreateRequest { access, ..self }
    }

    /// With this share access.
    pub fn share(self, share: Share) -> CreateRequest {
        CreateRequest { share, ..self }
    }

    /// With this disposition.
    pub fn disposition(self, disposition: Disposition) -> CreateRequest {
        CreateRequest { disposition, ..self }
    }

    /// With these options.
    pub fn options(self, options: Options) -> CreateRequest {
        CreateRequest { options, ..self }
    }

    /// Inside this transaction.
    pub fn inside(self, transaction: TxId) -> CreateRequest {
        CreateRequest { transaction: Some(transaction), ..self }
    }
}

/// What a create did, by the NT value of IoStatus.Information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// FILE_SUPERSEDED.
    Superseded = 0,
    /// FILE_OPENED.
    Opened = 1,
    /// FILE_CREATED.
    Created = 2,
    /// FILE_OVERWRITTEN.
    Overwritten = 3,
    /// FILE_EXISTS, from a target-directory open.
    Exists = 4,
    /// FILE_DOES_NOT_EXIST, from a target-directory open.
    DoesNotExist = 5,
}

/// A successful create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The open.
    pub open: OpenId,
    /// What happened.
    pub action: Action,
    /// The rights that the open has.
    pub granted: u32,
    /// The file.
    pub id: FileId,
    /// Whether it is a directory.
    pub directory: bool,
    /// For a target-directory open: the last component, to rename or link to.
    pub last_component: Option<Wide>,
}

/// A create that ran into a reparse point: STATUS_REPARSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReparseStop {
    /// The reparse point.
    pub reparse: Reparse,
    /// Units of the path after the reparse point, the separator included.
    pub unparsed: u16,
}

/// How a create ended, if not with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Create {
    /// With an open.
    Opened(Created),
    /// With STATUS_REPARSE.
    Reparse(ReparseStop),
}

impl Create {
    /// The open.
    ///
    /// # Errors
    /// [`Status::REPARSE`].
    pub fn opened(self) -> Result<Created, Status> {
        match self {
            Create::Opened(created) => Ok(created),
            Create::Reparse(_) => Err(Status::REPARSE),
        }
    }
}
