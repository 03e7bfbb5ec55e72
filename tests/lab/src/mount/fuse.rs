//! The FUSE side: one reader of `/dev/fuse` that turns each request of the kernel into a job for the lab's
//! thread, in the order in which the kernel sent them.
//!
//! RELEASE is asynchronous for the program that closes, but one reader and one queue keep the order: a
//! request that was issued after `close` returned is served after that close's RELEASE.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, TimeOrNow, WriteFlags,
};
use lab_executive::scheduler::Injector;

use super::census::Census;
use super::linux::Caller;
use super::request::Request;
use super::server::{CLUSTER, Change, Server};
use super::server_of;
use crate::Executive;

/// Whether the running kernel lets programs map files of this mount shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedMappings {
    /// Yes (Linux 6.6 and later).
    Allowed,
    /// No: `mmap` with `MAP_SHARED` fails with `ENODEV`.
    Refused,
}

pub(crate) struct Reader {
    lab: Injector,
    census: Arc<Census>,
    mappings: Sender<SharedMappings>,
}

/// Nothing that the kernel is told may be remembered by it: a rollback changes files behind its back.
const NEVER_CACHED: Duration = Duration::ZERO;

impl Reader {
    pub(crate) fn new(lab: Injector, census: Arc<Census>, mappings: Sender<SharedMappings>) -> Reader {
        Reader { lab, census, mappings }
    }

    /// Queues a request that its issuer's lab process serves. If the lab is gone, the dropped reply answers
    /// `EIO`.
    fn post(&self, request: &fuser::Request, work: impl FnOnce(&Request<'_>) + Send + 'static) {
        self.post_from(Caller::of(request.pid()), work);
    }

    fn post_from(&self, caller: Option<Caller>, work: impl FnOnce(&Request<'_>) + Send + 'static) {
        let mut count = self.census.count();
        let ancestors = caller.as_ref().map(|caller| count.add(&caller.process)).unwrap_or_default();
        self.tell(move |lab, server| server.request(lab, caller.as_ref(), &ancestors, Box::new(work)));
    }

    fn tell(&self, message: impl FnOnce(&Executive, &Rc<Server>) + Send + 'static) {
        self.lab.inject(move |lab| {
            if let Some(server) = server_of(lab) {
                message(lab, &server);
            }
        });
    }
}

/// How the volume is mounted.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("lab".into()),
        MountOption::Subtype("intact-lab".into()),
        MountOption::NoAtime,
    ];
    config
}

/// Makes every request on a mount fail, those that wait for an answer included.
pub(crate) fn abort(folder: &Path) {
    if let Ok(folder) = CString::new(folder.as_os_str().as_bytes()) {
        // SAFETY: a terminated string, alive during the call. FUSE aborts the connection at MNT_FORCE.
        unsafe { libc::umount2(folder.as_ptr(), libc::MNT_FORCE | libc::MNT_DETACH) };
    }
}

macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $ok:expr) => {
        match $result {
            Ok($value) => $ok,
            Err(errno) => $reply.error(Errno::from_i32(errno)),
        }
    };
}

impl Filesystem for Reader {
    fn init(&mut self, _: &fuser::Request, config: &mut KernelConfig) -> io::Result<()> {
        // Truncation as part of the open, not as a SETATTR without a handle before it.
        if config.add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC).is_err() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel's FUSE cannot truncate as part of an open",
            ));
        }
        let mapped = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP).is_ok();
        self.mappings.send(if mapped { SharedMappings::Allowed } else { SharedMappings::Refused }).ok();
        // RELEASE counts as background work; past this limit the kernel would hold one back and let a
        // later request overtake it.
        config.set_max_background(u16::MAX).ok();
        Ok(())
    }

    fn lookup(&self, request: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.lookup(parent.0, &name), attributes =>
                reply.entry(&NEVER_CACHED, &attributes, Generation(0)));
        });
    }

    fn getattr(&self, request: &fuser::Request, node: INodeNo, file: Option<FileHandle>, reply: ReplyAttr) {
        self.post(request, move |request| {
            answer!(reply, request.attributes(node.0, file.map(|file| file.0)), attributes =>
                reply.attr(&NEVER_CACHED, &attributes));
        });
    }

    fn setattr(
        &self,
        request: &fuser::Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        file: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let time = |time: TimeOrNow| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        };
        let change = Change {
            mode,
            owner: (uid, gid),
            size,
            accessed: accessed.map(time),
            modified: modified.map(time),
        };
        self.post(request, move |request| {
            answer!(reply, request.change(node.0, file.map(|file| file.0), &change), attributes =>
                reply.attr(&NEVER_CACHED, &attributes));
        });
    }

    fn readlink(&self, request: &fuser::Request, node: INodeNo, reply: ReplyData) {
        self.post(request, move |request| {
            answer!(reply, request.read_link(node.0), target => reply.data(&target));
        });
    }

    fn mknod(
        &self,
        request: &fuser::Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.make_file(parent.0, &name, mode), attributes =>
                reply.entry(&NEVER_CACHED, &attributes, Generation(0)));
        });
    }

    fn mkdir(
        &self,
        request: &fuser::Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.make_folder(parent.0, &name), attributes =>
                reply.entry(&NEVER_CACHED, &attributes, Generation(0)));
        });
    }

    fn unlink(&self, request: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.remove(parent.0, &name, false), () => reply.ok());
        });
    }

    fn rmdir(&self, request: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.remove(parent.0, &name, true), () => reply.ok());
        });
    }

    fn symlink(
        &self,
        request: &fuser::Request,
        parent: INodeNo,
        name: &OsStr,
        target: &std::path::Path,
        reply: ReplyEntry,
    ) {
        let name = name.as_bytes().to_vec();
        let target = target.as_os_str().as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.make_symlink(parent.0, &name, &target), attributes =>
                reply.entry(&NEVER_CACHED, &attributes, Generation(0)));
        });
    }

    fn rename(
        &self,
        request: &fuser::Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (name.as_bytes().to_vec(), new_name.as_bytes().to_vec());
        self.post(request, move |request| {
            let result = if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
                Err(libc::EINVAL)
            } else {
                let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
                request.rename((parent.0, &name), (new_parent.0, &new_name), replace)
            };
            answer!(reply, result, () => reply.ok());
        });
    }

    fn link(
        &self,
        request: &fuser::Request,
        node: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.link(node.0, parent.0, &name), attributes =>
                reply.entry(&NEVER_CACHED, &attributes, Generation(0)));
        });
    }

    fn open(&self, request: &fuser::Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.post(request, move |request| {
            answer!(reply, request.open(node.0, flags.0), file =>
                reply.opened(FileHandle(file), FopenFlags::FOPEN_DIRECT_IO));
        });
    }

    fn create(
        &self,
        request: &fuser::Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let name = name.as_bytes().to_vec();
        self.post(request, move |request| {
            answer!(reply, request.create(parent.0, &name, mode, flags), (attributes, file) =>
            reply.created(
                &NEVER_CACHED,
                &attributes,
                Generation(0),
                FileHandle(file),
                FopenFlags::FOPEN_DIRECT_IO,
            ));
        });
    }

    fn read(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.post(request, move |request| {
            answer!(reply, request.read(file.0, offset, size), data => reply.data(&data));
        });
    }

    fn write(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        file: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.post(request, move |request| {
            // The kernel's idea of the end of the file may be an outsider's: only the volume knows it.
            let offset = if flags.0 & libc::O_APPEND == 0 { Some(offset) } else { None };
            answer!(reply, request.write(file.0, offset, &data), written => reply.written(written));
        });
    }

    fn flush(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        file: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Read now: the process waits for our answer, so it is still there.
        let caller = Caller::closing(request.pid());
        let exiting = caller.as_ref().and_then(|caller| caller.exiting);
        self.post_from(caller, move |request| {
            request.descriptor_closed(file.0, exiting);
            reply.ok();
        });
    }

    fn release(
        &self,
        _request: &fuser::Request,
        _node: INodeNo,
        file: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.tell(move |lab, server| server.last_descriptor_closed(lab, file.0, move || reply.ok()));
    }

    fn fsync(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        file: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.post(request, move |request| {
            answer!(reply, request.flush(file.0), () => reply.ok());
        });
    }

    fn opendir(&self, request: &fuser::Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.post(request, move |request| {
            answer!(reply, request.open_folder(node.0), folder =>
                reply.opened(FileHandle(folder), FopenFlags::empty()));
        });
    }

    fn readdir(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        folder: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.post(request, move |request| {
            answer!(reply, request.list(folder.0, offset), entries => {
                for entry in entries {
                    if reply.add(INodeNo(entry.node), entry.next, entry.kind, &entry.name) {
                        break;
                    }
                }
                reply.ok();
            });
        });
    }

    fn releasedir(
        &self,
        _request: &fuser::Request,
        _node: INodeNo,
        folder: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.tell(move |lab, server| server.last_descriptor_closed(lab, folder.0, move || reply.ok()));
    }

    fn fsyncdir(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        _folder: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        // NTFS logs what happens to names; FlushFileBuffers on a folder handle needs write access.
        let _ = request;
        reply.ok();
    }

    fn statfs(&self, request: &fuser::Request, _node: INodeNo, reply: ReplyStatfs) {
        self.post(request, move |request| {
            answer!(reply, request.capacity(), capacity => reply.statfs(
                capacity.total,
                capacity.free,
                capacity.free,
                0,
                0,
                CLUSTER,
                255,
                CLUSTER,
            ));
        });
    }

    fn fallocate(
        &self,
        request: &fuser::Request,
        _node: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.post(request, move |request| {
            answer!(reply, request.allocate(file.0, offset, length, mode), () => reply.ok());
        });
    }

    // Everything else (extended attributes, access(2), lseek for holes, ioctl, copy_file_range) answers ENOSYS,
    // the trait's own body, and the kernel does without. Byte-range locks it then keeps for itself.
}
