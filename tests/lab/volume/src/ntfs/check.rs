//! A consistency check, for tests: what chkdsk would find.

use std::collections::BTreeSet;

use super::record::ROOT;
use super::{View, Volume};

impl Volume {
    /// Looks for contradictions in the committed metadata and in the account of free space.
    ///
    /// # Errors
    /// The first contradiction, in words.
    pub fn check(&self) -> Result<(), String> {
        self.check_names()?;
        self.check_space()
    }

    fn check_names(&self) -> Result<(), String> {
        for (number, record) in self.metadata.files() {
            for link in &record.links {
                let entry = self.metadata.lookup(link.parent, &link.key());
                if entry.is_none_or(|entry| entry.target != number || entry.name != link.name) {
                    return Err(format!("file {number} has a name {:?} that its directory lacks", link.name));
                }
            }
            if record.links.is_empty() && number != ROOT && self.opens_of(number).next().is_none() {
                let waits = self.opens.values().any(|open| open.file.number() == number);
                if !waits {
                    return Err(format!("file {number} has neither a name nor an open"));
                }
            }
            for (key, entry) in self.metadata.entries(number) {
                let target = self.metadata.file(entry.target);
                let known = |link: &super::Link| link.parent == number && link.key() == *key;
                if !target.is_some_and(|target| target.links.iter().any(known)) {
                    return Err(format!("directory {number} names {:?}, which does not know it", entry.name));
                }
            }
            for (key, stream) in &record.streams {
                let valid = self.valid(View::Committed, number, key);
                if stream.valid > stream.size || valid > stream.size {
                    return Err(format!("file {number} stream {key:?}: valid {valid} of {}", stream.size));
                }
            }
        }
        Ok(())
    }

    fn check_space(&self) -> Result<(), String> {
        let mut used = BTreeSet::new();
        for (number, record) in self.metadata.files() {
            for run in record.streams.values().flat_map(|stream| &stream.runs) {
                for cluster in run.lcn..run.lcn + run.count {
                    if cluster >= self.space.total() || !used.insert(cluster) {
                        return Err(format!("cluster {cluster} of file {number} is used twice or not there"));
                    }
                }
            }
        }
        for cluster in self.transactions.values().flat_map(|tx| &tx.fresh) {
            if !used.insert(*cluster) {
                return Err(format!("cluster {cluster} of a transaction is used twice"));
            }
        }
        match self.space.overlap(&used) {
            Some(cluster) => Err(format!("cluster {cluster} is free and in use")),
            None if self.space.unlimited() + used.len() as u64 != self.space.total() => Err(format!(
                "{} clusters are lost",
                self.space.total() - self.space.unlimited() - used.len() as u64
            )),
            None => Ok(()),
        }
    }
}
