//! What the lab checks of a driver, in the classes of Windows' Driver Verifier: `lab fidelity --verifier`.
//!
//! Everything is on, always. A class that needs hardware or a second processor is listed with what is left out.

use std::fmt::Write as _;

/// A class of rules of Driver Verifier.
pub struct Class {
    /// Its name in Windows' documentation.
    pub name: &'static str,
    /// Its `verifier /flags` bit or how it is chosen.
    pub chosen: &'static str,
    /// What the lab does for it.
    pub how: &'static str,
    /// The rules that stop a run, by the names that a [`Violation`](lab_executive::Violation) has.
    pub rules: &'static [&'static str],
    /// What of the class is not checked.
    pub not: &'static str,
}

/// All classes.
pub const CLASSES: &[Class] = &[
    Class {
        name: "Special pool",
        chosen: "0x1",
        how: "each of the first 8,000 live blocks on pages of its own, at a guard page; patterns around all; freed pages are taken away for the next 256 frees of their size",
        rules: &[
            "pool-overrun",
            "pool-underrun",
            "use-after-free",
            "double-free",
            "bad-free",
            "free-wrong-tag",
        ],
        not: "",
    },
    Class {
        name: "Force IRQL checking",
        chosen: "0x2",
        how: "paged pool and pageable sections are taken away while the level is DISPATCH_LEVEL",
        rules: &["paged-at-dispatch", "wait-at-dispatch", "use-after-init"],
        not: "a driver's own code at DISPATCH_LEVEL in a PAGE section is found when it runs, not before",
    },
    Class {
        name: "Systematic low resources simulation",
        chosen: "0x40000",
        how: "every call that can fail is a site, at each call stack; `Builder::fault` makes one call of one site fail; a sweep runs over all",
        rules: &["null-pointer", "bad-address"],
        not: "",
    },
    Class {
        name: "Pool tracking",
        chosen: "0x8",
        how: "what an image allocated and did not free is in the report at unload, with the place of the allocation",
        rules: &["entry-failed-leak", "pool-tag", "pool-size"],
        not: "",
    },
    Class {
        name: "I/O verification",
        chosen: "0x10",
        how: "requests to control devices: their memory goes at completion; routine, result and completion must agree",
        rules: &[
            "irp-not-completed",
            "irp-completed-twice",
            "irp-status",
            "irp-completed-pending",
            "irp-pending-not-marked",
            "irp-marked-not-pending",
            "irp-information",
            "irp-cancel-routine",
            "dispatch-outside",
            "device-object",
            "device-after-unload",
            "driver-object",
        ],
        not: "device stacks, completion routines, cancelling",
    },
    Class {
        name: "Deadlock detection",
        chosen: "0x20",
        how: "a graph of the order in which spin locks, fast and guarded mutexes, push locks and resources are taken; a run in which nothing can go on is reported with who waits for what",
        rules: &[
            "lock-order",
            "lock-recursion",
            "lock-not-held",
            "lock-mode",
            "lock-release-order",
            "lock-reinitialised",
            "spin-lock-deadlock",
            "deadlock",
        ],
        not: "KMUTEX objects are not in the graph; they show as a deadlock when it happens",
    },
    Class {
        name: "Security checks",
        chosen: "0x100",
        how: "user buffers have no access rights at the address that a driver gets",
        rules: &["user-pointer", "user-handle", "invalid-handle", "kernel-handle", "bad-object-type"],
        not: "",
    },
    Class {
        name: "Miscellaneous checks",
        chosen: "0x800",
        how: "freed and unloaded memory is searched for locks, waits, timers, work items and lists in use",
        rules: &[
            "free-in-use",
            "lookaside",
            "work-item",
            "use-after-unload",
            "object-reference",
            "rundown",
            "attach",
            "etw-handle",
            "etw-malformed",
            "overlapping-copy",
        ],
        not: "",
    },
    Class {
        name: "Code integrity checks",
        chosen: "0x2000",
        how: "images with writable code are refused; pool must not be executable",
        rules: &["executable-pool", "pool-flags", "image-write"],
        not: "",
    },
    Class {
        name: "DDI compliance checking",
        chosen: "0x20000",
        how: "levels, arguments and order of each import; the state of the thread after each callback",
        rules: &[
            "irql-ceiling",
            "irql-floor",
            "irql-order",
            "irql-restored",
            "state-after-callback",
            "lock-after-callback",
            "state-at-thread-end",
            "apcs-enabled",
            "critical-region",
            "uninitialised-object",
            "wrong-object",
            "bad-parameter",
            "bad-unicode-string",
            "bad-alignment",
            "stack-budget",
            "stack-overflow",
        ],
        not: "",
    },
    Class {
        name: "Kernel synchronization delay fuzzing",
        chosen: "0x200000 (verifier /dif)",
        how: "at the end of imports the seed may switch threads (`Config::preempt_per_mille`) or hold one back for up to 15 ms of virtual time (`Config::delay_per_mille`)",
        rules: &[],
        not: "a thread is held back between imports only, not between any two instructions",
    },
    Class {
        name: "Filter Verifier",
        chosen: "I/O verification of a minifilter",
        how: "registration, answers of callbacks, contexts, names and references",
        rules: &[
            "registration-null",
            "registration-size",
            "registration-version",
            "registration-flags",
            "registration-unsupported",
            "registration-callback-outside",
            "registered-twice",
            "operation-unknown",
            "operation-duplicate",
            "operation-empty",
            "operation-flags",
            "operation-shutdown-post",
            "context-kind",
            "context-count",
            "context-size",
            "context-allocator",
            "context-kind-mismatch",
            "context-pool",
            "context-reference",
            "preop-without-post",
            "preop-status",
            "preop-synchronize-forbidden",
            "preop-pending-not-irp",
            "preop-pending-again",
            "completed-not-pended",
            "complete-not-pended",
            "complete-with-context",
            "complete-with-status",
            "context-without-callback",
            "disallow-not-fast-io",
            "disallow-not-fsfilter",
            "must-not-fail",
            "postop-status",
            "postop-more-processing",
            "draining-not-finished",
            "safe-post-callback",
            "safe-post-draining",
            "create-failed-without-cancel",
            "access-remaining",
            "parameters-not-dirty",
            "major-function-changed",
            "target-instance",
            "target-file-object",
            "swap-and-complete",
            "callback-data",
            "cancel-file-open",
            "flt-object",
            "flt-reference",
            "file-object",
            "name-reference",
            "reference-leak",
            "query-open-file-object-kept",
            "top-level-irp",
            "driver-create-context",
            "ecp-list",
            "ecp-context",
            "ecp-in-list",
            "ecp-list-attached",
            "transaction-object",
            "entry-failed-registered",
            "unload-without-unregister",
            "unregister",
            "teardown-waits",
        ],
        not: "name providers and section contexts are refused at registration",
    },
];

/// Rules that belong to no class of Driver Verifier: faults of the processor, bug checks of the driver's own, and what the
/// lab does not serve.
pub const OTHERS: &[&str] = &[
    "bugcheck",
    "breakpoint",
    "processor-exception",
    "unserved-instruction",
    "unserved",
    "not-modelled",
    "foreign-file-object",
    "lab-defect",
    "spins-for-another-thread",
];

/// The classes as text.
pub fn table() -> String {
    let mut text = String::new();
    for class in CLASSES {
        let _ = writeln!(text, "{} ({})", class.name, class.chosen);
        let _ = writeln!(text, "  {}", class.how);
        if !class.rules.is_empty() {
            let _ = writeln!(text, "  rules: {}", class.rules.join(", "));
        }
        if !class.not.is_empty() {
            let _ = writeln!(text, "  not checked: {}", class.not);
        }
    }
    let _ = writeln!(text, "Besides: {}", OTHERS.join(", "));
    text
}
