//! What a callback may answer, and what breaks the contract. Sources: minifilter-rules §1.1, §1.2, §2.4, §2.5 and
//! the pages named there.

use fltkernel::*;
use lab_executive::irql::{APC_LEVEL, Irql, PASSIVE_LEVEL};

use super::instance::Instance;
use super::passage;
use super::request::{Form, Frame, Request};
use crate::Executive;
use crate::memory;
use crate::rooms::Rooms;

/// `STATUS_FLT_POST_OPERATION_CLEANUP`
pub(crate) const STATUS_FLT_POST_OPERATION_CLEANUP: i32 = 0xC01C_0009_u32.cast_signed();
/// `STATUS_FLT_DISALLOW_FSFILTER_IO`
pub(crate) const STATUS_FLT_DISALLOW_FSFILTER_IO: i32 = 0xC01C_0028_u32.cast_signed();
const STATUS_PENDING: i32 = 0x103;

const SECTION_SYNC: u8 = IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION;

/// Stops the run, if the rule is checked.
pub(crate) fn broken(lab: &Executive, rule: &'static str, source: &'static str, what: String) {
    lab.report(rule, source, what)
}

/// The thread that must run the post-operation, if it matters (§2.5).
pub(crate) fn thread_of_post(request: &Request, synchronised: Option<u32>) -> Option<u32> {
    let in_issuer = request.major == IRP_MJ_CREATE || request.form != Form::Irp;
    if in_issuer { Some(request.issuer) } else { synchronised }
}

/// Whether the file system completes an operation in the thread that asked for it. Creates are promised so (§2.5); that
/// cleanup and close are is an assumption, on the safe side for the lab: the I/O manager waits for them.
pub(crate) fn in_issuing_thread(major: u8) -> bool {
    matches!(major, IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE)
}

/// The highest level at which an operation may reach a pre-operation callback: §2.2's column, where it does not depend on
/// who asks. Paging I/O comes at its own level already.
pub(crate) fn pre_ceiling(major: u8) -> Irql {
    match major {
        IRP_MJ_CLOSE
        | IRP_MJ_DIRECTORY_CONTROL
        | IRP_MJ_DEVICE_CONTROL
        | IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION
        | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION
        | IRP_MJ_ACQUIRE_FOR_MOD_WRITE
        | IRP_MJ_RELEASE_FOR_MOD_WRITE
        | IRP_MJ_ACQUIRE_FOR_CC_FLUSH
        | IRP_MJ_RELEASE_FOR_CC_FLUSH
        | IRP_MJ_MDL_READ
        | IRP_MJ_MDL_READ_COMPLETE
        | IRP_MJ_PREPARE_MDL_WRITE
        | IRP_MJ_MDL_WRITE_COMPLETE => APC_LEVEL,
        _ => PASSIVE_LEVEL,
    }
}

/// PENDING is for IRPs (§2.4).
pub(crate) fn may_pend(lab: &Executive, request: &Request, instance: &Instance) {
    if request.form != Form::Irp {
        broken(
            lab,
            "preop-pending-not-irp",
            "minifilter-rules §2.4: PENDING is for IRP operations only",
            format!("{} pended {}, which is {:?}", instance.label(), request.label(), request.form),
        );
    }
}

/// Checks what a pre-operation did to the parameters; undoes what does not count.
pub(crate) fn check_parameters(
    lab: &Executive,
    request: &Request,
    instance: &Instance,
    received: &FLT_IO_PARAMETER_BLOCK,
    status: i32,
) {
    let now = request.iopb();
    let who = || format!("{} in the pre-operation of {}", instance.label(), request.label());
    if now.MajorFunction != received.MajorFunction || now.Reserved != received.Reserved {
        let source = "minifilter-rules §1.1: MajorFunction and Reserved must not change";
        broken(lab, "major-function-changed", source, who());
    }
    let same = as_bytes(&now) == as_bytes(received);
    let dirty = request.data().Flags & FLTFL_CALLBACK_DATA_DIRTY != 0;
    if same {
        return;
    }
    if !dirty {
        if lab.flt().settings.borrow().undirtied_changes_stop {
            broken(
                lab,
                "parameters-not-dirty",
                "minifilter-rules §1.1: a change needs FltSetCallbackDataDirty",
                format!("{} changed parameters, which has no effect", who()),
            );
        }
        memory::write(request.block.down(), *received);
        return;
    }
    if now.TargetInstance != received.TargetInstance {
        let source = "minifilter-rules §1.1: TargetInstance may only become one of the same filter and altitude on another volume";
        broken(lab, "target-instance", source, format!("{}; this lab has one volume", who()));
    }
    if now.TargetFileObject != received.TargetFileObject {
        if status == FLT_PREOP_COMPLETE {
            let source = "minifilter-rules §1.1: no swap together with FLT_PREOP_COMPLETE";
            broken(lab, "swap-and-complete", source, who());
        }
        if !lab.io().is_open_on_volume(now.TargetFileObject) {
            let source =
                "minifilter-rules §1.1: the new file object must be open on the volume of TargetInstance";
            broken(lab, "target-file-object", source, who());
        }
    }
}

fn as_bytes(iopb: &FLT_IO_PARAMETER_BLOCK) -> Vec<u8> {
    memory::bytes(std::ptr::from_ref(iopb).cast(), size_of::<FLT_IO_PARAMETER_BLOCK>())
}

/// Checks a pre-operation's answer (§1.2, §2.4).
pub(crate) fn check_answer(
    lab: &Executive,
    request: &Request,
    instance: &Instance,
    status: i32,
    context: PVOID,
    has_post: bool,
) {
    let answered = |what: &str| format!("{} answered {} with {what}", instance.label(), request.label());
    let source = "minifilter-rules §2.4";
    match status {
        FLT_PREOP_SUCCESS_WITH_CALLBACK => {
            if !has_post {
                broken(
                    lab,
                    "preop-without-post",
                    source,
                    answered("WITH_CALLBACK, but has no post-operation (bugcheck 0xF5)"),
                );
            }
        }
        FLT_PREOP_SYNCHRONIZE => {
            if !has_post {
                broken(
                    lab,
                    "preop-without-post",
                    source,
                    answered("SYNCHRONIZE, but has no post-operation (bugcheck 0xF5)"),
                );
            }
            // For what is no IRP it counts as WITH_CALLBACK.
            if request.form == Form::Irp && must_not_synchronise(request) {
                broken(lab, "preop-synchronize-forbidden", source, answered("SYNCHRONIZE"));
            }
        }
        FLT_PREOP_SUCCESS_NO_CALLBACK => {
            if !context.is_null() {
                broken(
                    lab,
                    "context-without-callback",
                    source,
                    answered("NO_CALLBACK and a completion context that nobody will free"),
                );
            }
        }
        FLT_PREOP_DISALLOW_FASTIO => {
            if request.form != Form::FastIo {
                broken(
                    lab,
                    "disallow-not-fast-io",
                    "minifilter-rules §2.2",
                    answered("DISALLOW_FASTIO, but it is no fast I/O"),
                );
            }
            if !context.is_null() {
                broken(
                    lab,
                    "complete-with-context",
                    "minifilter-rules §1.2",
                    answered("DISALLOW_FASTIO and a completion context"),
                );
            }
        }
        FLT_PREOP_DISALLOW_FSFILTER_IO => {
            if request.form != Form::FsFilter || request.major != IRP_MJ_QUERY_OPEN {
                broken(
                    lab,
                    "disallow-not-fsfilter",
                    "minifilter-rules §2.2",
                    answered("DISALLOW_FSFILTER_IO"),
                );
            }
        }
        FLT_PREOP_COMPLETE => check_completion(lab, request, context, &answered),
        FLT_PREOP_PENDING => {
            broken(lab, "preop-pending-again", source, answered("PENDING to FltCompletePendedPreOperation"))
        }
        other => broken(
            lab,
            "preop-status",
            source,
            answered(&format!("{other}, which is no FLT_PREOP_CALLBACK_STATUS")),
        ),
    }
}

fn check_completion(lab: &Executive, request: &Request, context: PVOID, answered: &dyn Fn(&str) -> String) {
    let source = "minifilter-rules §1.2";
    let status = request.data().IoStatus.Status;
    if !context.is_null() {
        broken(lab, "complete-with-context", source, answered("COMPLETE and a completion context"));
    }
    if status == STATUS_PENDING || status == STATUS_FLT_DISALLOW_FAST_IO {
        broken(lab, "complete-with-status", source, answered(&format!("COMPLETE and status {status:#010x}")));
    }
    let never_fails = matches!(
        request.major,
        IRP_MJ_CLEANUP
            | IRP_MJ_CLOSE
            | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION
            | IRP_MJ_RELEASE_FOR_MOD_WRITE
            | IRP_MJ_RELEASE_FOR_CC_FLUSH
    );
    if never_fails && status < 0 {
        broken(lab, "must-not-fail", source, answered(&format!("a failure, {status:#010x}")));
    }
    if request.major == SECTION_SYNC && status < 0 {
        // SAFETY: the union member of this major function; plain integers, valid for any bits.
        let sync = unsafe { request.iopb().Parameters.AcquireForSectionSynchronization }.SyncType;
        if sync != SyncTypeCreateSection {
            broken(
                lab,
                "must-not-fail",
                "minifilter-rules §2.2: SyncTypeOther must not fail",
                answered("a failure"),
            );
        }
    }
}

/// §2.4: creates are synchronised already; asynchronous reads and writes, oplock controls, notifications and
/// byte-range locks may stay pending for ever.
fn must_not_synchronise(request: &Request) -> bool {
    match request.major {
        IRP_MJ_CREATE | IRP_MJ_LOCK_CONTROL | IRP_MJ_FILE_SYSTEM_CONTROL => true,
        IRP_MJ_READ | IRP_MJ_WRITE => request.asynchronous,
        IRP_MJ_DIRECTORY_CONTROL => request.iopb().MinorFunction == 2,
        _ => false,
    }
}

/// Checks a post-operation's answer (§2.5).
pub(crate) fn check_post(
    lab: &Executive,
    request: &Request,
    frame: &Frame,
    status: i32,
    before: &IO_STATUS_BLOCK,
) {
    let who = || format!("{} in the post-operation of {}", frame.instance.label(), request.label());
    match status {
        FLT_POSTOP_FINISHED_PROCESSING => {}
        FLT_POSTOP_MORE_PROCESSING_REQUIRED => {
            // What is no IRP has a thread that waits, too.
            if frame.thread.is_some() && request.major != IRP_MJ_CREATE {
                broken(lab, "postop-more-processing", "minifilter-rules §2.5", who());
            }
            return;
        }
        FLT_POSTOP_DISALLOW_FSFILTER_IO if request.major == IRP_MJ_QUERY_OPEN => {
            request.set_status(STATUS_FLT_DISALLOW_FSFILTER_IO, 0);
        }
        other => broken(lab, "postop-status", "minifilter-rules §2.4", format!("{} returned {other}", who())),
    }
    let after = request.data().IoStatus.Status;
    if matches!(request.major, IRP_MJ_CLEANUP | IRP_MJ_CLOSE) && before.Status >= 0 && after < 0 {
        broken(lab, "must-not-fail", "minifilter-rules §1.2", format!("{} set {after:#010x}", who()));
    }
    if request.major == IRP_MJ_CREATE
        && before.Status == 0
        && after < 0
        && lab.io().is_open_on_volume(request.file)
    {
        broken(
            lab,
            "create-failed-without-cancel",
            "minifilter-rules §2.5: changing success to failure in post-create needs FltCancelFileOpen",
            format!("{} set {after:#010x}", who()),
        );
    }
}

/// A pended pre-operation is answered by `FltCompletePendedPreOperation`.
pub(crate) fn complete_pended(lab: &Executive, data: *mut FLT_CALLBACK_DATA, status: i32, context: PVOID) {
    use super::request::Phase;
    let request = lab.flt().request_of(lab, data);
    let Phase::InPre(level) = request.phase.get() else {
        return broken(
            lab,
            "complete-not-pended",
            "fltkernel/FltCompletePendedPreOperation",
            format!("{} is not in a pre-operation", request.label()),
        );
    };
    if request.moving.get() {
        // The callback has not returned PENDING yet; its thread goes on when it does.
        request.early.set(Some((status, context)));
        return;
    }
    let Some(received) = request.received.get() else { return };
    let instance = &request.chain[level];
    instance.inside.set(instance.inside.get() - 1);
    passage::answer(lab, &request, level, &received, status, context);
    passage::drive(lab, &request);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flt::registration::major_name;

    const FACTS: &str = include_str!("../../facts/minifilter-rules.md");

    /// Codes that an operation of the table stands for: those whose names begin so.
    fn codes(name: &str) -> Vec<u8> {
        let name = name.replace("SECTION_SYNC", "SECTION_SYNCHRONIZATION");
        let names: Vec<String> = match name.split_once('/') {
            Some(("ACQUIRE", rest)) => {
                let of = rest.trim_start_matches("RELEASE_");
                ["ACQUIRE", "RELEASE"].map(|half| format!("{half}_FOR_{of}")).to_vec()
            }
            Some((first, "SET_VOLUME_INFORMATION")) => {
                vec![format!("{first}_VOLUME_INFORMATION"), "SET_VOLUME_INFORMATION".into()]
            }
            Some((first, "SET_QUOTA")) => vec![format!("{first}_QUOTA"), "SET_QUOTA".into()],
            Some(_) => name.split('/').map(|part| part.trim().to_owned()).collect(),
            None => vec![name.split(" (").next().unwrap_or(&name).to_owned()],
        };
        let is = |code: &u8| names.iter().any(|name| major_name(*code) == format!("IRP_MJ_{name}"));
        (0..=u8::MAX).filter(is).collect()
    }

    /// minifilter-rules §2.2: the column of levels, read from the document. Paging I/O brings its own level; mounts and
    /// verifications are not sent.
    #[test]
    fn pre_operations_are_entered_at_the_levels_of_the_facts() {
        let section = FACTS.split("### 2.2").nth(1).and_then(|rest| rest.split("### 2.3").next()).unwrap();
        let mut compared = 0;
        for row in section.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let level = cells[2].split(['(', ';']).next().unwrap();
            let expected = if level.contains("APC") { APC_LEVEL } else { PASSIVE_LEVEL };
            let own = codes(cells[1]);
            let transfers = own.iter().any(|code| matches!(*code, IRP_MJ_READ | IRP_MJ_WRITE));
            for code in own {
                let expected = if transfers { PASSIVE_LEVEL } else { expected };
                assert_eq!(pre_ceiling(code), expected, "{}", major_name(code));
                compared += 1;
            }
        }
        assert!(compared >= 30, "{compared} operations of the table were found");
        assert!((0..=u8::MAX).all(|code| pre_ceiling(code) <= APC_LEVEL), "never above APC");
    }
}
