//! A minifilter that leaks what it is told to.
//!
//! The value `Leak` (REG_SZ) of its service's `Parameters` key names it: `Pool` and `Transaction` leak at load, `Context`,
//! `Name` and `File` at the first successful create. Without the value it leaks nothing. A verifier that is worth its
//! name reports each at unload, and nothing without the value.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]
#![cfg(windows)]

use core::mem::forget;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel::Result;
use kernel::callback::{Before, Callback, Operation, OperationEntry};
use kernel::context::{Context, ContextEntry, ContextKind, ContextRef};
use kernel::file::Open;
use kernel::filter::{Filter, Load, Slot};
use kernel::fltkernel::IRP_MJ_CREATE;
use kernel::name::{FileName, NameForm};
use kernel::pool::{PoolBox, Tag};
use kernel::registry::{Reader, RegistryKey};
use kernel::transaction::Transaction;
use widestring::{U16Str, u16str};

const TAG: Tag = Tag::new(b"Leak");

struct Leaking {
    leak: Leak,
    /// It was done.
    done: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leak {
    Nothing,
    Pool,
    Transaction,
    Context,
    Name,
    File,
}

const LEAKS: [(&U16Str, Leak); 5] = [
    (u16str!("Pool"), Leak::Pool),
    (u16str!("Transaction"), Leak::Transaction),
    (u16str!("Context"), Leak::Context),
    (u16str!("Name"), Leak::Name),
    (u16str!("File"), Leak::File),
];

kernel::driver!(Leaking, LEAKING);

impl Filter for Leaking {
    const OPERATIONS: &'static [OperationEntry] = &[OperationEntry::of::<Create>(), OperationEntry::END];
    const CONTEXTS: &'static [ContextEntry] = &[ContextEntry::of::<Forgotten>(), ContextEntry::END];

    fn slot() -> &'static Slot<Self> {
        &LEAKING
    }

    fn load(load: &Load<'_>) -> Result<Self> {
        let leak = read_leak(load.registry_path).unwrap_or(Leak::Nothing);
        match leak {
            Leak::Pool => forget(PoolBox::new(TAG, 0_u64)?),
            Leak::Transaction => forget(Transaction::begin()?),
            _ => {}
        }
        Ok(Leaking { leak, done: AtomicBool::new(false) })
    }
}

fn read_leak(service: &U16Str) -> Result<Leak> {
    let parameters = RegistryKey::open(service)?.subkey(u16str!("Parameters"))?;
    let mut reader = Reader::new(TAG)?;
    let mut index = 0;
    while let Some(value) = reader.value(&parameters, index)? {
        if value.name == u16str!("Leak") {
            let is = |word: &U16Str| {
                let units = value.data.chunks_exact(2).map(|pair| match pair {
                    [low, high] => u16::from_le_bytes([*low, *high]),
                    _ => 0,
                });
                units.take_while(|&unit| unit != 0).eq(word.as_slice().iter().copied())
            };
            return Ok(LEAKS.iter().find(|(word, _)| is(word)).map_or(Leak::Nothing, |(_, leak)| *leak));
        }
        index = index.saturating_add(1);
    }
    Ok(Leak::Nothing)
}

struct Forgotten;

impl Context for Forgotten {
    const KIND: ContextKind = ContextKind::StreamHandle;
    const TAG: Tag = TAG;
}

struct Create;

impl Operation for Create {
    const MAJOR: u8 = IRP_MJ_CREATE;
    type Carry = ();

    fn before(_: &mut Callback<'_>) -> Before<()> {
        Before::Watch(())
    }

    fn after(data: &mut Callback<'_>, (): ()) {
        if let Some(leaking) = LEAKING.get()
            && data.status().is_success()
            && !leaking.done.load(Ordering::Acquire)
            && leak(leaking.leak, data).is_some()
        {
            leaking.done.store(true, Ordering::Release);
        }
    }
}

/// Leaks one; `None` if it could not.
fn leak(leak: Leak, data: &Callback<'_>) -> Option<()> {
    let filter = LEAKING.handle()?;
    match leak {
        Leak::Context => {
            let context = ContextRef::new(filter, Forgotten).ok()?;
            context.set_on_handle(data.instance(), data.file()?).ok()?;
            forget(context);
        }
        Leak::Name => forget(FileName::of(data, NameForm::Opened).ok()?),
        Leak::File => {
            let name = FileName::of(data, NameForm::Opened).ok()?;
            forget(Open::look(name.full(), false).open(filter, data.instance()).ok()?);
        }
        Leak::Nothing | Leak::Pool | Leak::Transaction => {}
    }
    Some(())
}
