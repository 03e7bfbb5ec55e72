//! Which saves are made atomic.
//!
//! A policy is a set of named rules in the registry. A rule says which files ([`Value::Paths`] without
//! [`Value::ExcludePaths`]) saved by which programs ([`Value::Processes`] without
//! [`Value::ExcludeProcesses`]) are saved atomically, and how ([`Settings`]). The rule that is asked first and
//! matches wins.
//!
//! The crate does no I/O and allocates nothing, so that a driver can use it as it is:
//!
//! 1. [`Gather`] takes registry keys and values as they are read and keeps them in one block of the caller's.
//! 2. [`check`] reports everything that is wrong with them, in words for the administrator who wrote them, and
//!    says how large the compiled policy is.
//! 3. [`compile`] writes the policy into one block of that size, which [`Policy`] owns and never changes.
//! 4. [`Policy::match_process`] is asked once per process and its answer remembered;
//!    [`Policy::match_path`] is asked per file.
//!
//! ```
//! use intact_policy::{Gather, HostUpcase, Key, Value, check, compile, kind};
//!
//! let utf16 = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
//! let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
//!
//! let mut raw = vec![0u16; 4096];
//! let mut gather = Gather::new(&mut raw);
//! gather.key(Key::Policies);
//! gather.rule(&utf16("Reports"));
//! gather.value(&utf16(Value::Paths.name()), kind::MULTI_SZ, &bytes("C:\\Data\\**\0D:\\Reports\\*.xls?\0\0"));
//! let raw = gather.finish().expect("the block is large enough");
//!
//! let mut volumes = |link: &[u16], device: &mut [u16]| {
//!     if link != utf16(r"\??\C:") { return None; } // no D: on this machine: its pattern is inactive
//!     let name = utf16(r"\Device\HarddiskVolume1");
//!     device.get_mut(..name.len())?.copy_from_slice(&name);
//!     Some(name.len())
//! };
//! let size = check(&raw, &HostUpcase, &mut volumes, &mut |problem| eprintln!("{problem}")).expect("valid");
//! let policy = compile(&raw, &HostUpcase, &mut volumes, vec![0u16; size]).expect("valid");
//!
//! let processes = policy.match_process(&utf16(r"\Device\HarddiskVolume1\Windows\notepad.exe"), &HostUpcase);
//! let rule = policy.match_path(&utf16(r"\device\harddiskvolume1\DATA\a.txt"), &processes, &HostUpcase);
//! assert_eq!(policy.rule(rule.expect("C:\\Data matches")).expect("of this policy").name, utf16("Reports"));
//! ```
//!
//! # Patterns
//!
//! | in a pattern | means |
//! |---|---|
//! | `C:\…`, `\??\C:\…`, `\\?\C:\…` | the volume that has this drive letter when the policy is compiled |
//! | `\??\Volume{guid}\…`, `\\?\Volume{guid}\…` | the volume with this GUID |
//! | `\Device\Name\…` | an NT device by its own name |
//! | `**\…` | any volume |
//! | `*` | any number of characters, within one component |
//! | `?` | exactly one UTF-16 unit, not `\` |
//! | `**` as a whole component | any number of components, none included; at the end: everything below, at any depth |
//! | `name:stream` in the last component | only this stream; a pattern without it covers the file and all of its streams |
//! | any other character | itself, without regard to case |
//!
//! Nothing needs to be escaped: `*`, `?`, `<`, `>`, `"`, `|`, `/` and control characters cannot occur in a Windows
//! file name, and `[`, `]`, `{`, `}`, `!`, `%` and the rest are ordinary characters. Names are compared unit by unit after
//! upcasing, so unpaired surrogates are compared as they are. Patterns are compared with normalized names: 8.3
//! names never need to be written, and match nothing if they are. Trailing dots and spaces are part of a name; Win32
//! programs cannot make such names, so a pattern that has them draws a warning. UNC paths are refused: Intact does
//! not attach to network volumes.
//!
//! A process pattern without a backslash is compared with the last component of the image path
//! (`winword.exe`), any other with the whole of it.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::unreachable
    )
)]

#[cfg(feature = "std")]
extern crate std;

mod block;
mod compile;
mod gather;
mod glob;
mod index;
mod pattern;
mod policy;
mod problem;
#[cfg(feature = "std")]
pub mod reg;
mod schema;
mod text;
#[cfg(feature = "tools")]
pub mod tools;
mod walk;

pub use compile::{CompileError, Invalid, Volumes, check, compile};
pub use gather::{Full, Gather, Key, Raw};
pub use policy::{Policy, Rule, RuleId, RuleSet};
pub use problem::{Problem, Reason};
pub use schema::{
    Kind, OnExit, OnFlush, OnUnavailable, SCHEMA_VERSION, Scope, Settings, Value, ValueSchema, kind,
};
pub use text::{HostUpcase, Upcase};

/// Largest number of rules in a policy. It bounds what is remembered per process ([`RuleSet`], 128 bytes); the
/// number of patterns in a rule is bounded only by memory.
pub const MAX_RULES: usize = 1024;

/// Longest pattern, and longest NT path, in UTF-16 units.
pub const MAX_PATH_UNITS: usize = 32_767;

/// Most memory that a policy may take while it is compiled, in UTF-16 units (64 MiB); what is kept is mostly less than
/// half of it ([`Policy::copy_to`]). A caller should refuse to gather more than this, too.
pub const MAX_UNITS: usize = 32 << 20;
