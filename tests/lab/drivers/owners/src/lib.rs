//! A minifilter that tries the owner types of the crate `kernel` against what their documentation promises.
//!
//! The value `Check` (REG_SZ) of its service's `Parameters` key names a check of [`CHECKS`]. It is made at the first create
//! of a program: before it goes down, or after it has succeeded. A check that fails makes the create fail with a status of
//! the customer's that says in which line. What the verifier has to say comes on top. Without the value it does not load.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]
#![cfg(windows)]

/// Fails the check unless it holds.
macro_rules! check {
    ($holds:expr) => {
        if !$holds {
            return Err($crate::failed(line!()));
        }
    };
}

mod device;
mod files;
mod gates;
mod memory;
mod operations;
mod requests;
mod system;
mod waiting;

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::callback::{Before, Callback, Operation, OperationEntry, Parcel};
use kernel::context::ContextEntry;
use kernel::device::ControlDevice;
use kernel::filter::{Filter, Handle, Load, Slot};
use kernel::fltkernel::*;
use kernel::pool::{PoolSlice, Tag};
use kernel::registry::{Reader, RegistryKey};
use kernel::{Result, Status};
use operations::{Watched, Way};
use requests::Edited;
use widestring::{U16Str, u16str};

pub(crate) const TAG: Tag = Tag::new(b"Ownr");

/// The status of a check that failed in this line.
pub(crate) fn failed(line: u32) -> Status {
    Status((0xE000_0000 | line) as i32)
}

/// A check, by when it is made.
#[derive(Clone, Copy)]
enum Check {
    /// Before the create goes down.
    Before(fn(&mut Callback<'_>) -> Result<()>),
    /// After it has succeeded.
    After(fn(&mut Callback<'_>) -> Result<()>),
    /// It goes down with fewer rights, and comes back with what was asked for.
    Reduced,
    /// It has a control device, which then retires.
    Device,
    /// It does not want to go.
    Stays,
    /// With every operation.
    Each(Way),
}
use Check::{After, Before as Ahead, Each};

const CHECKS: &[(&U16Str, Check)] = &[
    (u16str!("Boxes"), Ahead(memory::boxes)),
    (u16str!("Vectors"), Ahead(memory::vectors)),
    (u16str!("Slices"), Ahead(memory::slices)),
    (u16str!("Shared"), Ahead(memory::shared)),
    (u16str!("Parcels"), Ahead(memory::parcels)),
    (u16str!("Lookaside"), Ahead(memory::lookaside)),
    (u16str!("Events"), Ahead(waiting::events)),
    (u16str!("AnyOf"), Ahead(waiting::any_of)),
    (u16str!("Threads"), Ahead(waiting::threads)),
    (u16str!("Work"), Ahead(waiting::work)),
    (u16str!("Locks"), Ahead(waiting::locks)),
    (u16str!("Gate"), Ahead(gates::alone)),
    (u16str!("GateOfTwo"), Ahead(gates::of_two)),
    (u16str!("GateClosed"), Ahead(gates::closed)),
    (u16str!("Keys"), Ahead(system::keys)),
    (u16str!("LargeValues"), Ahead(system::large_values)),
    (u16str!("Links"), Ahead(system::links)),
    (u16str!("Processes"), Ahead(system::processes)),
    (u16str!("Upcase"), Ahead(system::upcase)),
    (u16str!("Transactions"), Ahead(system::transactions)),
    (u16str!("Instance"), Ahead(files::instance)),
    (u16str!("Opens"), Ahead(files::opens)),
    (u16str!("Shares"), Ahead(files::shares)),
    (u16str!("Attributes"), Ahead(files::attributes)),
    (u16str!("Names"), Ahead(files::names)),
    (u16str!("Sections"), Ahead(files::sections)),
    (u16str!("ByteRangeLocks"), Ahead(files::byte_range_locks)),
    (u16str!("Contexts"), After(files::contexts)),
    (u16str!("TakenBack"), Ahead(requests::taken_back)),
    (u16str!("SetCreate"), Ahead(requests::set_create)),
    (u16str!("HasEa"), Ahead(requests::extended_attributes)),
    (u16str!("Reduced"), Check::Reduced),
    (u16str!("Device"), Check::Device),
    (u16str!("Stays"), Check::Stays),
    (u16str!("Parameters"), Each(Way::Parameters)),
    (u16str!("Refuses"), Each(Way::Refuses)),
    (u16str!("Synchronizes"), Each(Way::Synchronizes)),
    (u16str!("Drains"), Each(Way::Drains)),
    (u16str!("Completes"), Each(Way::Completes)),
];

struct Owners {
    check: Check,
    /// It was made.
    made: AtomicBool,
    /// `\Registry\…`, the service's key.
    key: PoolSlice<u16>,
    /// If it is asked for.
    device: Option<ControlDevice>,
}

kernel::driver!(Owners, OWNERS);

impl Filter for Owners {
    const OPERATIONS: &'static [OperationEntry] = &[
        OperationEntry::of::<Create>(),
        OperationEntry::of::<Watched<IRP_MJ_WRITE>>(),
        OperationEntry::of::<Watched<IRP_MJ_QUERY_INFORMATION>>(),
        OperationEntry::of::<Watched<IRP_MJ_SET_INFORMATION>>(),
        OperationEntry::of::<Watched<IRP_MJ_FILE_SYSTEM_CONTROL>>(),
        OperationEntry::of::<Watched<IRP_MJ_LOCK_CONTROL>>(),
        OperationEntry::of::<Watched<IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION>>(),
        OperationEntry::END,
    ];
    const CONTEXTS: &'static [ContextEntry] = &[
        ContextEntry::of::<files::Noted>(),
        ContextEntry::of::<files::Other>(),
        ContextEntry::of::<files::OfInstance>(),
        ContextEntry::END,
    ];

    fn slot() -> &'static Slot<Self> {
        &OWNERS
    }

    fn load(load: &Load<'_>) -> Result<Self> {
        let key = PoolSlice::copy_of(TAG, load.registry_path.as_slice())?;
        // Before there is a filter nobody finds one.
        check!(OWNERS.get().is_none() && OWNERS.handle().is_none());
        let (check, mut device) = (chosen(load.registry_path)?, None);
        if matches!(check, Check::Device) {
            let (name, link) = (u16str!(r"\Device\Owners"), u16str!(r"\DosDevices\Owners"));
            device = Some(ControlDevice::create::<device::Questions>(load, name, link)?);
        }
        Ok(Owners { check, made: AtomicBool::new(false), key, device })
    }

    fn may_unload(&self, _mandatory: bool) -> Result<()> {
        if matches!(self.check, Check::Stays) { Err(Status::FLT_DO_NOT_DETACH) } else { Ok(()) }
    }
}

/// The registered filter.
pub(crate) fn handle() -> Result<Handle> {
    OWNERS.handle().ok_or(Status::NOT_FOUND)
}

/// The service's `Parameters`.
pub(crate) fn parameters() -> Result<RegistryKey> {
    let owners = OWNERS.get().ok_or(Status::NOT_FOUND)?;
    RegistryKey::open(U16Str::from_slice(&owners.key))?.subkey(u16str!("Parameters"))
}

/// What is done with every operation, if that is the check.
pub(crate) fn way() -> Option<Way> {
    match OWNERS.get()?.check {
        Each(way) => Some(way),
        _ => None,
    }
}

/// What the registry names. No name, and one that is none, is an error.
fn chosen(service: &U16Str) -> Result<Check> {
    let parameters = RegistryKey::open(service)?.subkey(u16str!("Parameters"))?;
    let mut reader = Reader::new(TAG)?;
    let mut index = 0;
    while let Some(value) = reader.value(&parameters, index)? {
        if value.name == u16str!("Check") {
            let is = |word: &U16Str| {
                let units = value.data.chunks_exact(2).map(|pair| match pair {
                    [low, high] => u16::from_le_bytes([*low, *high]),
                    _ => 0,
                });
                units.take_while(|&unit| unit != 0).eq(word.as_slice().iter().copied())
            };
            let found = CHECKS.iter().find(|(word, _)| is(word));
            return found.map(|(_, check)| *check).ok_or(Status::INVALID_PARAMETER);
        }
        index = index.saturating_add(1);
    }
    Err(Status::OBJECT_NAME_NOT_FOUND)
}

/// The check that is still to be made, if it is this kind's time.
fn due(data: &Callback<'_>, is_now: impl Fn(&Check) -> bool) -> Option<Check> {
    let owners = OWNERS.get().filter(|_| !data.is_from_kernel())?;
    let check = Some(owners.check).filter(is_now)?;
    (!owners.made.swap(true, Ordering::AcqRel)).then_some(check)
}

struct Create;

impl Operation for Create {
    const MAJOR: u8 = IRP_MJ_CREATE;
    type Carry = Parcel<Edited>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        let done = match due(data, |check| !matches!(check, After(_) | Each(_))) {
            Some(Ahead(check)) => check(data).map(|()| None),
            Some(Check::Device) => device::retired().map(|()| None),
            Some(Check::Reduced) => requests::reduce(data).map(Some),
            _ if way() == Some(Way::Parameters) => operations::create(data).map(|()| None),
            _ => Ok(None),
        };
        match operations::failure().and(done).and_then(|edit| Parcel::new(TAG, Edited(edit))) {
            Ok(carry) => Before::Watch(carry),
            Err(status) => Before::Complete(status, 0),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        if !data.status().is_success() {
            return;
        }
        let Edited(edit) = carry.unpack();
        if let Some(edit) = edit {
            requests::grant(edit);
        }
        if let Some(After(check)) = due(data, |check| matches!(check, After(_)))
            && let Err(status) = check(data)
        {
            if let Some(file) = data.file() {
                file.cancel_open(data.instance());
            }
            data.set_status(status, 0);
        }
    }
}
