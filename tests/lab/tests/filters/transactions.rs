//! Transactions as drivers use them: KTM's routines, transacted opens, notifications.

use std::cell::RefCell;
use std::rc::Rc;

use crate::made::{Data, Made, Related, filter, note, notes, rule};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::requests::*;
use lab::io::imports::IoGetTransactionParameterBlock;
use lab::ktm::imports::*;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Process, Status};
use lab_nt::{OBJECT_ATTRIBUTES, TXN_PARAMETER_BLOCK};

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
struct Scene {
    lab: Rc<Lab>,
    program: Process,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::builder().build().unwrap();
        lab.with_volume(|volume| {
            volume.put_file("a", b"committed").unwrap();
            volume.put_file("trigger", b"").unwrap();
        });
        let mut made = Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(run_body), None);
        made.registration.TransactionNotificationCallback = Some(notified);
        made.context(FLT_TRANSACTION_CONTEXT, 16, None).load::<0>(&lab, "225000").unwrap();
        let program = lab.process("program.exe");
        Self { lab, program }
    }

    /// Runs `body` in the driver; the rule it broke, if it did.
    fn try_inside(&self, body: impl FnOnce(&FLT_RELATED_OBJECTS) + 'static) -> &'static str {
        BODY.set(Some(Box::new(body)));
        rule(self.program.try_call(|caller| {
            let handle =
                caller.create_file(&CreateOptions::open(r"C:\trigger", GENERIC_WRITE)).unwrap().handle;
            caller.flush(handle).unwrap();
            caller.close(handle).unwrap();
        }))
    }

    fn inside(&self, body: impl FnOnce(&FLT_RELATED_OBJECTS) + 'static) {
        assert_eq!(self.try_inside(body), "none");
    }

    fn clean(&self) {
        self.program.exit(0);
        let report = self.lab.unload();
        assert!(report.is_clean(), "{report}");
    }
}

fn attributes(name: *const lab_nt::UNICODE_STRING, flags: u32) -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: std::ptr::null_mut(),
        ObjectName: name.cast_mut(),
        Attributes: flags,
        SecurityDescriptor: std::ptr::null_mut(),
        SecurityQualityOfService: std::ptr::null_mut(),
    }
}

const KERNEL_HANDLE: u32 = 0x200;

fn create_with(flags: u32, access: u32, timeout: i64) -> (i32, usize) {
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

fn create() -> usize {
    let (status, handle) = create_with(KERNEL_HANDLE, 0x1F_003F, 0);
    assert_eq!(status, 0);
    handle
}

fn outcome(handle: usize) -> u32 {
    let mut buffer = [0u8; 24];
    // SAFETY: the buffer has the length given.
    let status =
        unsafe { ZwQueryInformationTransaction(handle, 0, buffer.as_mut_ptr(), 24, std::ptr::null_mut()) };
    assert_eq!(status, 0);
    u32::from_le_bytes([buffer[20], buffer[21], buffer[22], buffer[23]])
}

fn close(handle: usize) {
    lab_executive::with_lab(|lab| lab.close_handle(handle, lab_executive::Mode::Kernel)).unwrap();
}

fn object(handle: usize) -> PKTRANSACTION {
    lab_executive::with_lab(|lab| lab.handle(handle, lab_executive::Mode::Kernel)).unwrap().body.cast()
}

/// Opens `\a` inside the transaction and writes to it; returns the handle and the file object.
fn open_transacted(related: &FLT_RELATED_OBJECTS, transaction: PKTRANSACTION) -> (i32, HANDLE, PFILE_OBJECT) {
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

fn done_with(handle: HANDLE, file: PFILE_OBJECT) {
    // SAFETY: a handle of FltCreateFileEx2, closed once.
    unsafe { FltClose(handle) };
    lab_executive::with_lab(|lab| lab.objects.dereference(lab, file.cast()));
}

#[test]
fn what_a_transaction_wrote_is_seen_when_it_has_committed() {
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let (status, handle, file) = open_transacted(related, object(transaction));
        assert_eq!(status, 0);
        // SAFETY: a live file object.
        let block = unsafe { IoGetTransactionParameterBlock(file) };
        // SAFETY: the block lives as long as the file object.
        let parameters = unsafe { block.cast::<TXN_PARAMETER_BLOCK>().read_unaligned() };
        assert_eq!(parameters.TransactionObject, object(transaction));
        done_with(handle, file);
        assert_eq!(outcome(transaction), 1);
        // SAFETY: a transaction handle.
        assert_eq!(unsafe { ZwCommitTransaction(transaction, 1) }, 0);
        assert_eq!(outcome(transaction), 2);
        // SAFETY: as above.
        let again = unsafe { ZwCommitTransaction(transaction, 1) };
        assert_eq!(again, Status::TRANSACTION_ALREADY_COMMITTED.0.cast_signed());
        close(transaction);
    });
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"DIRTYtted");
    scene.clean();
}

#[test]
fn the_last_handle_closed_rolls_back_whatever_references_are_left() {
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let (_, handle, file) = open_transacted(related, object(transaction));
        close(transaction);
        let mut length = 0u32;
        let mut buffer = [0u8; 24];
        // SAFETY: a live file object and a buffer of the length given.
        let status = unsafe {
            FltQueryInformationFile(
                related.Instance,
                file,
                buffer.as_mut_ptr().cast(),
                24,
                5,
                &raw mut length,
            )
        };
        assert_eq!(status, Status::HANDLE_NO_LONGER_VALID.0.cast_signed());
        done_with(handle, file);
    });
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"committed");
    scene.clean();
}

#[test]
fn outsiders_are_kept_from_writing_and_see_the_committed_file() {
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let (_, handle, file) = open_transacted(related, object(transaction));
        note(format!("{}", handle.addr()));
        note(format!("{}", file.expose_provenance()));
        note(format!("{transaction}"));
    });
    let kept: Vec<usize> = notes().iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"committed");
    let writer = scene.program.create_file(CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE));
    assert_eq!(writer, Err(Status::SHARING_VIOLATION));
    assert_eq!(scene.lab.transactions().len(), 1);
    scene.inside(move |_| {
        done_with(
            std::ptr::with_exposed_provenance_mut(kept[0]),
            std::ptr::with_exposed_provenance_mut(kept[1]),
        );
        // SAFETY: a transaction handle.
        assert_eq!(unsafe { ZwRollbackTransaction(kept[2], 1) }, 0);
        close(kept[2]);
    });
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"committed");
    scene.clean();
}

#[test]
fn an_outside_writer_keeps_a_transaction_out() {
    let scene = Scene::new();
    let open = scene.program.create_file(CreateOptions::open(r"C:\a", GENERIC_WRITE)).unwrap();
    scene.inside(|related| {
        let transaction = create();
        let (status, ..) = open_transacted(related, object(transaction));
        assert_eq!(status, Status::TRANSACTIONAL_CONFLICT.0.cast_signed());
        close(transaction);
    });
    scene.program.close(open).unwrap();
    scene.clean();
}

#[test]
fn an_enlisted_filter_is_told_how_it_ended() {
    let scene = Scene::new();
    for commit in [true, false] {
        scene.inside(move |related| {
            let transaction = create();
            let mut context = std::ptr::null_mut();
            // SAFETY: live objects; one release for the allocation.
            unsafe {
                assert_eq!(
                    FltAllocateContext(filter(0), FLT_TRANSACTION_CONTEXT, 16, 512, &raw mut context),
                    0
                );
                let set = FltSetTransactionContext(
                    related.Instance,
                    object(transaction),
                    FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                    context,
                    std::ptr::null_mut(),
                );
                assert_eq!(set, 0);
                // COMMIT_FINALIZE and ROLLBACK, as Microsoft's samples do.
                let mask = 0x4000_0008;
                assert_eq!(FltEnlistInTransaction(related.Instance, object(transaction), context, mask), 0);
                let again = FltEnlistInTransaction(related.Instance, object(transaction), context, mask);
                assert_eq!(again, STATUS_FLT_ALREADY_ENLISTED);
                FltReleaseContext(context);
            }
            let (status, handle, file) = open_transacted(related, object(transaction));
            assert_eq!(status, 0);
            done_with(handle, file);
            // SAFETY: a transaction handle.
            let ended = unsafe {
                if commit {
                    ZwCommitTransaction(transaction, 1)
                } else {
                    ZwRollbackTransaction(transaction, 1)
                }
            };
            assert_eq!(ended, 0);
            close(transaction);
        });
        assert_eq!(notes(), [if commit { "told 0x40000000" } else { "told 0x8" }]);
    }
    scene.clean();
}

unsafe extern "win64" fn note_transaction(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    note(if unsafe { (*related).Transaction }.is_null() { "plain" } else { "transacted" });
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn a_programs_own_transaction_shows_in_the_related_objects() {
    let lab = Lab::builder().build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"committed").unwrap());
    let made = Made::new().on(IRP_MJ_CREATE, Some(note_transaction), None).on(
        IRP_MJ_WRITE,
        Some(note_transaction),
        None,
    );
    made.load::<0>(&lab, "225000").unwrap();
    let program = lab.process("program.exe");
    program.call(|caller| {
        let transaction = caller.create_transaction().unwrap();
        let open = CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE).inside(transaction);
        let handle = caller.create_file(&open).unwrap().handle;
        caller.write(handle, lab::Offset::At(0), b"own").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(caller.contents(r"C:\a").unwrap(), b"committed");
        caller.commit_transaction(transaction).unwrap();
        caller.close(transaction).unwrap();
        assert_eq!(caller.contents(r"C:\a").unwrap(), b"ownmitted");
    });
    assert_eq!(notes(), ["transacted", "transacted", "plain", "plain"]);
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_timeout_rolls_back() {
    let scene = Scene::new();
    let transaction = Rc::new(std::cell::Cell::new(0));
    let slot = transaction.clone();
    scene.inside(move |_| {
        let (status, handle) = create_with(KERNEL_HANDLE, 0x1F_003F, -10_000_000);
        assert_eq!(status, 0);
        slot.set(handle);
    });
    scene.lab.executive().advance(20_000_000).unwrap();
    let handle = transaction.get();
    scene.inside(move |_| {
        assert_eq!(outcome(handle), 3);
        // SAFETY: a transaction handle.
        let late = unsafe { ZwCommitTransaction(handle, 1) };
        assert_eq!(late, Status::TRANSACTION_ALREADY_ABORTED.0.cast_signed());
        close(handle);
    });
    scene.clean();
}

#[test]
fn arguments_of_a_new_transaction_are_checked() {
    let scene = Scene::new();
    scene.inside(|_| {
        assert_eq!(create_with(KERNEL_HANDLE, 0, 0).0, lab_executive::status::INVALID_PARAMETER);
    });
    assert_eq!(scene.try_inside(|_| assert_eq!(create_with(0, 0x1F_003F, 0).0, 0)), "kernel-handle");
}

#[test]
fn a_transaction_that_is_left_behind_is_named() {
    let scene = Scene::new();
    scene.inside(|_| {
        create();
    });
    scene.program.exit(0);
    let report = scene.lab.unload();
    assert!(report.to_string().contains("transaction 1, neither committed nor rolled back"), "{report}");
}
