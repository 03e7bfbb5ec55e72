//! The Linux processes that have to do with the mount: who started each of them, and when and how it ended.
//!
//! A process is counted when its first request is read. Then its ancestors are looked up, and each of them gets a pidfd,
//! which stands for that process and never for a later one with its number. Only what the mount's own process has started,
//! at any depth, has ancestors here, and of others what has made requests before. A process whose parent has ended by
//! then has been adopted, and shows as started by whoever adopted it, if that one is counted, else by nobody.
//!
//! The end of a process is told before any request that is read after it: who has waited for a process finds what its end
//! has brought about.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lab_executive::scheduler::Injector;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::linux::{LinuxProcess, parent_of, wait_status_of_zombie};
use super::server_of;

/// Who is counted.
pub(crate) struct Census {
    lab: Injector,
    /// The mount's own process: it is nobody's parent.
    own: u32,
    living: Mutex<BTreeMap<u32, OwnedFd>>,
    ends: OwnedFd,
    enough: OwnedFd,
}

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl Census {
    /// Nobody.
    ///
    /// # Errors
    /// Too many open files.
    pub(crate) fn new(lab: Injector) -> io::Result<Census> {
        Ok(Census {
            lab,
            own: std::process::id(),
            living: Mutex::default(),
            ends: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            enough: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// Tells the lab of every end so far; until the count is dropped, of no other. A request that is queued meanwhile comes
    /// after all ends that its issuer can know of.
    pub(crate) fn count(&self) -> Count<'_> {
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events = Vec::with_capacity(64);
        while let Ok(1..) = epoll::wait(&self.ends, spare_capacity(&mut events), Some(&AT_ONCE)) {
            for event in events.drain(..) {
                let group = u32::try_from(event.data.u64()).unwrap_or(0);
                let Some(process) = living.remove(&group) else { continue };
                let wait_status = wait_status(group, &process);
                // Closing would do, if no child of this process had inherited it for a moment.
                epoll::delete(&self.ends, &process).ok();
                self.lab.inject(move |lab| {
                    if let Some(server) = server_of(lab) {
                        server.process_is_gone(lab, group, wait_status);
                    }
                });
            }
        }
        Count { census: self, living }
    }

    /// Tells the lab of ends as they come, until it is [`enough`](Self::enough).
    pub(crate) fn watch(&self) {
        loop {
            let mut both = [PollFd::new(&self.ends, PollFlags::IN), PollFd::new(&self.enough, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Ok(_) if both[1].revents().is_empty() => drop(self.count()),
                _ => return,
            }
        }
    }

    /// Ends the watch.
    pub(crate) fn enough(&self) {
        rustix::io::write(&self.enough, &1_u64.to_ne_bytes()).ok();
    }

    fn add(&self, living: &mut BTreeMap<u32, OwnedFd>, group: u32, process: OwnedFd) {
        let group_as_data = epoll::EventData::new_u64(u64::from(group));
        if epoll::add(&self.ends, &process, group_as_data, epoll::EventFlags::IN).is_ok() {
            living.insert(group, process);
        }
    }
}

/// A moment at which all ends so far are told.
pub(crate) struct Count<'a> {
    census: &'a Census,
    living: MutexGuard<'a, BTreeMap<u32, OwnedFd>>,
}

impl Count<'_> {
    /// Counts the issuer of a request, which waits for its answer; returns its ancestors if it is new, its parent first.
    /// One that is counted already ends them, with its executable of now.
    pub(crate) fn add(&mut self, issuer: &LinuxProcess) -> Vec<LinuxProcess> {
        if issuer.group == self.census.own || self.living.contains_key(&issuer.group) {
            return Vec::new();
        }
        let Ok(process) = open(issuer.group) else { return Vec::new() };
        let mut ancestors = Vec::new();
        let mut line = vec![(issuer.group, process)];
        let mut is_ours = false;
        while let Some((child, process)) = line.last() {
            let Some(parent) = parent_of(*child).filter(|_| lives(process)) else { break };
            if parent == self.census.own {
                is_ours = true;
                break;
            }
            // Nobody, the first process of all, and what cannot be.
            if parent <= 1 || line.iter().any(|(group, _)| *group == parent) {
                break;
            }
            let about = LinuxProcess::by_number(parent);
            if let Some(known) = self.living.get(&parent) {
                if lives(known) {
                    ancestors.push(about);
                    is_ours = true;
                }
                break;
            }
            let Ok(opened) = open(parent) else { break };
            // As long as it has this child it has not ended, so it was this one that was looked at.
            if parent_of(*child) != Some(parent) || !lives(process) {
                break;
            }
            ancestors.push(about);
            line.push((parent, opened));
        }
        if !is_ours {
            ancestors.clear();
            line.truncate(1);
        }
        for (group, process) in line {
            self.census.add(&mut self.living, group, process);
        }
        ancestors
    }
}

fn open(group: u32) -> io::Result<OwnedFd> {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(group, PidfdFlags::empty())?)
}

/// Whether a process has not ended.
fn lives(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&AT_ONCE)), Ok(0))
}

/// How a process that has ended did. Linux before 6.15 forgets it when its parent has waited for it; `None` then.
fn wait_status(group: u32, process: &OwnedFd) -> Option<i32> {
    let shown = wait_status_of_zombie(group);
    // Still there, so the number was still its own.
    if shown.is_some() && is_still_there(process) { shown } else { kept_wait_status(process) }
}

/// Whether nobody has waited for a process yet: then a signal still reaches it, even none.
fn is_still_there(process: &OwnedFd) -> bool {
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: signal 0 is none; no information comes with it.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), 0, nothing, 0) == 0 }
}

/// `struct pidfd_info` of linux/pidfd.h, in its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    control_group: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;

/// What `PIDFD_GET_INFO` says of a process that its parent has waited for.
fn kept_wait_status(process: &OwnedFd) -> Option<i32> {
    const GET_INFO: libc::Ioctl = libc::_IOWR::<PidfdInfo>(0xFF, 11);
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the request carries the size of the structure, which lives during the call and holds any bits.
    let answered = unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO, &raw mut info) } == 0;
    (answered && info.mask & EXIT != 0).then_some(info.exit_code)
}

/// Whether this Linux keeps the exit status of a process for whoever holds a pidfd (6.15 and later).
pub fn ends_are_known() -> bool {
    let Ok(mut child) = std::process::Command::new("/bin/true").spawn() else { return false };
    let process = open(child.id());
    child.wait().is_ok() && process.is_ok_and(|process| kept_wait_status(&process).is_some())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_end_of_a_child_is_seen_before_and_after_its_parent_has_waited() {
        let mut child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        let process = open(child.id()).unwrap();
        while lives(&process) {
            std::thread::yield_now();
        }
        assert_eq!(wait_status(child.id(), &process), Some(3 << 8));
        child.wait().unwrap();
        assert!(!is_still_there(&process));
        assert_eq!(wait_status(child.id(), &process), ends_are_known().then_some(3 << 8));
    }

    #[test]
    fn who_lives_has_no_end_and_this_process_is_its_childs_parent() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let process = open(child.id()).unwrap();
        assert!(lives(&process) && is_still_there(&process));
        assert_eq!(parent_of(child.id()), Some(std::process::id()));
        assert_eq!(wait_status(child.id(), &process), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(parent_of(child.id()), None);
    }
}
