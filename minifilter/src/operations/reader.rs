//! Handles that only read, in a process that saves.

use kernel::callback::{Callback, Create};
use kernel::context::ContextRef;
use kernel::file::{FileObject, Open};
use kernel::name::{FileName, NameForm};
use kernel::pool::Shared;
use wdk_sys::{FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE};

use super::decision::{self, FILE_OPEN};
use super::opening::{accept_same, came_through, is_case_sensitive};
use crate::Intact;
use crate::save::files::Files;
use crate::save::live::{How, Redirect, Save, stream_of};

const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// A handle that only reads, opened in a process that has a live save of this file: it sees what its process has
/// written, as it would without us. Its own create was not touched, and if this fails it sees the last committed
/// version. PASSIVE_LEVEL.
pub fn complete(intact: &Intact, data: &mut Callback<'_>) {
    let (Some(file), Some(filter), Some(parameters)) = (data.file(), Intact::filter(), data.create()) else {
        return;
    };
    if !came_through(data) {
        return;
    }
    let instance = data.instance();
    let Ok(files) = ContextRef::<Files>::of_instance(instance) else { return };
    let Some(save) = file.id(instance).ok().and_then(|id| files.find(data.process().key(), id)) else {
        return;
    };
    save.wait_if_ending();
    if !save.look() {
        return;
    }
    follow(intact, data, file, filter, &parameters, &save);
    save.is_through();
}

fn follow(
    intact: &Intact,
    data: &Callback<'_>,
    file: FileObject<'_>,
    filter: kernel::filter::Handle,
    parameters: &Create,
    save: &Shared<Save>,
) {
    // Outside a transaction its own file is what everybody sees.
    let Ok(Some(inside)) = save.inside() else { return };
    let instance = data.instance();
    let Ok(name) = FileName::of(data, NameForm::Opened) else { return };
    let opened = Open {
        name: name.full(),
        case_sensitive: is_case_sensitive(data),
        access: decision::reader_rights(parameters.access),
        share: SHARE_ALL,
        disposition: FILE_OPEN,
        options: decision::twin_options(parameters.options),
        attributes: 0,
        allocation: 0,
        ea: &[],
        // The application's own create was checked.
        checked: false,
        ignore_share: true,
        transaction: Some(&inside),
        extra: None,
    }
    .open(filter, instance)
    .and_then(|opened| accept_same(opened, file, instance));
    let Ok(opened) = opened else { return };
    let how = How {
        access: opened.granted,
        share: SHARE_ALL,
        options: decision::twin_options(parameters.options),
        case_sensitive: is_case_sensitive(data),
    };
    let stream = stream_of(name.stream());
    let Ok(redirect) = Redirect::new(opened.file, how, Some(save.clone()), None, stream) else { return };
    if redirect.set_on_handle(instance, file).is_err() {
        redirect.close_twin();
    } else if save.enlist(&redirect) {
        intact.report.joined(save, false);
    } else {
        // It ended meanwhile: the handle reads its own file.
        redirect.close_twin();
    }
}
