//! The Linux side of a process: who issued a request, and how a process that is going away ended.
//!
//! Everything is read from `/proc` while the kernel waits for our answer to that process' request, so the
//! process cannot vanish meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A Linux process: the thread group, told apart from a later one with the same number by its start time,
/// and from what it was before `execve` by its executable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinuxProcess {
    /// Thread group id.
    pub group: u32,
    /// Clock ticks between boot and the start of the thread group, where it could be read.
    pub started: Option<u64>,
    /// The executable, as the kernel names it; empty if it could not be read.
    pub executable: String,
}

impl LinuxProcess {
    /// One that does not wait for us: it may be in the middle of `execve`, as [`Caller::closing`] says, and then the link to
    /// its executable is there only after we have answered it. Nobody waits for that; the executable is not known then.
    pub(super) fn by_number(group: u32) -> LinuxProcess {
        let (answer, answered) = mpsc::channel();
        thread::spawn(move || {
            let executable = fs::read_link(format!("/proc/{group}/exe"));
            answer.send(executable.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()).ok();
        });
        LinuxProcess { group, started: None, executable: answered.recv_timeout(PATIENCE).unwrap_or_default() }
    }

    /// Whether two sightings are of one process, as far as each of them tells.
    pub fn is_same(&self, other: &LinuxProcess) -> bool {
        let started = self.started.zip(other.started);
        self.group == other.group && started.is_none_or(|(one, two)| one == two)
    }
}

/// What can be said about a process at the moment of one of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub process: LinuxProcess,
    /// The wait status that its parent will see, if the thread that issued the request is on its way out.
    pub exiting: Option<i32>,
}

/// How long the executable of a process may take that does not wait for us.
const PATIENCE: Duration = Duration::from_millis(250);

/// `PF_EXITING` in the flags of `/proc/PID/stat`: set before a dying process closes its files.
const EXITING: u64 = 0x4;

impl Caller {
    /// The issuer of a request. `thread` is the request's pid, which is a thread id; 0 (the kernel itself:
    /// RELEASE, write-back) has none.
    pub fn of(thread: u32) -> Option<Caller> {
        let folder = folder(thread)?;
        let stat = Stat::parse(&fs::read_to_string(folder.join("stat")).ok()?)?;
        let group = Status::parse(&fs::read_to_string(folder.join("status")).ok()?)?.group;
        let started = if group == thread {
            stat.started
        } else {
            Stat::parse(&fs::read_to_string(format!("/proc/{group}/stat")).ok()?)?.started
        };
        // A dying process has given back its memory, and with it the link to its executable, before it
        // closes its files: whoever keeps processes knows it from before.
        let executable = fs::read_link(folder.join("exe")).map(|path| path.to_string_lossy().into_owned());
        let executable = executable.unwrap_or_default();
        let process = LinuxProcess { group, started: Some(started), executable };
        Some(Caller { process, exiting: (stat.flags & EXITING != 0).then_some(stat.exit) })
    }

    /// The issuer of a FLUSH. It may be in the middle of `execve`, which closes descriptors under a lock that
    /// `stat` waits for, while it waits for us: so less is asked of a process that still has memory of its
    /// own. One that is exiting has none any more.
    pub fn closing(thread: u32) -> Option<Caller> {
        let status = Status::parse(&fs::read_to_string(folder(thread)?.join("status")).ok()?)?;
        if !status.has_memory {
            return Caller::of(thread);
        }
        let process = LinuxProcess { group: status.group, started: None, executable: String::new() };
        Some(Caller { process, exiting: None })
    }
}

/// Who a thread group came from, or who has adopted it since; 0 for nobody. It is not asked for more, because it may be in
/// the middle of `execve`, as [`Caller::closing`] says.
pub(super) fn parent_of(group: u32) -> Option<u32> {
    Some(Status::parse(&fs::read_to_string(folder(group)?.join("status")).ok()?)?.parent)
}

/// The wait status of a process that has ended and for which its parent has not waited yet.
pub(super) fn wait_status_of_zombie(group: u32) -> Option<i32> {
    let text = fs::read_to_string(folder(group)?.join("stat")).ok()?;
    let stat = Stat::parse(&text)?;
    matches!(stat.state, 'Z' | 'X').then_some(stat.exit)
}

fn folder(thread: u32) -> Option<PathBuf> {
    (thread != 0).then(|| PathBuf::from(format!("/proc/{thread}")))
}

/// The process of the calling thread group, as requests of it would show.
pub fn myself() -> Option<LinuxProcess> {
    Caller::of(std::process::id()).map(|caller| caller.process)
}

/// The lines of `/proc/PID/status` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    group: u32,
    parent: u32,
    has_memory: bool,
}

impl Status {
    fn parse(text: &str) -> Option<Status> {
        let line = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
        let number = |name| line(name)?.trim().parse().ok();
        let has_memory = line("VmSize:").is_some();
        Some(Status { group: number("Tgid:")?, parent: number("PPid:")?, has_memory })
    }
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    flags: u64,
    started: u64,
    exit: i32,
}

impl Stat {
    /// Fields are counted after the last `)`: a command name may hold spaces and parentheses.
    fn parse(text: &str) -> Option<Stat> {
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            state: field(3)?.chars().next()?,
            flags: field(9)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
            exit: field(52)?.parse().ok()?,
        })
    }
}

/// The exit status of the lab process that mirrors a process with this Linux wait status.
///
/// An exit code stays itself. A signal becomes what the same cause gives on Windows; one that another
/// process sends to end it becomes `TerminateProcess` with 1, which cannot be told from `exit(1)` there
/// either.
pub fn exit_status(wait_status: i32) -> i32 {
    if libc::WIFEXITED(wait_status) {
        return libc::WEXITSTATUS(wait_status);
    }
    let status: u32 = match libc::WTERMSIG(wait_status) {
        libc::SIGSEGV => 0xC000_0005,                 // STATUS_ACCESS_VIOLATION
        libc::SIGBUS => 0xC000_0006,                  // STATUS_IN_PAGE_ERROR
        libc::SIGILL => 0xC000_001D,                  // STATUS_ILLEGAL_INSTRUCTION
        libc::SIGFPE => 0xC000_0094,                  // STATUS_INTEGER_DIVIDE_BY_ZERO
        libc::SIGTRAP => 0x8000_0003,                 // STATUS_BREAKPOINT
        libc::SIGSYS => 0xC000_001C,                  // STATUS_INVALID_SYSTEM_SERVICE
        libc::SIGABRT => 0xC000_0409,                 // what abort() of the C runtime reports
        libc::SIGINT | libc::SIGHUP => 0xC000_013A,   // STATUS_CONTROL_C_EXIT: key, or console closed
        libc::SIGXCPU | libc::SIGXFSZ => 0xC000_0044, // STATUS_QUOTA_EXCEEDED
        _ => 1,
    };
    status as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let mut text = String::from("42 (a) (b c)) S");
        for number in 4..=52 {
            text.push_str(&format!(" {number}"));
        }
        assert_eq!(Stat::parse(&text), Some(Stat { state: 'S', flags: 9, started: 22, exit: 52 }));
    }

    #[test]
    fn a_short_or_foreign_line_is_no_process() {
        assert_eq!(Stat::parse("42 (a) S 1 2 3"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_is_alive_and_itself() {
        let caller = Caller::of(std::process::id()).unwrap();
        assert_eq!(caller.process.group, std::process::id());
        assert_eq!(caller.exiting, None);
        assert!(!caller.process.executable.is_empty());
    }

    #[test]
    fn a_process_with_memory_is_not_exiting_and_is_known_by_its_number() {
        let caller = Caller::closing(std::process::id()).unwrap();
        assert_eq!(caller.exiting, None);
        assert!(caller.process.is_same(&myself().unwrap()));
        let kernel_thread = Status { group: 2, parent: 0, has_memory: false };
        assert_eq!(Status::parse("Name:\tkthreadd\nTgid:\t2\nPPid:\t0\nThreads:\t1\n"), Some(kernel_thread));
    }

    #[test]
    fn a_number_that_was_given_out_again_is_another_process() {
        let process = |started| LinuxProcess { group: 7, started, executable: String::new() };
        assert!(!process(Some(1)).is_same(&process(Some(2))));
        assert!(process(Some(1)).is_same(&process(None)));
    }

    #[test]
    fn a_thread_belongs_to_its_process() {
        let thread = std::thread::spawn(|| {
            // SAFETY: takes and touches nothing.
            let id = unsafe { libc::gettid() } as u32;
            (id, Caller::of(id).unwrap())
        });
        let (id, caller) = thread.join().unwrap();
        assert_ne!(id, std::process::id());
        assert_eq!(Some(caller.process), myself());
    }

    #[test]
    fn ends_are_told_as_windows_tells_them() {
        assert_eq!(exit_status(0), 0);
        assert_eq!(exit_status(3 << 8), 3);
        assert_eq!(exit_status(libc::SIGKILL), 1);
        assert_eq!(exit_status(libc::SIGSEGV | 0x80), 0xC000_0005u32 as i32);
        assert_eq!(exit_status(libc::SIGINT), 0xC000_013Au32 as i32);
    }
}
