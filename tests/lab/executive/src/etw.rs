//! Event tracing: registered providers, and what they wrote, decoded from its own description.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use crate::{Lab, status};

mod tracelogging;

pub use tracelogging::Field;

/// Bytes of a GUID.
pub const GUID_LEN: usize = 16;

/// EVENT_DESCRIPTOR (evntprov.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Descriptor {
    /// Event id; 0 for self-describing events.
    pub id: u16,
    /// Its version.
    pub version: u8,
    /// Its channel; 11 for self-describing events.
    pub channel: u8,
    /// 1 critical to 5 verbose.
    pub level: u8,
    /// Its opcode.
    pub opcode: u8,
    /// Its task.
    pub task: u16,
    /// What it belongs to.
    pub keyword: u64,
}

const _: () = assert!(size_of::<Descriptor>() == 16);

/// A self-describing event's channel (TraceLoggingProvider.h, WINEVENT_CHANNEL_TRACELOGGING).
const TRACELOGGING: u8 = 11;

/// An event that a driver wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// System time of the write.
    pub time: i64,
    /// The provider's GUID.
    pub provider: [u8; GUID_LEN],
    /// The provider's name; empty if the event does not describe itself.
    pub provider_name: String,
    /// The event's name; empty if the event does not describe itself.
    pub name: String,
    /// Its descriptor.
    pub descriptor: Descriptor,
    /// Its fields, in order, nested ones as `outer.inner`.
    pub fields: Vec<(String, Field)>,
    /// Its data as written.
    pub data: Vec<u8>,
}

impl Event {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, field)| field)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return write!(f, "event {} ({} bytes)", self.descriptor.id, self.data.len());
        }
        write!(f, "{}/{}", self.provider_name, self.name)?;
        self.fields.iter().try_for_each(|(name, field)| write!(f, " {name}={field}"))
    }
}

/// Providers and events of one lab.
pub struct Etw {
    providers: RefCell<BTreeMap<u64, [u8; GUID_LEN]>>,
    events: RefCell<Vec<Event>>,
    next: Cell<u64>,
    level: Cell<u8>,
    keywords: Cell<u64>,
}

impl Default for Etw {
    fn default() -> Self {
        Self {
            providers: RefCell::default(),
            events: RefCell::default(),
            next: Cell::new(1),
            level: Cell::new(u8::MAX),
            keywords: Cell::new(u64::MAX),
        }
    }
}

impl Etw {
    /// What the one session listens to: level and keywords.
    pub fn enabled(&self) -> (u8, u64) {
        (self.level.get(), self.keywords.get())
    }

    /// Sets what the session listens to. Providers registered before are not told.
    pub fn enable(&self, level: u8, keywords: u64) {
        self.level.set(level);
        self.keywords.set(keywords);
    }

    /// Whether the session wants an event: level 0 and keyword 0 always pass.
    pub fn listens(&self, level: u8, keyword: u64) -> bool {
        self.level.get() != 0
            && level <= self.level.get()
            && (keyword == 0 || keyword & self.keywords.get() != 0)
    }

    /// The events written so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// Takes the events written so far.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }
}

const PROVIDER: &str = "an ETW registration";

impl Lab {
    pub(crate) fn register_provider(&self, guid: [u8; GUID_LEN]) -> u64 {
        let handle = self.etw.next.get();
        self.etw.next.set(handle + 1);
        self.etw.providers.borrow_mut().insert(handle, guid);
        self.obligations.add(self, handle as usize, PROVIDER);
        handle
    }

    pub(crate) fn unregister_provider(&self, handle: u64) -> i32 {
        self.check_provider(handle);
        self.etw.providers.borrow_mut().remove(&handle);
        self.obligations.remove(handle as usize, PROVIDER);
        status::SUCCESS
    }

    /// Stops the run (rule `etw-handle`) for a handle that is no registration.
    pub(crate) fn check_provider(&self, handle: u64) -> [u8; GUID_LEN] {
        // No borrow may be held when the run stops: it would never end.
        let guid = self.etw.providers.borrow().get(&handle).copied();
        guid.unwrap_or_else(|| {
            self.violate(
                "etw-handle",
                "wdm/EtwRegister",
                format!("uses {handle:#x}, which is no ETW registration"),
            )
        })
    }

    /// Keeps an event. `blocks` are the data descriptors: their type and bytes.
    pub(crate) fn record_event(&self, handle: u64, descriptor: Descriptor, blocks: &[(u8, Vec<u8>)]) -> i32 {
        let provider = self.check_provider(handle);
        if !self.etw.listens(descriptor.level, descriptor.keyword) {
            return status::SUCCESS;
        }
        let plain = blocks.iter().filter(|(kind, _)| *kind == 0).flat_map(|(_, bytes)| bytes.iter().copied());
        let mut event = Event {
            time: self.scheduler.now(),
            provider,
            provider_name: String::new(),
            name: String::new(),
            descriptor,
            fields: Vec::new(),
            data: plain.collect(),
        };
        if descriptor.channel == TRACELOGGING {
            match tracelogging::decode(blocks, &event.data) {
                Ok(decoded) => {
                    (event.provider_name, event.name, event.fields) =
                        (decoded.provider, decoded.event, decoded.fields);
                }
                Err(what) => self.report("etw-malformed", "TraceLoggingProvider.h: event metadata", what),
            }
        }
        self.trace.event(&event.name, event.fields.len() as u64);
        self.etw.events.borrow_mut().push(event);
        status::SUCCESS
    }
}
