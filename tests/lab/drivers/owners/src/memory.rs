//! Pool: boxes, lists, slices, counted references, lookaside lists.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::Result;
use kernel::callback::{Callback, Parcel};
use kernel::lookaside::Lookaside;
use kernel::pool::{PoolBox, PoolSlice, PoolVec, Shared};

use crate::TAG;

/// A value that is counted while it lives.
pub(crate) struct Counted<'a> {
    live: &'a AtomicUsize,
    number: u64,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(live: &'a AtomicUsize, number: u64) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Counted { live, number }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn boxes(_: &mut Callback<'_>) -> Result<()> {
    let live = AtomicUsize::new(0);
    let mut first = PoolBox::new(TAG, Counted::new(&live, 7))?;
    first.number = 8;
    check!(first.number == 8 && live.load(Ordering::Relaxed) == 1);
    let moved = first.into_inner();
    check!(moved.number == 8 && live.load(Ordering::Relaxed) == 1);
    let second = PoolBox::new(TAG, moved)?;
    drop(second);
    check!(live.load(Ordering::Relaxed) == 0);
    // Nothing at all has a place, too.
    PoolBox::new(TAG, ())?.into_inner();
    Ok(())
}

pub(crate) fn vectors(_: &mut Callback<'_>) -> Result<()> {
    let live = AtomicUsize::new(0);
    let mut list = PoolVec::new(TAG);
    check!(list.is_empty() && list.pop().is_none());
    for number in 0..20 {
        list.push(Counted::new(&live, number))?;
    }
    check!(list.iter().map(|one| one.number).eq(0..20));
    list.reserve_one()?;
    let at = list.as_ptr();
    // There is room: nothing moves.
    list.reserve_one()?;
    list.push(Counted::new(&live, 20))?;
    check!(at == list.as_ptr() && list.len() == 21);
    let third = list.take(|one| one.number == 3);
    check!(third.is_some_and(|one| one.number == 3));
    check!(list.get(3).is_some_and(|one| one.number == 20) && list.len() == 20);
    check!(list.take(|one| one.number == 3).is_none());
    check!(list.take(|one| one.number == 19).is_some_and(|one| one.number == 19));
    check!(list.pop().is_some_and(|one| one.number == 18));
    if let Some(first) = list.first_mut() {
        first.number = 100;
    }
    check!(list.first().is_some_and(|one| one.number == 100));
    check!(live.load(Ordering::Relaxed) == list.len() && list.len() == 18);
    drop(list);
    check!(live.load(Ordering::Relaxed) == 0);
    let never: PoolVec<u64> = PoolVec::new(TAG);
    drop(never);
    Ok(())
}

pub(crate) fn slices(_: &mut Callback<'_>) -> Result<()> {
    let mut zeros = PoolSlice::<u32>::zeroed(TAG, 100)?;
    check!(zeros.len() == 100 && zeros.iter().all(|&number| number == 0));
    zeros.as_mut().copy_from_slice(&[5; 100]);
    check!(zeros.as_ref() == [5; 100]);
    let copy = PoolSlice::copy_of(TAG, &[1_u16, 2, 3])?;
    check!(*copy == [1, 2, 3]);
    check!(PoolSlice::<u8>::zeroed(TAG, 0)?.is_empty());
    check!(PoolSlice::<u64>::zeroed(TAG, usize::MAX).is_err());
    Ok(())
}

pub(crate) fn shared(_: &mut Callback<'_>) -> Result<()> {
    let live = AtomicUsize::new(0);
    let one = Shared::new(TAG, Counted::new(&live, 1))?;
    let same = one.clone();
    let other = Shared::new(TAG, Counted::new(&live, 1))?;
    check!(one.is(&same) && !one.is(&other));
    drop(one);
    check!(live.load(Ordering::Relaxed) == 2 && same.number == 1);
    drop(same);
    check!(live.load(Ordering::Relaxed) == 1);
    drop(other);
    check!(live.load(Ordering::Relaxed) == 0);
    Ok(())
}

pub(crate) fn parcels(_: &mut Callback<'_>) -> Result<()> {
    let live = AtomicUsize::new(0);
    let mut parcel = Parcel::new(TAG, Counted::new(&live, 3))?;
    parcel.number = 4;
    check!(parcel.number == 4);
    let inside = parcel.unpack();
    check!(inside.number == 4 && live.load(Ordering::Relaxed) == 1);
    drop(Parcel::new(TAG, inside)?);
    check!(live.load(Ordering::Relaxed) == 0);
    Ok(())
}

/// More than a list keeps at first.
const MANY: usize = 12;

pub(crate) fn lookaside(_: &mut Callback<'_>) -> Result<()> {
    let live = AtomicUsize::new(0);
    let list = Lookaside::new(TAG)?;
    // Again and again, so that what was given back is taken once more, if it is kept.
    for round in 0..3 {
        let mut blocks = PoolVec::new(TAG);
        for number in 0..MANY as u64 {
            blocks.push(list.store(Counted::new(&live, round + number))?)?;
        }
        if let Some(first) = blocks.first_mut() {
            check!(first.number == round);
            first.number += 1_000;
        }
        check!(blocks.iter().skip(1).map(|block| block.number).eq((1..MANY as u64).map(|n| round + n)));
        check!(blocks.first().is_some_and(|first| first.number == round + 1_000));
        drop(blocks);
        check!(live.load(Ordering::Relaxed) == 0);
    }
    // It stays while a block of it is out.
    let last = list.store(Counted::new(&live, 5))?;
    drop(list);
    check!(last.number == 5);
    drop(last);
    check!(live.load(Ordering::Relaxed) == 0);
    // Less than a link of the list.
    let small = Lookaside::new(TAG)?;
    let (one, two) = (small.store(1_u8)?, small.store(2_u8)?);
    check!(*one == 1 && *two == 2);
    Ok(())
}
