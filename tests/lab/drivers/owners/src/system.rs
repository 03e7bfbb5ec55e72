//! The registry, symbolic links, processes, text, transactions.

use core::sync::atomic::{AtomicU32, Ordering};

use kernel::callback::Callback;
use kernel::pool::{PoolSlice, Shared};
use kernel::process::{self, ProcessKey, ProcessRef};
use kernel::registry::Reader;
use kernel::string::upcase as upcased;
use kernel::symlink::SymbolicLink;
use kernel::thread::{Body, SystemThread};
use kernel::transaction::Transaction;
use kernel::{Result, Status};
use widestring::u16str;

use crate::{TAG, parameters};

const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;

/// The subkey `Tree` has the subkeys `One` and `Two`, with a number, nothing, and something of a thousand bytes in it.
pub(crate) fn keys(_: &mut Callback<'_>) -> Result<()> {
    let parameters = parameters()?;
    check!(parameters.subkey(u16str!("Nothing")).err() == Some(Status::OBJECT_NAME_NOT_FOUND));
    // Names are compared without case.
    let tree = parameters.subkey(u16str!("tREE"))?;
    let mut reader = Reader::new(TAG)?;
    check!(reader.subkey_name(&tree, 0)? == Some(u16str!("One")));
    check!(reader.subkey_name(&tree, 1)? == Some(u16str!("Two")));
    check!(reader.subkey_name(&tree, 2)?.is_none());
    let number = reader.value(&tree, 0)?.ok_or(Status::NOT_FOUND)?;
    check!(number.name == u16str!("A") && number.kind == REG_DWORD && number.data == 7_u32.to_le_bytes());
    let nothing = reader.value(&tree, 1)?.ok_or(Status::NOT_FOUND)?;
    check!(nothing.name == u16str!("B") && nothing.kind == REG_BINARY && nothing.data.is_empty());
    // More than a reader has room for at first, twice.
    for index in 2..4 {
        let value = reader.value(&tree, index)?.ok_or(Status::NOT_FOUND)?;
        check!(value.kind == REG_BINARY && value.data.len() > 1_000);
        check!(value.data.iter().enumerate().all(|(at, &byte)| byte == at as u8));
    }
    check!(reader.value(&tree, 4)?.is_none());
    let one = tree.subkey(u16str!("One"))?;
    check!(reader.value(&one, 0)?.is_none() && reader.subkey_name(&one, 0)?.is_none());
    Ok(())
}

/// The subkey `Large` has a value that a reader takes just so, and one that is too large.
pub(crate) fn large_values(_: &mut Callback<'_>) -> Result<()> {
    let large = parameters()?.subkey(u16str!("Large"))?;
    let mut reader = Reader::new(TAG)?;
    check!(reader.value(&large, 0)?.is_some_and(|value| value.data.last() == Some(&9)));
    drop(reader);
    let mut reader = Reader::new(TAG)?;
    check!(reader.value(&large, 1).err() == Some(Status::BUFFER_OVERFLOW));
    Ok(())
}

pub(crate) fn links(_: &mut Callback<'_>) -> Result<()> {
    check!(SymbolicLink::open(u16str!(r"\??\Q:")).err() == Some(Status::OBJECT_NAME_NOT_FOUND));
    let link = SymbolicLink::open(u16str!(r"\??\c:"))?;
    let mut target = [0; 64];
    let length = link.target(&mut target)?;
    check!(target.get(..length) == Some(u16str!(r"\Device\HarddiskVolume1").as_slice()));
    check!(link.target(&mut [0; 4]).err() == Some(Status::BUFFER_TOO_SMALL));
    // More than a counted string can say.
    let mut large = PoolSlice::<u16>::zeroed(TAG, 40_000)?;
    check!(link.target(&mut large)? == length);
    Ok(())
}

/// A process, and what a thread of another one says of it.
struct Asked {
    process: ProcessRef,
    thread: usize,
    answers: AtomicU32,
}

struct Asks(Shared<Asked>);

impl Body for Asks {
    fn run(self) {
        let Asked { process, thread, answers } = &*self.0;
        let is_other = !process.get().is_of_current_thread() && process::current_thread() != *thread;
        let stays_other = process.attached(|| !process.get().is_of_current_thread());
        answers.store(u32::from(is_other) | u32::from(stays_other) << 1, Ordering::Release);
    }
}

pub(crate) fn processes(data: &mut Callback<'_>) -> Result<()> {
    let process = data.process();
    let (key, id) = (process.key(), process.id());
    check!(key != ProcessKey::NONE && key == data.process().key() && id != 0);
    check!(process.exit_status() == Status::PENDING && process.is_of_current_thread());
    check!(data.thread() == process::current_thread() && !process::current_thread_is_terminating());
    let image = process.image_name()?;
    check!(image.as_slice().ends_with(u16str!("program.exe").as_slice()));
    drop(image);
    let kept = process.reference().ok_or(Status::NOT_FOUND)?;
    check!(kept.get().key() == key);
    let asked = Asked { process: kept, thread: process::current_thread(), answers: AtomicU32::new(0) };
    let asked = Shared::new(TAG, asked)?;
    drop(SystemThread::start(TAG, Asks(asked.clone()))?);
    check!(asked.answers.load(Ordering::Acquire) == 3);
    check!(!process::is_inside_file_system());
    let left = process::remaining_stack();
    check!((1_000..1_000_000).contains(&left) && deeper() < left);
    Ok(())
}

/// What is left of the stack a call further down.
#[inline(never)]
fn deeper() -> usize {
    let room = core::hint::black_box([0_u8; 256]);
    process::remaining_stack().saturating_sub(usize::from(room.first().copied().unwrap_or(0)))
}

pub(crate) fn upcase(_: &mut Callback<'_>) -> Result<()> {
    check!(upcased(u16::from(b'a')) == u16::from(b'A') && upcased(0xE4) == 0xC4);
    check!(upcased(u16::from(b'A')) == u16::from(b'A') && upcased(u16::from(b'1')) == u16::from(b'1'));
    Ok(())
}

pub(crate) fn transactions(_: &mut Callback<'_>) -> Result<()> {
    let committed = Transaction::begin()?;
    check!(committed.is_undecided()?);
    let object = committed.object();
    committed.commit()?;
    drop(object);
    let undone = Transaction::begin()?;
    let second = undone.object();
    let third = second.clone();
    undone.rollback()?;
    drop((second, third));
    drop(Transaction::begin()?);
    Ok(())
}
