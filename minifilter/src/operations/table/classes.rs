//! File information classes, in the order of their numbers (ntifs.h): queries and settings that NTFS knows. Classes that
//! only list folders are not there: they come by `IRP_MJ_DIRECTORY_CONTROL`.

use kernel::Status;

use super::super::Modifies::{Nothing, Other, Size};
use super::super::Treatment::{Own, Pass, Refuse, Swap};
use super::{Row, row};
use crate::save::wounds::Change;

const TWIN: &str = "of the version in the making";
const HANDLE: &str = "about the handle; the file system does not know it or does not care";
const DEVICE: &str = "about the device";
const VOLUME: &str = "about the volume or about all who have the file open";
const INDEX: &str = "reads an index of the volume, which has handles of its own: answered as not valid here";
const TRANSACTED: &str = "documented to be transacted (txf-ktm §4.9)";
const NAMES: &str = "carried out on the twin, inside the save (rename.rs)";
const POSIX: &str =
    "carried out on the twin, inside the save; what TxF refuses of it is told as not supported";
const OBJECT_ID: &str = "object ids and link tracking do not work in a transaction (txf-ktm §4.9)";
const UNDOCUMENTED: &str = "what TxF says to it is not documented, and it could modify";

/// `IRP_MJ_QUERY_INFORMATION`.
#[rustfmt::skip]
pub const QUERIES: &[Row] = &[
    row(4, "FileBasicInformation", Swap(Nothing), TWIN),
    row(5, "FileStandardInformation", Swap(Nothing), TWIN),
    row(6, "FileInternalInformation", Swap(Nothing), TWIN),
    row(7, "FileEaInformation", Swap(Nothing), TWIN),
    row(8, "FileAccessInformation", Pass, HANDLE),
    row(9, "FileNameInformation", Swap(Nothing), "the name inside the save, which may be a new one"),
    row(14, "FilePositionInformation", Swap(Nothing), "the two file objects have one position: it is copied with every operation"),
    row(16, "FileModeInformation", Pass, HANDLE),
    row(17, "FileAlignmentInformation", Pass, DEVICE),
    row(18, "FileAllInformation", Swap(Nothing), TWIN),
    row(21, "FileAlternateNameInformation", Swap(Nothing), TWIN),
    row(22, "FileStreamInformation", Swap(Nothing), TWIN),
    row(28, "FileCompressionInformation", Swap(Nothing), TWIN),
    row(29, "FileObjectIdInformation", Swap(Nothing), INDEX),
    row(32, "FileQuotaInformation", Swap(Nothing), INDEX),
    row(33, "FileReparsePointInformation", Swap(Nothing), INDEX),
    row(34, "FileNetworkOpenInformation", Swap(Nothing), TWIN),
    row(35, "FileAttributeTagInformation", Swap(Nothing), TWIN),
    row(43, "FileIoPriorityHintInformation", Pass, HANDLE),
    row(44, "FileSfioReserveInformation", Pass, HANDLE),
    row(45, "FileSfioVolumeInformation", Pass, VOLUME),
    row(46, "FileHardLinkInformation", Swap(Nothing), "the names inside the save"),
    row(47, "FileProcessIdsUsingFileInformation", Pass, VOLUME),
    row(48, "FileNormalizedNameInformation", Swap(Nothing), "the name inside the save, which may be a new one"),
    row(49, "FileNetworkPhysicalNameInformation", Pass, "local files have none"),
    row(51, "FileIsRemoteDeviceInformation", Pass, DEVICE),
    row(53, "FileNumaNodeInformation", Pass, DEVICE),
    row(54, "FileStandardLinkInformation", Swap(Nothing), TWIN),
    row(55, "FileRemoteProtocolInformation", Pass, "local files have none"),
    row(58, "FileVolumeNameInformation", Pass, VOLUME),
    row(59, "FileIdInformation", Swap(Nothing), TWIN),
    row(62, "FileHardLinkFullIdInformation", Swap(Nothing), "the names inside the save"),
    row(67, "FileDesiredStorageClassInformation", Swap(Nothing), TWIN),
    row(68, "FileStatInformation", Swap(Nothing), TWIN),
    row(69, "FileMemoryPartitionInformation", Pass, HANDLE),
    row(70, "FileStatLxInformation", Swap(Nothing), TWIN),
    row(71, "FileCaseSensitiveInformation", Swap(Nothing), TWIN),
    row(74, "FileStorageReserveIdInformation", Swap(Nothing), TWIN),
    row(77, "FileStatBasicInformation", Swap(Nothing), TWIN),
];

/// `IRP_MJ_SET_INFORMATION`.
#[rustfmt::skip]
pub const SETTINGS: &[Row] = &[
    row(4, "FileBasicInformation", Swap(Other(Change::Basic)), TRANSACTED),
    row(10, "FileRenameInformation", Own, NAMES),
    row(11, "FileLinkInformation", Own, NAMES),
    row(13, "FileDispositionInformation", Own, NAMES),
    row(14, "FilePositionInformation", Pass, "the position of the handle is its own file object's"),
    row(16, "FileModeInformation", Pass, HANDLE),
    row(19, "FileAllocationInformation", Swap(Other(Change::Allocation)), TRANSACTED),
    row(20, "FileEndOfFileInformation", Swap(Size), TRANSACTED),
    row(29, "FileObjectIdInformation", Refuse(Status::NOT_SUPPORTED), OBJECT_ID),
    row(30, "FileCompletionInformation", Pass, HANDLE),
    row(31, "FileMoveClusterInformation", Refuse(Status::NOT_SUPPORTED), "moving clusters is never transacted (txf-ktm §4.9)"),
    row(36, "FileTrackingInformation", Refuse(Status::NOT_SUPPORTED), OBJECT_ID),
    row(39, "FileValidDataLengthInformation", Refuse(Status::INVALID_PARAMETER), "NTFS does not do it in a transaction; told as by a file system that does not do it at all, where programs write zeros"),
    row(40, "FileShortNameInformation", Refuse(Status::NOT_SUPPORTED), "the save does not know how to take it back; programs know the status from volumes without short names"),
    row(41, "FileIoCompletionNotificationInformation", Pass, HANDLE),
    row(42, "FileIoStatusBlockRangeInformation", Pass, HANDLE),
    row(43, "FileIoPriorityHintInformation", Pass, HANDLE),
    row(44, "FileSfioReserveInformation", Pass, HANDLE),
    row(56, "FileRenameInformationBypassAccessCheck", Own, NAMES),
    row(57, "FileLinkInformationBypassAccessCheck", Own, NAMES),
    row(61, "FileReplaceCompletionInformation", Pass, HANDLE),
    row(64, "FileDispositionInformationEx", Own, POSIX),
    row(65, "FileRenameInformationEx", Own, POSIX),
    row(66, "FileRenameInformationExBypassAccessCheck", Own, POSIX),
    row(67, "FileDesiredStorageClassInformation", Refuse(Status::NOT_SUPPORTED), UNDOCUMENTED),
    row(69, "FileMemoryPartitionInformation", Refuse(Status::NOT_SUPPORTED), UNDOCUMENTED),
    row(71, "FileCaseSensitiveInformation", Refuse(Status::NOT_SUPPORTED), "for folders; what TxF says to it is not documented (txf-ktm §4.9)"),
    row(72, "FileLinkInformationEx", Own, POSIX),
    row(73, "FileLinkInformationExBypassAccessCheck", Own, POSIX),
    row(74, "FileStorageReserveIdInformation", Refuse(Status::NOT_SUPPORTED), UNDOCUMENTED),
    row(75, "FileCaseSensitiveInformationForceAccessCheck", Refuse(Status::NOT_SUPPORTED), "for folders; what TxF says to it is not documented (txf-ktm §4.9)"),
];
