//! `IRP_MJ_CREATE`: who gets a twin.
//!
//! Before: the cheap questions first (what the create wants, who asks), then the name and the rule. A modification of
//! an existing file opens the twin right here, with the application's own rights, sharing and disposition, checked as
//! the application would be; the application's create then goes down for attributes only. A new file is made by the
//! application's own create, and its twin opened after it. After: both must be the same file; the handle gets the
//! rights that the twin was granted.
//!
//! Whatever fails on the way to the twin lets the application's create go down untouched, so that its answer is the
//! file system's; unless the rule says that what has no transaction is denied.

use core::cell::Cell;

use intact_policy::{OnUnavailable, Rule, Scope};
use kernel::callback::{Before, Callback, Create as Parameters, Either, Operation, Parcel};
use kernel::context::ContextRef;
use kernel::file::Open;
use kernel::fltkernel::IRP_MJ_CREATE;
use kernel::name::{FileName, NameForm};
use kernel::pool::Tag;
use kernel::process::{self, Process};
use kernel::{Result, Status};
use widestring::U16Str;

use super::decision::{
    self, CANNOT_EXECUTE_FILE_IN_TRANSACTION, FILE_CREATE, FILE_OPEN_BY_FILE_ID, Intent, Way,
};
use super::existing::{self, Existing};
use super::new_file::{self, New};
use super::opening::{self, Part, Verdict};
use super::reader::Reader;
use super::view::{self, Alias, View};
use super::way;
use crate::Intact;
use crate::report::{Why, counters};
use crate::save::below;
use crate::save::files::{Files, Pass};
use crate::save::live::{Label, Save};

/// Stack that opening a twin may take: another trip through all filters below us and the file system.
const STACK_NEEDED: usize = 10 * 1024;

/// Whether there is stack for opening a twin.
pub fn has_stack() -> bool {
    process::remaining_stack() >= STACK_NEEDED
}

pub(super) const TAG: Tag = Tag::new(b"InCr");

/// How often a save that is ending is waited for, or a rival create joined, before the open passes through.
const ATTEMPTS: usize = 16;

/// The operation.
pub struct Create;

/// What is carried from before a create to after it.
pub enum Carried {
    /// The twin of an existing file is open.
    Existing(Existing),
    /// The create makes the file; its twin comes after.
    New(New),
    /// It reads, in a process that has a save on the volume.
    Reader(Reader),
}

impl Operation for Create {
    const MAJOR: u8 = IRP_MJ_CREATE;
    /// Nothing: it goes down untouched, and may be told about somebody else's transaction.
    type Carry = Either<Parcel<Option<Carried>>, ()>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        if below::is_lower(data.instance()) {
            return Before::Pass;
        }
        if counters::any_redirected() {
            way::of_create(data);
        }
        let alias = match view::of(data) {
            View::Committed => None,
            View::Alias(alias) => Some(alias),
            View::Fails(status) => return Before::Complete(status, 0),
        };
        match prepare(data, alias.as_ref()) {
            Some(Prepared::Watch(carried)) => Before::Watch(Either::First(carried)),
            Some(Prepared::Fail(status)) => Before::Complete(status, 0),
            // Outside its save the name is another file's, or nobody's.
            None if alias.is_some_and(|alias| alias.save.is_live()) => {
                Before::Complete(Status::UNEXPECTED_IO_ERROR, 0)
            }
            None if may_meet_transaction(data) => Before::Watch(Either::Second(())),
            None => Before::Pass,
        }
    }

    fn after(data: &mut Callback<'_>, carried: Self::Carry) {
        if data.status().is_transactional() && !data.has_transaction() {
            data.set_status(without_transactions(data), 0);
        }
        let Either::First(carried) = carried else { return };
        let Some(intact) = Intact::get() else { return };
        match carried.unpack() {
            Some(Carried::Existing(existing)) => existing.complete(data),
            Some(Carried::New(new)) => new.complete(intact, data),
            Some(Carried::Reader(reader)) => reader.complete(intact, data),
            None => {}
        }
    }
}

/// What becomes of a create that is not left alone.
enum Prepared {
    /// It goes down, and its twin is bound to it afterwards.
    Watch(Parcel<Option<Carried>>),
    /// It fails: in the save that its file is in it cannot be done, or its rule denies what has no transaction.
    Fail(Status),
}

/// What is known about a create that may get a twin.
pub struct Candidate<'a> {
    /// The loaded driver.
    pub intact: &'a Intact,
    /// The volume's saves.
    pub files: &'a ContextRef<Files>,
    /// Its parameters.
    pub parameters: Parameters,
    /// Whose it is.
    pub process: Process<'a>,
    /// The file's normalized name.
    pub name: &'a FileName,
    /// The rule that matched; none: it may only join.
    pub rule: Option<Rule<'a>>,
    /// Why it has no transaction, if it must not pass through for that.
    denied: Cell<Option<(Why, Status)>>,
    /// Its name exists inside a save only.
    pub alias: Option<&'a Alias>,
}

impl Candidate<'_> {
    /// Tells that it has no transaction although the policy matched. It passes through, or is denied if the rule wants
    /// that.
    pub fn passes(&self, why: Why, status: Status) {
        let Some(rule) = self.rule else { return };
        if self.must_not_pass() {
            self.denied.set(Some((why, status)));
        } else {
            let report = &self.intact.report;
            report.passed_through(self.name.full(), self.process, rule.name, why, status);
        }
    }

    /// What it is answered, with an event, if it must not pass through. Where there is no file to open, that is the file
    /// system's to say.
    fn denial(&self, data: &Callback<'_>) -> Option<Status> {
        let ((why, status), rule) = (self.denied.get()?, self.rule?);
        if !decision::creates(self.parameters.disposition) && has_stack() {
            let look = Open::look(self.name.full(), opening::is_case_sensitive(data));
            let looked = look.open(Intact::filter()?, data.instance());
            if let Err(Status::OBJECT_NAME_NOT_FOUND | Status::OBJECT_PATH_NOT_FOUND) = looked {
                return None;
            }
        }
        self.intact.report.denied(self.name.full(), self.process, rule.name, why, status);
        Some(decision::denial(status))
    }

    /// Whether its rule lets nothing pass that has no transaction.
    pub fn must_not_pass(&self) -> bool {
        self.rule.is_some_and(|rule| rule.settings.on_unavailable == OnUnavailable::Deny)
    }

    /// A transaction for it. `None`, with an event, if there is none to be had.
    pub fn begin(&self, data: &Callback<'_>) -> Option<Part> {
        let rule = self.rule?;
        let begun = data.instance().reference().and_then(|instance| {
            let own = self.process.key();
            let whose = match rule.settings.include_children {
                true => self.intact.policy.families.root_of(own, rule.name),
                false => own,
            };
            let save = Save::begin(self.process, whose, rule.settings, self.label(rule.name)?)?;
            // Known before it has its file, so that other threads of the process find it and wait.
            let other = self.files.insert_or_find(&save)?;
            Ok((save, other, instance))
        });
        match begun {
            Ok((save, None, instance)) => {
                if self.intact.clock.below().want(self.files, instance.get()) {
                    self.intact.clock.wake();
                }
                Some(Part::new(save, self.files, instance, Way::Begins))
            }
            // Another thread of the process has begun the one that there may be.
            Ok((_, Some(other), _)) => opening::part_of(data, self, other, Way::Extends),
            Err(Status::INSUFFICIENT_RESOURCES) => {
                self.passes(Why::Resources, Status::INSUFFICIENT_RESOURCES);
                None
            }
            Err(status) => {
                self.passes(Why::NoTransaction, status);
                None
            }
        }
    }

    fn label(&self, rule: &[u16]) -> Result<Label> {
        match self.process.image_name() {
            Ok(image) => Label::new(self.name.full(), &image, rule),
            Err(_) => Label::new(self.name.full(), U16Str::from_slice(&[]), rule),
        }
    }
}

/// Whether a create that goes down untouched may be told about somebody else's transaction: that it modifies a file
/// which is to be executed, or that it has given a name which is to be made.
fn may_meet_transaction(data: &Callback<'_>) -> bool {
    /// `FILE_EXECUTE`, `GENERIC_EXECUTE`, `GENERIC_ALL`.
    const EXECUTES: u32 = 0x20 | 0x2000_0000 | 0x1000_0000;
    let meets = |parameters: Parameters| {
        parameters.access & EXECUTES != 0
            || counters::any_renamed() && decision::creates(parameters.disposition)
    };
    counters::any_redirected() && !data.is_from_kernel() && data.create().is_some_and(meets)
}

/// What a create is told instead of a transaction's status, which its program does not know.
fn without_transactions(data: &Callback<'_>) -> Status {
    let makes = data.create().is_some_and(|parameters| parameters.disposition == FILE_CREATE);
    match data.status() {
        CANNOT_EXECUTE_FILE_IN_TRANSACTION => Status::SHARING_VIOLATION,
        // A name that a save has given, and that nobody else sees yet (txf-ktm §4.3).
        Status::TRANSACTIONAL_CONFLICT if makes => Status::OBJECT_NAME_COLLISION,
        Status::TRANSACTIONAL_CONFLICT => Status::SHARING_VIOLATION,
        status => status,
    }
}

fn prepare(data: &mut Callback<'_>, alias: Option<&Alias>) -> Option<Prepared> {
    let parameters = data.create()?;
    let file = data.file()?;
    let intent = opening::intent(data, file, &parameters);
    if intent == Intent::Ignored {
        return None;
    }
    let intact = Intact::get()?;
    let begins = intent != Intent::Reads && intact.policy.begins(intent == Intent::ModifiesData);
    if !begins && !counters::any_redirected() {
        return None;
    }
    let process = data.process();
    let lost = |status| {
        if status == Status::INSUFFICIENT_RESOURCES
            && intent == Intent::ModifiesData
            && !intact.policy.is_off()
        {
            // What the policy would have said is not known.
            let nothing = U16Str::from_slice(&[]);
            intact.report.passed_through(nothing, process, &[], Why::Resources, status);
        }
    };
    let files = ContextRef::<Files>::of_instance(data.instance()).inspect_err(|&status| lost(status)).ok()?;
    let may_join = counters::any_redirected() && files.has(process.key());
    if intent == Intent::Reads {
        return if may_join { Reader::prepare(data, alias).map(Prepared::Watch) } else { None };
    }
    if !may_join && !begins {
        return None;
    }
    // Its transaction is its own business, and inside a file system nothing can be opened.
    if data.has_transaction() || file.is_transacted() || process::is_inside_file_system() {
        return None;
    }
    // By an id it would be looked for by its committed name, which may be another file's inside, or nobody's: what TxF
    // says of a file in a save is the answer.
    if parameters.options & FILE_OPEN_BY_FILE_ID != 0 && files.renamed_after(process.key(), 0).is_some() {
        return None;
    }
    // Held to the end: a policy that comes into force meanwhile is for the next create.
    let about = if begins { intact.policy.about(process) } else { Ok(None) };
    let about = about.inspect_err(|&status| lost(status)).ok()?;
    if !may_join && about.is_none() {
        return None;
    }
    let name = FileName::of(data, NameForm::Normalized).inspect_err(|&status| lost(status)).ok()?;
    let rule = about.as_ref().and_then(|about| about.match_path(name.full()));
    if !may_join && rule.is_none() {
        return None;
    }
    // A rule for audit only begins no save, but the process may have begun one of the file by an earlier policy.
    let audited = rule.filter(|rule| rule.settings.audit_only);
    // What modifies no data begins nothing, but is part of what a process saves.
    let begins_by = |rule: &Rule<'_>| intent == Intent::ModifiesData || rule.settings.scope == Scope::Process;
    let rule = rule.filter(|rule| !rule.settings.audit_only && begins_by(rule));
    let denied = Cell::new(None);
    let candidate =
        Candidate { intact, files: &files, parameters, process, name: &name, rule, denied, alias };
    let carried = consider(data, &candidate);
    if carried.is_none()
        && let Some(rule) = audited
    {
        let report = &intact.report;
        report.passed_through(name.full(), process, rule.name, Why::Audit, Status::SUCCESS);
    }
    carried.or_else(|| candidate.denial(data).map(Prepared::Fail))
}

fn consider(data: &mut Callback<'_>, candidate: &Candidate<'_>) -> Option<Prepared> {
    // The access check must be about who asked.
    if data.thread() != process::current_thread() {
        candidate.passes(Why::ForeignThread, Status::SUCCESS);
        return None;
    }
    if !has_stack() {
        candidate.passes(Why::Stack, Status::SUCCESS);
        return None;
    }
    open(data, candidate)
}

fn open(data: &mut Callback<'_>, candidate: &Candidate<'_>) -> Option<Prepared> {
    let pass = Pass::enter(candidate.files)?;
    // Before anything is changed, so that nothing can fail after it.
    let mut parcel = match Parcel::new(TAG, None) {
        Ok(parcel) => parcel,
        Err(status) => {
            candidate.passes(Why::Resources, status);
            return None;
        }
    };
    let mut rival = None;
    for attempt in 0..ATTEMPTS {
        let before = candidate.files.changes();
        let joined = opening::join(data, candidate);
        if joined.is_none() && candidate.rule.is_none() {
            break;
        }
        let verdict = match decision::of_existing(candidate.parameters.disposition) {
            Some(disposition) => existing::open(data, candidate, joined, disposition),
            None => Verdict::NoFile(joined),
        };
        match verdict {
            Verdict::Twin(twin) => {
                *parcel = Some(Carried::Existing(twin.reduce(candidate, data, pass)?));
                return Some(Prepared::Watch(parcel));
            }
            Verdict::NoFile(part)
                if decision::creates(candidate.parameters.disposition)
                    && decision::may_modify_data(candidate.parameters.access) =>
            {
                *parcel = Some(Carried::New(new_file::prepare(data, candidate, part, pass)?));
                return Some(Prepared::Watch(parcel));
            }
            Verdict::Fail(status) => return Some(Prepared::Fail(status)),
            // Somebody else opened it meanwhile: if it was a thread of the same process, there is a save to join.
            Verdict::Rival { status, began } => {
                rival = Some(status);
                match candidate.files.opening(candidate.process.key(), None) {
                    Some(save) => save.wait_until_opened(),
                    // Only the save that this attempt began has come and gone, and the process has no other that the
                    // file could have been found in: the rival is somebody else's.
                    None if candidate.files.changes() == before.wrapping_add(if began { 2 } else { 0 })
                        && (attempt > 0 || !candidate.files.has(candidate.process.key())) =>
                    {
                        break;
                    }
                    None => {}
                }
            }
            Verdict::NoFile(_) | Verdict::Pass => return None,
        }
    }
    if let Some(status) = rival.filter(|&status| status == Status::TRANSACTIONAL_CONFLICT) {
        candidate.passes(Why::Transaction, status);
    }
    None
}
