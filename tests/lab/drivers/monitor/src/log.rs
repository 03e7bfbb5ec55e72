//! Notes that wait for a reader: blocks of a lookaside list in a ring. When the ring is full the oldest goes.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::Result;
use kernel::callback::Callback;
use kernel::lookaside::{Block, Lookaside};
use kernel::pool::PoolVec;
use kernel::sync::SpinLock;
use widestring::U16Str;

use crate::driver::TAG;
use crate::format::{Event, HEAD};

/// Units of a name that a note has room for.
const NAME: usize = 256;

/// One note.
pub(crate) struct Note {
    event: Event,
    number: u64,
    open: u64,
    transaction: u64,
    pub(crate) offset: i64,
    pub(crate) length: u32,
    process: u32,
    status: i32,
    units: u16,
    name: [u16; NAME],
}

impl Note {
    /// A note about nothing in particular.
    pub(crate) fn of(event: Event) -> Note {
        Note {
            event,
            number: 0,
            open: 0,
            transaction: 0,
            offset: 0,
            length: 0,
            process: 0,
            status: 0,
            units: 0,
            name: [0; NAME],
        }
    }

    /// A note about an operation: who asked for it and how it ended. Up to DISPATCH_LEVEL.
    pub(crate) fn about(data: &Callback<'_>, event: Event) -> Note {
        Note { process: data.process().id(), status: data.status().0, ..Note::of(event) }
    }

    /// About this open, in this transaction.
    pub(crate) fn of_open(mut self, open: u64, transaction: u64) -> Note {
        self.open = open;
        self.transaction = transaction;
        self
    }

    /// With a name, as far as there is room.
    pub(crate) fn with_name(mut self, name: &U16Str) -> Note {
        let mut units = 0;
        for (to, from) in self.name.iter_mut().zip(name.as_slice()) {
            *to = *from;
            units += 1_u16;
        }
        self.units = units;
        self
    }

    fn name_bytes(&self) -> usize {
        usize::from(self.units) * 2
    }

    /// Bytes that it takes in a program's buffer.
    fn length(&self) -> usize {
        (HEAD + self.name_bytes()).next_multiple_of(8)
    }

    /// Writes it to the beginning of `to`, which has room for it.
    fn write(&self, to: &mut [u8]) {
        let mut places = to.iter_mut();
        let mut put = |bytes: &[u8]| {
            for byte in bytes {
                if let Some(place) = places.next() {
                    *place = *byte;
                }
            }
        };
        put(&(self.length() as u32).to_le_bytes());
        put(&(self.event as u32).to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&self.open.to_le_bytes());
        put(&self.transaction.to_le_bytes());
        put(&self.offset.to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&self.process.to_le_bytes());
        put(&self.status.to_le_bytes());
        put(&(self.name_bytes() as u32).to_le_bytes());
        for unit in self.name.iter().take(usize::from(self.units)) {
            put(&unit.to_le_bytes());
        }
    }
}

/// Notes in the order of their numbers.
struct Ring {
    /// As many places as there may be notes.
    places: PoolVec<Option<Block<Note>>>,
    first: usize,
    count: usize,
    next: u64,
}

impl Ring {
    /// Adds a note, and gives back the one that had to go for it.
    fn push(&mut self, mut note: Block<Note>) -> Option<Block<Note>> {
        note.number = self.next;
        self.next = self.next.wrapping_add(1);
        let full = self.count == self.places.len();
        let gone = if full { self.pop() } else { None };
        let at = self.place(self.count);
        if let Some(place) = self.places.get_mut(at) {
            *place = Some(note);
            self.count = self.count.saturating_add(1);
        }
        gone
    }

    fn front(&self) -> Option<&Note> {
        self.places.get(self.first)?.as_deref()
    }

    fn pop(&mut self) -> Option<Block<Note>> {
        let note = self.places.get_mut(self.first)?.take()?;
        self.first = self.place(1);
        self.count = self.count.saturating_sub(1);
        Some(note)
    }

    /// The index of the place so many after the first.
    fn place(&self, after: usize) -> usize {
        let at = self.first.saturating_add(after);
        at.checked_sub(self.places.len()).unwrap_or(at)
    }
}

/// The log.
pub(crate) struct Log {
    blocks: Lookaside<Note>,
    ring: SpinLock<Ring>,
    lost: AtomicU64,
}

impl Log {
    /// A log of at most so many notes. PASSIVE_LEVEL.
    pub(crate) fn new(notes: usize) -> Result<Log> {
        let mut places = PoolVec::new(TAG);
        for _ in 0..notes {
            places.push(None)?;
        }
        Ok(Log {
            blocks: Lookaside::new(TAG)?,
            ring: SpinLock::new(Ring { places, first: 0, count: 0, next: 1 }),
            lost: AtomicU64::new(0),
        })
    }

    /// Adds a note; without memory for it, it counts as lost. Up to DISPATCH_LEVEL.
    pub(crate) fn add(&self, note: Note) {
        let Ok(block) = self.blocks.store(note) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let gone = self.ring.lock().push(block);
        // Freed after the lock is released.
        if gone.is_some() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the oldest note if it is not longer than `room`; `Err` if it is.
    fn take(&self, room: usize) -> core::result::Result<Option<Block<Note>>, ()> {
        let mut ring = self.ring.lock();
        match ring.front() {
            Some(note) if note.length() > room => Err(()),
            _ => Ok(ring.pop()),
        }
    }

    /// Moves notes to a program's buffer, as many as fit; the bytes used. `None` if there are some and none fits.
    pub(crate) fn read(&self, to: &mut [u8]) -> Option<usize> {
        let mut used = 0_usize;
        loop {
            let rest = to.get_mut(used..).unwrap_or(&mut []);
            match self.take(rest.len()) {
                Ok(Some(note)) => {
                    note.write(rest);
                    used = used.saturating_add(note.length());
                }
                Ok(None) => return Some(used),
                Err(()) => return if used == 0 { None } else { Some(used) },
            }
        }
    }

    /// How many notes nobody will read.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
