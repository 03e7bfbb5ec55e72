//! The pages of a control area that views have modified, and their way to and from the file.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Area, Section};
use crate::Executive;
use crate::io::requests;

const PAGE: u64 = 4096;

/// STATUS_IN_PAGE_ERROR: what a program's access to a page raises that cannot be read.
const IN_PAGE_ERROR: i32 = 0xC000_0006_u32.cast_signed();
/// STATUS_ACCESS_VIOLATION: an access outside a view, or a write through a view that is read-only.
const ACCESS_VIOLATION: i32 = 0xC000_0005_u32.cast_signed();
const END_OF_FILE: i32 = 0xC000_0011_u32.cast_signed();

/// Modified pages, by number.
#[derive(Default)]
pub(crate) struct Pages(RefCell<BTreeMap<u64, Vec<u8>>>);

fn pages_of(offset: u64, length: u64) -> impl Iterator<Item = u64> {
    let end = offset.saturating_add(length);
    offset / PAGE..end.div_ceil(PAGE)
}

/// The part of page `page` that `offset..offset + length` covers: where in the page, where in the range, how much.
fn part(page: u64, offset: u64, length: u64) -> (usize, usize, usize) {
    let start = offset.max(page * PAGE);
    let end = (offset + length).min((page + 1) * PAGE);
    ((start - page * PAGE) as usize, (start - offset) as usize, end.saturating_sub(start) as usize)
}

/// A page as a fault brings it in; zeros past the end of the file.
fn page_in(lab: &Executive, area: &Area, page: u64) -> Result<Vec<u8>, i32> {
    if let Some(page) = area.pages.0.borrow().get(&page) {
        return Ok(page.clone());
    }
    let (answer, mut data) =
        requests::paging_read(lab, &area.backing, (page * PAGE).cast_signed(), PAGE as usize);
    match answer.Status {
        END_OF_FILE => data.clear(),
        status if status < 0 => return Err(IN_PAGE_ERROR),
        _ => {}
    }
    data.resize(PAGE as usize, 0);
    Ok(data)
}

fn check(section: &Section, offset: u64, length: usize) -> Result<(), i32> {
    let end = offset.checked_add(length as u64).ok_or(ACCESS_VIOLATION)?;
    // The rest of the last page is there, and is not the file's.
    if end <= section.size.next_multiple_of(PAGE) { Ok(()) } else { Err(ACCESS_VIOLATION) }
}

/// Reads through a view.
///
/// # Errors
/// IN_PAGE_ERROR, ACCESS_VIOLATION.
pub(crate) fn read_view(
    lab: &Executive,
    section: &Section,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, i32> {
    check(section, offset, length)?;
    let mut data = vec![0; length];
    for page in pages_of(offset, length as u64) {
        let bytes = page_in(lab, &section.area, page)?;
        let (inside, at, count) = part(page, offset, length as u64);
        data[at..at + count].copy_from_slice(&bytes[inside..inside + count]);
    }
    Ok(data)
}

/// Writes through a view: the pages are modified, and reach the file when somebody writes them.
///
/// # Errors
/// IN_PAGE_ERROR, ACCESS_VIOLATION.
pub(crate) fn write_view(lab: &Executive, section: &Section, offset: u64, data: &[u8]) -> Result<(), i32> {
    check(section, offset, data.len())?;
    if section.protection & super::WRITABLE == 0 {
        return Err(ACCESS_VIOLATION);
    }
    for page in pages_of(offset, data.len() as u64) {
        let bytes = page_in(lab, &section.area, page)?;
        let (inside, at, count) = part(page, offset, data.len() as u64);
        let mut pages = section.area.pages.0.borrow_mut();
        let kept = pages.entry(page).or_insert(bytes);
        kept[inside..inside + count].copy_from_slice(&data[at..at + count]);
    }
    Ok(())
}

/// Writes every modified page to the file object behind the control area, in order.
///
/// # Errors
/// The first write's that failed; its page stays modified.
pub(crate) fn flush(lab: &Executive, area: &Area) -> Result<(), i32> {
    let numbers: Vec<u64> = area.pages.0.borrow().keys().copied().collect();
    let mut result = Ok(());
    for number in numbers {
        // Truncated, or written by somebody else, meanwhile.
        let Some(bytes) = area.pages.0.borrow().get(&number).cloned() else { continue };
        let written =
            requests::paging_write(lab, &area.backing, (number * PAGE).cast_signed(), &bytes).Status;
        if written < 0 {
            result = result.and(Err(written));
        } else {
            let mut pages = area.pages.0.borrow_mut();
            if pages.get(&number) == Some(&bytes) {
                pages.remove(&number);
            }
        }
    }
    result
}

/// A cached read sees what views have modified.
pub(crate) fn overlay(area: &Area, offset: u64, data: &mut [u8]) {
    let length = data.len() as u64;
    for (&page, bytes) in area.pages.0.borrow().range(offset / PAGE..(offset + length).div_ceil(PAGE)) {
        let (inside, at, count) = part(page, offset, length);
        data[at..at + count].copy_from_slice(&bytes[inside..inside + count]);
    }
}

/// A write to the file is seen through views.
pub(crate) fn replace(area: &Area, offset: u64, data: &[u8]) {
    let length = data.len() as u64;
    let mut pages = area.pages.0.borrow_mut();
    for (&page, bytes) in pages.range_mut(offset / PAGE..(offset + length).div_ceil(PAGE)) {
        let (inside, at, count) = part(page, offset, length);
        bytes[inside..inside + count].copy_from_slice(&data[at..at + count]);
    }
}

/// The file ends earlier: what was modified behind it is gone.
pub(crate) fn truncate(area: &Area, size: u64) {
    let mut pages = area.pages.0.borrow_mut();
    pages.retain(|page, _| page * PAGE < size);
    if let Some(bytes) = pages.get_mut(&(size / PAGE)) {
        bytes[(size % PAGE) as usize..].fill(0);
    }
}
