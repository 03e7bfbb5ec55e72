//! A monitor: it notes opens, writes, renames, closes and the ends of transactions, and a program that may load drivers
//! reads the notes from `\\.\FileMonitor`.
//!
//! It is an example of a minifilter on the `kernel` crate, and of a driver for the lab; it changes nothing that it sees.
//! Read [`format`] for what a program gets, then the driver top down:
//!
//! | file | what |
//! |---|---|
//! | `lib.rs` | what is registered, what happens on load and unload |
//! | `operations.rs` | one type for each operation that is watched |
//! | `contexts.rs` | what is kept for a handle, a stream, a transaction |
//! | `log.rs` | the notes: blocks of a lookaside list in a ring behind a spin lock |
//! | `device.rs` | the control device |
//!
//! The value `Entries` (REG_DWORD, 16 to 65536, default 4096) of the service's `Parameters` key says how many notes wait
//! for a reader; past it the oldest are lost, and counted.
//!
//! Limits: names longer than 256 units are cut; mapped writes are not noted; what was open before it was loaded is noted
//! from its close on, without a number.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]

pub mod format;

#[cfg(windows)]
mod contexts;
#[cfg(windows)]
mod device;
#[cfg(windows)]
mod log;
#[cfg(windows)]
mod operations;

#[cfg(windows)]
mod driver {
    use core::sync::atomic::{AtomicU64, Ordering};

    use kernel::callback::OperationEntry;
    use kernel::context::ContextEntry;
    use kernel::device::ControlDevice;
    use kernel::enlistment::{Ended, Outcome};
    use kernel::filter::{Filter, Load, Slot};
    use kernel::fltkernel::FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP;
    use kernel::pool::Tag;
    use kernel::registry::{Reader, RegistryKey};
    use kernel::{Result, Status};
    use widestring::{U16Str, u16str};

    use crate::contexts::{Follow, Open, Stream};
    use crate::device::Questions;
    use crate::format::Event;
    use crate::log::{Log, Note};
    use crate::operations::{Cleanup, Create, SetInformation, Write};

    pub(crate) const TAG: Tag = Tag::new(b"Mntr");

    /// The loaded monitor.
    pub(crate) struct Monitor {
        pub(crate) log: Log,
        /// Numbers for opens and transactions; 0 is none.
        numbers: AtomicU64,
        device: ControlDevice,
    }

    kernel::driver!(Monitor, MONITOR);

    impl Monitor {
        /// The next number.
        pub(crate) fn number(&self) -> u64 {
            self.numbers.fetch_add(1, Ordering::Relaxed)
        }
    }

    /// The loaded monitor, in callbacks and requests.
    pub(crate) fn monitor() -> Option<&'static Monitor> {
        MONITOR.get()
    }

    /// A new context of it.
    pub(crate) fn context<T: kernel::context::Context>(value: T) -> Result<kernel::context::ContextRef<T>> {
        kernel::context::ContextRef::new(MONITOR.handle().ok_or(Status::NOT_FOUND)?, value)
    }

    impl Filter for Monitor {
        const OPERATIONS: &'static [OperationEntry] = &[
            OperationEntry::of::<Create>(),
            OperationEntry::of::<Write>(),
            OperationEntry::of::<SetInformation>(),
            OperationEntry::of::<Cleanup>(),
            OperationEntry::END,
        ];
        const CONTEXTS: &'static [ContextEntry] = &[
            ContextEntry::of::<Open>(),
            ContextEntry::of::<Stream>(),
            ContextEntry::of::<Follow>(),
            ContextEntry::END,
        ];
        /// Stopping the service could not be refused while a program has the device open.
        const FLAGS: u32 = FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP;
        const ENLISTS: bool = true;

        fn slot() -> &'static Slot<Self> {
            &MONITOR
        }

        fn load(load: &Load<'_>) -> Result<Self> {
            let entries = entries(load.registry_path).unwrap_or(DEFAULT_ENTRIES);
            Ok(Monitor {
                log: Log::new(entries as usize)?,
                numbers: AtomicU64::new(1),
                device: ControlDevice::create::<Questions>(
                    load,
                    u16str!(r"\Device\FileMonitor"),
                    u16str!(r"\DosDevices\FileMonitor"),
                )?,
            })
        }

        fn may_unload(&self, _mandatory: bool) -> Result<()> {
            if self.device.retire() { Ok(()) } else { Err(Status::FLT_DO_NOT_DETACH) }
        }

        fn transaction_ended(&self, ended: &Ended<'_>) {
            let Some(follow) =
                kernel::context::ContextRef::<Follow>::of_transaction(ended.instance, ended.transaction)
            else {
                return;
            };
            let event = match ended.outcome {
                Outcome::Committed => Event::Committed,
                Outcome::RolledBack => Event::RolledBack,
            };
            self.log.add(Note::of(event).of_open(0, follow.number));
        }
    }

    const DEFAULT_ENTRIES: u32 = 4096;

    /// The value `Entries`, if it is there and a number.
    fn entries(service: &U16Str) -> Option<u32> {
        const REG_DWORD: u32 = 4;
        let parameters = RegistryKey::open(service).ok()?.subkey(u16str!("Parameters")).ok()?;
        let mut reader = Reader::new(TAG).ok()?;
        let mut index = 0;
        while let Some(value) = reader.value(&parameters, index).ok()? {
            if value.name == u16str!("Entries") && value.kind == REG_DWORD {
                return value.data.first_chunk().map(|data| u32::from_le_bytes(*data).clamp(16, 65536));
            }
            index = index.checked_add(1)?;
        }
        None
    }
}
