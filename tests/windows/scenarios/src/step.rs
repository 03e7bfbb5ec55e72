//! What programs do.

/// One step of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who does it.
    pub by: Actor,
    /// What.
    pub action: Action,
    /// The NTSTATUS that it must return.
    pub status: u32,
}

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// The one that saves.
    Program,
    /// Another one.
    Other,
}

impl Actor {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Actor::Program => "the program",
            Actor::Other => "another program",
        }
    }
}

/// The number under which an actor keeps an open file.
pub type Slot = usize;

/// The place of a file in the scenario's list.
pub type FileNumber = usize;

/// FILE_SHARE_READ.
pub const SHARE_READ: u32 = 1;
/// FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE.
pub const SHARE_ALL: u32 = 7;

/// What an open asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// GENERIC_READ.
    Read,
    /// GENERIC_WRITE.
    Write,
    /// GENERIC_READ | GENERIC_WRITE.
    ReadWrite,
    /// FILE_APPEND_DATA and FILE_READ_ATTRIBUTES: writes go to the end.
    Append,
}

impl Access {
    /// The access mask, SYNCHRONIZE included.
    pub fn mask(self) -> u32 {
        const SYNCHRONIZE: u32 = 0x10_0000;
        SYNCHRONIZE
            | match self {
                Access::Read => 0x8000_0000,
                Access::Write => 0x4000_0000,
                Access::ReadWrite => 0xC000_0000,
                Access::Append => 0x4 | 0x80,
            }
    }
}

/// Create dispositions, by their native values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Disposition {
    /// FILE_SUPERSEDE.
    Supersede = 0,
    /// FILE_OPEN.
    Open = 1,
    /// FILE_CREATE.
    Create = 2,
    /// FILE_OPEN_IF.
    OpenIf = 3,
    /// FILE_OVERWRITE_IF: CREATE_ALWAYS.
    OverwriteIf = 5,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// NtCreateFile, synchronous, no directory.
    Open {
        /// Where the handle is kept.
        slot: Slot,
        /// Which file.
        file: FileNumber,
        /// For what.
        access: Access,
        /// FILE_SHARE_*.
        share: u32,
        /// How.
        disposition: Disposition,
        /// FILE_* create options besides.
        options: u32,
    },
    /// NtWriteFile of a part of a file's new version, at its place.
    Write {
        /// Through this handle.
        slot: Slot,
        /// Whose bytes.
        file: FileNumber,
        /// From here.
        offset: u64,
        /// So many.
        length: u64,
    },
    /// NtReadFile, which must return the bytes that the new version has there.
    ReadsNew {
        /// Through this handle.
        slot: Slot,
        /// Whose bytes.
        file: FileNumber,
        /// From here.
        offset: u64,
        /// So many.
        length: u64,
    },
    /// NtSetInformationFile, FileEndOfFileInformation.
    SetSize {
        /// Through this handle.
        slot: Slot,
        /// Bytes.
        size: u64,
    },
    /// NtFlushBuffersFile.
    Flush {
        /// Through this handle.
        slot: Slot,
    },
    /// NtLockFile, exclusive, without waiting.
    Lock {
        /// Through this handle.
        slot: Slot,
        /// From here.
        offset: u64,
        /// So many.
        length: u64,
    },
    /// NtUnlockFile.
    Unlock {
        /// Through this handle.
        slot: Slot,
        /// From here.
        offset: u64,
        /// So many.
        length: u64,
    },
    /// NtClose.
    Close {
        /// This handle.
        slot: Slot,
    },
    /// Opens for reading, sharing everything, reads all and closes; must find the old version.
    FindsOld {
        /// Which file.
        file: FileNumber,
    },
    /// The same, and must find the new version.
    FindsNew {
        /// Which file.
        file: FileNumber,
    },
    /// Opens for renaming, renames within the folder over what is there, closes: MoveFileEx.
    Rename {
        /// Which file.
        from: FileNumber,
        /// Onto which.
        to: FileNumber,
    },
}

/// What becomes of the program after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// ExitProcess; the system closes what is open.
    Exits(u32),
    /// It writes to an address where there is nothing.
    Crashes,
    /// TerminateProcess by another process, with this exit status.
    Killed(u32),
    /// The machine is reset while it runs.
    Reset,
}
