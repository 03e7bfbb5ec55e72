//! The twin of an existing file: opened before the application's create, which then goes down for attributes only.

use core::sync::atomic::Ordering;

use kernel::Status;
use kernel::access::AccessEdit;
use kernel::callback::{Callback, Create as Parameters};
use kernel::context::ContextRef;
use kernel::file::{LowerFile, Open, Opened};
use kernel::instance::Instance;
use kernel::pool::Tag;
use kernel::transaction::TransactionRef;
use wdk_sys::{FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT};

use super::admission::Newcomer;
use super::create::Candidate;
use super::decision::{
    self, CANNOT_EXECUTE_FILE_IN_TRANSACTION, FILE_CREATED, FILE_OPEN, FILE_OPENED, FILE_SUPERSEDE, Refused,
    Rights,
};
use super::opening::{Part, Verdict, bind, came_through, is_case_sensitive, same, undo};
use crate::Intact;
use crate::report::Why;
use crate::save::failure::{Failure, classify};
use crate::save::files::Pass;
use crate::save::live::{Save, stream_of};
use crate::save::redirect::{How, Redirect};
use crate::save::state::Place;

const TAG: Tag = Tag::new(b"InEx");

/// An open twin of an existing file. (Fields are dropped in order: the twin is closed before its transaction ends.)
pub struct Twin {
    file: LowerFile,
    part: Part,
    id: u64,
    granted: u32,
    information: usize,
    shown: u32,
    how: How,
}

/// Opens the twin of an existing file with the application's own rights, sharing and disposition. PASSIVE_LEVEL.
pub fn open(
    data: &Callback<'_>,
    candidate: &Candidate<'_>,
    joined: Option<Part>,
    disposition: u32,
) -> Verdict {
    let (Some(filter), instance) = (Intact::filter(), data.instance()) else { return Verdict::Pass };
    let part = match joined {
        Some(part) => part,
        None => match candidate.begin(data) {
            Some(part) => part,
            None => return Verdict::Pass,
        },
    };
    let parameters = &candidate.parameters;
    let rights = decision::rights(parameters.access);
    let inside = match part.save.inside() {
        Ok(inside) => inside,
        Err(status) => return decline(candidate, instance, part, status),
    };
    // What superseding makes inside a transaction is not the file that the application's own create makes.
    if disposition == FILE_SUPERSEDE {
        let look = Open {
            transaction: inside.as_ref(),
            ..Open::look(candidate.name.full(), is_case_sensitive(data))
        };
        if let Err(Status::OBJECT_NAME_NOT_FOUND) = look.open(filter, instance) {
            return Verdict::NoFile(Some(part));
        }
    }
    let opened = Open {
        name: candidate.name.full(),
        case_sensitive: is_case_sensitive(data),
        access: rights.twin,
        share: u32::from(parameters.share),
        disposition,
        options: decision::twin_options(parameters.options),
        attributes: u32::from(parameters.attributes),
        allocation: parameters.allocation,
        ea: data.create_ea(),
        checked: true,
        ignore_share: false,
        transaction: inside.as_ref(),
        extra: data.extra_parameters(filter),
    }
    .open(filter, instance);
    match opened {
        Ok(opened) => accept(candidate, instance, part, opened, &rights, is_case_sensitive(data)),
        // TxF asks this before share modes are asked: whom they keep out ends no save.
        Err(CANNOT_EXECUTE_FILE_IN_TRANSACTION)
            if part.joined() && !is_let_in(data, candidate, &part.save, inside.as_ref()) =>
        {
            Verdict::Fail(Status::SHARING_VIOLATION)
        }
        Err(status) => decline(candidate, instance, part, status),
    }
}

/// Whether a save that its process has joined would share the file with it. PASSIVE_LEVEL.
fn is_let_in(
    data: &Callback<'_>,
    candidate: &Candidate<'_>,
    save: &Save,
    inside: Option<&TransactionRef>,
) -> bool {
    let (Some(newcomer), Some(filter)) = (Newcomer::of(data, &candidate.parameters, true), Intact::filter())
    else {
        return false;
    };
    let instance = data.instance();
    let look = Open { transaction: inside, ..Open::look(candidate.name.full(), is_case_sensitive(data)) };
    let id = look.open(filter, instance).and_then(|looked| looked.file.object().id(instance));
    let stream = stream_of(candidate.name.stream());
    id.is_ok_and(|file| newcomer.is_let_in(save, Place { file, stream }))
}

/// The twin could not be opened.
fn decline(candidate: &Candidate<'_>, instance: Instance<'_>, part: Part, status: Status) -> Verdict {
    let creates = decision::creates(candidate.parameters.disposition);
    match decision::refused(status, part.way(), creates) {
        Refused::NoFile => Verdict::NoFile(Some(part)),
        Refused::Rival => Verdict::Rival { status, began: part.began() },
        Refused::OthersLost => {
            part.save.lose(status);
            Verdict::Rival { status, began: false }
        }
        Refused::Lost => {
            part.save.lose(status);
            Verdict::Fail(Status::UNEXPECTED_IO_ERROR)
        }
        Refused::LetIn => {
            let save = part.save.clone();
            drop(part);
            save.let_in(candidate.intact, instance);
            if save.is_transacted() {
                Verdict::Fail(Status::SHARING_VIOLATION)
            } else {
                Verdict::Rival { status, began: false }
            }
        }
        Refused::Fails => Verdict::Fail(status),
        Refused::NoTransaction => {
            candidate.passes(Why::Transaction, status);
            Verdict::Pass
        }
        Refused::NoMemory => {
            candidate.passes(Why::Resources, status);
            Verdict::Pass
        }
        Refused::Alike => Verdict::Pass,
    }
}

fn accept(
    candidate: &Candidate<'_>,
    instance: Instance<'_>,
    mut part: Part,
    opened: Opened,
    rights: &Rights,
    case_sensitive: bool,
) -> Verdict {
    let Opened { file, status, information, granted } = opened;
    // Beside the handles of a save nobody has an oplock that has to be waited for, and what this open has done to the save's
    // version is not taken back.
    if status == Status::OPLOCK_BREAK_IN_PROGRESS && !part.joined() {
        candidate.passes(Why::Oplock, status);
        return Verdict::Pass;
    }
    match information {
        FILE_OPENED => {}
        // Superseding made it all the same: somebody has just deleted it.
        FILE_CREATED => {
            part.modified = !part.began();
            return Verdict::NoFile(None);
        }
        _ => part.modified(),
    }
    // MAXIMUM_ALLOWED may turn out to be no right to modify, and a save of its own would only be in the way then.
    let takes_part = decision::can_modify_data(granted)
        || part.save.is_of_process() && decision::locks_in_transaction(granted);
    if !part.joined() && !part.modified && !takes_part {
        return Verdict::Pass;
    }
    let untouched = FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY;
    let known = file
        .object()
        .attributes(instance)
        .and_then(|attributes| Ok((attributes, file.object().id(instance)?)));
    let id = match known {
        Ok((attributes, _)) if attributes & untouched != 0 => {
            return Verdict::Pass;
        }
        Ok((_, id)) => id,
        Err(status) => {
            if part.joined() && classify(status.0 as u32) == Failure::TransactionGone {
                drop(file);
                return decline(candidate, instance, part, status);
            }
            candidate.passes(Why::Resources, status);
            return Verdict::Pass;
        }
    };
    if let Err(status) = part.establish(candidate.intact, candidate.process, id, candidate.name.full()) {
        candidate.passes(Why::Resources, status);
        return Verdict::Pass;
    }
    let how = How {
        access: granted,
        share: u32::from(candidate.parameters.share),
        options: decision::twin_options(candidate.parameters.options),
        case_sensitive,
    };
    let granted = granted & !rights.surplus;
    Verdict::Twin(Twin { file, part, id, granted, information, shown: rights.shown, how })
}

/// A create of an existing file that went down for attributes only. Everything that its handle needs is there already:
/// after the create little can fail. (Fields are dropped in order: the twin is closed before its transaction ends.)
pub struct Existing {
    edit: AccessEdit,
    redirect: ContextRef<Redirect>,
    part: Part,
    place: Place,
    granted: u32,
    information: usize,
}

impl Twin {
    /// Reduces the application's create to a harmless open. `None`: out of memory; nothing was changed.
    pub fn reduce(self, candidate: &Candidate<'_>, data: &mut Callback<'_>, pass: Pass) -> Option<Existing> {
        let Twin { file, part, id, granted, information, shown, how } = self;
        let place = Place { file: id, stream: stream_of(candidate.name.stream()) };
        let part_number = part.save.number;
        let prepared = Redirect::new(file, how, Some(part.save.clone()), Some(pass), place)
            .and_then(|redirect| Ok((redirect, AccessEdit::begin(data, shown, TAG)?)));
        let (redirect, edit) = match prepared {
            Ok((redirect, edit)) => {
                redirect.emptied.store(information != FILE_OPENED, Ordering::Release);
                (redirect, edit)
            }
            Err(status) => {
                candidate.passes(Why::Resources, status);
                return None;
            }
        };
        if let Some(alias) = candidate.alias.filter(|alias| alias.save.number == part_number)
            && let Err(status) = data.replace_name(alias.committed())
        {
            edit.take_back(data);
            candidate.passes(Why::Resources, status);
            return None;
        }
        data.set_create(&Parameters {
            disposition: FILE_OPEN,
            attributes: 0,
            allocation: 0,
            ..candidate.parameters
        });
        Some(Existing { edit, redirect, part, place, granted, information })
    }
}

impl Existing {
    /// After the application's create. What is dropped on the way restores the create and ends the twin and its part.
    pub fn complete(self, data: &mut Callback<'_>) {
        let (Some(file), true) = (data.file(), came_through(data)) else { return };
        let instance = data.instance();
        let Existing { edit, redirect, part, place, granted, information } = self;
        let bound = same(data, file, instance, place)
            .inspect_err(|_| redirect.close_twin(None))
            .and_then(|()| bind(data, file, &redirect, Some(part)));
        match bound {
            Ok(()) => {
                edit.grant(granted);
                data.set_status(data.status(), information);
            }
            Err(status) => {
                undo(data, file, status);
            }
        }
    }
}
