//! `IRP_MJ_SET_INFORMATION`: to the twin, as any other operation; but what changes names is done here.
//!
//! A rename, a link or a deletion takes place inside the save's transaction, on the twin, and so is published or undone
//! together with the data. It cannot be sent on with another file object: a filter renames a file object of its own by
//! `FltSetInformationFile` (minifilter-rules §1.4).
//!
//! A deletion counts if the last transacted handle that could write is closed before the commit (txf-ktm §9 rule 6): the
//! twins are, in the cleanup that ends the save.

use kernel::callback::{Before, Callback, Either, Operation};
use kernel::context::{ContextRef, Entered};
use kernel::fltkernel::IRP_MJ_SET_INFORMATION;
use kernel::instance::Instance;
use kernel::name::FileName;
use kernel::pool::{PoolSlice, Tag};
use kernel::process;
use kernel::rename::{Folder, NewName};
use kernel::{Result, Status};
use widestring::U16Str;

use super::Modifies;
use super::names::{self, Request};
use super::swap::{Answer, after, came_back_untouched, enter, redirected, resumed, unknown};
use super::way;
use crate::report::counters;
use crate::save::failure::{Failure, classify};
use crate::save::live::Save;
use crate::save::redirect::Redirect;
use crate::save::state::Effect;
use crate::save::wounds::Change;

const TAG: Tag = Tag::new(b"InNm");

/// The operation.
pub struct SetInformation;

impl Operation for SetInformation {
    const MAJOR: u8 = IRP_MJ_SET_INFORMATION;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    /// Nothing: somebody else's change of names, which may meet a save.
    type Carry = Either<Entered<Redirect>, ()>;

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        match Redirect::of(data) {
            // It may run into a save: a name that it has given, an ancestor of its file, the file itself.
            Ok(None) if Redirect::any(data) => {
                way::of_names(data);
                Before::Watch(Either::Second(()))
            }
            Ok(None) => Before::Pass,
            Ok(Some(redirect)) if is_about_names(data) => change(data, redirect),
            Ok(Some(redirect)) => redirected(data, redirect),
            Err(status) => unknown(data, status),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        match carry {
            Either::First(entered) => after(data, &entered),
            Either::Second(()) => somebody_elses(data),
        }
    }
}

fn is_about_names(data: &Callback<'_>) -> bool {
    data.information_class().is_some_and(names::is_about_names)
}

/// What came back to a handle that is not in a save. Up to DISPATCH_LEVEL.
fn somebody_elses(data: &mut Callback<'_>) {
    let status = data.status();
    if !status.is_transactional() || data.has_transaction() {
        return;
    }
    let class = data.information_class().unwrap_or(0);
    match Request::parse(class, data.information_buffer()).map(|request| request.answer(status)) {
        Ok(told) => data.set_status(told, 0),
        Err(_) => came_back_untouched(data),
    }
}

/// Changes names inside the save, or of a twin outside any transaction. PASSIVE_LEVEL.
fn change(
    data: &Callback<'_>,
    redirect: ContextRef<Redirect>,
) -> Before<<SetInformation as Operation>::Carry> {
    way::of_names(data);
    let entered = match enter(resumed(data, redirect, Modifies::Other(Change::Name))) {
        Ok(entered) => entered,
        // A reader whose save is over: it may run into another one.
        Err(Answer::Own) => return Before::Watch(Either::Second(())),
        Err(answer) => return answer.into(),
    };
    let class = data.information_class().unwrap_or(0);
    let request = match Request::parse(class, data.information_buffer()) {
        Ok(request) => request,
        Err(status) => return Before::Complete(status, 0),
    };
    if let Some(save) = &entered.save {
        // Before, so that no create of the process misses it.
        save.changes_names();
    }
    let status = perform(data, &entered, &request).err().unwrap_or(Status::SUCCESS);
    let gone = classify(status.0.cast_unsigned()) == Failure::TransactionGone;
    let told = request.answer(status);
    if let Some(save) = &entered.save {
        if !status.is_success() {
            save.changed_no_names();
        } else if save.is_of_process() {
            remember(save, &entered, data.instance(), &request);
        }
        let change = match request {
            Request::Dispose { .. } => Change::Deletion,
            Request::Rename { .. } | Request::Link { .. } => Change::Name,
        };
        save.came_back(entered.place, Effect::Change(change), if gone { status } else { told });
    }
    Before::Complete(told, 0)
}

/// What a save has given nobody else sees, and who wants it has to be known.
fn remember(save: &Save, redirect: &Entered<Redirect>, instance: Instance<'_>, request: &Request<'_>) {
    match request {
        Request::Rename { .. } => {
            let now = FileName::of_open(redirect.inside().object(), instance);
            save.files.gave(now.as_ref().ok().map(FileName::full));
        }
        Request::Link { .. } => save.files.gave(None),
        Request::Dispose { .. } => {}
    }
}

fn perform(data: &Callback<'_>, redirect: &Entered<Redirect>, request: &Request<'_>) -> Result<()> {
    if process::is_inside_file_system() {
        // A request from here would wait for itself.
        return Err(Status::INSUFFICIENT_RESOURCES);
    }
    let (twin, instance) = (redirect.inside().object(), data.instance());
    let (flags, name) = match *request {
        Request::Dispose { flags } => return twin.dispose(instance, flags),
        Request::Rename { flags, name } | Request::Link { flags, name } => (flags, name),
    };
    let folder = data.target_folder().map(Folder::of).transpose()?;
    let length = match folder {
        Some(_) => names::last_component(name),
        None => names::units(name).count(),
    };
    if length == 0 {
        return Err(Status::OBJECT_NAME_INVALID);
    }
    let mut units = PoolSlice::<u16>::zeroed(TAG, length)?;
    for (to, from) in units.iter_mut().rev().zip(names::units(name).rev()) {
        *to = from;
    }
    let to = NewName { folder: folder.as_ref(), name: U16Str::from_slice(&units), flags };
    match request {
        Request::Link { .. } => twin.link(instance, &to),
        _ => twin.rename(instance, &to),
    }
}
