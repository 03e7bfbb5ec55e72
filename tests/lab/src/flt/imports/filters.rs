//! Filters, instances, volumes, work items.

use fltkernel::*;
use lab_executive::imports;
use lab_executive::{Lab, status};

use crate::flt::instance::Stage;
use crate::flt::{Object, life, volumes};
use crate::loading;
use crate::memory;
use crate::rooms::Rooms;

fn change_references(lab: &Lab, object: PVOID, by: i64) {
    let (references, of) = match lab.flt().object(lab, object) {
        Object::Filter(filter) => {
            filter.references.set(filter.references.get() + by);
            (filter.references.get(), filter.name.clone())
        }
        Object::Instance(instance) => {
            instance.references.set(instance.references.get() + by);
            let filter = &instance.filter;
            filter.references.set(filter.references.get() + by);
            lab.flt().free_detached(&instance);
            (instance.references.get(), instance.label())
        }
        Object::Volume => {
            let flt = lab.flt();
            flt.volume_references.set(flt.volume_references.get() + by);
            (flt.volume_references.get(), "the volume".into())
        }
    };
    if references < 0 {
        lab.report(
            "flt-reference",
            "fltkernel/FltObjectDereference",
            format!("{of} is dereferenced more often than referenced"),
        );
    }
}

/// Hands an instance out, with a reference, to who asks for it.
fn give(lab: &Lab, address: usize, to: *mut PFLT_INSTANCE) -> NTSTATUS {
    if !to.is_null() {
        let instance: PVOID = std::ptr::with_exposed_provenance_mut(address);
        change_references(lab, instance, 1);
        memory::write(to, instance);
    }
    status::SUCCESS
}

imports! {
    /// Filters, instances, volumes, work items.
    pub static FILTERS in "FLTMGR.SYS";

    /// Registers; the registration is checked and copied.
    [ceiling: PASSIVE_LEVEL, Approximated("name providers and section contexts are refused"), fails: Status(0xC000_009A, 0xC01C_0007, 0xC000_000D), source: "minifilter-rules §3.4; fltkernel/FltRegisterFilter"]
    fn FltRegisterFilter(lab; Driver: PDRIVER_OBJECT, Registration: *const FLT_REGISTRATION, RetFilter: *mut PFLT_FILTER) -> NTSTATUS {
        match loading::driver_of(lab, Driver.addr()) {
            Some(driver) => life::register(lab, &driver, Registration, RetFilter),
            None => lab.violate("driver-object", "fltkernel/FltRegisterFilter", "Driver is no driver object"),
        }
    }

    /// Detaches every instance and waits for references.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "minifilter-rules §3.3"]
    fn FltUnregisterFilter(lab; Filter: PFLT_FILTER) {
        life::unregister(lab, &lab.flt().filter(lab, Filter))
    }

    /// Attaches the instances that attach by themselves.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC01C_000B), source: "minifilter-rules §3.2, §3.3, §3.8"]
    fn FltStartFiltering(lab; Filter: PFLT_FILTER) -> NTSTATUS {
        life::start(lab, &lab.flt().filter(lab, Filter))
    }

    /// Finds no routine: what the lab has can be imported.
    [ceiling: PASSIVE_LEVEL, Approximated("knows no routine"), source: "fltkernel/FltGetRoutineAddress"]
    fn FltGetRoutineAddress(_lab; FltMgrRoutineName: *const i8) -> PVOID {
        let _ = FltMgrRoutineName;
        std::ptr::null_mut()
    }

    /// References a filter, an instance or the volume.
    [ceiling: DISPATCH_LEVEL, Modelled, fails: Status(0xC01C_000B), source: "minifilter-rules §2.6, §3.3"]
    fn FltObjectReference(lab; FltObject: PVOID) -> NTSTATUS {
        let going = match lab.flt().object(lab, FltObject) {
            Object::Filter(filter) => filter.unregistering.get(),
            Object::Instance(instance) => {
                instance.filter.unregistering.get() || instance.stage.get() >= Stage::TearingDown
            }
            Object::Volume => false,
        };
        if going {
            return STATUS_FLT_DELETING_OBJECT;
        }
        change_references(lab, FltObject, 1);
        status::SUCCESS
    }

    /// Gives a reference back.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "minifilter-rules §2.6"]
    fn FltObjectDereference(lab; FltObject: PVOID) {
        change_references(lab, FltObject, -1)
    }

    /// The topmost instance, referenced.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "fltkernel/FltGetTopInstance"]
    fn FltGetTopInstance(lab; Volume: PFLT_VOLUME, Instance: *mut PFLT_INSTANCE) -> NTSTATUS {
        let mount = lab.flt().mount(lab, Volume);
        match lab.flt().chain(mount, None).first() {
            Some(top) => {
                let top: PVOID = std::ptr::with_exposed_provenance_mut(top.address);
                change_references(lab, top, 1);
                memory::write(Instance, top);
                status::SUCCESS
            }
            // STATUS_NO_MORE_ENTRIES
            None => status::NO_MORE_ENTRIES,
        }
    }

    /// The volume of an instance, referenced.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "fltkernel/FltGetVolumeFromInstance"]
    fn FltGetVolumeFromInstance(lab; Instance: PFLT_INSTANCE, RetVolume: *mut PFLT_VOLUME) -> NTSTATUS {
        let mount = lab.flt().instance(lab, Instance).mount;
        let volume: PVOID = std::ptr::with_exposed_provenance_mut(lab.flt().volume_address(mount));
        change_references(lab, volume, 1);
        memory::write(RetVolume, volume);
        status::SUCCESS
    }

    /// The filter of an instance, referenced.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "fltkernel/FltGetFilterFromInstance"]
    fn FltGetFilterFromInstance(lab; Instance: PFLT_INSTANCE, RetFilter: *mut PFLT_FILTER) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        let filter: PVOID = std::ptr::with_exposed_provenance_mut(instance.filter.address);
        change_references(lab, filter, 1);
        memory::write(RetFilter, filter);
        status::SUCCESS
    }

    /// The name of an instance (InstanceBasicInformation).
    [ceiling: APC_LEVEL, Approximated("other classes are refused"), fails: Status(0xC000_0023), source: "fltkernel/FltGetInstanceInformation; fltuserstructures/INSTANCE_BASIC_INFORMATION"]
    fn FltGetInstanceInformation(lab; Instance: PFLT_INSTANCE, InformationClass: INSTANCE_INFORMATION_CLASS, Buffer: PVOID, BufferSize: u32, BytesReturned: *mut u32) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        if InformationClass != InstanceBasicInformation {
            lab.report("not-modelled", "lab: of an instance only its name is told", format!("class {InformationClass}"));
            return status::INVALID_PARAMETER;
        }
        volumes::instance_name(&instance.name, Buffer.cast(), BufferSize, BytesReturned)
    }

    /// An instance of the filter by its name, referenced.
    [ceiling: APC_LEVEL, Modelled, fails: Status(0xC01C_0015), source: "fltkernel/FltGetVolumeInstanceFromName"]
    fn FltGetVolumeInstanceFromName(lab; Filter: PFLT_FILTER, Volume: PFLT_VOLUME, InstanceName: *const UNICODE_STRING, RetInstance: *mut PFLT_INSTANCE) -> NTSTATUS {
        let mount = lab.flt().mount(lab, Volume);
        let name = memory::text(&memory::units_at(InstanceName));
        let chain = lab.flt().chain(mount, None);
        let of = |filter: usize| filter == Filter.addr() || Filter.is_null();
        match chain.iter().find(|instance| of(instance.filter.address) && instance.name.eq_ignore_ascii_case(&name)) {
            Some(found) => give(lab, found.address, RetInstance),
            None => STATUS_FLT_INSTANCE_NOT_FOUND,
        }
    }

    /// Attaches the instance that the registry defines by this name, by hand; referenced.
    [ceiling: PASSIVE_LEVEL, Approximated("the default instance is not looked up"), fails: Status(0xC000_009A, 0xC01C_000B), source: "minifilter-rules §3.2, §3.8; fltkernel/FltAttachVolume"]
    fn FltAttachVolume(lab; Filter: PFLT_FILTER, Volume: PFLT_VOLUME, InstanceName: *const UNICODE_STRING, RetInstance: *mut PFLT_INSTANCE) -> NTSTATUS {
        let filter = lab.flt().filter(lab, Filter);
        let mount = lab.flt().mount(lab, Volume);
        if InstanceName.is_null() {
            lab.report("not-modelled", "lab: instances are attached by name", "FltAttachVolume without a name");
            return status::INVALID_PARAMETER;
        }
        match life::attach_by_name(lab, &filter, mount, &memory::text(&memory::units_at(InstanceName))) {
            Ok(instance) => give(lab, instance.address, RetInstance),
            Err(status) => status,
        }
    }

    /// Device type, sector size and names.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "fltkernel/FltGetVolumeProperties"]
    fn FltGetVolumeProperties(lab; Volume: PFLT_VOLUME, VolumeProperties: *mut FLT_VOLUME_PROPERTIES, VolumePropertiesLength: u32, LengthReturned: *mut u32) -> NTSTATUS {
        lab.flt().mount(lab, Volume);
        volumes::properties(VolumeProperties.cast(), VolumePropertiesLength, LengthReturned)
    }

    /// The device name of the volume.
    [ceiling: APC_LEVEL, Modelled, fails: Status(0xC000_0023, 0xC000_009A), source: "fltkernel/FltGetVolumeName"]
    fn FltGetVolumeName(lab; Volume: PFLT_VOLUME, VolumeName: *mut UNICODE_STRING, BufferSizeNeeded: *mut u32) -> NTSTATUS {
        lab.flt().mount(lab, Volume);
        volumes::name(VolumeName, BufferSizeNeeded)
    }

    /// The lab's volume can be written.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC01C_000B), source: "minifilter-rules §2.6; fltkernel/FltIsVolumeWritable"]
    fn FltIsVolumeWritable(lab; FltObject: PVOID, IsWritable: *mut BOOLEAN) -> NTSTATUS {
        lab.flt().object(lab, FltObject);
        memory::write(IsWritable, 1);
        status::SUCCESS
    }

    /// The lab's volume is no snapshot.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC01C_000B), source: "fltkernel/FltIsVolumeSnapshot"]
    fn FltIsVolumeSnapshot(lab; FltObject: PVOID, IsSnapshotVolume: *mut BOOLEAN) -> NTSTATUS {
        lab.flt().object(lab, FltObject);
        memory::write(IsSnapshotVolume, 0);
        status::SUCCESS
    }

    /// The volume's device object, referenced on Windows; the lab's lives as long as the lab.
    [ceiling: APC_LEVEL, Approximated("the device object is not reference-counted"), fails: Status, source: "fltkernel/FltGetDeviceObject"]
    fn FltGetDeviceObject(lab; Volume: PFLT_VOLUME, DeviceObject: *mut PDEVICE_OBJECT) -> NTSTATUS {
        lab.flt().mount(lab, Volume);
        memory::write(DeviceObject, crate::io::imports::volume_device(lab).cast());
        status::SUCCESS
    }

    /// A work item, or null.
    [ceiling: DISPATCH_LEVEL, Modelled, fails: Null, source: "fltkernel/FltAllocateGenericWorkItem"]
    fn FltAllocateGenericWorkItem(lab;) -> PFLT_GENERIC_WORKITEM { lab.flt().work.allocate(lab) }

    /// Frees a work item that is not queued.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "fltkernel/FltFreeGenericWorkItem"]
    fn FltFreeGenericWorkItem(lab; FltWorkItem: PFLT_GENERIC_WORKITEM) {
        lab.flt().work.free(lab, FltWorkItem)
    }

    /// Runs the routine in a system worker thread.
    [ceiling: DISPATCH_LEVEL, Approximated("queue types have no priority, workers no limit"), fails: Status(0xC01C_000B), source: "minifilter-rules §2.6; fltkernel/FltQueueGenericWorkItem"]
    fn FltQueueGenericWorkItem(lab; FltWorkItem: PFLT_GENERIC_WORKITEM, FltObject: PVOID, WorkerRoutine: PFLT_GENERIC_WORKITEM_ROUTINE, QueueType: i32, Context: PVOID) -> NTSTATUS {
        let _ = QueueType;
        lab.flt().work.queue(lab, FltWorkItem, FltObject, WorkerRoutine, Context)
    }

    /// SYSTEM and Administrators get the access asked for.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "minifilter-rules §3.6"]
    fn FltBuildDefaultSecurityDescriptor(lab; SecurityDescriptor: *mut PSECURITY_DESCRIPTOR, DesiredAccess: u32) -> NTSTATUS {
        memory::write(SecurityDescriptor, volumes::default_descriptor(lab, DesiredAccess).cast());
        status::SUCCESS
    }

    /// Frees what FltBuildDefaultSecurityDescriptor gave.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "minifilter-rules §3.6"]
    fn FltFreeSecurityDescriptor(lab; SecurityDescriptor: PSECURITY_DESCRIPTOR) {
        lab.free(SecurityDescriptor.cast(), Some(u32::from_le_bytes(*b"FMsd")))
    }
}
