//! Queries and settings of one file: NtQueryInformationFile, NtSetInformationFile and their shortcuts by path.

use std::rc::Rc;

use fltkernel::*;
use lab_executive::Mode;
use lab_nt::_FILE_INFORMATION_CLASS as Class;
use lab_volume::{Status, Times};

use super::{Caller, CreateOptions, DELETE, Handle, Name, READ_ATTRIBUTES, check, right};
use crate::flt::request::Form;
use crate::io::create::{self, Open};
use crate::io::file::File;
use crate::io::requests::{self, From, Target};
use crate::memory::{self, wide};

/// What programs ask about a file: basic, standard, internal and position information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Information {
    /// Times.
    pub times: Times,
    /// FILE_ATTRIBUTE_*.
    pub attributes: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes allocated.
    pub allocation: u64,
    /// Names.
    pub links: u32,
    /// Deletion is pending.
    pub delete_pending: bool,
    /// It is a directory.
    pub directory: bool,
    /// File id.
    pub id: u64,
}

/// What a query by path gives: FILE_NETWORK_OPEN_INFORMATION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkOpen {
    /// Times.
    pub times: Times,
    /// FILE_ATTRIBUTE_*.
    pub attributes: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes allocated.
    pub allocation: u64,
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn times(bytes: &[u8]) -> Times {
    let at = |index: usize| long(bytes, index * 8).cast_signed();
    Times { creation: at(0), access: at(1), write: at(2), change: at(3) }
}

fn network_open(bytes: &[u8]) -> NetworkOpen {
    NetworkOpen {
        times: times(bytes),
        allocation: long(bytes, 32),
        size: long(bytes, 40),
        attributes: word(bytes, 48),
    }
}

/// Access that a query of a class needs on the handle.
fn query_right(class: u32) -> u32 {
    match class {
        Class::FileBasicInformation
        | Class::FileAllInformation
        | Class::FileNetworkOpenInformation
        | Class::FileAttributeTagInformation
        | Class::FileStatInformation => right::READ_ATTRIBUTES,
        Class::FileFullEaInformation => right::READ_EA,
        Class::FilePositionInformation => right::READ_DATA | right::WRITE_DATA | right::APPEND_DATA,
        _ => 0,
    }
}

/// Access that a setting of a class needs on the handle.
fn set_right(class: u32) -> u32 {
    match class {
        Class::FileBasicInformation => right::WRITE_ATTRIBUTES,
        Class::FileRenameInformation
        | Class::FileRenameInformationEx
        | Class::FileDispositionInformation
        | Class::FileDispositionInformationEx => right::DELETE,
        Class::FileAllocationInformation
        | Class::FileEndOfFileInformation
        | Class::FileValidDataLengthInformation => right::WRITE_DATA,
        Class::FilePositionInformation => right::READ_DATA | right::WRITE_DATA,
        _ => 0,
    }
}

impl Caller<'_> {
    /// NtQueryInformationFile, any class, into at most `length` bytes.
    ///
    /// # Errors
    /// Those of NtQueryInformationFile.
    pub fn query_information(&self, handle: Handle, class: u32, length: usize) -> Result<Vec<u8>, Status> {
        self.with_file(handle, query_right(class), |file, granted| {
            if class == Class::FileAccessInformation {
                return Ok(granted.to_le_bytes().to_vec());
            }
            let (result, data) = requests::query_information(self.lab, file, &From::user(), class, length);
            check(result.Status).map(|()| data)
        })?
    }

    /// Basic, standard and internal information. Needs FILE_READ_ATTRIBUTES.
    ///
    /// # Errors
    /// Those of NtQueryInformationFile.
    pub fn information(&self, handle: Handle) -> Result<Information, Status> {
        let basic = self.query_information(handle, Class::FileBasicInformation, 40)?;
        let standard = self.query_information(handle, Class::FileStandardInformation, 24)?;
        let internal = self.query_information(handle, Class::FileInternalInformation, 8)?;
        Ok(Information {
            times: times(&basic),
            attributes: word(&basic, 32),
            allocation: long(&standard, 0),
            size: long(&standard, 8),
            links: word(&standard, 16),
            delete_pending: standard.get(20) == Some(&1),
            directory: standard.get(21) == Some(&1),
            id: long(&internal, 0),
        })
    }

    /// Size, from standard information, which needs no right.
    ///
    /// # Errors
    /// Those of NtQueryInformationFile.
    pub fn size(&self, handle: Handle) -> Result<u64, Status> {
        Ok(long(&self.query_information(handle, Class::FileStandardInformation, 24)?, 8))
    }

    /// NtSetInformationFile. Renames and links with a path open the target directory first.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn set_information(&self, handle: Handle, class: u32, data: &[u8]) -> Result<(), Status> {
        self.with_file(handle, set_right(class), |file, _| set_information(self, file, class, data))?
    }

    /// Sets the size.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn set_end_of_file(&self, handle: Handle, size: u64) -> Result<(), Status> {
        self.set_information(handle, Class::FileEndOfFileInformation, &size.to_le_bytes())
    }

    /// Sets the allocation.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn set_allocation(&self, handle: Handle, size: u64) -> Result<(), Status> {
        self.set_information(handle, Class::FileAllocationInformation, &size.to_le_bytes())
    }

    /// Sets times and attributes; `None` and 0 leave them.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn set_basic(&self, handle: Handle, times: [Option<i64>; 4], attributes: u32) -> Result<(), Status> {
        let mut data: Vec<u8> = times.iter().flat_map(|time| time.unwrap_or(0).to_le_bytes()).collect();
        data.extend_from_slice(&attributes.to_le_bytes());
        data.extend_from_slice(&[0; 4]);
        self.set_information(handle, Class::FileBasicInformation, &data)
    }

    /// Marks for deletion, or takes the mark back.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn set_delete(&self, handle: Handle, delete: bool) -> Result<(), Status> {
        self.set_information(handle, Class::FileDispositionInformation, &[u8::from(delete)])
    }

    /// Renames an open file. `to` is a name in the same directory or a whole path.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn rename(&self, handle: Handle, to: &str, replace: bool) -> Result<(), Status> {
        self.set_information(handle, Class::FileRenameInformation, &name_buffer(to, replace))
    }

    /// Gives an open file a second name.
    ///
    /// # Errors
    /// Those of NtSetInformationFile.
    pub fn link(&self, handle: Handle, to: &str, replace: bool) -> Result<(), Status> {
        self.set_information(handle, Class::FileLinkInformation, &name_buffer(to, replace))
    }

    /// Opens for deletion, marks, closes: DeleteFile.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn delete(&self, path: &str) -> Result<(), Status> {
        let options = CreateOptions::open(path, DELETE).options(0x20_0000);
        let handle = self.create_file(&options)?.handle;
        let deleted = self.set_delete(handle, true);
        self.close(handle)?;
        deleted
    }

    /// Opens, renames, closes: MoveFileEx within a volume.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn rename_path(&self, from: &str, to: &str, replace: bool) -> Result<(), Status> {
        let options = CreateOptions::open(from, DELETE | READ_ATTRIBUTES).options(0x20_0000);
        let handle = self.create_file(&options)?.handle;
        let renamed = self.rename(handle, to, replace);
        self.close(handle)?;
        renamed
    }

    /// NtQueryFullAttributesFile: asks without a handle first (IRP_MJ_NETWORK_QUERY_OPEN), opens if somebody
    /// disallows that.
    ///
    /// # Errors
    /// Those of opening and querying.
    pub fn query_attributes_by_path(&self, path: &str) -> Result<NetworkOpen, Status> {
        let options = CreateOptions::new(Name::Path(path.into()), READ_ATTRIBUTES, 1).options(0x20_0000);
        let asked =
            create::query_open(self.lab, self.open_request(&options)?, |operation, information, _| {
                operation.major = IRP_MJ_NETWORK_QUERY_OPEN;
                operation.form = Form::FastIo;
                operation.parameters = FLT_PARAMETERS {
                    NetworkQueryOpen: NETWORK_QUERY_OPEN {
                        Irp: std::ptr::null_mut(),
                        NetworkInformation: information,
                    },
                };
            });
        if let Some((status, bytes)) = asked {
            return check(status).map(|()| network_open(&bytes));
        }
        let handle = self.create_file(&options)?.handle;
        let bytes = self.query_information(handle, Class::FileNetworkOpenInformation, 56);
        self.close(handle)?;
        Ok(network_open(&bytes?))
    }

    /// Asks for FILE_STAT_INFORMATION by path (IRP_MJ_QUERY_OPEN first, then an open).
    ///
    /// # Errors
    /// Those of opening and querying.
    pub fn query_stat_by_path(&self, path: &str) -> Result<Vec<u8>, Status> {
        // Nothing but the attributes is asked for, whichever way it goes: the class tells the access.
        let mut options = CreateOptions::new(Name::Path(path.into()), READ_ATTRIBUTES, 1);
        (options.access, options.options) = (READ_ATTRIBUTES, 0);
        let asked =
            create::query_open(self.lab, self.open_request(&options)?, |operation, information, length| {
                operation.major = IRP_MJ_QUERY_OPEN;
                operation.form = Form::FsFilter;
                operation.parameters = FLT_PARAMETERS {
                    QueryOpen: QUERY_OPEN {
                        Irp: std::ptr::null_mut(),
                        FileInformation: information,
                        Length: length,
                        FileInformationClass: Class::FileStatInformation,
                        Padding1: 0,
                    },
                };
            });
        if let Some((status, bytes)) = asked {
            return check(status).map(|()| bytes[..72].to_vec());
        }
        let handle = self.create_file(&options)?.handle;
        let bytes = self.query_information(handle, Class::FileStatInformation, 72);
        self.close(handle)?;
        bytes
    }
}

/// FILE_RENAME_INFORMATION and FILE_LINK_INFORMATION.
fn name_buffer(to: &str, replace: bool) -> Vec<u8> {
    let name = wide(&if to.contains(':') && !to.starts_with(['\\', ':']) {
        format!(r"\??\{to}")
    } else {
        to.to_owned()
    });
    let mut data = vec![u8::from(replace), 0, 0, 0, 0, 0, 0, 0];
    data.extend_from_slice(&[0; 8]);
    data.extend_from_slice(&((name.len() * 2) as u32).to_le_bytes());
    data.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    data
}

fn set_information(caller: &Caller<'_>, file: &Rc<File>, class: u32, data: &[u8]) -> Result<(), Status> {
    let lab = caller.lab;
    let names = matches!(
        class,
        Class::FileRenameInformation
            | Class::FileRenameInformationEx
            | Class::FileLinkInformation
            | Class::FileLinkInformationEx
    );
    let plain = matches!(class, Class::FileRenameInformation | Class::FileLinkInformation);
    let mut target = Target { replace: plain && data.first() == Some(&1), ..Target::default() };
    let mut handle = None;
    if names {
        let length = word(data, 16) as usize;
        let bytes = data.get(20..20 + length).ok_or(Status::INVALID_PARAMETER)?;
        let name: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let root = long(data, 8) as usize;
        let opened = open_target(caller, file, root, &name)?;
        if let Some((parent, own)) = opened {
            target.parent = Some(parent);
            handle = Some(own);
        }
    }
    let result = requests::set_information(lab, file, &From::user(), class, data, target);
    if let Some(handle) = handle {
        // The I/O manager's own handle; closing it cannot fail.
        let _ = lab.close_handle(handle, Mode::Kernel);
    }
    check(result.Status)
}

/// IopOpenLinkOrRenameTarget: opens the directory of the new name through the whole stack.
fn open_target(
    caller: &Caller<'_>,
    file: &Rc<File>,
    root: usize,
    name: &[u16],
) -> Result<Option<(*mut lab_nt::FILE_OBJECT, usize)>, Status> {
    let absolute = name.first() == Some(&u16::from(b'\\'));
    let mut open = if root != 0 {
        let (directory, _) = caller.file(Handle(root), 0)?;
        Open { related: Some(directory), ..Open::new(name.to_vec(), Mode::User) }
    } else if absolute {
        let below = super::path::below_volume(&memory::text(name)).map_err(|_| Status::NOT_SAME_DEVICE)?;
        Open::new(below, Mode::User)
    } else {
        return Ok(None);
    };
    // Rights to add an entry; the new name belongs to the file's own transaction.
    let add = if file.directory.get() { 0x4 } else { 0x2 };
    open.access = add | super::SYNCHRONIZE;
    open.share = 3;
    open.options = 0x4000;
    open.target_directory = true;
    open.force_check = true;
    open.transaction = file.transaction.clone();
    open.ceiling = file.ceiling.clone();
    let opened = create::open(caller.lab, open).map_err(|(status, _)| Status(status.cast_unsigned()))?;
    let parent = opened.file.body;
    let handle = create::make_handle(caller.lab, &opened, true, false);
    Ok(Some((parent, handle)))
}
