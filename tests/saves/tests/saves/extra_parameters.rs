//! Extra create parameters: what a filter above gives to a program's create, the filters below find at the twin's create too.
//! Both filters are made of Rust functions.

use std::cell::{Cell, RefCell};
use std::ptr::null_mut;

use fltkernel::*;
use intact_saves::{FILE, NEW, OLD, Scene, SceneBuilder};
use lab::flt::imports::extra_parameters::*;
use lab::flt::imports::filters::{FltRegisterFilter, FltStartFiltering, FltUnregisterFilter};
use lab::loading::Service;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};

/// In the anti-virus group, above Intact, and in the encryption group, below.
const ALTITUDES: [&str; 2] = ["328010", "145010"];
const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const MAXIMUM_ALLOWED: u32 = 0x200_0000;
const FRESH: &str = r"C:\Saved\fresh.txt";
const THEIRS: &str = r"C:\Free\theirs.txt";
const KIND: &[u8; 16] = b"the key of a fil";
const TAG: u32 = u32::from_le_bytes(*b"Test");

/// A create, as the filter below sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Program,
    /// Of a filter above: inside a transaction, or to look at the file.
    Twin,
    Look,
}

/// A create, and what its extra parameters say.
type Seen = (Whose, Vec<[u8; 8]>);

thread_local! {
    static FILTERS: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
    /// What the filter above has given, and what of it has gone again.
    static GIVEN: RefCell<[Vec<[u8; 8]>; 2]> = const { RefCell::new([const { Vec::new() }; 2]) };
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "win64" fn goes(context: PVOID, _: LPCGUID) {
    // SAFETY: what was allocated with this callback is there until it returns.
    let content = unsafe { context.cast::<[u8; 8]>().read() };
    GIVEN.with_borrow_mut(|[_, gone]| gone.push(content));
}

/// Gives a list with one parameter, each of another content, to each create of a program.
unsafe extern "win64" fn give(
    data: *mut FLT_CALLBACK_DATA,
    related: *const FLT_RELATED_OBJECTS,
    _: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    let (mut list, mut made) = (null_mut(), null_mut());
    // SAFETY: callback data and related objects are valid during the callback, the rest are pointers to locals; eight bytes
    // are what was asked for.
    unsafe {
        if (*data).RequestorMode == 0 {
            return FLT_PREOP_SUCCESS_NO_CALLBACK;
        }
        let content = GIVEN.with_borrow_mut(|[given, _]| {
            given.push([b'a' + given.len() as u8; 8]);
            given[given.len() - 1]
        });
        let (filter, kind) = ((*related).Filter, (&raw const *KIND).cast());
        assert_eq!(FltAllocateExtraCreateParameterList(filter, 0, &raw mut list), 0);
        assert_eq!(FltAllocateExtraCreateParameter(filter, kind, 8, 0, Some(goes), TAG, &raw mut made), 0);
        made.cast::<[u8; 8]>().write(content);
        assert_eq!(FltInsertExtraCreateParameter(filter, list, made), 0);
        assert_eq!(FltSetEcpListIntoCallbackData(filter, data, list), 0);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// Notes each create with its extra parameters.
unsafe extern "win64" fn note(
    data: *mut FLT_CALLBACK_DATA,
    related: *const FLT_RELATED_OBJECTS,
    _: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    let (mut list, mut current, mut contents) = (null_mut(), null_mut(), Vec::new());
    let (mut kind, mut size) = ([0; 16], 0);
    // SAFETY: as above; what a filter of this test gives has eight bytes.
    let whose = unsafe {
        let filter = (*related).Filter;
        assert_eq!(FltGetEcpListFromCallbackData(filter, data, &raw mut list), 0);
        while !list.is_null() {
            let told = (&raw mut kind).cast();
            let last = current;
            if FltGetNextExtraCreateParameter(filter, list, last, told, &raw mut current, &raw mut size) < 0 {
                break;
            }
            assert_eq!((&kind, size), (KIND, 8));
            contents.push(current.cast::<[u8; 8]>().read());
        }
        match (*data).Flags & FLTFL_CALLBACK_DATA_GENERATED_IO != 0 {
            false => Whose::Program,
            true if (*related).Transaction.is_null() => Whose::Look,
            true => Whose::Twin,
        }
    };
    SEEN.with_borrow_mut(|seen| seen.push((whose, contents)));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn unload<const N: usize>(_: u32) -> NTSTATUS {
    // SAFETY: the filter was registered when it was loaded.
    unsafe { FltUnregisterFilter(std::ptr::with_exposed_provenance_mut(FILTERS.get()[N])) };
    0
}

/// Loads a filter with a callback before creates, which is never freed.
fn load<const N: usize>(scene: &Scene, before: PFLT_PRE_OPERATION_CALLBACK) {
    let operation = |major, before| FLT_OPERATION_REGISTRATION {
        MajorFunction: major,
        Flags: 0,
        PreOperation: before,
        PostOperation: None,
        Reserved1: null_mut(),
    };
    let operations =
        Box::leak(Box::new([operation(IRP_MJ_CREATE, before), operation(IRP_MJ_OPERATION_END, None)]));
    // SAFETY: all fields are integers, pointers and optional functions, for which zero is a value.
    let registration: &mut FLT_REGISTRATION = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
    registration.Size = size_of::<FLT_REGISTRATION>() as u16;
    registration.Version = FLT_REGISTRATION_VERSION;
    registration.OperationRegistration = operations.as_ptr();
    registration.FilterUnloadCallback = Some(unload::<N>);
    let at: *const FLT_REGISTRATION = registration;
    let service = Service::new(["above", "below"][N], ALTITUDES[N]);
    let loaded = scene.lab.load_functions(&service, move |driver| {
        let mut filter = null_mut();
        // SAFETY: as DriverEntry would, with its own driver object and tables that live on.
        unsafe {
            assert_eq!(FltRegisterFilter(driver, at, &raw mut filter), 0);
            let mut filters = FILTERS.get();
            filters[N] = filter.expose_provenance();
            FILTERS.set(filters);
            FltStartFiltering(filter)
        }
    });
    assert!(loaded.is_ok());
}

/// A scene with both filters.
fn scene(builder: SceneBuilder) -> Scene {
    let scene = builder.file(r"Free\theirs.txt", OLD).build();
    GIVEN.take();
    load::<0>(&scene, Some(give));
    load::<1>(&scene, Some(note));
    SEEN.take();
    scene
}

/// Opens; tells what the filter below saw. What the filter above gave has gone when the create is done.
fn seen(program: &Process, options: CreateOptions) -> (Result<Handle, Status>, Vec<Seen>) {
    SEEN.take();
    let opened = program.create_file(options);
    GIVEN.with_borrow(|[given, gone]| assert_eq!(given, gone));
    (opened, SEEN.take())
}

/// As `seen`, without what only looks at a file or its volume, and is no create of the program's.
fn seen_of_program(program: &Process, options: CreateOptions) -> (Result<Handle, Status>, Vec<Seen>) {
    let (opened, mut seen) = seen(program, options);
    seen.retain(|(whose, contents)| *whose != Whose::Look || !contents.is_empty());
    (opened, seen)
}

/// A create with its one extra parameter, of the program's `number`th create.
fn with(whose: Whose, number: u8) -> Seen {
    (whose, vec![[b'a' + number; 8]])
}

#[test]
fn the_twin_of_an_existing_file_gets_the_extra_parameters_of_its_create() {
    let scene = scene(Scene::builder());
    let writer = scene.program("writer.exe");
    for number in 0..2 {
        let (opened, seen) = seen_of_program(&writer, CreateOptions::overwrite_if(FILE, ALL));
        assert_eq!(seen, [with(Whose::Twin, number), with(Whose::Program, number)]);
        writer.write(opened.unwrap(), 0, NEW).unwrap();
        writer.close(opened.unwrap()).unwrap();
        scene.assert_committed(FILE, NEW);
    }
    scene.end();
}

#[test]
fn the_twin_of_a_new_file_gets_the_extra_parameters_of_its_create() {
    for access in [ALL, MAXIMUM_ALLOWED] {
        let scene = scene(Scene::builder());
        let writer = scene.program("writer.exe");
        let (opened, seen) = seen_of_program(&writer, CreateOptions::create(FRESH, access));
        assert_eq!(seen, [with(Whose::Program, 0), with(Whose::Twin, 0)], "{access:#x}");
        writer.write(opened.unwrap(), 0, NEW).unwrap();
        writer.close(opened.unwrap()).unwrap();
        scene.assert_committed(FRESH, NEW);
        scene.end();
    }
}

#[test]
fn the_twin_of_a_handle_that_reads_gets_the_extra_parameters_of_its_create() {
    let scene = scene(Scene::builder());
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let (reading, seen) = seen_of_program(&writer, CreateOptions::open(FILE, GENERIC_READ));
    assert_eq!(seen, [with(Whose::Program, 1), with(Whose::Twin, 1)]);
    assert_eq!(writer.read(reading.unwrap(), 0, NEW.len()).unwrap(), NEW);
    writer.close(reading.unwrap()).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn where_nothing_is_saved_filters_below_see_what_they_see_without_intact() {
    let look_through = |builder: SceneBuilder| {
        let scene = scene(builder);
        let program = scene.program("writer.exe");
        let all =
            [(THEIRS, ALL), (FILE, GENERIC_READ), (r"C:\Free\nothing.txt", ALL)].map(|(path, access)| {
                let (opened, seen) = seen(&program, CreateOptions::open(path, access));
                if let Ok(handle) = opened {
                    program.close(handle).unwrap();
                }
                (opened.err(), seen)
            });
        scene.exit_all();
        assert!(scene.lab.unload().is_clean());
        all
    };
    let bare = look_through(Scene::builder().bare());
    assert_eq!(bare[0], (None, vec![with(Whose::Program, 0)]));
    assert_eq!(look_through(Scene::builder()), bare);
}
