//! The I/O manager's and file system library's routines of `ntoskrnl.exe`.

use core::ffi::c_void;

use fltkernel::PFILE_OBJECT;
use lab_executive::import::{Failure, Fidelity, Import, Target};
use lab_executive::imports;
use lab_executive::irql::PASSIVE_LEVEL;
use lab_executive::{Lab, status};

use crate::memory;
use crate::rooms::Rooms;

const DEVICE: usize = size_of::<lab_nt::DEVICE_OBJECT>().next_multiple_of(16);

/// The volume's device object (`FILE_OBJECT.DeviceObject`), made on first use; behind it the volume parameter block.
fn devices(lab: &Lab) -> *mut u8 {
    let io = lab.io();
    let address = *io.devices.get_or_init(|| {
        let device = lab.allocate_own(DEVICE + size_of::<lab_nt::VPB>(), b"Devi");
        let mut object: lab_nt::DEVICE_OBJECT = memory::read(device.cast());
        object.Type = 3;
        object.Size = size_of::<lab_nt::DEVICE_OBJECT>() as u16;
        object.DeviceType = 7;
        object.SectorSize = 512;
        object.StackSize = 10;
        memory::write(device.cast(), object);
        let vpb: *mut lab_nt::VPB = device.wrapping_add(DEVICE).cast();
        let mut block: lab_nt::VPB = memory::read(vpb);
        block.Type = 10;
        block.Size = size_of::<lab_nt::VPB>() as i16;
        block.Flags = 1;
        block.SerialNumber = io.with_volume(lab, |volume| volume.information().serial);
        block.RealDevice = device.cast();
        memory::write(vpb, block);
        device.addr()
    });
    std::ptr::with_exposed_provenance_mut(address)
}

pub(crate) fn volume_device(lab: &Lab) -> *mut u8 {
    devices(lab)
}

pub(crate) fn volume_vpb(lab: &Lab) -> *mut u8 {
    devices(lab).wrapping_add(DEVICE)
}

imports! {
    /// File objects.
    pub static IO in "ntoskrnl.exe";

    /// The transaction parameters of a transacted file object, or null; valid as long as the file object.
    [ceiling: HIGH_LEVEL, Modelled, source: "txf-ktm §2; ntddk/IoGetTransactionParameterBlock"]
    fn IoGetTransactionParameterBlock(lab; file: PFILE_OBJECT) -> *mut u8 {
        lab.io().file(lab, file).transaction_block
    }

    /// The size as the file object sees it.
    [ceiling: APC_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_0185), source: "ntifs/FsRtlGetFileSize"]
    fn FsRtlGetFileSize(lab; file: PFILE_OBJECT, size: *mut i64) -> i32 {
        let file = lab.io().file(lab, file);
        let Some(open) = file.open.get() else { return status::INVALID_PARAMETER };
        match lab.io().with_volume(lab, |volume| volume.standard(open)) {
            // STATUS_FILE_IS_A_DIRECTORY
            Ok(own) if own.directory => 0xC000_00BA_u32.cast_signed(),
            Ok(own) => {
                memory::write(size, own.size.cast_signed());
                status::SUCCESS
            }
            Err(status) => status.0.cast_signed(),
        }
    }

    /// Gives a file object another name, before its create is answered with STATUS_REPARSE or sent on.
    [ceiling: APC_LEVEL, Approximated("the Filter Manager knows the new name at once; what filters above asked for before stays theirs"), fails: Status, source: "minifilter-rules §1.6"]
    fn IoReplaceFileObjectName(lab; file: PFILE_OBJECT, name: *const u16, length: u16) -> i32 {
        let file = lab.io().file(lab, file);
        if !length.is_multiple_of(2) || file.open.get().is_some() {
            return status::INVALID_PARAMETER;
        }
        let bytes = memory::bytes(name.cast(), usize::from(length));
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let old = file.object().FileName.Buffer;
        let new = super::file::counted(lab, &units, b"IoNm");
        file.update(|object| object.FileName = new);
        if file.object().RelatedFileObject.is_null() && !file.by_id {
            *file.opened_as.borrow_mut() = units;
        }
        if !old.is_null() {
            lab.free_own(old.cast());
        }
        status::SUCCESS
    }

    /// The thread's top-level component, 0 for none.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/IoGetTopLevelIrp"]
    fn IoGetTopLevelIrp(lab;) -> usize { lab.thread().top_level_irp.get() }

    /// Sets the thread's top-level component.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/IoSetTopLevelIrp"]
    fn IoSetTopLevelIrp(lab; irp: usize) { lab.thread().top_level_irp.set(irp) }

    /// Size of the file object's device stack; the model has no stack.
    [ceiling: HIGH_LEVEL, Approximated("always the volume's own device"), source: "wdm/IoGetRelatedDeviceObject"]
    fn IoGetRelatedDeviceObject(lab; file: PFILE_OBJECT) -> *mut c_void {
        lab.io().file(lab, file);
        volume_device(lab).cast()
    }
}

/// `IoFileObjectType`: a variable that holds the type's address.
pub static FILE_TYPE: Import = Import {
    module: "ntoskrnl.exe",
    name: "IoFileObjectType",
    target: Target::Data(|lab| lab.io().file_type().variable.cast()),
    floor: PASSIVE_LEVEL,
    ceiling: lab_executive::irql::HIGH_LEVEL,
    fidelity: Fidelity::Modelled,
    failure: Failure::Never,
    failures: &[],
    source: "wdm/ObReferenceObjectByHandle",
};
