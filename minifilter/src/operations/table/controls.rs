//! File system controls, in the order of their codes (winioctl.h, ntifs.h): those that NTFS knows, or that programs try on
//! it. Controls of other file systems and of the network are refused by the general row of the operation.

use kernel::Status;

use super::super::Modifies::{Nothing, Other, Zeros};
use super::super::Treatment::{Pass, Refuse, Swap};
use super::super::{Treatment, UNKNOWN_CONTROL as UNKNOWN};
use super::{Row, row};
use crate::save::wounds::Change;

/// Oplocks are not granted on a file with a transaction anyway (txf-ktm §4.8).
const NO_OPLOCK: Treatment = Refuse(Status::OPLOCK_NOT_GRANTED);
/// What NTFS answers to an acknowledgement without a break.
const NO_BREAK: Treatment = Refuse(Status::INVALID_OPLOCK_PROTOCOL);
/// What NTFS answers on a handle that is not of a volume.
const NOT_A_VOLUME: Treatment = Refuse(Status::INVALID_PARAMETER);
/// What NTFS answers for files that it does not offload (txf-ktm §4.9).
const NO_OFFLOAD_READ: Treatment = Refuse(Status::OFFLOAD_READ_FILE_NOT_SUPPORTED);
const NO_OFFLOAD_WRITE: Treatment = Refuse(Status::OFFLOAD_WRITE_FILE_NOT_SUPPORTED);

const OPLOCK: &str = "no oplock is granted while a transaction has the file (txf-ktm §4.8)";
const ACKNOWLEDGE: &str = "acknowledges the break of an oplock, of which there is none";
const ASKS_VOLUME: &str = "asks about the volume and modifies nothing";
const ASKS_FILE: &str = "asks about the file: the version in the making";
const OF_VOLUME: &str = "needs a handle of the volume, and this is one of a file";
const OBJECT_ID: &str =
    "object ids do not work in a transaction (txf-ktm §4.9); told as by a volume without them";
const REPARSE: &str =
    "whether it is transacted is documented both ways (txf-ktm §4.9); told as by a volume without it";
const SPARSE: &str = "if TxF does not take it (txf-ktm §4.9), the save is published and it is done without a transaction; told as by a volume without sparse files where that cannot be";
const RAW: &str = "encrypted files are never redirected for writing";
const OFFLOAD: &str = "not possible in a transaction (txf-ktm §4.9); copy programs read and write instead";
const OTHER_DRIVER: &str = "of another driver, which would not know of the twin";
const BACKING: &str = "replaces the file's data, outside any transaction";
const CLONES: &str = "of ReFS; NTFS does not know it";
const TXFS: &str = "for programs with transactions of their own; the save's is not theirs";

/// `IRP_MJ_FILE_SYSTEM_CONTROL`.
#[rustfmt::skip]
pub const CONTROLS: &[Row] = &[
    row(0x0009_0000, "FSCTL_REQUEST_OPLOCK_LEVEL_1", NO_OPLOCK, OPLOCK),
    row(0x0009_0004, "FSCTL_REQUEST_OPLOCK_LEVEL_2", NO_OPLOCK, OPLOCK),
    row(0x0009_0008, "FSCTL_REQUEST_BATCH_OPLOCK", NO_OPLOCK, OPLOCK),
    row(0x0009_000C, "FSCTL_OPLOCK_BREAK_ACKNOWLEDGE", NO_BREAK, ACKNOWLEDGE),
    row(0x0009_0010, "FSCTL_OPBATCH_ACK_CLOSE_PENDING", NO_BREAK, ACKNOWLEDGE),
    row(0x0009_0014, "FSCTL_OPLOCK_BREAK_NOTIFY", Pass, "waits for others' oplocks, of which there are none"),
    row(0x0009_0018, "FSCTL_LOCK_VOLUME", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_001C, "FSCTL_UNLOCK_VOLUME", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_0020, "FSCTL_DISMOUNT_VOLUME", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_0028, "FSCTL_IS_VOLUME_MOUNTED", Pass, ASKS_VOLUME),
    row(0x0009_002C, "FSCTL_IS_PATHNAME_VALID", Pass, ASKS_VOLUME),
    row(0x0009_0030, "FSCTL_MARK_VOLUME_DIRTY", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_003B, "FSCTL_QUERY_RETRIEVAL_POINTERS", UNKNOWN, "for paging files, which are never redirected"),
    row(0x0009_003C, "FSCTL_GET_COMPRESSION", Swap(Nothing), ASKS_FILE),
    row(0x0009_004F, "FSCTL_MARK_AS_SYSTEM_HIVE", UNKNOWN, "for the registry's own files"),
    row(0x0009_0050, "FSCTL_OPLOCK_BREAK_ACK_NO_2", NO_BREAK, ACKNOWLEDGE),
    row(0x0009_0054, "FSCTL_INVALIDATE_VOLUMES", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_0058, "FSCTL_QUERY_FAT_BPB", Pass, ASKS_VOLUME),
    row(0x0009_005C, "FSCTL_REQUEST_FILTER_OPLOCK", NO_OPLOCK, OPLOCK),
    row(0x0009_0060, "FSCTL_FILESYSTEM_GET_STATISTICS", Pass, ASKS_VOLUME),
    row(0x0009_0064, "FSCTL_GET_NTFS_VOLUME_DATA", Pass, ASKS_VOLUME),
    row(0x0009_0068, "FSCTL_GET_NTFS_FILE_RECORD", Pass, ASKS_VOLUME),
    row(0x0009_006F, "FSCTL_GET_VOLUME_BITMAP", Pass, ASKS_VOLUME),
    row(0x0009_0073, "FSCTL_GET_RETRIEVAL_POINTERS", Swap(Nothing), ASKS_FILE),
    row(0x0009_0074, "FSCTL_MOVE_FILE", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_0078, "FSCTL_IS_VOLUME_DIRTY", Pass, ASKS_VOLUME),
    row(0x0009_0083, "FSCTL_ALLOW_EXTENDED_DASD_IO", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_008F, "FSCTL_FIND_FILES_BY_SID", Pass, ASKS_VOLUME),
    row(0x0009_0098, "FSCTL_SET_OBJECT_ID", UNKNOWN, OBJECT_ID),
    row(0x0009_009C, "FSCTL_GET_OBJECT_ID", Swap(Nothing), ASKS_FILE),
    row(0x0009_00A0, "FSCTL_DELETE_OBJECT_ID", UNKNOWN, OBJECT_ID),
    row(0x0009_00A4, "FSCTL_SET_REPARSE_POINT", UNKNOWN, REPARSE),
    row(0x0009_00A8, "FSCTL_GET_REPARSE_POINT", Swap(Nothing), ASKS_FILE),
    row(0x0009_00AC, "FSCTL_DELETE_REPARSE_POINT", UNKNOWN, REPARSE),
    row(0x0009_00B3, "FSCTL_ENUM_USN_DATA", Pass, ASKS_VOLUME),
    row(0x0009_00BB, "FSCTL_READ_USN_JOURNAL", Pass, ASKS_VOLUME),
    row(0x0009_00BC, "FSCTL_SET_OBJECT_ID_EXTENDED", UNKNOWN, OBJECT_ID),
    row(0x0009_00C0, "FSCTL_CREATE_OR_GET_OBJECT_ID", UNKNOWN, OBJECT_ID),
    row(0x0009_00C4, "FSCTL_SET_SPARSE", Swap(Other(Change::Control)), SPARSE),
    row(0x0009_00D7, "FSCTL_SET_ENCRYPTION", UNKNOWN, "EFS does not write in a transaction (txf-ktm §4.9); told as by a volume without it"),
    row(0x0009_00DB, "FSCTL_ENCRYPTION_FSCTL_IO", UNKNOWN, RAW),
    row(0x0009_00DF, "FSCTL_WRITE_RAW_ENCRYPTED", UNKNOWN, RAW),
    row(0x0009_00E3, "FSCTL_READ_RAW_ENCRYPTED", UNKNOWN, RAW),
    row(0x0009_00E7, "FSCTL_CREATE_USN_JOURNAL", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_00EB, "FSCTL_READ_FILE_USN_DATA", Swap(Nothing), ASKS_FILE),
    row(0x0009_00EF, "FSCTL_WRITE_USN_CLOSE_RECORD", UNKNOWN, "a journal record at once, which no rollback takes back"),
    row(0x0009_00F0, "FSCTL_EXTEND_VOLUME", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_00F4, "FSCTL_QUERY_USN_JOURNAL", Pass, ASKS_VOLUME),
    row(0x0009_00F8, "FSCTL_DELETE_USN_JOURNAL", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_00FC, "FSCTL_MARK_HANDLE", UNKNOWN, "holds clusters or marks journal records; what TxF says to it is not documented"),
    row(0x0009_0100, "FSCTL_SIS_COPYFILE", UNKNOWN, OTHER_DRIVER),
    row(0x0009_0117, "FSCTL_RECALL_FILE", UNKNOWN, OTHER_DRIVER),
    row(0x0009_0120, "FSCTL_FILE_PREFETCH", Pass, "reads ahead into the cache"),
    row(0x0009_013C, "FSCTL_QUERY_ON_DISK_VOLUME_INFO", Pass, ASKS_VOLUME),
    row(0x0009_0140, "FSCTL_SET_VOLUME_COMPRESSION_STATE", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_0194, "FSCTL_SET_ZERO_ON_DEALLOCATION", UNKNOWN, "works when clusters are freed, which is after the outcome, and is not transacted"),
    row(0x0009_0198, "FSCTL_SET_REPAIR", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_019C, "FSCTL_GET_REPAIR", Pass, ASKS_VOLUME),
    row(0x0009_01A0, "FSCTL_WAIT_FOR_REPAIR", Pass, ASKS_VOLUME),
    row(0x0009_01A8, "FSCTL_INITIATE_REPAIR", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_01B0, "FSCTL_SHRINK_VOLUME", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_01B4, "FSCTL_SET_SHORT_NAME_BEHAVIOR", UNKNOWN, "for the handles of backup programs; short names are not set in a save"),
    row(0x0009_01B8, "FSCTL_DFSR_SET_GHOST_HANDLE_STATE", UNKNOWN, OTHER_DRIVER),
    row(0x0009_01E8, "FSCTL_QUERY_PAGEFILE_ENCRYPTION", Pass, ASKS_VOLUME),
    row(0x0009_01EC, "FSCTL_RESET_VOLUME_ALLOCATION_HINTS", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_01F0, "FSCTL_QUERY_DEPENDENT_VOLUME", Pass, ASKS_VOLUME),
    row(0x0009_01F4, "FSCTL_SD_GLOBAL_CHANGE", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_01F8, "FSCTL_TXFS_READ_BACKUP_INFORMATION2", UNKNOWN, TXFS),
    row(0x0009_01FC, "FSCTL_LOOKUP_STREAM_FROM_CLUSTER", Pass, ASKS_VOLUME),
    row(0x0009_0200, "FSCTL_TXFS_WRITE_BACKUP_INFORMATION2", UNKNOWN, TXFS),
    row(0x0009_0204, "FSCTL_FILE_TYPE_NOTIFICATION", UNKNOWN, "for paging and hibernation files"),
    row(0x0009_0230, "FSCTL_GET_BOOT_AREA_INFO", Pass, ASKS_VOLUME),
    row(0x0009_0234, "FSCTL_GET_RETRIEVAL_POINTER_BASE", Pass, ASKS_VOLUME),
    row(0x0009_0238, "FSCTL_SET_PERSISTENT_VOLUME_STATE", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_023C, "FSCTL_QUERY_PERSISTENT_VOLUME_STATE", Pass, ASKS_VOLUME),
    row(0x0009_0240, "FSCTL_REQUEST_OPLOCK", NO_OPLOCK, OPLOCK),
    row(0x0009_0248, "FSCTL_IS_CSV_FILE", Pass, ASKS_VOLUME),
    row(0x0009_024C, "FSCTL_QUERY_FILE_SYSTEM_RECOGNITION", Pass, ASKS_VOLUME),
    row(0x0009_025C, "FSCTL_IS_FILE_ON_CSV_VOLUME", Pass, ASKS_VOLUME),
    row(0x0009_0260, "FSCTL_CORRUPTION_HANDLING", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_0264, "FSCTL_OFFLOAD_READ", NO_OFFLOAD_READ, OFFLOAD),
    row(0x0009_0268, "FSCTL_OFFLOAD_WRITE", NO_OFFLOAD_WRITE, OFFLOAD),
    row(0x0009_0270, "FSCTL_SET_PURGE_FAILURE_MODE", UNKNOWN, "for remote file systems' caches"),
    row(0x0009_0274, "FSCTL_QUERY_FILE_LAYOUT", Pass, ASKS_VOLUME),
    row(0x0009_0278, "FSCTL_IS_VOLUME_OWNED_BYCSVFS", Pass, ASKS_VOLUME),
    row(0x0009_027C, "FSCTL_GET_INTEGRITY_INFORMATION", Swap(Nothing), ASKS_FILE),
    row(0x0009_0284, "FSCTL_QUERY_FILE_REGIONS", Swap(Nothing), ASKS_FILE),
    row(0x0009_02B0, "FSCTL_SCRUB_DATA", UNKNOWN, "repairs clusters, outside any transaction"),
    row(0x0009_02B8, "FSCTL_DISABLE_LOCAL_BUFFERING", Pass, "for remote file systems"),
    row(0x0009_02EC, "FSCTL_QUERY_STORAGE_CLASSES", Pass, ASKS_VOLUME),
    row(0x0009_02F0, "FSCTL_QUERY_REGION_INFO", Pass, ASKS_VOLUME),
    row(0x0009_02F4, "FSCTL_USN_TRACK_MODIFIED_RANGES", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_030C, "FSCTL_SET_EXTERNAL_BACKING", UNKNOWN, BACKING),
    row(0x0009_0310, "FSCTL_GET_EXTERNAL_BACKING", Swap(Nothing), ASKS_FILE),
    row(0x0009_0314, "FSCTL_DELETE_EXTERNAL_BACKING", UNKNOWN, BACKING),
    row(0x0009_0318, "FSCTL_ENUM_EXTERNAL_BACKING", Pass, ASKS_VOLUME),
    row(0x0009_031F, "FSCTL_ENUM_OVERLAY", Pass, ASKS_VOLUME),
    row(0x0009_034C, "FSCTL_SPARSE_OVERALLOCATE", UNKNOWN, "allocation that is not transacted"),
    row(0x0009_0350, "FSCTL_STORAGE_QOS_CONTROL", UNKNOWN, OTHER_DRIVER),
    row(0x0009_035C, "FSCTL_INITIATE_FILE_METADATA_OPTIMIZATION", UNKNOWN, "moves metadata, outside any transaction"),
    row(0x0009_0360, "FSCTL_QUERY_FILE_METADATA_OPTIMIZATION", Swap(Nothing), ASKS_FILE),
    row(0x0009_0368, "FSCTL_GET_WOF_VERSION", Pass, ASKS_VOLUME),
    row(0x0009_037C, "FSCTL_CLEAN_VOLUME_METADATA", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_038C, "FSCTL_FILESYSTEM_GET_STATISTICS_EX", Pass, ASKS_VOLUME),
    row(0x0009_0390, "FSCTL_QUERY_VOLUME_CONTAINER_STATE", Pass, ASKS_VOLUME),
    row(0x0009_039B, "FSCTL_QUERY_DIRECT_ACCESS_EXTENTS", UNKNOWN, "for volumes with direct access, to which the driver does not attach"),
    row(0x0009_03A4, "FSCTL_QUERY_DIRECT_IMAGE_ORIGINAL_BASE", UNKNOWN, "for images on volumes with direct access"),
    row(0x0009_03AB, "FSCTL_READ_UNPRIVILEGED_USN_JOURNAL", Pass, ASKS_VOLUME),
    row(0x0009_03C4, "FSCTL_STREAMS_QUERY_PARAMETERS", Pass, ASKS_VOLUME),
    row(0x0009_03C8, "FSCTL_STREAMS_ASSOCIATE_ID", UNKNOWN, "places the file's data, outside any transaction"),
    row(0x0009_03CC, "FSCTL_STREAMS_QUERY_ID", Swap(Nothing), ASKS_FILE),
    row(0x0009_03D4, "FSCTL_QUERY_VOLUME_NUMA_INFO", Pass, ASKS_VOLUME),
    row(0x0009_03EC, "FSCTL_QUERY_BAD_RANGES", Swap(Nothing), ASKS_FILE),
    row(0x0009_03F0, "FSCTL_SET_DAX_ALLOC_ALIGNMENT_HINT", UNKNOWN, "for volumes with direct access, to which the driver does not attach"),
    row(0x0009_0448, "FSCTL_MANAGE_BYPASS_IO", UNKNOWN, "reads past all filters would miss the twin; told as by systems without BypassIO, where callers read as ever"),
    row(0x0009_40B7, "FSCTL_SECURITY_ID_CHECK", Pass, ASKS_VOLUME),
    row(0x0009_40CF, "FSCTL_QUERY_ALLOCATED_RANGES", Swap(Nothing), ASKS_FILE),
    row(0x0009_411E, "FSCTL_READ_FROM_PLEX", UNKNOWN, "reads a copy of the clusters, past the transaction"),
    row(0x0009_4148, "FSCTL_TXFS_QUERY_RM_INFORMATION", Pass, ASKS_VOLUME),
    row(0x0009_4160, "FSCTL_TXFS_READ_BACKUP_INFORMATION", UNKNOWN, TXFS),
    row(0x0009_416C, "FSCTL_TXFS_GET_METADATA_INFO", Pass, "who has the file locked, as outsiders see it"),
    row(0x0009_4170, "FSCTL_TXFS_GET_TRANSACTED_VERSION", UNKNOWN, TXFS),
    row(0x0009_418C, "FSCTL_TXFS_TRANSACTION_ACTIVE", Pass, ASKS_VOLUME),
    row(0x0009_41E0, "FSCTL_TXFS_LIST_TRANSACTION_LOCKED_FILES", Pass, ASKS_VOLUME),
    row(0x0009_41E4, "FSCTL_TXFS_LIST_TRANSACTIONS", Pass, ASKS_VOLUME),
    row(0x0009_80C8, "FSCTL_SET_ZERO_DATA", Swap(Zeros), "zeros over a range; if TxF does not take it (txf-ktm §4.9), as FSCTL_SET_SPARSE; told as by a volume without it, where programs write zeros, where that cannot be"),
    row(0x0009_80D0, "FSCTL_ENABLE_UPGRADE", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_8144, "FSCTL_TXFS_MODIFY_RM", UNKNOWN, TXFS),
    row(0x0009_8150, "FSCTL_TXFS_ROLLFORWARD_REDO", UNKNOWN, TXFS),
    row(0x0009_8154, "FSCTL_TXFS_ROLLFORWARD_UNDO", UNKNOWN, TXFS),
    row(0x0009_8158, "FSCTL_TXFS_START_RM", UNKNOWN, TXFS),
    row(0x0009_815C, "FSCTL_TXFS_SHUTDOWN_RM", UNKNOWN, TXFS),
    row(0x0009_8164, "FSCTL_TXFS_WRITE_BACKUP_INFORMATION", UNKNOWN, TXFS),
    row(0x0009_8168, "FSCTL_TXFS_CREATE_SECONDARY_RM", UNKNOWN, TXFS),
    row(0x0009_8178, "FSCTL_TXFS_SAVEPOINT_INFORMATION", Refuse(Status::NOT_SUPPORTED), "savepoints would take back part of a save; refused as Microsoft's own filters do (txf-ktm §3)"),
    row(0x0009_817C, "FSCTL_TXFS_CREATE_MINIVERSION", UNKNOWN, TXFS),
    row(0x0009_8208, "FSCTL_FILE_LEVEL_TRIM", UNKNOWN, "goes around any transaction and cannot be taken back (txf-ktm §4.9); it is advice"),
    row(0x0009_8330, "FSCTL_ADD_OVERLAY", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_8334, "FSCTL_REMOVE_OVERLAY", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_8338, "FSCTL_UPDATE_OVERLAY", NOT_A_VOLUME, OF_VOLUME),
    row(0x0009_8344, "FSCTL_DUPLICATE_EXTENTS_TO_FILE", UNKNOWN, CLONES),
    row(0x0009_83AC, "FSCTL_GHOST_FILE_EXTENTS", UNKNOWN, CLONES),
    row(0x0009_83E8, "FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX", UNKNOWN, CLONES),
    row(0x0009_C040, "FSCTL_SET_COMPRESSION", UNKNOWN, "compression is never transacted (txf-ktm §4.9); told as by a volume without it"),
    row(0x0009_C104, "FSCTL_SIS_LINK_FILES", UNKNOWN, OTHER_DRIVER),
    row(0x0009_C108, "FSCTL_HSM_MSG", UNKNOWN, OTHER_DRIVER),
    row(0x0009_C113, "FSCTL_HSM_DATA", UNKNOWN, OTHER_DRIVER),
    row(0x0009_C280, "FSCTL_SET_INTEGRITY_INFORMATION", UNKNOWN, CLONES),
    row(0x0009_C2B4, "FSCTL_REPAIR_COPIES", UNKNOWN, "repairs clusters, outside any transaction"),
];
