//! Which processes count as one: a program of a rule with `IncludeChildren`, and those that it has started.
//!
//! Who is a member is decided when a process starts, by the policy in force then, and stays so until it ends; a policy that
//! comes later changes only what its rules say of members. A process is known by its object, its birth and its id, so one
//! that ends and another that gets its id are never taken for each other.
//!
//! The table is bounded: who has no place in it is an outsider, and an event says so.

use core::sync::atomic::{AtomicU64, Ordering};

use intact_policy::RuleSet;
use kernel::pool::{PoolSlice, PoolVec, Shared, Tag};
use kernel::process::ProcessKey;
use kernel::sync::PushLock;
use kernel::{Result, Status};

use super::Settings;

const TAG: Tag = Tag::new(b"InFa");

/// Most members of all families.
const MOST: usize = 1024;

/// One program and what it has started, at any depth, by one rule.
struct Family {
    /// The program.
    root: ProcessKey,
    /// The name of the rule.
    rule: PoolSlice<u16>,
}

impl Family {
    fn is_of(&self, root: ProcessKey, rule: &[u16]) -> bool {
        self.root == root && *self.rule == *rule
    }
}

struct Member {
    process: ProcessKey,
    family: Shared<Family>,
}

/// Everybody who counts as somebody, and those who count as themselves and have started others.
pub struct Families {
    members: PushLock<PoolVec<Member>>,
    /// A bit for each hash that a member has: nearly everybody who asks is none, and pays a load for it.
    seen: [AtomicU64; 4],
}

/// Where the bit of a process is.
fn place(process: ProcessKey) -> (usize, u64) {
    let hash = process.hash();
    (hash >> 6 & 3, 1_u64.wrapping_shl((hash & 63) as u32))
}

impl Families {
    /// None.
    pub const fn new() -> Self {
        Families { members: PushLock::new(PoolVec::new(TAG)), seen: [const { AtomicU64::new(0) }; 4] }
    }

    /// Whether nobody is a member. Any IRQL.
    pub fn is_empty(&self) -> bool {
        self.seen.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    /// Whether it is worth to look. Any IRQL.
    fn may_have(&self, process: ProcessKey) -> bool {
        let (word, bit) = place(process);
        self.seen.get(word).is_some_and(|word| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Whether a process is of the family that this program has by this rule. IRQL up to APC_LEVEL.
    pub fn has(&self, process: ProcessKey, root: ProcessKey, rule: &[u16]) -> bool {
        self.may_have(process)
            && self
                .members
                .read()
                .iter()
                .any(|member| member.process == process && member.family.is_of(root, rule))
    }

    /// The program that a process counts as by this rule: itself, if it is of no family. IRQL up to APC_LEVEL.
    pub fn root_of(&self, process: ProcessKey, rule: &[u16]) -> ProcessKey {
        if !self.may_have(process) {
            return process;
        }
        let members = self.members.read();
        let family = members.iter().find(|member| member.process == process && *member.family.rule == *rule);
        family.map_or(process, |member| member.family.root)
    }

    /// The rules of a policy by which a process is of a family. IRQL up to APC_LEVEL.
    pub fn rules_of(&self, process: ProcessKey, settings: &Settings) -> RuleSet {
        let mut rules = RuleSet::EMPTY;
        if self.may_have(process) {
            let members = self.members.read();
            let names = members.iter().filter(|member| member.process == process);
            names.filter_map(|member| settings.find(&member.family.rule)).for_each(|rule| rules.insert(rule));
        }
        rules
    }

    /// A program is about to have children by a rule: it is of a family from now on, its own if it is of none by this rule.
    /// PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`, or with `QUOTA_EXCEEDED` if there is no place.
    pub fn found(&self, program: ProcessKey, rule: &[u16]) -> Result<()> {
        let mut members = self.members.write();
        if members.iter().any(|member| member.process == program && *member.family.rule == *rule) {
            return Ok(());
        }
        let family = Family { root: program, rule: PoolSlice::copy_of(TAG, rule)? };
        self.add(&mut members, program, Shared::new(TAG, family)?)
    }

    /// A process has started another one, which is of the same families, unless a rule does not want it. PASSIVE_LEVEL.
    /// Fails as [`Self::found`]; it is of none then.
    pub fn inherit(
        &self,
        creator: ProcessKey,
        process: ProcessKey,
        wants: impl Fn(&[u16]) -> bool,
    ) -> Result<()> {
        let mut members = self.members.write();
        let mut at = 0;
        while let Some(member) = members.get(at) {
            at = at.saturating_add(1);
            if member.process == creator && wants(&member.family.rule) {
                let family = member.family.clone();
                if let Err(status) = self.add(&mut members, process, family) {
                    self.remove(&mut members, process);
                    return Err(status);
                }
            }
        }
        Ok(())
    }

    /// A process has ended. IRQL up to APC_LEVEL.
    pub fn forget(&self, process: ProcessKey) {
        if self.may_have(process) {
            self.remove(&mut self.members.write(), process);
        }
    }

    fn add(&self, members: &mut PoolVec<Member>, process: ProcessKey, family: Shared<Family>) -> Result<()> {
        if members.len() >= MOST {
            return Err(Status::QUOTA_EXCEEDED);
        }
        members.push(Member { process, family })?;
        let (word, bit) = place(process);
        if let Some(word) = self.seen.get(word) {
            word.fetch_or(bit, Ordering::AcqRel);
        }
        Ok(())
    }

    fn remove(&self, members: &mut PoolVec<Member>, process: ProcessKey) {
        while members.take(|member| member.process == process).is_some() {}
        let (word, bit) = place(process);
        if !members.iter().any(|member| place(member.process) == (word, bit))
            && let Some(word) = self.seen.get(word)
        {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

impl Default for Families {
    fn default() -> Self {
        Self::new()
    }
}
