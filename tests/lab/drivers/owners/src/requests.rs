//! What a create asks for, changed on its way.

use kernel::access::AccessEdit;
use kernel::callback::{Callback, Create};
use kernel::{Result, Status};

use crate::TAG;

const FILE_READ_ATTRIBUTES: u32 = 0x80;
const FILE_OPEN: u32 = 1;
const FILE_CREATE: u32 = 2;
const FILE_SHARE_DELETE: u16 = 4;
const FILE_ATTRIBUTE_HIDDEN: u16 = 2;
const FILE_SEQUENTIAL_ONLY: u32 = 4;

/// The create goes down as it came after all.
pub(crate) fn taken_back(data: &mut Callback<'_>) -> Result<()> {
    let asked = data.create().ok_or(Status::INVALID_PARAMETER)?;
    let edit = AccessEdit::begin(data, FILE_READ_ATTRIBUTES, TAG)?;
    check!(data.create().is_some_and(|now| now.access == FILE_READ_ATTRIBUTES));
    edit.take_back(data);
    check!(data.create() == Some(asked));
    Ok(())
}

/// What a create carries: the edit of its rights, if it has one.
pub(crate) struct Edited(pub(crate) Option<AccessEdit>);

const FILE_GENERIC_WRITE: u32 = 0x0012_0116;

/// A create goes down asking for less than was asked for.
pub(crate) fn reduce(data: &mut Callback<'_>) -> Result<AccessEdit> {
    AccessEdit::begin(data, FILE_READ_ATTRIBUTES, TAG)
}

/// And its handle has more.
pub(crate) fn grant(edit: AccessEdit) {
    edit.grant(FILE_GENERIC_WRITE);
}

/// A create of a new file opens the one that is there, and says something else about it.
pub(crate) fn set_create(data: &mut Callback<'_>) -> Result<()> {
    let asked = data.create().ok_or(Status::INVALID_PARAMETER)?;
    check!(asked.disposition == FILE_CREATE && data.create_ea().is_empty());
    let changed = Create {
        disposition: FILE_OPEN,
        share: asked.share ^ FILE_SHARE_DELETE,
        attributes: asked.attributes ^ FILE_ATTRIBUTE_HIDDEN,
        allocation: asked.allocation + 4096,
        options: asked.options ^ FILE_SEQUENTIAL_ONLY,
        ..asked
    };
    data.set_create(&changed);
    check!(data.create() == Some(changed));
    Ok(())
}

/// The create brings extended attributes.
pub(crate) fn extended_attributes(data: &mut Callback<'_>) -> Result<()> {
    check!(data.create_ea().len() == 11 && data.create_ea().ends_with(b"A\0x"));
    Ok(())
}
