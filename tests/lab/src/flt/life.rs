//! The life of filters and instances: registration, start, attach, detach, unload (minifilter-rules §3.2, §3.3).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fltkernel::*;
use lab_executive::image::LEFT_BEHIND;
use lab_executive::irql::PASSIVE_LEVEL;
use lab_executive::scheduler::MILLISECOND;
use lab_executive::status;

use super::altitude::Altitude;
use super::instance::{Filter, Instance, Stage};
use super::registration;
use super::{passage, transactions};
use crate::Executive;
use crate::loading::{Driver, InstanceDefinition};
use crate::memory;
use crate::rooms::Rooms;

const FILE_DEVICE_DISK_FILE_SYSTEM: u32 = 8;
/// How long FltUnregisterFilter waits for references before the lab calls it a leak. Virtual time.
const PATIENCE: i64 = 300_000 * MILLISECOND;

/// FltRegisterFilter.
pub(crate) fn register(
    lab: &Executive,
    driver: &Rc<Driver>,
    at: *const FLT_REGISTRATION,
    out: *mut PFLT_FILTER,
) -> i32 {
    let inside =
        |address: usize| driver.image.is_none_or(|image| lab.images.index_of(address) == Some(image));
    let registration = match registration::read(at, inside) {
        Ok(registration) => registration,
        Err(registration::Broken(rule, what)) => {
            lab.report(rule, "minifilter-rules §2.1–2.4, §3.1, §3.4; fltkernel/FltRegisterFilter", what);
            return status::INVALID_PARAMETER;
        }
    };
    if driver.filter.borrow().is_some() {
        lab.report("registered-twice", "fltkernel/FltRegisterFilter", "a driver registers one filter");
    }
    if driver.instances(lab).is_empty() {
        // Without an Instances key in the registry FltMgr does not register (minifilter-rules §3.8).
        return status::OBJECT_NAME_NOT_FOUND;
    }
    let flt = lab.flt();
    let filter = Rc::new(Filter {
        address: flt.addresses.next(),
        name: driver.name.clone(),
        registration,
        driver: driver.object.addr(),
        image: driver.image,
        started: Cell::new(false),
        unregistering: Cell::new(false),
        references: Cell::new(0),
        instances: RefCell::default(),
    });
    flt.add_filter(filter.clone());
    *driver.filter.borrow_mut() = Some(filter.clone());
    memory::write(out, std::ptr::with_exposed_provenance_mut(filter.address));
    status::SUCCESS
}

/// FltStartFiltering: attaches every instance that the registry wants attached by itself.
pub(crate) fn start(lab: &Executive, filter: &Rc<Filter>) -> i32 {
    if filter.started.replace(true) {
        return status::INVALID_PARAMETER;
    }
    let Some(driver) = crate::loading::driver_of(lab, filter.driver) else {
        return status::INVALID_PARAMETER;
    };
    for definition in driver.instances(lab) {
        if definition.flags & 1 == 0 {
            // A refusal (STATUS_FLT_DO_NOT_ATTACH) is the filter's right and no failure of the start.
            let _ = attach(lab, filter, &definition, FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT);
        }
    }
    status::SUCCESS
}

/// Attaches an instance to the volume.
///
/// # Errors
/// STATUS_FLT_INSTANCE_ALTITUDE_COLLISION, …NAME_COLLISION, and what InstanceSetup answers.
pub(crate) fn attach(
    lab: &Executive,
    filter: &Rc<Filter>,
    definition: &InstanceDefinition,
    flags: u32,
) -> Result<Rc<Instance>, i32> {
    let Some(altitude) = Altitude::parse(&definition.altitude) else { return Err(status::INVALID_PARAMETER) };
    let flt = lab.flt();
    let mount = lab.io().mounted();
    if filter.instances.borrow().iter().any(|other| other.mount == mount && other.name == definition.name) {
        return Err(STATUS_FLT_INSTANCE_NAME_COLLISION);
    }
    if flt.chain(mount, None).iter().any(|other| other.altitude == altitude) {
        return Err(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    let instance = Rc::new(Instance {
        address: flt.addresses.next(),
        filter: filter.clone(),
        name: definition.name.clone(),
        altitude,
        mount,
        stage: Cell::new(Stage::SettingUp),
        references: Cell::new(0),
        inside: Cell::new(0),
    });
    flt.add_instance(instance.clone());
    filter.instances.borrow_mut().push(instance.clone());
    let answer = match filter.registration.instance_setup {
        None => status::SUCCESS,
        Some(setup) => {
            let related = related(lab, &instance);
            let answer = super::call(lab, "InstanceSetup", || {
                // SAFETY: the registered callback, called as its type says.
                unsafe { setup(related.cast(), flags, FILE_DEVICE_DISK_FILE_SYSTEM, FLT_FSTYPE_NTFS) }
            });
            lab.free_own(related);
            answer
        }
    };
    if answer < 0 {
        lab.trace.event("not attached", u64::from(answer.cast_unsigned()));
        forget(lab, &instance);
        return Err(answer);
    }
    instance.stage.set(Stage::Attached);
    Ok(instance)
}

/// Attaches the instance that the registry defines by this name (FltAttachVolume).
///
/// # Errors
/// STATUS_FLT_FILTER_NOT_READY before the start, DELETING_OBJECT during teardown and where the volume has gone,
/// OBJECT_NAME_NOT_FOUND if the registry has no such instance, and those of attaching.
pub(crate) fn attach_by_name(
    lab: &Executive,
    filter: &Rc<Filter>,
    mount: usize,
    name: &str,
) -> Result<Rc<Instance>, i32> {
    if filter.unregistering.get() || mount != lab.io().mounted() {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    if !filter.started.get() {
        return Err(STATUS_FLT_FILTER_NOT_READY);
    }
    let definitions = crate::loading::driver_of(lab, filter.driver).map(|driver| driver.instances(lab));
    let named = |definition: &InstanceDefinition| definition.name.eq_ignore_ascii_case(name);
    let found = definitions.into_iter().flatten().find(named);
    let definition = found.ok_or(status::OBJECT_NAME_NOT_FOUND)?;
    attach(lab, filter, &definition, FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT)
}

fn related(lab: &Executive, instance: &Instance) -> *mut u8 {
    let related = lab.allocate_own(size_of::<FLT_RELATED_OBJECTS>(), b"FmRo");
    memory::write(
        related.cast(),
        FLT_RELATED_OBJECTS {
            Size: size_of::<FLT_RELATED_OBJECTS>() as u16,
            TransactionContext: 0,
            Filter: std::ptr::with_exposed_provenance_mut(instance.filter.address),
            Volume: std::ptr::with_exposed_provenance_mut(lab.flt().volume_address(instance.mount)),
            Instance: std::ptr::with_exposed_provenance_mut(instance.address),
            FileObject: std::ptr::null_mut(),
            Transaction: std::ptr::null_mut(),
        },
    );
    related
}

fn forget(lab: &Executive, instance: &Rc<Instance>) {
    lab.flt().contexts.remove_of_instance(lab, instance);
    instance.stage.set(Stage::Detached);
    instance.filter.instances.borrow_mut().retain(|other| !Rc::ptr_eq(other, instance));
    lab.flt().free_detached(instance);
}

/// Detaches an instance by hand, as `fltmc detach` does.
///
/// # Errors
/// STATUS_FLT_DO_NOT_DETACH if the filter refuses, or has no InstanceQueryTeardown; FLT_DELETING_OBJECT if the instance is
/// being torn down, or has been (fltkernel/FltDetachVolume).
pub(crate) fn detach(lab: &Executive, instance: &Rc<Instance>) -> Result<(), i32> {
    if instance.stage.get() >= Stage::TearingDown {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    let Some(query) = instance.filter.registration.query_teardown else {
        return Err(STATUS_FLT_DO_NOT_DETACH);
    };
    // Its volume may go while it is asked.
    instance.references.set(instance.references.get() + 1);
    let related = related(lab, instance);
    let answer = super::call(lab, "InstanceQueryTeardown", || {
        // SAFETY: the registered callback, called as its type says.
        unsafe { query(related.cast(), 0) }
    });
    lab.free_own(related);
    instance.references.set(instance.references.get() - 1);
    lab.flt().free_detached(instance);
    if answer < 0 {
        return Err(answer);
    }
    tear_down(lab, instance, FLTFL_INSTANCE_TEARDOWN_MANUAL);
    Ok(())
}

/// A volume is mounted again: its instances are set up, by what the registry says (minifilter-rules §2.7, §3.2). Runs before
/// the first operation.
pub(crate) fn mounted(lab: &Executive) {
    let flags = FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT | FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME;
    for filter in lab.flt().filters().into_iter().filter(|filter| filter.started.get()) {
        let Some(driver) = crate::loading::driver_of(lab, filter.driver) else { continue };
        for definition in driver.instances(lab).into_iter().filter(|definition| definition.flags & 1 == 0) {
            let _ = attach(lab, &filter, &definition, flags);
        }
    }
}

/// A mount is over: its instances are torn down, nobody is asked, and its volume object goes (minifilter-rules §2.7).
pub(crate) fn dismounted(lab: &Executive, mount: usize) {
    for instance in lab.flt().chain(mount, None) {
        tear_down(lab, &instance, FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT);
    }
    let flt = lab.flt();
    flt.contexts.remove_where(
        lab,
        |key| matches!(key, super::contexts::Key::Volume { mount: own, .. } if own == mount),
    );
    flt.forget_volume(mount);
}

/// Tears an instance down: start, drain, complete, contexts. One that somebody else is tearing down is waited for.
pub(crate) fn tear_down(lab: &Executive, instance: &Rc<Instance>, reason: u32) {
    if instance.stage.get() >= Stage::TearingDown {
        let waiting = instance.clone();
        let what = format!("the end of the teardown of {}", instance.label());
        lab.block_until(what, None, move || waiting.stage.get() == Stage::Detached);
        return;
    }
    instance.stage.set(Stage::TearingDown);
    let registration = &instance.filter.registration;
    tell(lab, instance, registration.teardown_start, "InstanceTeardownStart", reason);
    passage::drain(lab, instance);
    let waiting = instance.clone();
    let ended = lab.block_until(
        format!("{} to leave {} callback(s)", instance.label(), instance.inside.get()),
        Some(lab.scheduler.now() + PATIENCE),
        move || waiting.inside.get() == 0,
    );
    if !ended {
        lab.report(
            "teardown-waits",
            "minifilter-rules §3.2: InstanceTeardownStart completes or restarts pended operations",
            format!(
                "{} still has {} operation(s) pended or in a callback",
                instance.label(),
                instance.inside.get()
            ),
        );
    }
    tell(lab, instance, registration.teardown_complete, "InstanceTeardownComplete", reason);
    transactions::leave(lab, instance);
    forget(lab, instance);
}

fn tell(
    lab: &Executive,
    instance: &Instance,
    callback: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    what: &str,
    reason: u32,
) {
    if let Some(callback) = callback {
        let related = related(lab, instance);
        super::call(lab, what, || {
            // SAFETY: the registered callback, called as its type says.
            unsafe { callback(related.cast(), reason) }
        });
        lab.free_own(related);
    }
}

/// FltUnregisterFilter: instances go, references are waited for; what stays is a leak.
pub(crate) fn unregister(lab: &Executive, filter: &Rc<Filter>) {
    if lab.thread().irql.get() != PASSIVE_LEVEL || filter.unregistering.replace(true) {
        lab.report("unregister", "fltkernel/FltUnregisterFilter", "called twice");
    }
    let mut instances = filter.instances.borrow().clone();
    instances.sort_by(|a, b| b.altitude.cmp(&a.altitude));
    for instance in &instances {
        tear_down(lab, instance, FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD);
    }
    let flt = lab.flt();
    let address = filter.address;
    flt.contexts.remove_where(
        lab,
        |key| matches!(key, super::contexts::Key::Volume { filter, .. } if filter == address),
    );
    let waiting = filter.clone();
    let gone = lab.block_until(
        format!("the references to filter {}", filter.name),
        Some(lab.scheduler.now() + PATIENCE),
        move || waiting.references.get() <= 0,
    );
    if !gone {
        let of = instances.iter().filter(|i| i.references.get() > 0);
        let detail: Vec<_> = of.map(|i| format!("{}: {}", i.label(), i.references.get())).collect();
        lab.report(
            "reference-leak",
            "minifilter-rules §3.3: FltUnregisterFilter waits for references, for ever if one is leaked",
            format!(
                "filter {} has {} reference(s) that nobody gives back {}",
                filter.name,
                filter.references.get(),
                detail.join(", ")
            ),
        );
    }
    flt.remove_filter(filter);
    if !lab.checks(LEFT_BEHIND) {
        return;
    }
    let mut left = flt.contexts.of_filter(filter);
    left.extend(flt.extra_parameters.left_by(filter));
    left.extend(flt.names.left_by(filter.image));
    left.extend(flt.work.left_by(filter.image));
    left.extend(flt.own_data.left_by(filter.image));
    flt.left.borrow_mut().extend(left.into_iter().map(|what| format!("{}: {what}", filter.name)));
}
