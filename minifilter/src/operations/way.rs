//! Saves in the way of others: whose twins are being exchanged, and those that wait for more.
//!
//! Who comes across an exchange waits for its end. A save that waits for more has no handle that could keep anybody out,
//! so who needs its file gets it: the save ends first.

use kernel::Status;
use kernel::callback::Callback;
use kernel::context::ContextRef;
use kernel::file::Open;
use kernel::instance::Instance;
use kernel::name::{FileName, NameForm};
use kernel::process;
use kernel::string::upcase;
use widestring::U16Str;

use super::admission::Newcomer;
use super::create::has_stack;
use super::decision::{self, FILE_CREATE, Intent, Request};
use super::names;
use super::opening::{is_case_sensitive, request};
use crate::Intact;
use crate::report::counters;
use crate::save::files::Files;
use crate::save::live::{Save, stream_of};
use crate::save::state::Place;

/// Before a create: waits while the twins of its file are exchanged, because an open in between could keep them from coming
/// back (bounded); and ends a save of its file that waits for more, if the create takes the file from it, would find nothing
/// but a placeholder, or if the process of the save has ended. So does one that makes a file by a name that the save has
/// given. A save that others write into lets those in whom its handles' share modes let in. Where the file cannot be told,
/// nothing is done. PASSIVE_LEVEL.
#[cold]
pub fn of_create(data: &Callback<'_>) {
    let (Some(parameters), Some(file), Some(filter)) = (data.create(), data.file(), Intact::filter()) else {
        return;
    };
    let request = request(data, file, &parameters);
    let from_anybody = Request { from_kernel: false, ..request };
    if !decision::may_open_a_file(&from_anybody) || process::is_inside_file_system() || !has_stack() {
        return;
    }
    let waits = decision::may_open_a_file(&request);
    let takes = decision::takes(&from_anybody);
    // Who only looks is in the way of saves that wait or change, and of no other.
    if !takes && !counters::any_in_the_way() {
        return;
    }
    let joins = matches!(decision::intent(&request), Intent::ModifiesData | Intent::ModifiesOther);
    let process = data.process().key();
    let is_out = |save: &Save| !(joins && save.belongs_to(process));
    // `file`: the one that is opened, if that is known.
    let is_in_the_way = |save: &Save, file: Option<u64>| {
        let finds_nothing = || !save.belongs_to(process) && save.files.has_made(file);
        waits && save.is_exchanging()
            || save.is_alone() && (takes && is_out(save) || save.has_lost_its_process() || finds_nothing())
    };
    let makes = decision::creates(parameters.disposition);
    let gives = |save: &Save, name: &FileName| {
        let is_it = |given: &U16Str| names::are_the_same(given.as_slice(), name.full().as_slice(), upcase);
        save.is_alone()
            && !save.belongs_to(process)
            && save.has_changed_names()
            && save.files.any_given(is_it)
    };
    let instance = data.instance();
    let Ok(files) = ContextRef::<Files>::of_instance(instance) else { return };
    // Who makes a file whose name is there is told so, whoever has it.
    let collides = parameters.disposition == FILE_CREATE;
    let newcomer = Newcomer::of(data, &parameters, waits && takes && !collides);
    let may_be_let_in = |save: &Save| newcomer.is_some_and(|one| is_out(save) && one.may_be_let_in(save));
    let may_be = |save: &Save| {
        is_in_the_way(save, None)
            || makes && save.is_alone() && save.has_changed_names()
            || may_be_let_in(save)
    };
    if files.first(may_be).is_none() {
        return;
    }
    let Ok(name) = FileName::of(data, NameForm::Normalized) else { return };
    let looked = Open::look(name.full(), is_case_sensitive(data))
        .open(filter, instance)
        .and_then(|looked| looked.file.object().id(instance));
    let place = |id| Place { file: id, stream: stream_of(name.stream()) };
    let is_let_in =
        |save: &Save, id: u64| newcomer.is_some_and(|one| is_out(save) && one.is_let_in(save, place(id)));
    let save = match looked {
        Ok(id) => {
            files.first(|save| save.files.has(id) && (is_in_the_way(save, Some(id)) || is_let_in(save, id)))
        }
        Err(Status::OBJECT_NAME_NOT_FOUND) if makes => files.first(|save| gives(save, &name)),
        Err(_) => None,
    };
    let (Some(save), Some(intact)) = (save, Intact::get()) else { return };
    if save.is_alone() {
        save.settle(intact, instance, &files, None);
    } else if save.is_exchanging() {
        save.wait_while_exchanging();
    } else if newcomer.is_some_and(|one| one.is_kept_out(data, &parameters, &name, filter)) {
        save.let_in(intact, instance);
    }
}

/// Before a rename or a hard link: a folder above a file cannot be renamed while a transaction holds the file, nor can a
/// name be given that is its own (txf-ktm §4.3). Saves of such files that wait for more end. PASSIVE_LEVEL.
#[inline]
pub fn of_names(data: &Callback<'_>) {
    if counters::any_settling() && data.information_class().is_some_and(names::is_about_names) {
        names_needed(data);
    }
}

#[cold]
fn names_needed(data: &Callback<'_>) {
    let class = data.information_class().unwrap_or(0);
    let given = match names::Request::parse(class, data.information_buffer()) {
        Ok(names::Request::Rename { name, .. } | names::Request::Link { name, .. }) => name,
        Ok(names::Request::Dispose { .. }) | Err(_) => return,
    };
    let Ok(files) = ContextRef::<Files>::of_instance(data.instance()) else { return };
    // Whose name cannot be told may be an ancestor of any.
    let renamed = FileName::of(data, NameForm::Normalized);
    let is_needed = |name: &U16Str| {
        let name = name.as_slice();
        names::has_last_component(name, given, upcase)
            || renamed
                .as_ref()
                .map_or(true, |renamed| names::is_below(name, renamed.full().as_slice(), upcase))
    };
    end_all(&files, data.instance(), |save| save.files.any_name(is_needed));
}

/// Before a control of a volume that wants it without open files. PASSIVE_LEVEL.
#[cold]
pub fn of_control(data: &Callback<'_>) {
    const FSCTL_LOCK_VOLUME: u32 = 0x0009_0018;
    const FSCTL_DISMOUNT_VOLUME: u32 = 0x0009_0020;
    if matches!(data.control_code(), Some(FSCTL_LOCK_VOLUME | FSCTL_DISMOUNT_VOLUME)) {
        of_volume(data.instance());
    }
}

/// Before something that wants a volume without open files: saves that wait for more end. PASSIVE_LEVEL, without locks.
#[cold]
pub fn of_volume(instance: Instance<'_>) {
    if let Ok(files) = ContextRef::<Files>::of_instance(instance) {
        end_all(&files, instance, |_| true);
    }
}

fn end_all(files: &ContextRef<Files>, instance: Instance<'_>, wanted: impl Fn(&Save) -> bool) {
    let Some(intact) = Intact::get() else { return };
    while let Some(save) = files.first(|save| save.is_alone() && wanted(save)) {
        save.settle(intact, instance, files, None);
    }
}
