//! What a filter registers, read once and checked against the contract.

use fltkernel::*;

use crate::memory;

/// One line of the operation table.
#[derive(Clone, Copy)]
pub struct Operation {
    /// `IRP_MJ_*`.
    pub major: u8,
    /// `FLTFL_OPERATION_REGISTRATION_*`.
    pub flags: u32,
    /// Called on the way down.
    pub pre: PFLT_PRE_OPERATION_CALLBACK,
    /// Called on the way up.
    pub post: PFLT_POST_OPERATION_CALLBACK,
}

/// One kind of context that the filter may allocate.
#[derive(Clone, Copy)]
pub struct ContextKind {
    /// `FLT_*_CONTEXT`.
    pub kind: u16,
    /// `FLTFL_CONTEXT_REGISTRATION_*`.
    pub flags: u16,
    /// Bytes, or `FLT_VARIABLE_SIZED_CONTEXTS`.
    pub size: usize,
    /// Pool tag.
    pub tag: u32,
    /// Called before the memory is freed.
    pub cleanup: PFLT_CONTEXT_CLEANUP_CALLBACK,
    /// Allocates the memory instead of the Filter Manager.
    pub allocate: PFLT_CONTEXT_ALLOCATE_CALLBACK,
    /// Frees what `allocate` gave.
    pub free: PFLT_CONTEXT_FREE_CALLBACK,
}

/// A checked `FLT_REGISTRATION`.
#[derive(Clone)]
pub struct Registration {
    /// `FLT_REGISTRATION_VERSION_*`.
    pub version: u16,
    /// `FLTFL_REGISTRATION_*`.
    pub flags: u32,
    /// In the order of the table.
    pub operations: Vec<Operation>,
    /// In the order of the table.
    pub contexts: Vec<ContextKind>,
    /// Unload requested.
    pub unload: PFLT_FILTER_UNLOAD_CALLBACK,
    /// A volume may be attached to.
    pub instance_setup: PFLT_INSTANCE_SETUP_CALLBACK,
    /// Manual detach requested.
    pub query_teardown: PFLT_INSTANCE_QUERY_TEARDOWN_CALLBACK,
    /// Teardown begins.
    pub teardown_start: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    /// Teardown is over.
    pub teardown_complete: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    /// Transaction notification.
    pub transaction: PFLT_TRANSACTION_NOTIFICATION_CALLBACK,
}

/// A rule that a registration breaks: its short name, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str, pub String);

fn broken<T>(rule: &'static str, what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken(rule, what.into()))
}

/// Reads and checks the registration at `at`. `inside` tells whether an address is code of the registering driver.
pub(crate) fn read(
    at: *const FLT_REGISTRATION,
    inside: impl Fn(usize) -> bool,
) -> Result<Registration, Broken> {
    if at.is_null() {
        return broken("registration-null", "Registration is null");
    }
    let raw = memory::read(at);
    if usize::from(raw.Size) != size_of::<FLT_REGISTRATION>() {
        let expected = size_of::<FLT_REGISTRATION>();
        return broken(
            "registration-size",
            format!("Size is {}, not sizeof(FLT_REGISTRATION) = {expected}", raw.Size),
        );
    }
    if !(0x0200..=FLT_REGISTRATION_VERSION).contains(&raw.Version) {
        return broken("registration-version", format!("Version {:#06x} is not known", raw.Version));
    }
    let known = FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP
        | FLTFL_REGISTRATION_SUPPORT_NPFS_MSFS
        | FLTFL_REGISTRATION_SUPPORT_DAX_VOLUME
        | FLTFL_REGISTRATION_SUPPORT_WCOS;
    if raw.Flags & !known != 0 {
        return broken("registration-flags", format!("Flags {:#x} has bits that are not defined", raw.Flags));
    }
    let named = [
        ("GenerateFileNameCallback", raw.GenerateFileNameCallback.addr()),
        ("NormalizeNameComponentCallback", raw.NormalizeNameComponentCallback.addr()),
        ("NormalizeContextCleanupCallback", raw.NormalizeContextCleanupCallback.addr()),
        ("NormalizeNameComponentExCallback", raw.NormalizeNameComponentExCallback.addr()),
        ("SectionNotificationCallback", raw.SectionNotificationCallback.addr()),
    ];
    if let Some((name, _)) = named.iter().find(|(_, address)| *address != 0) {
        return broken(
            "registration-unsupported",
            format!("{name}: the lab has no name providers and no section contexts"),
        );
    }
    let callbacks = [
        ("FilterUnloadCallback", raw.FilterUnloadCallback.map_or(0, |f| f as usize)),
        ("InstanceSetupCallback", raw.InstanceSetupCallback.map_or(0, |f| f as usize)),
        ("InstanceQueryTeardownCallback", raw.InstanceQueryTeardownCallback.map_or(0, |f| f as usize)),
        ("InstanceTeardownStartCallback", raw.InstanceTeardownStartCallback.map_or(0, |f| f as usize)),
        ("InstanceTeardownCompleteCallback", raw.InstanceTeardownCompleteCallback.map_or(0, |f| f as usize)),
        ("TransactionNotificationCallback", raw.TransactionNotificationCallback.map_or(0, |f| f as usize)),
    ];
    for (name, address) in callbacks {
        check_inside(name, address, &inside)?;
    }
    Ok(Registration {
        version: raw.Version,
        flags: raw.Flags,
        operations: operations(raw.OperationRegistration, &inside)?,
        contexts: contexts(raw.ContextRegistration, &inside)?,
        unload: raw.FilterUnloadCallback,
        instance_setup: raw.InstanceSetupCallback,
        query_teardown: raw.InstanceQueryTeardownCallback,
        teardown_start: raw.InstanceTeardownStartCallback,
        teardown_complete: raw.InstanceTeardownCompleteCallback,
        transaction: raw.TransactionNotificationCallback,
    })
}

fn check_inside(name: &str, address: usize, inside: &impl Fn(usize) -> bool) -> Result<(), Broken> {
    if address != 0 && !inside(address) {
        return broken(
            "registration-callback-outside",
            format!("{name} does not point into the driver's image"),
        );
    }
    Ok(())
}

fn operations(
    mut at: *const FLT_OPERATION_REGISTRATION,
    inside: &impl Fn(usize) -> bool,
) -> Result<Vec<Operation>, Broken> {
    let mut operations: Vec<Operation> = Vec::new();
    if at.is_null() {
        return Ok(operations);
    }
    loop {
        let raw = memory::read(at);
        if raw.MajorFunction == IRP_MJ_OPERATION_END {
            return Ok(operations);
        }
        let name = major_name(raw.MajorFunction);
        if name.is_empty() {
            return broken(
                "operation-unknown",
                format!("major function {:#04x} is not defined", raw.MajorFunction),
            );
        }
        if operations.iter().any(|o| o.major == raw.MajorFunction) {
            return broken("operation-duplicate", format!("{name} is registered twice"));
        }
        if raw.PreOperation.is_none() && raw.PostOperation.is_none() {
            return broken(
                "operation-empty",
                format!("{name} has neither a pre- nor a post-operation callback"),
            );
        }
        if raw.Flags & !0xF != 0 {
            return broken("operation-flags", format!("{name}: flags {:#x} are not defined", raw.Flags));
        }
        // minifilter-rules §2.3: the skip flags speak of IRP and fast I/O reads and writes.
        if raw.MajorFunction == IRP_MJ_SHUTDOWN && raw.PostOperation.is_some() {
            return broken("operation-shutdown-post", "IRP_MJ_SHUTDOWN takes no post-operation callback");
        }
        check_inside(&format!("{name}'s PreOperation"), raw.PreOperation.map_or(0, |f| f as usize), inside)?;
        check_inside(
            &format!("{name}'s PostOperation"),
            raw.PostOperation.map_or(0, |f| f as usize),
            inside,
        )?;
        operations.push(Operation {
            major: raw.MajorFunction,
            flags: raw.Flags,
            pre: raw.PreOperation,
            post: raw.PostOperation,
        });
        at = at.wrapping_add(1);
    }
}

fn contexts(
    mut at: *const FLT_CONTEXT_REGISTRATION,
    inside: &impl Fn(usize) -> bool,
) -> Result<Vec<ContextKind>, Broken> {
    let mut contexts: Vec<ContextKind> = Vec::new();
    if at.is_null() {
        return Ok(contexts);
    }
    loop {
        let raw = memory::read(at);
        if raw.ContextType == FLT_CONTEXT_END {
            return Ok(contexts);
        }
        let name = context_name(raw.ContextType);
        if name.is_empty() {
            return broken("context-kind", format!("context type {:#x} is not defined", raw.ContextType));
        }
        let same: Vec<_> = contexts.iter().filter(|c| c.kind == raw.ContextType).collect();
        let variable = |size| size == FLT_VARIABLE_SIZED_CONTEXTS;
        let custom = raw.ContextAllocateCallback.is_some() && raw.ContextFreeCallback.is_some();
        // minifilter-rules §3.1: up to three fixed sizes and one variable one for each type.
        let fixed = same.iter().filter(|c| !variable(c.size)).count();
        if (variable(raw.Size) && same.iter().any(|c| variable(c.size)))
            || (!variable(raw.Size) && fixed == 3)
        {
            return broken(
                "context-count",
                format!("{name}: more than three fixed sizes or one variable size"),
            );
        }
        if !custom && !variable(raw.Size) && raw.Size > 65535 {
            return broken("context-size", format!("{name}: {} bytes are more than 65535", raw.Size));
        }
        if raw.ContextAllocateCallback.is_some() != raw.ContextFreeCallback.is_some() {
            return broken("context-allocator", format!("{name}: allocate and free callbacks go together"));
        }
        check_inside(
            &format!("{name}'s cleanup"),
            raw.ContextCleanupCallback.map_or(0, |f| f as usize),
            inside,
        )?;
        check_inside(
            &format!("{name}'s allocator"),
            raw.ContextAllocateCallback.map_or(0, |f| f as usize),
            inside,
        )?;
        check_inside(&format!("{name}'s free"), raw.ContextFreeCallback.map_or(0, |f| f as usize), inside)?;
        contexts.push(ContextKind {
            kind: raw.ContextType,
            flags: raw.Flags,
            size: raw.Size,
            tag: raw.PoolTag,
            cleanup: raw.ContextCleanupCallback,
            allocate: raw.ContextAllocateCallback,
            free: raw.ContextFreeCallback,
        });
        at = at.wrapping_add(1);
    }
}

/// The name of a major function, empty if it is none.
pub fn major_name(major: u8) -> &'static str {
    const IRPS: [&str; 28] = [
        "IRP_MJ_CREATE",
        "IRP_MJ_CREATE_NAMED_PIPE",
        "IRP_MJ_CLOSE",
        "IRP_MJ_READ",
        "IRP_MJ_WRITE",
        "IRP_MJ_QUERY_INFORMATION",
        "IRP_MJ_SET_INFORMATION",
        "IRP_MJ_QUERY_EA",
        "IRP_MJ_SET_EA",
        "IRP_MJ_FLUSH_BUFFERS",
        "IRP_MJ_QUERY_VOLUME_INFORMATION",
        "IRP_MJ_SET_VOLUME_INFORMATION",
        "IRP_MJ_DIRECTORY_CONTROL",
        "IRP_MJ_FILE_SYSTEM_CONTROL",
        "IRP_MJ_DEVICE_CONTROL",
        "IRP_MJ_INTERNAL_DEVICE_CONTROL",
        "IRP_MJ_SHUTDOWN",
        "IRP_MJ_LOCK_CONTROL",
        "IRP_MJ_CLEANUP",
        "IRP_MJ_CREATE_MAILSLOT",
        "IRP_MJ_QUERY_SECURITY",
        "IRP_MJ_SET_SECURITY",
        "IRP_MJ_POWER",
        "IRP_MJ_SYSTEM_CONTROL",
        "IRP_MJ_DEVICE_CHANGE",
        "IRP_MJ_QUERY_QUOTA",
        "IRP_MJ_SET_QUOTA",
        "IRP_MJ_PNP",
    ];
    const OTHERS: [(u8, &str); 16] = [
        (IRP_MJ_VOLUME_DISMOUNT, "IRP_MJ_VOLUME_DISMOUNT"),
        (IRP_MJ_VOLUME_MOUNT, "IRP_MJ_VOLUME_MOUNT"),
        (IRP_MJ_MDL_WRITE_COMPLETE, "IRP_MJ_MDL_WRITE_COMPLETE"),
        (IRP_MJ_PREPARE_MDL_WRITE, "IRP_MJ_PREPARE_MDL_WRITE"),
        (IRP_MJ_MDL_READ_COMPLETE, "IRP_MJ_MDL_READ_COMPLETE"),
        (IRP_MJ_MDL_READ, "IRP_MJ_MDL_READ"),
        (IRP_MJ_NETWORK_QUERY_OPEN, "IRP_MJ_NETWORK_QUERY_OPEN"),
        (IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE, "IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE"),
        (IRP_MJ_QUERY_OPEN, "IRP_MJ_QUERY_OPEN"),
        (IRP_MJ_RELEASE_FOR_CC_FLUSH, "IRP_MJ_RELEASE_FOR_CC_FLUSH"),
        (IRP_MJ_ACQUIRE_FOR_CC_FLUSH, "IRP_MJ_ACQUIRE_FOR_CC_FLUSH"),
        (IRP_MJ_RELEASE_FOR_MOD_WRITE, "IRP_MJ_RELEASE_FOR_MOD_WRITE"),
        (IRP_MJ_ACQUIRE_FOR_MOD_WRITE, "IRP_MJ_ACQUIRE_FOR_MOD_WRITE"),
        (IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, "IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION"),
        (IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, "IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION"),
        (IRP_MJ_OPERATION_END, ""),
    ];
    IRPS.get(usize::from(major))
        .copied()
        .or_else(|| OTHERS.iter().find(|(code, _)| *code == major).map(|(_, name)| *name))
        .unwrap_or("")
}

/// The name of a context type, empty if it is none.
pub fn context_name(kind: u16) -> &'static str {
    match kind {
        FLT_VOLUME_CONTEXT => "volume context",
        FLT_INSTANCE_CONTEXT => "instance context",
        FLT_FILE_CONTEXT => "file context",
        FLT_STREAM_CONTEXT => "stream context",
        FLT_STREAMHANDLE_CONTEXT => "stream handle context",
        FLT_TRANSACTION_CONTEXT => "transaction context",
        FLT_SECTION_CONTEXT => "section context",
        _ => "",
    }
}
