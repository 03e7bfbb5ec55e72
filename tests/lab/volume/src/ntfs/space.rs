//! Free clusters.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Run;

/// Free space, as runs. A freed cluster is not given out again before the log record that freed it is
/// durable: otherwise its new owner's data could overwrite the old owner's after a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    free: BTreeMap<u64, u64>,
    /// Freed, but the log that says so is not flushed.
    waiting: Vec<(u64, u64)>,
    total: u64,
    /// Allocation fails past this many more clusters, although there may be free ones.
    pub(crate) budget: Option<u64>,
}

impl Space {
    /// Space of a disk with these clusters in use.
    pub(crate) fn new<'a>(clusters: u64, used: impl Iterator<Item = &'a Run>) -> Space {
        let mut space = Space { total: clusters, ..Space::default() };
        if clusters > 0 {
            space.free.insert(0, clusters);
        }
        for run in used {
            space.claim(run.lcn, run.count);
        }
        space
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Free clusters, those that wait for a flush included, and within the budget.
    pub(crate) fn available(&self) -> u64 {
        let free = self.unlimited();
        self.budget.map_or(free, |budget| budget.min(free))
    }

    /// Free clusters, the budget aside.
    pub(crate) fn unlimited(&self) -> u64 {
        self.free.values().sum::<u64>() + self.waiting.iter().map(|(_, count)| count).sum::<u64>()
    }

    /// A cluster that is both free and in `used`.
    pub(crate) fn overlap(&self, used: &BTreeSet<u64>) -> Option<u64> {
        let free = self.free.iter().map(|(&lcn, &count)| (lcn, count));
        free.chain(self.waiting.iter().copied())
            .find_map(|(lcn, count)| used.range(lcn..lcn + count).next().copied())
    }

    /// Clusters that can be given out at once.
    pub(crate) fn ready(&self) -> u64 {
        self.free.values().sum()
    }

    fn claim(&mut self, lcn: u64, count: u64) {
        let Some((&start, &length)) = self.free.range(..=lcn).next_back() else { return };
        let end = start + length;
        if lcn + count > end {
            return;
        }
        self.free.remove(&start);
        if start < lcn {
            self.free.insert(start, lcn - start);
        }
        if lcn + count < end {
            self.free.insert(lcn + count, end - lcn - count);
        }
    }

    /// Takes `count` clusters, first fit, in as many pieces as it needs. The caller has made sure that they
    /// are ready.
    pub(crate) fn take(&mut self, mut count: u64) -> Vec<(u64, u64)> {
        if let Some(budget) = &mut self.budget {
            *budget = budget.saturating_sub(count);
        }
        let whole = self.free.iter().find(|(_, length)| **length >= count).map(|(&start, _)| start);
        let mut taken = Vec::new();
        while count > 0 {
            let start = match whole {
                Some(start) => start,
                None => *self.free.first_key_value().expect("the caller checked that there is room").0,
            };
            let piece = self.free[&start].min(count);
            self.claim(start, piece);
            taken.push((start, piece));
            count -= piece;
        }
        taken
    }

    /// Gives clusters back at once: nothing durable ever said that they were in use.
    pub(crate) fn release(&mut self, runs: &[Run]) {
        for run in runs {
            self.insert(run.lcn, run.count);
        }
        self.refund(runs);
    }

    /// Gives clusters back once the log is flushed.
    pub(crate) fn release_later(&mut self, runs: &[Run]) {
        self.waiting.extend(runs.iter().map(|run| (run.lcn, run.count)));
        self.refund(runs);
    }

    fn refund(&mut self, runs: &[Run]) {
        if let Some(budget) = &mut self.budget {
            *budget += runs.iter().map(|run| run.count).sum::<u64>();
        }
    }

    /// The log was flushed.
    pub(crate) fn flushed(&mut self) {
        for (lcn, count) in std::mem::take(&mut self.waiting) {
            self.insert(lcn, count);
        }
    }

    fn insert(&mut self, lcn: u64, count: u64) {
        let (mut start, mut length) = (lcn, count);
        if let Some((&before, &size)) = self.free.range(..lcn).next_back()
            && before + size == lcn
        {
            self.free.remove(&before);
            (start, length) = (before, size + count);
        }
        if let Some(size) = self.free.remove(&(lcn + count)) {
            length += size;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_clusters_wait_for_the_log() {
        let mut space = Space::new(4, [].iter());
        let taken = space.take(4);
        assert_eq!(taken, [(0, 4)]);
        space.release_later(&[Run { vcn: 0, lcn: 1, count: 2 }]);
        assert_eq!((space.ready(), space.available()), (0, 2));
        space.flushed();
        assert_eq!(space.take(2), [(1, 2)]);
    }

    #[test]
    fn neighbours_join_again() {
        let mut space = Space::new(10, [Run { vcn: 0, lcn: 3, count: 2 }].iter());
        assert_eq!(space.ready(), 8);
        space.release(&[Run { vcn: 0, lcn: 3, count: 2 }]);
        assert_eq!(space.take(10), [(0, 10)]);
    }

    #[test]
    fn a_budget_is_a_smaller_disk() {
        let mut space = Space::new(10, [].iter());
        space.budget = Some(3);
        assert_eq!(space.available(), 3);
        space.take(2);
        assert_eq!(space.available(), 1);
    }
}
