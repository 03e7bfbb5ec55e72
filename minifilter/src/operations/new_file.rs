//! The twin of a new file: the application's own create makes the empty placeholder, and the twin is opened after it.
//!
//! Rolling back takes the placeholder away through the application's own handle. A power cut may leave it, empty.

use kernel::Status;
use kernel::access::AccessEdit;
use kernel::callback::{Callback, Create as Parameters};
use kernel::file::{Open, Opened};
use kernel::pool::{PoolSlice, Tag};
use kernel::transaction::TransactionRef;
use wdk_sys::{FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY};
use widestring::U16Str;

use super::create::Candidate;
use super::decision::{self, FILE_CREATED, FILE_OPEN, MAXIMUM_ALLOWED, Rights};
use super::opening::{Part, accept_same, bind, came_through, file_of, is_case_sensitive, join_rival, undo};
use crate::Intact;
use crate::report::Why;
use crate::save::failure::{Failure, classify};
use crate::save::files::Pass;
use crate::save::live::stream_of;
use crate::save::redirect::{How, Redirect};
use crate::save::state::{Place, Stream, UNNAMED};

const TAG: Tag = Tag::new(b"InNe");

/// A create that makes a file.
pub struct New {
    edit: AccessEdit,
    part: Part,
    pass: Pass,
    name: PoolSlice<u16>,
    parameters: Parameters,
    rights: Rights,
    case_sensitive: bool,
    stream: Stream,
    /// The file was there, and gets a stream.
    adds_stream: bool,
    /// Without a transaction it is denied.
    denies: bool,
}

/// Lets the application's create make the placeholder: everything kept but its rights, and without the read-only
/// attribute, which would keep the twin out. PASSIVE_LEVEL. `None`: it passes through untouched.
pub fn prepare(
    data: &mut Callback<'_>,
    candidate: &Candidate<'_>,
    part: Option<Part>,
    pass: Pass,
) -> Option<New> {
    let part = match part {
        Some(part) => part,
        None => candidate.begin(data)?,
    };
    let parameters = candidate.parameters;
    let rights = decision::rights(parameters.access);
    let case_sensitive = is_case_sensitive(data);
    let stream = stream_of(candidate.name.stream());
    let adds_stream = stream != UNNAMED && may_have_stream(data, candidate, &rights)?;
    let prepared = PoolSlice::copy_of(TAG, candidate.name.full().as_slice())
        .and_then(|name| Ok((name, AccessEdit::begin(data, rights.shown, TAG)?)));
    let (name, edit) = match prepared {
        Ok(prepared) => prepared,
        Err(status) => {
            candidate.passes(Why::Resources, status);
            return None;
        }
    };
    let writable = u32::from(parameters.attributes) & !FILE_ATTRIBUTE_READONLY;
    data.set_create(&Parameters { attributes: writable as u16, ..parameters });
    let denies = candidate.must_not_pass();
    Some(New { edit, part, pass, name, parameters, rights, case_sensitive, stream, adds_stream, denies })
}

/// Whether the file that a new stream is to be part of is there already. `None`: it does not grant what is asked for. The
/// file system says so, where the application's own create, reduced, would not find out.
fn may_have_stream(data: &Callback<'_>, candidate: &Candidate<'_>, rights: &Rights) -> Option<bool> {
    let look = Open {
        access: rights.twin,
        checked: true,
        ignore_share: true,
        ..Open::look(file_of(candidate.name)?, is_case_sensitive(data))
    };
    match look.open(Intact::filter()?, data.instance()) {
        Ok(_) => Some(true),
        Err(Status::OBJECT_NAME_NOT_FOUND) => Some(false),
        Err(_) => None,
    }
}

impl New {
    /// After the application's create.
    pub fn complete(self, intact: &Intact, data: &mut Callback<'_>) {
        let (Some(file), Some(filter), true) = (data.file(), Intact::filter(), came_through(data)) else {
            return;
        };
        let instance = data.instance();
        let created = data.information() == FILE_CREATED;
        let process = data.process();
        let New { edit, part, pass, name, parameters, rights, case_sensitive, stream, adds_stream, denies } =
            self;
        let name = U16Str::from_slice(&name);
        let list = data.extra_parameters(filter);
        // Who makes a file has the access that was asked for, whatever the file inherits; what "the most that is allowed"
        // is, its security says. For a new stream of a file that was there, it has been asked already.
        let open = |access: u32, checked: bool, extra, transaction: Option<&TransactionRef>| {
            Open {
                name,
                case_sensitive,
                access,
                share: u32::from(parameters.share),
                disposition: FILE_OPEN,
                options: decision::twin_options(parameters.options),
                attributes: 0,
                allocation: 0,
                ea: &[],
                checked,
                ignore_share: false,
                transaction,
                extra,
            }
            .open(filter, instance)
            .and_then(|opened| accept_same(opened, file, instance))
        };
        let asks_for_most = created && rights.twin & MAXIMUM_ALLOWED != 0;
        let most = |transaction: Option<&TransactionRef>| {
            open(MAXIMUM_ALLOWED, true, None, transaction).ok().map(|most| most.granted)
        };
        // Outside the transaction, so that the file is not in it yet: what a transaction modifies nobody executes.
        let outside = if asks_for_most { most(None) } else { None };
        let open = |transaction: Option<&TransactionRef>| {
            if !asks_for_most {
                return open(rights.twin, !created, list, transaction);
            }
            let allowed = outside.or_else(|| most(transaction)).unwrap_or(0);
            open((rights.twin & !MAXIMUM_ALLOWED) | allowed, false, list, transaction)
        };
        let modifies = outside.is_none_or(|allowed| decision::may_modify_as_allowed(rights.twin, allowed));
        let in_save = |part: &Part| {
            let inside = part.save.inside()?;
            let opened = open(inside.as_ref())?;
            let place = Place { file: file.id(instance)?, stream };
            part.establish(intact, process, place.file, name)?;
            // In a save that goes on without a transaction it is no placeholder: nothing takes it back.
            if created && inside.is_some() {
                part.save.files.made(place, name, adds_stream)?;
            }
            Ok(opened)
        };
        let begun = part.save.clone();
        // The most that is allowed may be no right to modify data: then there is nothing to save.
        let needs_save = modifies || part.joined();
        let mut part = needs_save.then_some(part);
        let mut opened = part.as_ref().map_or_else(|| open(None), in_save);
        if let Err(Status::SHARING_VIOLATION | Status::TRANSACTIONAL_CONFLICT) = opened {
            // Another thread of the process may have found the placeholder first: it is in that thread's save then. The one
            // that this create has begun for it is over before anybody is waited for.
            part = None;
            if let Ok(id) = file.id(instance)
                && let Some(theirs) = join_rival(data, pass.files(), id, name)
            {
                opened = in_save(&theirs);
                part = Some(theirs);
            }
        }
        let (opened, part) = match (opened, part) {
            (Ok(opened), mut part) => {
                if created && let Some(part) = &mut part {
                    part.modified();
                }
                (Ok(opened), part)
            }
            (Err(status), part) if status == Status::SHARING_VIOLATION || part.is_none() && !needs_save => {
                (Err(status), part)
            }
            // The handles of the save that it joined are lost.
            (Err(status), Some(part))
                if part.joined() && classify(status.0 as u32) == Failure::TransactionGone =>
            {
                (Err(Status::UNEXPECTED_IO_ERROR), Some(part))
            }
            (Err(status), part) if denies => {
                let rule = begun.label.rule().as_slice();
                intact.report.denied(name, process, rule, Why::Plain, status);
                (Err(decision::denial(status)), part)
            }
            (Err(status), part) => {
                // It exists now, and its handle needs something to write to: a twin outside any transaction.
                let rule = begun.label.rule().as_slice();
                intact.report.passed_through(name, process, rule, Why::Plain, status);
                drop(part);
                (open(None), None)
            }
        };
        let bound = opened.and_then(|opened| {
            let Opened { file: lower, granted, .. } = opened;
            if created && !adds_stream && u32::from(parameters.attributes) & FILE_ATTRIBUTE_READONLY != 0 {
                let made = lower.object().attributes(instance)? & !FILE_ATTRIBUTE_NORMAL;
                lower.object().set_attributes(instance, made | FILE_ATTRIBUTE_READONLY)?;
            }
            let save = part.as_ref().map(|part| part.save.clone());
            let how = How {
                access: granted,
                share: u32::from(parameters.share),
                options: decision::twin_options(parameters.options),
                case_sensitive,
            };
            let place = Place { file: file.id(instance)?, stream };
            let redirect = Redirect::new(lower, how, save, Some(pass), place)?;
            bind(data, file, &redirect, part)?;
            Ok(granted & !rights.surplus)
        });
        match bound {
            Ok(granted) => edit.grant(granted),
            Err(status) => {
                if created {
                    // Cancelling does not undo what the create made (minifilter-rules §1.9).
                    let _ = file.delete(instance);
                }
                undo(data, file, status);
            }
        }
    }
}
