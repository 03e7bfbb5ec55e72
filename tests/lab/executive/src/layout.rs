//! The few offsets that this crate writes down itself, checked against the generated structures.

use std::mem::offset_of;

use lab_nt::{
    ACL, ERESOURCE, EVENT_DESCRIPTOR, FAST_MUTEX, KEVENT, KSEMAPHORE, KTIMER, PS_CREATE_NOTIFY_INFO,
    SECURITY_DESCRIPTOR, WORK_QUEUE_ITEM,
};

use crate::wait::DispatcherHeader;

const _: () = {
    assert!(size_of::<KEVENT>() == size_of::<DispatcherHeader>());
    assert!(offset_of!(KSEMAPHORE, Limit) == 24);
    assert!(size_of::<KTIMER>() == 64);
    assert!(offset_of!(FAST_MUTEX, Event) == 24);
    assert!(size_of::<ERESOURCE>() == 104);
    assert!(offset_of!(WORK_QUEUE_ITEM, WorkerRoutine) == 16);
    assert!(offset_of!(PS_CREATE_NOTIFY_INFO, ImageFileName) == 48);
    assert!(size_of::<PS_CREATE_NOTIFY_INFO>() == 72);
    assert!(size_of::<EVENT_DESCRIPTOR>() == size_of::<crate::etw::Descriptor>());
    assert!(offset_of!(SECURITY_DESCRIPTOR, Dacl) == 32);
    assert!(size_of::<ACL>() == 8);
};
