//! Device objects, their links, and the completion of requests, as drivers call them.

use fltkernel::{NTSTATUS, PDRIVER_OBJECT, UNICODE_STRING};
use lab_executive::{imports, status};
use lab_nt::{DEVICE_OBJECT, IRP};

use crate::loading;
use crate::memory;

const DEVICE: &str = "a device object";
const LINK: &str = "a symbolic link";

fn text(at: *const UNICODE_STRING) -> String {
    memory::text(&memory::units_at(at))
}

imports! {
    /// Devices and their requests.
    pub static DEVICES in "ntoskrnl.exe";

    /// Makes a device object of the driver; it cannot be opened before DriverEntry has returned.
    [ceiling: APC_LEVEL, Approximated("no access check against the device's security descriptor: whoever asks may open it"), fails: Status, source: "wdm/IoCreateDevice"]
    fn IoCreateDevice(
        lab; driver: PDRIVER_OBJECT, extension: u32, name: *const UNICODE_STRING, kind: u32, characteristics: u32,
        exclusive: u8, device: *mut *mut DEVICE_OBJECT,
    ) -> NTSTATUS {
        memory::write(device, std::ptr::null_mut());
        let Some(own) = loading::driver_of(lab, driver.addr()) else {
            lab.violate("driver-object", "wdm/IoCreateDevice", "DriverObject is no driver object")
        };
        match super::make(lab, own, extension, text(name), kind, characteristics, exclusive != 0) {
            Ok(body) => {
                lab.obligations.add(lab, body.addr(), DEVICE);
                memory::write(device, body);
                status::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Takes a device object down; what is open on it stays open.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/IoDeleteDevice"]
    fn IoDeleteDevice(lab; device: *mut DEVICE_OBJECT) {
        let own = super::find(lab, device);
        lab.obligations.remove(device.addr(), DEVICE);
        super::delete(lab, &own);
    }

    /// Gives a device a name that programs can open.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "wdm/IoCreateSymbolicLink"]
    fn IoCreateSymbolicLink(lab; link: *const UNICODE_STRING, device: *const UNICODE_STRING) -> NTSTATUS {
        let (link, target) = (text(link), text(device));
        if lab.objects.symbolic_link(&link).is_some() {
            return status::OBJECT_NAME_COLLISION;
        }
        lab.objects.add_symbolic_link(lab, &link, &target);
        if let Some(body) = lab.objects.symbolic_link(&link) {
            lab.obligations.add(lab, body.addr(), LINK);
        }
        status::SUCCESS
    }

    /// Takes the name away again.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/IoDeleteSymbolicLink"]
    fn IoDeleteSymbolicLink(lab; link: *const UNICODE_STRING) -> NTSTATUS {
        let link = text(link);
        let Some(body) = lab.objects.symbolic_link(&link) else { return status::OBJECT_NAME_NOT_FOUND };
        lab.obligations.remove(body.addr(), LINK);
        lab.objects.remove_symbolic_link(lab, &link);
        status::SUCCESS
    }

    /// Ends a request; the driver must not touch it any more.
    [ceiling: DISPATCH_LEVEL, Approximated("requests have one stack location: no completion routines, no lower devices"), source: "wdm/IoCompleteRequest"]
    fn IofCompleteRequest(lab; irp: *mut IRP, boost: i8) {
        let _ = boost;
        super::irp::complete(lab, irp)
    }
}
