//! `IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION` and its release: somebody maps the file.
//!
//! Both go down on the handle's own file object: what the file system locks there is in nobody's way, and a release that
//! is not seen (minifilter-rules §2.2) leaves nothing locked.

use kernel::callback::{Before, Callback, Operation};
use kernel::context::ContextRef;
use kernel::fltkernel::{
    IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION,
};

use super::swap::{do_without, enter, resumed};
use super::{Modifies, NO_SECTION};
use crate::report::counters;
use crate::save::redirect::{Redirect, Role};

/// A section of a writing handle becomes a section of its twin, so that what is written through it is part of the save. A
/// reader's section maps the last committed version.
pub struct Section;

impl Operation for Section {
    const MAJOR: u8 = IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ContextRef<Redirect>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        if !data.creates_section() {
            // Only the creation of a section may be failed (minifilter-rules §2.2).
            return Before::Pass;
        }
        match Redirect::of(data) {
            Ok(Some(redirect)) if redirect.role == Role::Writer => begin(data, redirect),
            Ok(_) => Before::Pass,
            Err(_) => Before::Complete(NO_SECTION, 0),
        }
    }

    fn after(data: &mut Callback<'_>, redirect: Self::Carry) {
        // Who was refused below makes no section, and releases nothing.
        if !data.status().is_success() {
            redirect.mapping.end();
        }
    }
}

fn begin(data: &Callback<'_>, redirect: ContextRef<Redirect>) -> Before<ContextRef<Redirect>> {
    const REFUSED: Before<ContextRef<Redirect>> = Before::Complete(NO_SECTION, 0);
    let Some(file) = data.file() else { return REFUSED };
    if data.creates_image_section() {
        return image(data, &redirect);
    }
    // Nobody tells when a view is written, and a twin that is mapped cannot be exchanged any more.
    let Ok(entered) = enter(resumed(data, redirect, Modifies::Bytes)) else { return REFUSED };
    if entered.mapping.begin(file, entered.inside()).is_err() {
        return REFUSED;
    }
    if data.creates_writable_section()
        && let Some(save) = &entered.save
    {
        // Nobody tells when a view is written.
        save.note_written();
    }
    Before::Watch(ContextRef::clone(&entered))
}

/// An image is what others execute: not a version that nobody else sees. What the save has is committed, and its handles go
/// on without a transaction, if that can be; then the handle's own file object is mapped. PASSIVE_LEVEL, without locks.
#[cold]
#[inline(never)]
fn image(data: &Callback<'_>, redirect: &ContextRef<Redirect>) -> Before<ContextRef<Redirect>> {
    let Some(save) = &redirect.save else { return Before::Pass };
    do_without(data, save);
    if save.is_transacted() || save.is_gone() { Before::Complete(NO_SECTION, 0) } else { Before::Pass }
}

/// The section is made, or was not.
pub struct SectionMade;

impl Operation for SectionMade {
    const MAJOR: u8 = IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION;
    const WATCHES: bool = false;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        if let Ok(Some(redirect)) = Redirect::of(data) {
            redirect.mapping.end();
        }
        Before::Pass
    }
}
