//! A filter that runs what a test gives it, and the calls that such tests repeat.

use std::cell::RefCell;
use std::rc::Rc;

use crate::made::{Data, Made, Related, note, rule};
use fltkernel::*;
use lab::flt::imports::requests::*;
use lab::ktm::imports::*;
use lab::{Builder, CreateOptions, GENERIC_WRITE, Lab, Process};
use lab_nt::{OBJECT_ATTRIBUTES, TXN_PARAMETER_BLOCK};
use lab_volume::{CreateRequest, Options, Reparse, access};

type Body = Box<dyn FnOnce(&FLT_RELATED_OBJECTS)>;

thread_local! {
    static BODY: RefCell<Option<Body>> = const { RefCell::new(None) };
}

unsafe extern "win64" fn run_body(_: Data, related: Related, _: *mut PVOID) -> i32 {
    if let Some(body) = BODY.take() {
        // SAFETY: related objects are valid during the callback.
        body(unsafe { &*related });
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn notified(_: Related, _: PFLT_CONTEXT, what: u32) -> NTSTATUS {
    note(format!("told {what:#x}"));
    0
}

/// A lab with a filter whose pre-operation of a flush runs what a test gives it.
pub(crate) struct Scene {
    pub(crate) lab: Rc<Lab>,
    pub(crate) program: Process,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(Lab::builder(), |made| made)
    }

    /// With another lab, and more for the filter to register.
    pub(crate) fn of(builder: Builder, more: impl FnOnce(Made) -> Made) -> Self {
        let lab = builder.build().unwrap();
        lab.with_volume(|volume| {
            volume.put_file("a", b"committed").unwrap();
            volume.put_file("trigger", b"").unwrap();
        });
        let mut made = Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(run_body), None);
        made.registration.TransactionNotificationCallback = Some(notified);
        more(made).context(FLT_TRANSACTION_CONTEXT, 16, None).load::<0>(&lab, "225000").unwrap();
        let program = lab.process("program.exe");
        Self { lab, program }
    }

    /// Runs `body` in the driver; the rule it broke, if it did.
    pub(crate) fn try_inside(&self, body: impl FnOnce(&FLT_RELATED_OBJECTS) + 'static) -> &'static str {
        BODY.set(Some(Box::new(body)));
        rule(self.program.try_call(|caller| {
            let handle =
                caller.create_file(&CreateOptions::open(r"C:\trigger", GENERIC_WRITE)).unwrap().handle;
            caller.flush(handle).unwrap();
            caller.close(handle).unwrap();
        }))
    }

    pub(crate) fn inside(&self, body: impl FnOnce(&FLT_RELATED_OBJECTS) + 'static) {
        assert_eq!(self.try_inside(body), "none");
    }

    pub(crate) fn clean(&self) {
        self.program.exit(0);
        let report = self.lab.unload();
        assert!(report.is_clean(), "{report}");
    }
}

pub(crate) fn attributes(name: *const lab_nt::UNICODE_STRING, flags: u32) -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: std::ptr::null_mut(),
        ObjectName: name.cast_mut(),
        Attributes: flags,
        SecurityDescriptor: std::ptr::null_mut(),
        SecurityQualityOfService: std::ptr::null_mut(),
    }
}

pub(crate) const KERNEL_HANDLE: u32 = 0x200;

pub(crate) fn create_with(flags: u32, access: u32, timeout: i64) -> (i32, usize) {
    let mut handle = 0;
    let attributes = attributes(std::ptr::null(), flags);
    // SAFETY: pointers to locals of the right types, the rest null as documented; here and below.
    let status = unsafe {
        ZwCreateTransaction(
            &raw mut handle,
            access,
            &raw const attributes,
            std::ptr::null(),
            0,
            0,
            0,
            0,
            &raw const timeout,
            std::ptr::null(),
        )
    };
    (status, handle)
}

pub(crate) fn create() -> usize {
    let (status, handle) = create_with(KERNEL_HANDLE, 0x1F_003F, 0);
    assert_eq!(status, 0);
    handle
}

pub(crate) fn outcome(handle: usize) -> u32 {
    let mut buffer = [0u8; 24];
    // SAFETY: the buffer has the length given.
    let status =
        unsafe { ZwQueryInformationTransaction(handle, 0, buffer.as_mut_ptr(), 24, std::ptr::null_mut()) };
    assert_eq!(status, 0);
    u32::from_le_bytes([buffer[20], buffer[21], buffer[22], buffer[23]])
}

pub(crate) fn close(handle: usize) {
    lab_executive::with_lab(|lab| lab.close_handle(handle, lab_executive::Mode::Kernel)).unwrap();
}

pub(crate) fn object(handle: usize) -> PKTRANSACTION {
    lab_executive::with_lab(|lab| lab.handle(handle, lab_executive::Mode::Kernel)).unwrap().body.cast()
}

/// Opens `\a` inside the transaction and writes to it; returns the handle and the file object.
pub(crate) fn open_transacted(
    related: &FLT_RELATED_OBJECTS,
    transaction: PKTRANSACTION,
) -> (i32, HANDLE, PFILE_OBJECT) {
    let name: Vec<u16> = r"\Device\HarddiskVolume1\a".encode_utf16().collect();
    let bytes = (name.len() * 2) as u16;
    let string =
        lab_nt::UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_ptr().cast_mut() };
    let mut attributes = attributes(&raw const string, KERNEL_HANDLE | 0x40);
    let parameters = TXN_PARAMETER_BLOCK {
        Length: size_of::<TXN_PARAMETER_BLOCK>() as u16,
        TxFsContext: 0xFFFE,
        TransactionObject: transaction,
    };
    let context: [usize; 5] = [40, 0, 0, (&raw const parameters).addr(), 1];
    std::hint::black_box(&parameters as *const TXN_PARAMETER_BLOCK as usize);
    let (mut handle, mut file) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: see above; the context is an IO_DRIVER_CREATE_CONTEXT with its five fields.
    let status = unsafe {
        let mut iosb: IO_STATUS_BLOCK = std::mem::zeroed();
        FltCreateFileEx2(
            related.Filter,
            related.Instance,
            &raw mut handle,
            &raw mut file,
            0x12_019F,
            (&raw mut attributes).cast(),
            &raw mut iosb,
            std::ptr::null_mut(),
            0x80,
            7,
            1,
            0x60,
            std::ptr::null_mut(),
            0,
            0,
            context.as_ptr().cast_mut().cast(),
        )
    };
    if status < 0 {
        return (status, handle, file);
    }
    let (mut offset, mut written) = (0i64, 0);
    // SAFETY: see above.
    let status = unsafe {
        FltWriteFile(
            related.Instance,
            file,
            &raw mut offset,
            5,
            b"DIRTY".as_ptr().cast_mut().cast(),
            0,
            &raw mut written,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    (status, handle, file)
}

pub(crate) fn done_with(handle: HANDLE, file: PFILE_OBJECT) {
    // SAFETY: a handle of FltCreateFileEx2, closed once.
    unsafe { FltClose(handle) };
    lab_executive::with_lab(|lab| lab.objects.dereference(lab, file.cast()));
}

/// An open that a filter makes, as FltCreateFileEx2 takes it.
pub(crate) struct OwnOpen<'a> {
    /// Below the volume.
    pub(crate) path: &'a str,
    pub(crate) access: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    /// `OBJ_*`.
    pub(crate) attributes: u32,
    /// `IO_*`.
    pub(crate) flags: u32,
    /// Without, it starts at the top of the stack.
    pub(crate) instance: PFLT_INSTANCE,
    /// Fields of IO_DRIVER_CREATE_CONTEXT: size, ECP list, device, transaction parameters, silo.
    pub(crate) context: Option<[usize; 5]>,
}

impl<'a> OwnOpen<'a> {
    /// Opens what exists, for reading and writing, below the filter's instance.
    pub(crate) fn new(related: &FLT_RELATED_OBJECTS, path: &'a str) -> Self {
        Self {
            path,
            access: 0x12_019F,
            share: 7,
            disposition: 1,
            attributes: KERNEL_HANDLE | 0x40,
            flags: 0,
            instance: related.Instance,
            context: None,
        }
    }

    /// Makes it.
    pub(crate) fn open(&self, related: &FLT_RELATED_OBJECTS) -> (i32, HANDLE, PFILE_OBJECT) {
        let name: Vec<u16> = format!(r"\Device\HarddiskVolume1{}", self.path).encode_utf16().collect();
        let bytes = (name.len() * 2) as u16;
        let string =
            lab_nt::UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_ptr().cast_mut() };
        let mut attributes = attributes(&raw const string, self.attributes);
        let context = self.context.as_ref().map_or(std::ptr::null(), |context| context.as_ptr());
        let (mut handle, mut file) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: pointers to locals of the right types; the rest is null as documented.
        let status = unsafe {
            let mut iosb: IO_STATUS_BLOCK = std::mem::zeroed();
            FltCreateFileEx2(
                related.Filter,
                self.instance,
                &raw mut handle,
                &raw mut file,
                self.access,
                (&raw mut attributes).cast(),
                &raw mut iosb,
                std::ptr::null_mut(),
                0x80,
                self.share,
                self.disposition,
                0x60,
                std::ptr::null_mut(),
                0,
                self.flags,
                context.cast_mut().cast(),
            )
        };
        (status, handle, file)
    }
}

/// Makes `name` a junction to the root of the volume.
pub(crate) fn junction(lab: &Lab, name: &str) {
    lab.with_volume(|volume| {
        volume.put_directory(name).unwrap();
        let mut ktm = lab_volume::Ktm::new(1, 0);
        let request =
            CreateRequest::path(name).access(access::FILE_WRITE).options(Options::OPEN_REPARSE_POINT);
        let open = volume.create(&mut ktm, request).unwrap().opened().unwrap().open;
        let target: Vec<u16> = r"\??\C:".encode_utf16().collect();
        let mut data = Vec::new();
        // Substitute name, print name: offset and length of each, then the names.
        for number in [0, (target.len() * 2) as u16, (target.len() * 2) as u16, 0] {
            data.extend_from_slice(&number.to_le_bytes());
        }
        data.extend(target.iter().flat_map(|unit| unit.to_le_bytes()));
        volume.set_reparse(open, Reparse { tag: 0xA000_0003, data: data.into() }).unwrap();
        volume.cleanup(open, 0).unwrap();
        volume.close(open).unwrap();
    });
}
