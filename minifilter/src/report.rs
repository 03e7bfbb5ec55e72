//! What the driver tells: events for tracing, and counters that add up.
//!
//! Provider `Intact` (TraceLogging: events describe themselves). Every save that begins is followed by exactly one of
//! `SaveCommitted`, `SaveRolledBack` and `CommitFailed`.

pub mod counters;

use arrayvec::ArrayVec;
use intact_policy::Problem;
use kernel::Status;
use kernel::etw::{Datum, Level, Provider};
use kernel::instance::Volume;
use kernel::pool::{PoolSlice, Tag};
use kernel::process::Process;
use kernel::{event, provider};
use widestring::U16Str;

use crate::attach::Refusal;
use crate::save::live::Save;
use crate::save::outcome::Reason;
use crate::settings::reading::Failure;

/// The identity that the name `Intact` has by the TraceLogging convention, so that tools take `*Intact`.
const PROVIDER_ID: (u32, u16, u16, [u8; 8]) =
    (0xAC78_217E, 0xFA09, 0x53AE, [0x6E, 0x95, 0x26, 0xA4, 0x96, 0x18, 0x9E, 0x12]);

/// Why an open passed through although the policy matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A transaction could not be had: the status says why.
    Transaction,
    /// The transaction could not be begun.
    NoTransaction,
    /// An oplock would have to be broken first.
    Oplock,
    /// The create runs in another thread than it was asked for in.
    ForeignThread,
    /// Too little kernel stack.
    Stack,
    /// Out of memory.
    Resources,
    /// A new file got its twin outside a transaction.
    Plain,
    /// The rule says that nothing is to be changed.
    Audit,
}

impl Why {
    /// For events and people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Transaction => "the file cannot be opened in a transaction",
            Self::NoTransaction => "no transaction could be begun",
            Self::Oplock => "an oplock is being broken",
            Self::ForeignThread => "the create runs in a foreign thread",
            Self::Stack => "too little kernel stack",
            Self::Resources => "out of resources",
            Self::Audit => "the rule is for audit only",
            Self::Plain => "a new file could not be opened in a transaction",
        }
    }
}

/// Why a save was committed and its handles went on without a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demotion {
    /// After a flush no new transaction could be had: the status says why.
    NoTransaction,
    /// It has written more than its rule allows.
    TooLarge,
    /// It has taken longer than its rule allows.
    TooLong,
    /// Nothing has been modified for longer than its rule allows.
    Idle,
    /// Somebody else opened a file of it whom its handles let in.
    LetIn,
    /// Its program asked for what a transaction does not do.
    Unsupported,
    /// It had rested, and when something was modified no transaction could be had: the status says why.
    NotResumed,
}

impl Demotion {
    /// For events and people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoTransaction => "after a flush no new transaction could be had",
            Self::TooLarge => "it has written more than its rule allows",
            Self::TooLong => "it has taken longer than its rule allows",
            Self::Idle => "nothing was modified for longer than its rule allows",
            Self::LetIn => "somebody else opened the file whom its share modes let in",
            Self::Unsupported => "its program asked for something that is not possible in a transaction",
            Self::NotResumed => "when it was modified again no transaction could be had",
        }
    }
}

/// The provider, if it could be registered. Events that cannot be written are lost; nothing depends on them.
pub struct Report(Option<Provider>);

/// A counted text in an event: its length in bytes, then itself.
struct Counted<'a> {
    bytes: u16,
    text: Datum<'a>,
}

impl<'a> Counted<'a> {
    fn units(text: &'a U16Str) -> Self {
        let length = text.len().min(usize::from(u16::MAX >> 1));
        let text = U16Str::from_slice(text.as_slice().get(..length).unwrap_or(&[]));
        Counted { bytes: (length as u16) << 1, text: Datum::text(text) }
    }

    fn ascii(text: &'static str) -> Self {
        Counted { bytes: text.len() as u16, text: Datum::bytes(text.as_bytes()) }
    }
}

impl Report {
    /// Registers the provider. PASSIVE_LEVEL.
    pub fn register() -> Self {
        Report(Provider::register(PROVIDER_ID, provider!("Intact")).ok())
    }

    fn write(&self, level: Level, event: &'static [u8], data: &mut [Datum<'_>]) {
        if let Some(provider) = &self.0 {
            provider.write(level, event, data);
        }
    }

    /// A save has begun.
    pub fn begun(&self, save: &Save) {
        let event = event!("SaveBegun", "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text);
        self.about(Level::Information, event, save, &[]);
    }

    /// Another handle takes part in a save, or reads in it.
    pub fn joined(&self, save: &Save, process_id: u32, file: &U16Str, writes: bool) {
        let role = Counted::ascii(if writes { "writer" } else { "reader" });
        let event = event!("SaveJoined", "Save": U64, "File": Text, "ProcessId": ProcessId, "Role": Utf8);
        let role = [Datum::u16(&role.bytes), role.text];
        self.with_file(Level::Information, event, save, file, process_id, [&role, &[]]);
    }

    /// A save was committed.
    pub fn committed(&self, save: &Save) {
        self.published(
            event!(
                "SaveCommitted",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64,
            ),
            save,
        );
    }

    /// A save was rolled back. `status` is its first failure.
    pub fn rolled_back(&self, save: &Save, reason: Reason, status: Status) {
        // That a handle was opened to write and did not is nothing to worry about.
        let level = if reason == Reason::Unmodified { Level::Information } else { Level::Warning };
        self.not_committed(
            level,
            event!(
                "SaveRolledBack",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64, "Reason": Utf8, "Status": Status,
            ),
            save,
            reason.text(),
            status,
        );
    }

    /// A save that was to be committed could not, and was rolled back.
    pub fn commit_failed(&self, save: &Save, status: Status) {
        self.not_committed(
            Level::Error,
            event!(
                "CommitFailed",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64, "Reason": Utf8, "Status": Status,
            ),
            save,
            "the commit failed; the previous version stays",
            status,
        );
    }

    /// A flush made durable what was there; the save goes on.
    pub fn checkpointed(&self, save: &Save) {
        self.published(
            event!(
                "SaveCheckpointed",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64,
            ),
            save,
        );
    }

    /// A save has made its file empty and waits for what is to be in it.
    pub fn settles(&self, save: &Save) {
        self.published(
            event!(
                "SaveWaits",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64,
            ),
            save,
        );
    }

    /// A save was committed, and its handles go on without a transaction.
    pub fn demoted(&self, save: &Save, why: Demotion, status: Status) {
        self.not_committed(
            Level::Warning,
            event!(
                "SaveDemoted",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64, "Reason": Utf8, "Status": Status,
            ),
            save,
            why.text(),
            status,
        );
    }

    /// A handle could not be given its file again: nothing works on it any more.
    pub fn twin_lost(&self, save: &Save, status: Status) {
        self.not_committed(
            Level::Error,
            event!(
                "HandleLost",
                "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
                "Milliseconds": U64, "Reason": Utf8, "Status": Status,
            ),
            save,
            "the file could not be opened again",
            status,
        );
    }

    /// The placeholder of a new file could not be taken away: an empty file stays.
    pub fn placeholder_left(&self, save: &Save, file: &U16Str, status: Status) {
        let event = event!(
            "PlaceholderLeft",
            "Save": U64, "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Bytes": U64,
            "Milliseconds": U64, "Reason": Utf8, "Status": Status,
        );
        let reason = "an empty new file could not be deleted";
        self.not_committed_file(Level::Error, event, save, file, reason, status);
    }

    fn published(&self, event: &'static [u8], save: &Save) {
        self.about(
            Level::Information,
            event,
            save,
            &[Datum::u64(&save.bytes()), Datum::u64(&save.milliseconds())],
        );
    }

    fn not_committed(
        &self,
        level: Level,
        event: &'static [u8],
        save: &Save,
        reason: &'static str,
        status: Status,
    ) {
        self.not_committed_file(level, event, save, save.label.file(), reason, status);
    }

    fn not_committed_file(
        &self,
        level: Level,
        event: &'static [u8],
        save: &Save,
        file: &U16Str,
        reason: &'static str,
        status: Status,
    ) {
        let (bytes, time, reason) = (save.bytes(), save.milliseconds(), Counted::ascii(reason));
        let more = [
            Datum::u64(&bytes),
            Datum::u64(&time),
            Datum::u16(&reason.bytes),
            reason.text,
            Datum::status(&status),
        ];
        self.about_file(level, event, save, file, &more);
    }

    /// An event about a save: which, with which file it began, process and rule, and `more`.
    fn about(&self, level: Level, event: &'static [u8], save: &Save, more: &[Datum<'_>]) {
        self.about_file(level, event, save, save.label.file(), more);
    }

    /// As [`Self::about`], with one of its files.
    fn about_file(&self, level: Level, event: &'static [u8], save: &Save, file: &U16Str, more: &[Datum<'_>]) {
        let (image, rule) = (Counted::units(save.label.image()), Counted::units(save.label.rule()));
        let names = [Datum::u16(&image.bytes), image.text, Datum::u16(&rule.bytes), rule.text];
        self.with_file(level, event, save, file, save.process_id, [&names, more]);
    }

    /// An event about a save, one of its files and a process, with `more` behind.
    fn with_file(
        &self,
        level: Level,
        event: &'static [u8],
        save: &Save,
        file: &U16Str,
        process_id: u32,
        more: [&[Datum<'_>]; 2],
    ) {
        let file = Counted::units(file);
        let mut data = ArrayVec::<Datum<'_>, 15>::new();
        let head = [
            Datum::default(),
            Datum::default(),
            Datum::u64(&save.number),
            Datum::u16(&file.bytes),
            file.text,
            Datum::u32(&process_id),
        ];
        let [first, second] = more;
        // There is room for the longest: `not_committed`.
        if [&head, first, second].iter().all(|part| data.try_extend_from_slice(part).is_ok()) {
            self.write(level, event, &mut data);
        }
    }

    /// An open that the policy matched goes on without a transaction. PASSIVE_LEVEL.
    pub fn passed_through(
        &self,
        file: &U16Str,
        process: Process<'_>,
        rule: &[u16],
        why: Why,
        status: Status,
    ) {
        counters::passed_through();
        let event = event!(
            "PassedThrough",
            "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Reason": Utf8, "Status": Status,
        );
        self.without_transaction(event, file, process, rule, why, status);
    }

    /// An open that the policy matched is denied, because no transaction can be had. PASSIVE_LEVEL.
    pub fn denied(&self, file: &U16Str, process: Process<'_>, rule: &[u16], why: Why, status: Status) {
        counters::denied();
        let event = event!(
            "Denied",
            "File": Text, "ProcessId": ProcessId, "Image": Text, "Rule": Text, "Reason": Utf8, "Status": Status,
        );
        self.without_transaction(event, file, process, rule, why, status);
    }

    fn without_transaction(
        &self,
        event: &'static [u8],
        file: &U16Str,
        process: Process<'_>,
        rule: &[u16],
        why: Why,
        status: Status,
    ) {
        let file = Counted::units(file);
        let process_id = process.id();
        let name = process.image_name();
        let image = Counted::units(name.as_deref().unwrap_or(U16Str::from_slice(&[])));
        let rule = Counted::units(U16Str::from_slice(rule));
        let why = Counted::ascii(why.text());
        self.write(
            Level::Warning,
            event,
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u16(&file.bytes),
                file.text,
                Datum::u32(&process_id),
                Datum::u16(&image.bytes),
                image.text,
                Datum::u16(&rule.bytes),
                rule.text,
                Datum::u16(&why.bytes),
                why.text,
                Datum::status(&status),
            ],
        );
    }

    /// A volume is not attached to.
    pub fn instance_refused(&self, volume: Volume<'_>, refusal: Refusal) {
        let mut name = [0; 128];
        let length = volume.name(&mut name).unwrap_or(0);
        let name = Counted::units(U16Str::from_slice(name.get(..length).unwrap_or(&[])));
        let reason = Counted::ascii(refusal.text());
        self.write(
            Level::Information,
            event!("InstanceRefused", "Volume": Text, "Reason": Utf8),
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u16(&name.bytes),
                name.text,
                Datum::u16(&reason.bytes),
                reason.text,
            ],
        );
    }

    /// Something is wrong with the policy.
    pub fn policy_problem(&self, problem: &Problem<'_>) {
        let Ok(mut text) = PoolSlice::<u16>::zeroed(Tag::new(b"InPo"), 1024) else { return };
        let mut length = 0_usize;
        problem.message(&mut |unit| {
            if let Some(place) = text.get_mut(length) {
                *place = unit;
                length = length.saturating_add(1);
            }
        });
        let message = Counted::units(U16Str::from_slice(text.get(..length).unwrap_or(&[])));
        let key = Counted::ascii(problem.key.path());
        let value = Counted::units(U16Str::from_slice(problem.value));
        let level = if problem.is_error() { Level::Error } else { Level::Warning };
        self.write(
            level,
            event!("PolicyProblem", "Key": Utf8, "Value": Text, "Message": Text),
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u16(&key.bytes),
                key.text,
                Datum::u16(&value.bytes),
                value.text,
                Datum::u16(&message.bytes),
                message.text,
            ],
        );
    }

    /// A rule asks for something that this version does not do.
    pub fn policy_value_ignored(&self, rule: &[u16], value: &'static str) {
        let rule = Counted::units(U16Str::from_slice(rule));
        let value = Counted::ascii(value);
        self.write(
            Level::Warning,
            event!("PolicyValueIgnored", "Rule": Text, "Value": Utf8),
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u16(&rule.bytes),
                rule.text,
                Datum::u16(&value.bytes),
                value.text,
            ],
        );
    }

    /// A policy was not taken; if one was in force it stays (`kept`).
    pub fn policy_not_loaded(&self, failure: &Failure, kept: bool) {
        let (reason, errors, status) = match failure {
            Failure::Errors(errors) => ("it has errors", *errors, Status::INVALID_PARAMETER),
            Failure::TooLarge => ("it is too large", 0, Status::BUFFER_OVERFLOW),
            Failure::Failed(status) => ("it could not be read", 0, *status),
        };
        let reason = Counted::ascii(reason);
        let stays = Counted::ascii(if kept { "the previous policy" } else { "no policy" });
        self.write(
            Level::Error,
            event!("PolicyNotLoaded", "Reason": Utf8, "Errors": U32, "Status": Status, "InForce": Utf8),
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u16(&reason.bytes),
                reason.text,
                Datum::u32(&errors),
                Datum::status(&status),
                Datum::u16(&stays.bytes),
                stays.text,
            ],
        );
    }

    /// Changes of the policy are not told of for now; it is looked at now and then instead.
    pub fn policy_not_watched(&self, status: Status) {
        self.write(
            Level::Warning,
            event!("PolicyNotWatched", "Status": Status),
            &mut [Datum::default(), Datum::default(), Datum::status(&status)],
        );
    }

    /// Nobody is told which processes start: children are outsiders, whatever rules say. Tried again with the next policy.
    pub fn children_not_followed(&self, status: Status) {
        self.write(
            Level::Warning,
            event!("ChildrenNotFollowed", "Status": Status),
            &mut [Datum::default(), Datum::default(), Datum::status(&status)],
        );
    }

    /// A process that counts as the one that has started it, by a rule, does not: there is no place for it, or no memory.
    /// PASSIVE_LEVEL.
    pub fn child_left_out(&self, process: Process<'_>, creator: u32, status: Status) {
        let (process_id, name) = (process.id(), process.image_name());
        let image = Counted::units(name.as_deref().unwrap_or(U16Str::from_slice(&[])));
        self.write(
            Level::Warning,
            event!(
                "ChildLeftOut",
                "ProcessId": ProcessId, "Image": Text, "CreatorId": ProcessId, "Status": Status,
            ),
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u32(&process_id),
                Datum::u16(&image.bytes),
                image.text,
                Datum::u32(&creator),
                Datum::status(&status),
            ],
        );
    }

    /// Nobody sees whether the pages of a volume's saves are written.
    pub fn no_lower_instance(&self, status: Status) {
        self.write(
            Level::Warning,
            event!("NoLowerInstance", "Status": Status),
            &mut [Datum::default(), Datum::default(), Datum::status(&status)],
        );
    }

    /// A policy is in force.
    pub fn policy_loaded(&self, rules: u32, enabled: bool) {
        self.write(
            Level::Information,
            event!("PolicyLoaded", "Rules": U32, "Enabled": U32),
            &mut [Datum::default(), Datum::default(), Datum::u32(&rules), Datum::u32(&u32::from(enabled))],
        );
    }

    /// The sums, at unload.
    pub fn totals(&self) {
        let totals = counters::totals();
        self.write(
            Level::Information,
            event!(
                "Totals",
                "Begun": U64, "Committed": U64, "RolledBack": U64, "CommitFailed": U64, "Live": U64,
                "PassedThrough": U64, "Checkpointed": U64, "Demoted": U64, "Denied": U64,
            ),
            &mut [
                Datum::default(),
                Datum::default(),
                Datum::u64(&totals.begun),
                Datum::u64(&totals.committed),
                Datum::u64(&totals.rolled_back),
                Datum::u64(&totals.commit_failed),
                Datum::u64(&totals.live()),
                Datum::u64(&totals.passed_through),
                Datum::u64(&totals.checkpointed),
                Datum::u64(&totals.demoted),
                Datum::u64(&totals.denied),
            ],
        );
    }

    /// The driver goes, and everything of it is gone: what still counts as there was miscounted, which is a defect of the
    /// driver.
    pub fn left(&self) {
        let left = counters::left();
        if left != counters::Left::default() {
            self.write(
                Level::Error,
                event!("Miscounted", "Redirected": U32, "Renamed": U32, "Waiting": U32, "InTheWay": U32),
                &mut [
                    Datum::default(),
                    Datum::default(),
                    Datum::u32(&left.redirected),
                    Datum::u32(&left.renamed),
                    Datum::u32(&left.settling),
                    Datum::u32(&left.in_the_way),
                ],
            );
        }
    }
}
