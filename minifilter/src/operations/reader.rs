//! Handles that only read, in a process that saves.

use kernel::callback::{Callback, Create, Parcel};
use kernel::context::ContextRef;
use kernel::file::{FileObject, Open};
use kernel::name::{FileName, NameForm};
use kernel::pool::{PoolSlice, Shared};
use wdk_sys::{FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE};
use widestring::U16Str;

use super::create::{Carried, TAG};
use super::decision::{self, FILE_OPEN};
use super::opening::{accept_same, came_through, is_case_sensitive};
use super::view::Alias;
use crate::Intact;
use crate::save::files::Files;
use crate::save::live::{Save, stream_of};
use crate::save::redirect::{How, Redirect};
use crate::save::state::Place;

const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// A handle that only reads, opened in a process that has a live save on the volume. If it is of the save's file it sees
/// what its process has written, as it would without us.
pub struct Reader {
    /// The name that exists inside the save only, where the create goes down by another one.
    inside: Option<PoolSlice<u16>>,
}

impl Reader {
    /// Before its create, which is not touched but for its name. PASSIVE_LEVEL. `None`: it passes through.
    pub fn prepare(data: &mut Callback<'_>, alias: Option<&Alias>) -> Option<Parcel<Option<Carried>>> {
        let mut parcel = Parcel::new(TAG, None).ok()?;
        let mut inside = None;
        if let Some(alias) = alias {
            let name = FileName::of(data, NameForm::Opened).ok()?;
            inside = Some(PoolSlice::copy_of(TAG, name.full().as_slice()).ok()?);
            data.replace_name(alias.committed()).ok()?;
        }
        *parcel = Some(Carried::Reader(Reader { inside }));
        Some(parcel)
    }

    /// After its create. If this fails it sees the last committed version. PASSIVE_LEVEL.
    pub fn complete(self, intact: &Intact, data: &Callback<'_>) {
        let (Some(file), Some(filter), Some(parameters)) = (data.file(), Intact::filter(), data.create())
        else {
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
        self.follow(intact, data, file, filter, &parameters, &save);
        save.is_through();
    }

    fn follow(
        &self,
        intact: &Intact,
        data: &Callback<'_>,
        file: FileObject<'_>,
        filter: kernel::filter::Handle,
        parameters: &Create,
        save: &Shared<Save>,
    ) {
        // Outside a transaction its own file is what everybody sees, but the save may have one later.
        let Ok(inside) = save.inside() else { return };
        if inside.is_none() && !save.rests() {
            return;
        }
        let instance = data.instance();
        let Ok(name) = FileName::of(data, NameForm::Opened) else { return };
        let opened = Open {
            name: self.inside.as_ref().map_or(name.full(), |inside| U16Str::from_slice(inside)),
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
            transaction: inside.as_ref(),
            extra: data.extra_parameters(filter),
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
        let Ok(id) = file.id(instance) else { return };
        let place = Place { file: id, stream: stream_of(name.stream()) };
        let Ok(redirect) = Redirect::new(opened.file, how, Some(save.clone()), None, place) else { return };
        redirect.may_go_back_to(file);
        if redirect.set_on_handle(instance, file).is_err() {
            redirect.close_twin(None);
        } else if save.enlist(&redirect) {
            intact.report.joined(save, save.joiner(|| data.process()), name.full(), false);
        } else {
            // It ended meanwhile: the handle reads its own file.
            redirect.close_twin(None);
        }
    }
}
