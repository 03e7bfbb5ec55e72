//! A file, whoever holds an oplock on it, and somebody else.

use std::rc::Rc;

use lab::{
    Acknowledgement, Builder, CreateOptions, Created, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Oplock,
    OplockBreak, Pending, Process, Status,
};

pub(crate) const FILE: &str = r"C:\file";
pub(crate) const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
pub(crate) const COMPLETE_IF_OPLOCKED: u32 = 0x100;

pub(crate) struct Scene {
    pub(crate) lab: Rc<Lab>,
    pub(crate) holder: Process,
    pub(crate) other: Process,
}

pub(crate) type Request = Pending<Result<OplockBreak, Status>>;

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(Lab::builder())
    }

    pub(crate) fn of(builder: Builder) -> Self {
        let lab = builder.build().unwrap();
        let (holder, other) = (lab.process("holder.exe"), lab.process("other.exe"));
        holder.put(FILE, b"bytes").unwrap();
        Self { lab, holder, other }
    }

    /// Runs what can run.
    pub(crate) fn settle(&self) {
        self.lab.executive().run_until_idle().unwrap();
    }

    /// An asynchronous handle of the holder.
    pub(crate) fn open(&self, access: u32, share: u32) -> Handle {
        let options = CreateOptions::open(FILE, access).share(share).asynchronous();
        self.holder.create_file(options).unwrap()
    }

    /// How the holder opens a file of its own, which nobody else has open.
    pub(crate) fn beside(&self) -> CreateOptions {
        CreateOptions::open_if(r"C:\beside", ALL).share(7).asynchronous()
    }

    pub(crate) fn request(&self, handle: Handle, kind: Oplock) -> Request {
        let request = self.holder.submit(move |caller| caller.request_oplock(handle, kind));
        self.settle();
        request
    }

    /// The holder has an oplock, on a handle that reads, writes and shares all.
    pub(crate) fn hold(&self, kind: Oplock) -> (Handle, Request) {
        self.hold_on(self.open(ALL, 7), kind)
    }

    pub(crate) fn hold_on(&self, handle: Handle, kind: Oplock) -> (Handle, Request) {
        let request = self.request(handle, kind);
        assert!(!request.is_done(), "{kind:?} is granted");
        (handle, request)
    }

    /// The other one opens.
    pub(crate) fn opens(&self, options: CreateOptions) -> Pending<Result<Created, (Status, u32)>> {
        let open = self.other.submit(move |caller| caller.create_file_or_information(&options));
        self.settle();
        open
    }

    pub(crate) fn acknowledge(&self, handle: Handle, how: Acknowledgement) -> Request {
        let request = self.holder.submit(move |caller| caller.acknowledge_oplock(handle, how));
        self.settle();
        request
    }
}

/// How a break ends the request of an oplock.
pub(crate) fn broken(kind: Oplock, to: Option<Oplock>) -> OplockBreak {
    let says = kind.level().is_some();
    OplockBreak {
        status: Status::SUCCESS,
        to,
        information: match to {
            _ if says => 24,
            Some(_) => 7,
            None => 8,
        },
        must_acknowledge: says.then_some(kind != Oplock::Read),
    }
}

/// How its holder accepts the break.
pub(crate) fn acceptance(kind: Oplock, to: Option<Oplock>) -> Acknowledgement {
    if kind.level().is_some() { Acknowledgement::Keep(to) } else { Acknowledgement::Accept }
}
