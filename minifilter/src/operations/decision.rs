//! What a create is, before anybody asks for a name: does it modify, and may we touch it at all?

use core::ops::BitOr;

use kernel::Status;

use crate::save::failure::{Failure, classify, is_transaction_problem};

/// What decides, all of it at hand without a call.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Kernel code asks.
    pub from_kernel: bool,
    /// `SL_*`.
    pub operation_flags: u8,
    /// `FO_*` of the file object.
    pub file_flags: u32,
    /// Desired access, generic rights mapped or not.
    pub access: u32,
    /// `FILE_OPEN`, …
    pub disposition: u32,
    /// `FILE_DIRECTORY_FILE`, …
    pub options: u32,
}

/// What a create wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Never ours.
    Ignored,
    /// It modifies nothing: it may have to see what its process has written.
    Reads,
    /// It modifies, but not data: it joins a save of its process and begins none.
    ModifiesOther,
    /// It modifies data: it joins or begins a save.
    ModifiesData,
}

/// How a create comes to its part in a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It begins the save.
    Begins,
    /// Its file is in the save.
    Joins,
    /// Its file becomes part of the save, which is of all that the process modifies.
    Extends,
}

/// What TxF tells who wants to execute a file that a transaction modifies (txf-ktm §4.2). Programs that have no
/// transactions do not know it.
pub const CANNOT_EXECUTE_FILE_IN_TRANSACTION: Status = Status(0xC019_0044_u32.cast_signed());

const SL_OPEN_PAGING_FILE: u8 = 0x02;
const SL_OPEN_TARGET_DIRECTORY: u8 = 0x04;

const FO_VOLUME_OPEN: u32 = 0x0040_0000;

const FILE_DIRECTORY_FILE: u32 = 0x0000_0001;
const FILE_NON_DIRECTORY_FILE: u32 = 0x0000_0040;
const FILE_COMPLETE_IF_OPLOCKED: u32 = 0x0000_0100;
const FILE_DELETE_ON_CLOSE: u32 = 0x0000_1000;
/// The name is a number.
pub const FILE_OPEN_BY_FILE_ID: u32 = 0x0000_2000;
const FILE_OPEN_REQUIRING_OPLOCK: u32 = 0x0001_0000;
const FILE_RESERVE_OPFILTER: u32 = 0x0010_0000;
const FILE_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// Put a new file in the place of one that exists.
pub const FILE_SUPERSEDE: u32 = 0;
/// Open an existing file.
pub const FILE_OPEN: u32 = 1;
/// Make a file that does not exist.
pub const FILE_CREATE: u32 = 2;
const FILE_OPEN_IF: u32 = 3;
const FILE_OVERWRITE: u32 = 4;
const FILE_OVERWRITE_IF: u32 = 5;

/// The open made the file.
pub const FILE_CREATED: usize = 2;
/// The open found the file.
pub const FILE_OPENED: usize = 1;

const FILE_WRITE_DATA: u32 = 0x0002;
const FILE_APPEND_DATA: u32 = 0x0004;
const FILE_WRITE_EA: u32 = 0x0010;
const FILE_READ_ATTRIBUTES: u32 = 0x0080;
const FILE_WRITE_ATTRIBUTES: u32 = 0x0100;
const DELETE: u32 = 0x0001_0000;
const WRITE_DAC: u32 = 0x0004_0000;
const WRITE_OWNER: u32 = 0x0008_0000;
const SYNCHRONIZE: u32 = 0x0010_0000;
const ACCESS_SYSTEM_SECURITY: u32 = 0x0100_0000;
/// Whatever the file's security allows.
pub const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
const GENERIC_ALL: u32 = 0x1000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;

/// Rights to modify data, and those that may turn out to include them.
const DATA: u32 = FILE_WRITE_DATA | FILE_APPEND_DATA | GENERIC_WRITE | GENERIC_ALL | MAXIMUM_ALLOWED;
/// What else makes an open a writer for TxF (txf-ktm §3).
const OTHER: u32 =
    DELETE | FILE_WRITE_ATTRIBUTES | FILE_WRITE_EA | WRITE_DAC | WRITE_OWNER | ACCESS_SYSTEM_SECURITY;

/// What a create wants, by what is at hand. Directories, volumes, paging files, the parent folder of a rename's
/// target, opens that demand an oplock, reserve an oplock filter or delete on close, and the kernel's own opens (TxF's
/// log files are among them) are never ours.
pub fn intent(request: &Request) -> Intent {
    const NEVER: u32 = FILE_DELETE_ON_CLOSE | FILE_OPEN_REQUIRING_OPLOCK | FILE_RESERVE_OPFILTER;
    if !may_open_a_file(request) || request.options & NEVER != 0 {
        return Intent::Ignored;
    }
    if replaces(request.disposition) || may_modify_data(request.access) {
        Intent::ModifiesData
    } else if request.access & OTHER != 0 {
        Intent::ModifiesOther
    } else {
        Intent::Reads
    }
}

/// Whether a create by a program may open a file: it opens neither the volume, nor a directory as such, nor a paging file.
pub fn may_open_a_file(request: &Request) -> bool {
    !request.from_kernel
        && request.operation_flags & (SL_OPEN_TARGET_DIRECTORY | SL_OPEN_PAGING_FILE) == 0
        && request.file_flags & FO_VOLUME_OPEN == 0
        && request.options & FILE_DIRECTORY_FILE == 0
}

/// Whether a create asks for rights to modify data, or for whatever may include them. One that does not and makes a file
/// makes an empty one that stays empty: there is nothing to save.
pub fn may_modify_data(access: u32) -> bool {
    access & DATA != 0
}

/// Whether a create takes its file from a save that waits for more: it writes, deletes or executes it.
pub fn takes(request: &Request) -> bool {
    const FILE_EXECUTE: u32 = 0x0020;
    const GENERIC_EXECUTE: u32 = 0x2000_0000;
    replaces(request.disposition)
        || request.access & (DATA | OTHER | FILE_EXECUTE | GENERIC_EXECUTE) != 0
        || request.options & FILE_DELETE_ON_CLOSE != 0
}

fn replaces(disposition: u32) -> bool {
    matches!(disposition, FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF)
}

/// Whether a create that asks for the most that is allowed may modify data, where `allowed` is what that comes to.
pub fn may_modify_as_allowed(access: u32, allowed: u32) -> bool {
    can_modify_data(allowed) || may_modify_data(access & !MAXIMUM_ALLOWED)
}

/// Whether granted rights let their holder modify data.
pub fn can_modify_data(granted: u32) -> bool {
    granted & (FILE_WRITE_DATA | FILE_APPEND_DATA) != 0
}

/// Whether granted rights make an open inside a transaction one that locks its file (txf-ktm §3, §4.1).
pub fn locks_in_transaction(granted: u32) -> bool {
    granted & (FILE_WRITE_DATA | FILE_APPEND_DATA | OTHER) != 0
}

/// What a program is told whose open is denied because no transaction can be had for this reason
/// (`OnUnavailable=Deny`). Programs know all of these from opens without Intact: who tries again after a sharing violation
/// does right, because another writer was in the way; access denied is for what trying again does not change.
pub fn denial(reason: Status) -> Status {
    match reason {
        Status::SHARING_VIOLATION
        | Status::TRANSACTIONAL_CONFLICT
        | Status::OPLOCK_BREAK_IN_PROGRESS
        | Status::OPLOCK_NOT_GRANTED => Status::SHARING_VIOLATION,
        Status::INSUFFICIENT_RESOURCES => Status::INSUFFICIENT_RESOURCES,
        _ => Status::ACCESS_DENIED,
    }
}

/// What it means that the twin of an existing file could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such file, and what comes of that is not for the save to say.
    NoFile,
    /// Somebody is in the way who may be a thread of the same process.
    Rival,
    /// What the process has saved before is lost, and it is told where it has a handle of it. What comes next is another
    /// save.
    OthersLost,
    /// The handles of its own file are lost, and one beside them would change the old version without a transaction.
    Lost,
    /// Outside of a transaction it can be had.
    LetIn,
    /// In its save, this is the answer.
    Fails,
    /// No transaction can be had.
    NoTransaction,
    /// There is no memory for it.
    NoMemory,
    /// What the file system answers to the create itself.
    Alike,
}

/// Why the twin of an existing file could not be opened: most reasons are the file system's own answer to the application,
/// which it gets by passing through; if the file is in a save of its process, what it has become there decides.
pub fn refused(status: Status, way: Way, creates: bool) -> Refused {
    let joins = way == Way::Joins;
    let is_gone = classify(status.0.cast_unsigned()) == Failure::TransactionGone;
    match status {
        Status::OBJECT_NAME_NOT_FOUND if creates || !joins => Refused::NoFile,
        Status::SHARING_VIOLATION | Status::TRANSACTIONAL_CONFLICT if !joins => Refused::Rival,
        Status::INSUFFICIENT_RESOURCES => Refused::NoMemory,
        CANNOT_EXECUTE_FILE_IN_TRANSACTION if joins => Refused::LetIn,
        // Only a stream of it is in the save: as a folder it is not ours, and what it is opened for is not known here.
        Status::FILE_IS_A_DIRECTORY => Refused::Alike,
        _ if is_gone && way == Way::Extends => Refused::OthersLost,
        _ if is_gone && joins => Refused::Lost,
        _ if is_transaction_problem(status.0.cast_unsigned()) => Refused::NoTransaction,
        _ if joins => Refused::Fails,
        _ => Refused::Alike,
    }
}

/// Whether a disposition may make a file.
pub fn creates(disposition: u32) -> bool {
    matches!(disposition, FILE_SUPERSEDE | FILE_CREATE | FILE_OPEN_IF | FILE_OVERWRITE_IF)
}

/// The disposition of an existing file's twin: the create's, but without making a file. A create that only makes files
/// has none. Superseding has no such form: a twin that made a file is rolled back.
pub fn of_existing(disposition: u32) -> Option<u32> {
    match disposition {
        FILE_SUPERSEDE => Some(FILE_SUPERSEDE),
        FILE_OPEN | FILE_OPEN_IF => Some(FILE_OPEN),
        FILE_OVERWRITE | FILE_OVERWRITE_IF => Some(FILE_OVERWRITE),
        _ => None,
    }
}

/// The options of a twin: the create's; a file and no directory; a reparse point itself, so that it can be told and
/// left alone; never waiting for an oplock. It is opened by name, whatever the create is opened by.
pub fn twin_options(options: u32) -> u32 {
    (options & !FILE_OPEN_BY_FILE_ID)
        | FILE_NON_DIRECTORY_FILE
        | FILE_COMPLETE_IF_OPLOCKED
        | FILE_OPEN_REPARSE_POINT
}

/// What a handle of a file has and lets others have, as share modes know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its rights, generic ones mapped or not.
    pub access: u32,
    /// `FILE_SHARE_*`.
    pub share: u32,
}

impl Claim {
    /// Whether both can be open at a time. Handles that neither read, write, execute nor delete are in nobody's way.
    pub fn goes_with(self, other: Claim) -> bool {
        let is_let = |claim: Claim, by: Claim| needed_share(claim.access) & !by.share == 0;
        let counts = |claim: Claim| needed_share(claim.access) != 0;
        !counts(self) || !counts(other) || is_let(self, other) && is_let(other, self)
    }
}

/// What the others of a file have to share for a handle with these rights. The most that is allowed may be all.
fn needed_share(access: u32) -> u32 {
    const SHARE_READ: u32 = 1;
    const SHARE_WRITE: u32 = 2;
    const SHARE_DELETE: u32 = 4;
    const FILE_READ_DATA: u32 = 0x0001;
    const FILE_EXECUTE: u32 = 0x0020;
    const GENERIC_READ: u32 = 0x8000_0000;
    const GENERIC_EXECUTE: u32 = 0x2000_0000;
    const ALL: u32 = GENERIC_ALL | MAXIMUM_ALLOWED;
    const NEEDS: [(u32, u32); 3] = [
        (FILE_READ_DATA | FILE_EXECUTE | GENERIC_READ | GENERIC_EXECUTE | ALL, SHARE_READ),
        (FILE_WRITE_DATA | FILE_APPEND_DATA | GENERIC_WRITE | ALL, SHARE_WRITE),
        (DELETE | ALL, SHARE_DELETE),
    ];
    let needed = NEEDS.iter().filter(|(rights, _)| access & rights != 0);
    needed.map(|(_, share)| *share).fold(0, BitOr::bitor)
}

/// The rights that a create asks for, those included that its disposition and options take for granted.
pub fn implied_access(access: u32, disposition: u32, options: u32) -> u32 {
    let replacing = match disposition {
        FILE_SUPERSEDE => DELETE,
        FILE_OVERWRITE | FILE_OVERWRITE_IF => FILE_WRITE_DATA,
        _ => 0,
    };
    access | replacing | if options & FILE_DELETE_ON_CLOSE != 0 { DELETE } else { 0 }
}

/// The options of an open that only tries whether the create's rights would be granted: it does nothing, and needs nothing
/// of its own.
pub fn trial_options(options: u32) -> u32 {
    twin_options(options) & !(FILE_DELETE_ON_CLOSE | FILE_OPEN_REQUIRING_OPLOCK | FILE_RESERVE_OPFILTER)
}

/// The rights that the application's create goes down with, and those that the twin asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Shown to the file system.
    pub shown: u32,
    /// Asked for the twin.
    pub twin: u32,
    /// Not asked for by the application, so not given to its handle.
    pub surplus: u32,
}

/// Divides the rights of a create. What is shown was asked for, so that it is granted to whom the twin is granted; if
/// neither of the two harmless rights was asked for, the twin asks for one of them first.
pub fn rights(access: u32) -> Rights {
    let harmless = access & (FILE_READ_ATTRIBUTES | SYNCHRONIZE);
    if harmless != 0 {
        Rights { shown: harmless, twin: access, surplus: 0 }
    } else {
        Rights {
            shown: FILE_READ_ATTRIBUTES,
            twin: access | FILE_READ_ATTRIBUTES,
            surplus: if access & (MAXIMUM_ALLOWED | GENERIC_ALL | GENERIC_WRITE) == 0 {
                FILE_READ_ATTRIBUTES
            } else {
                0
            },
        }
    }
}

/// The rights of a reader's twin: what can be read of what was asked for.
pub fn reader_rights(access: u32) -> u32 {
    const GENERIC_READ: u32 = 0x8000_0000;
    /// `FILE_GENERIC_READ`.
    const READ_ALL: u32 = 0x0012_0089;
    let asked = if access & (GENERIC_READ | MAXIMUM_ALLOWED) != 0 { READ_ALL } else { access & READ_ALL };
    asked | FILE_READ_ATTRIBUTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_READ_DATA: u32 = 0x0001;

    const READ: Request = Request {
        from_kernel: false,
        operation_flags: 0,
        file_flags: 0,
        access: FILE_READ_DATA | FILE_READ_ATTRIBUTES | SYNCHRONIZE,
        disposition: FILE_OPEN,
        options: 0x20,
    };
    const WRITE: Request = Request { access: READ.access | FILE_WRITE_DATA, ..READ };

    #[test]
    fn the_right_to_write_makes_a_save_in_all_its_spellings() {
        for access in [FILE_WRITE_DATA, FILE_APPEND_DATA, GENERIC_WRITE, GENERIC_ALL, MAXIMUM_ALLOWED] {
            assert_eq!(intent(&Request { access, ..READ }), Intent::ModifiesData, "{access:#x}");
        }
    }

    #[test]
    fn a_disposition_that_replaces_makes_a_save_whatever_the_rights() {
        for disposition in [FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF] {
            assert_eq!(intent(&Request { disposition, ..READ }), Intent::ModifiesData, "{disposition}");
        }
    }

    #[test]
    fn who_makes_a_file_without_the_right_to_write_it_makes_no_save() {
        for disposition in [FILE_CREATE, FILE_OPEN_IF] {
            assert_eq!(intent(&Request { disposition, ..READ }), Intent::Reads);
            assert_eq!(intent(&Request { disposition, ..WRITE }), Intent::ModifiesData);
        }
    }

    #[test]
    fn other_rights_of_a_writer_join_and_begin_nothing() {
        for access in [DELETE, FILE_WRITE_ATTRIBUTES, WRITE_DAC] {
            assert_eq!(intent(&Request { access, ..READ }), Intent::ModifiesOther, "{access:#x}");
        }
    }

    #[test]
    fn what_is_never_ours_is_ignored_even_if_it_writes() {
        let never = [
            Request { from_kernel: true, ..WRITE },
            Request { operation_flags: SL_OPEN_TARGET_DIRECTORY, ..WRITE },
            Request { operation_flags: SL_OPEN_PAGING_FILE, ..WRITE },
            Request { file_flags: FO_VOLUME_OPEN, ..WRITE },
            Request { options: FILE_DIRECTORY_FILE, ..WRITE },
            Request { options: FILE_DELETE_ON_CLOSE, ..WRITE },
            Request { options: FILE_OPEN_REQUIRING_OPLOCK, ..WRITE },
            Request { options: FILE_RESERVE_OPFILTER, ..WRITE },
        ];
        for request in never {
            assert_eq!(intent(&request), Intent::Ignored, "{request:?}");
        }
    }

    #[test]
    fn who_writes_deletes_or_executes_takes_the_file_and_who_reads_does_not() {
        let takes_it = [
            WRITE,
            Request { disposition: FILE_OVERWRITE, ..READ },
            Request { access: READ.access | DELETE, ..READ },
            Request { access: READ.access | FILE_WRITE_ATTRIBUTES, ..READ },
            Request { access: READ.access | 0x20, ..READ },
            Request { options: FILE_DELETE_ON_CLOSE, ..READ },
        ];
        assert!(takes_it.iter().all(takes));
        assert!(!takes(&READ));
        assert!(!takes(&Request { options: FILE_OPEN_REQUIRING_OPLOCK, ..READ }));
    }

    #[test]
    fn share_modes_are_asked_both_ways() {
        let claim = |access, share| Claim { access, share };
        let (reads, writes, deletes) = (FILE_READ_DATA, FILE_WRITE_DATA, DELETE);
        for (one, other, expected) in [
            (claim(writes, 7), claim(writes, 7), true),
            (claim(writes, 7), claim(writes, 5), false),
            (claim(writes, 1), claim(reads, 7), true),
            (claim(writes, 1), claim(reads, 1), false),
            (claim(reads | writes, 2), claim(writes, 2), false),
            (claim(writes, 3), claim(deletes, 7), false),
            (claim(writes, 7), claim(deletes, 7), true),
            (claim(writes, 2), claim(0x20, 7), false),
            (claim(writes, 0), claim(FILE_WRITE_ATTRIBUTES, 0), true),
            (claim(writes, 3), claim(MAXIMUM_ALLOWED, 7), false),
            (claim(writes, 7), claim(GENERIC_WRITE, 7), true),
            (claim(writes, 5), claim(GENERIC_WRITE, 7), false),
            (claim(writes, 6), claim(0x8000_0000, 7), false),
        ] {
            assert_eq!(one.goes_with(other), expected, "{one:?} {other:?}");
            assert_eq!(other.goes_with(one), expected, "{other:?} {one:?}");
        }
    }

    #[test]
    fn a_trial_asks_for_what_the_create_would_have_and_does_nothing() {
        assert_eq!(implied_access(READ.access, FILE_OVERWRITE_IF, 0), READ.access | FILE_WRITE_DATA);
        assert_eq!(implied_access(READ.access, FILE_SUPERSEDE, 0), READ.access | DELETE);
        assert_eq!(implied_access(READ.access, FILE_OPEN, FILE_DELETE_ON_CLOSE), READ.access | DELETE);
        assert_eq!(implied_access(READ.access, FILE_OPEN, 0), READ.access);
        assert_eq!(implied_access(DELETE, FILE_SUPERSEDE, FILE_DELETE_ON_CLOSE), DELETE);
        assert_eq!(implied_access(DELETE, FILE_SUPERSEDE, 0), DELETE);
        assert_eq!(implied_access(WRITE.access, FILE_OVERWRITE, 0), WRITE.access);
        let all = FILE_DELETE_ON_CLOSE | FILE_OPEN_REQUIRING_OPLOCK | FILE_RESERVE_OPFILTER;
        assert_eq!(trial_options(all | 0x20), twin_options(0x20));
    }

    #[test]
    fn the_twin_of_an_existing_file_makes_no_file() {
        assert_eq!(of_existing(FILE_OPEN_IF), Some(FILE_OPEN));
        assert_eq!(of_existing(FILE_OVERWRITE_IF), Some(FILE_OVERWRITE));
        assert_eq!(of_existing(FILE_CREATE), None);
        assert_eq!(of_existing(FILE_SUPERSEDE), Some(FILE_SUPERSEDE));
    }

    #[test]
    fn the_create_shows_only_harmless_rights_that_were_asked_for() {
        let rights = rights(FILE_WRITE_DATA | FILE_READ_ATTRIBUTES | SYNCHRONIZE | DELETE);
        assert_eq!(rights.shown, FILE_READ_ATTRIBUTES | SYNCHRONIZE);
        assert_eq!(rights.twin, FILE_WRITE_DATA | FILE_READ_ATTRIBUTES | SYNCHRONIZE | DELETE);
        assert_eq!(rights.surplus, 0);
    }

    #[test]
    fn a_right_that_had_to_be_added_does_not_reach_the_handle() {
        let reduced = rights(FILE_WRITE_DATA);
        assert_eq!(reduced.shown, FILE_READ_ATTRIBUTES);
        assert_eq!(reduced.twin, FILE_WRITE_DATA | FILE_READ_ATTRIBUTES);
        assert_eq!(reduced.surplus, FILE_READ_ATTRIBUTES);
        // These turn out to include it.
        for access in [MAXIMUM_ALLOWED, GENERIC_ALL, GENERIC_WRITE] {
            assert_eq!(rights(access).surplus, 0, "{access:#x}");
        }
    }

    #[test]
    fn why_a_twin_could_not_be_opened_means_another_thing_by_how_its_create_came_to_the_save() {
        use Refused::{Alike, Fails, LetIn, Lost, NoFile, NoMemory, NoTransaction, OthersLost, Rival};
        let conflict = Status::TRANSACTIONAL_CONFLICT;
        let (not_active, denied) = (Status(0xC019_0003_u32.cast_signed()), Status::ACCESS_DENIED);
        // To begin, to extend, to join.
        let cases = [
            (Status::OBJECT_NAME_NOT_FOUND, [NoFile, NoFile, Fails]),
            (Status::SHARING_VIOLATION, [Rival, Rival, Fails]),
            (conflict, [Rival, Rival, NoTransaction]),
            (Status::INSUFFICIENT_RESOURCES, [NoMemory; 3]),
            (CANNOT_EXECUTE_FILE_IN_TRANSACTION, [NoTransaction, NoTransaction, LetIn]),
            (not_active, [NoTransaction, OthersLost, Lost]),
            (denied, [Alike, Alike, Fails]),
            (Status::FILE_IS_A_DIRECTORY, [Alike; 3]),
        ];
        for (status, expected) in cases {
            for (way, expected) in [Way::Begins, Way::Extends, Way::Joins].into_iter().zip(expected) {
                assert_eq!(refused(status, way, false), expected, "{status:?} {way:?}");
                // Who may make the file makes it if it is gone inside.
                let made = status == Status::OBJECT_NAME_NOT_FOUND;
                let expected = if made { NoFile } else { expected };
                assert_eq!(refused(status, way, true), expected, "{status:?} {way:?}");
            }
        }
    }

    #[test]
    fn the_most_that_is_allowed_may_be_no_right_to_modify_and_what_else_is_asked_for_may_be() {
        assert!(!may_modify_as_allowed(MAXIMUM_ALLOWED, FILE_READ_DATA));
        assert!(may_modify_as_allowed(MAXIMUM_ALLOWED, FILE_READ_DATA | FILE_WRITE_DATA));
        assert!(may_modify_as_allowed(MAXIMUM_ALLOWED | FILE_APPEND_DATA, FILE_READ_DATA));
        assert!(!may_modify_as_allowed(MAXIMUM_ALLOWED | FILE_READ_DATA, 0));
    }

    #[test]
    fn every_disposition_makes_a_file_or_does_not() {
        for disposition in [FILE_SUPERSEDE, FILE_CREATE, FILE_OPEN_IF, FILE_OVERWRITE_IF] {
            assert!(creates(disposition), "{disposition}");
        }
        assert!(!creates(FILE_OPEN) && !creates(FILE_OVERWRITE));
    }

    #[test]
    fn a_twin_is_opened_by_name_and_waits_for_no_oplock() {
        let options = twin_options(FILE_OPEN_BY_FILE_ID | 0x20);
        assert_eq!(options & FILE_OPEN_BY_FILE_ID, 0);
        assert_eq!(options & 0x20, 0x20);
        assert_ne!(options & FILE_COMPLETE_IF_OPLOCKED, 0);
        assert_ne!(options & FILE_NON_DIRECTORY_FILE, 0);
    }

    #[test]
    fn the_options_of_a_twin_are_those_of_a_twin_already() {
        const OWN: u32 = FILE_NON_DIRECTORY_FILE | FILE_COMPLETE_IF_OPLOCKED | FILE_OPEN_REPARSE_POINT;
        assert_eq!(twin_options(0), OWN);
        assert_eq!(twin_options(OWN | 0x20), OWN | 0x20);
        assert_eq!(twin_options(FILE_OPEN_BY_FILE_ID | FILE_OPEN_REPARSE_POINT), OWN);
    }

    #[test]
    fn every_right_of_a_writer_locks_the_file_in_a_transaction_and_reading_does_not() {
        for granted in [FILE_WRITE_DATA, FILE_APPEND_DATA, DELETE, FILE_WRITE_ATTRIBUTES, FILE_WRITE_EA] {
            assert!(locks_in_transaction(granted), "{granted:#x}");
        }
        assert!(!locks_in_transaction(FILE_READ_DATA | FILE_READ_ATTRIBUTES | SYNCHRONIZE));
        assert!(can_modify_data(FILE_WRITE_DATA) && can_modify_data(FILE_APPEND_DATA));
        assert!(!can_modify_data(FILE_READ_DATA | DELETE | FILE_WRITE_ATTRIBUTES));
    }

    #[test]
    fn a_readers_twin_asks_for_what_can_be_read_of_what_was_asked_for() {
        const FILE_READ_EA: u32 = 0x8;
        const GENERIC_READ: u32 = 0x8000_0000;
        const READ_ALL: u32 = 0x0012_0089;
        let cases = [
            (FILE_READ_DATA, FILE_READ_DATA | FILE_READ_ATTRIBUTES),
            (FILE_READ_EA | FILE_READ_ATTRIBUTES, FILE_READ_EA | FILE_READ_ATTRIBUTES),
            (SYNCHRONIZE | DELETE, SYNCHRONIZE | FILE_READ_ATTRIBUTES),
            (GENERIC_READ, READ_ALL),
            (MAXIMUM_ALLOWED, READ_ALL),
            (GENERIC_READ | FILE_READ_DATA, READ_ALL),
        ];
        for (access, expected) in cases {
            assert_eq!(reader_rights(access), expected, "{access:#x}");
        }
    }

    #[test]
    fn a_readers_twin_never_asks_to_write() {
        for access in [READ.access, WRITE.access, MAXIMUM_ALLOWED, 0x8000_0000] {
            assert_eq!(reader_rights(access) & (DATA | OTHER), 0, "{access:#x}");
        }
    }

    #[test]
    fn a_denied_open_gets_a_status_that_programs_know() {
        let cases = [
            (Status::TRANSACTIONAL_CONFLICT, Status::SHARING_VIOLATION),
            (Status::OPLOCK_BREAK_IN_PROGRESS, Status::SHARING_VIOLATION),
            (Status::INSUFFICIENT_RESOURCES, Status::INSUFFICIENT_RESOURCES),
            (Status(0xC019_0046_u32.cast_signed()), Status::ACCESS_DENIED),
            // Passed for a reason that is no failure.
            (Status::SUCCESS, Status::ACCESS_DENIED),
        ];
        for (reason, expected) in cases {
            assert_eq!(denial(reason), expected, "{reason:?}");
        }
    }
}
