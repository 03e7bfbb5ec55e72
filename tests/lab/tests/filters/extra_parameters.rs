//! Extra create parameters: what goes along with a create, and who frees it.

use std::ptr::null_mut;

use crate::inside::*;
use crate::made::{Data, Made, Pre, Related, keep, kept, note, notes, rule};
use crate::scene::{clean, lab_with};
use fltkernel::*;
use lab::flt::imports::extra_parameters::*;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Process};
use lab_executive::irql::DISPATCH_LEVEL;
use lab_executive::status;

const ONE: [u8; 16] = *b"the first type..";
const TWO: [u8; 16] = *b"the second type.";
const TAG: u32 = u32::from_le_bytes(*b"Test");

unsafe extern "win64" fn goes(context: PVOID, kind: LPCGUID) {
    // SAFETY: what was allocated with this callback: eight bytes, and a type; both are still there.
    let (text, kind) = unsafe { (context.cast::<[u8; 8]>().read(), kind.cast::<[u8; 16]>().read()) };
    let kind = if kind == ONE { "one" } else { "two" };
    note(format!("{kind} {} goes", String::from_utf8_lossy(&text)));
}

/// An empty list. (All calls below are with the filter of the running callback, and with pointers to locals.)
fn list(filter: PFLT_FILTER) -> PECP_LIST {
    let mut list = null_mut();
    // SAFETY: see above.
    assert_eq!(unsafe { FltAllocateExtraCreateParameterList(filter, 0, &raw mut list) }, 0);
    list
}

fn parameter(filter: PFLT_FILTER, kind: &[u8; 16], text: &[u8; 8]) -> PVOID {
    let mut made = null_mut();
    let kind: LPCGUID = (&raw const *kind).cast();
    // SAFETY: see above; eight bytes are what was asked for.
    unsafe {
        let told = FltAllocateExtraCreateParameter(filter, kind, 8, 0, Some(goes), TAG, &raw mut made);
        assert_eq!(told, 0);
        made.cast::<[u8; 8]>().write(*text);
    }
    made
}

fn insert(filter: PFLT_FILTER, list: PECP_LIST, parameter: PVOID) -> i32 {
    // SAFETY: see above.
    unsafe { FltInsertExtraCreateParameter(filter, list, parameter) }
}

/// A list with one parameter of the first type.
fn list_of(filter: PFLT_FILTER, text: &[u8; 8]) -> PECP_LIST {
    let list = list(filter);
    assert_eq!(insert(filter, list, parameter(filter, &ONE, text)), 0);
    list
}

fn find(filter: PFLT_FILTER, list: PECP_LIST, kind: &[u8; 16]) -> (i32, PVOID, u32) {
    let (mut context, mut size) = (std::ptr::without_provenance_mut(1), 99);
    // SAFETY: see above.
    let status = unsafe {
        let kind = (&raw const *kind).cast();
        FltFindExtraCreateParameter(filter, list, kind, &raw mut context, &raw mut size)
    };
    (status, context, size)
}

fn remove(filter: PFLT_FILTER, list: PECP_LIST, kind: &[u8; 16]) -> (i32, PVOID) {
    let mut context = std::ptr::without_provenance_mut(1);
    // SAFETY: see above.
    let status = unsafe {
        let kind = (&raw const *kind).cast();
        FltRemoveExtraCreateParameter(filter, list, kind, &raw mut context, null_mut())
    };
    (status, context)
}

fn free(filter: PFLT_FILTER, parameter: PVOID) {
    // SAFETY: see above; tests of misuse are wrong on purpose.
    unsafe { FltFreeExtraCreateParameter(filter, parameter) };
}

fn free_list(filter: PFLT_FILTER, list: PECP_LIST) {
    // SAFETY: see above; tests of misuse are wrong on purpose.
    unsafe { FltFreeExtraCreateParameterList(filter, list) };
}

/// What FltGetNextExtraCreateParameter tells: the type, and the parameter.
fn next(filter: PFLT_FILTER, list: PECP_LIST, current: PVOID) -> Result<([u8; 16], PVOID), i32> {
    let (mut kind, mut context, mut size) = ([0; 16], std::ptr::without_provenance_mut(1), 99);
    // SAFETY: see above.
    let status = unsafe {
        let kind = (&raw mut kind).cast();
        FltGetNextExtraCreateParameter(filter, list, current, kind, &raw mut context, &raw mut size)
    };
    if status == status::NOT_FOUND {
        assert_eq!((context, size), (null_mut(), 0));
    }
    if status < 0 { Err(status) } else { Ok((kind, context)) }
}

/// The list of an operation.
fn list_at(filter: PFLT_FILTER, data: Data) -> (i32, PECP_LIST) {
    let mut list = null_mut();
    // SAFETY: callback data is valid during the callback.
    let status = unsafe { FltGetEcpListFromCallbackData(filter, data, &raw mut list) };
    (status, list)
}

fn set(filter: PFLT_FILTER, data: Data, list: PECP_LIST) -> i32 {
    // SAFETY: callback data is valid during the callback.
    unsafe { FltSetEcpListIntoCallbackData(filter, data, list) }
}

fn filter_of(related: Related) -> PFLT_FILTER {
    // SAFETY: related objects are valid during the callback.
    unsafe { (*related).Filter }
}

/// Notes the parameters of a create.
unsafe extern "win64" fn note_extra(data: Data, related: Related, _: *mut PVOID) -> i32 {
    let filter = filter_of(related);
    let (status, list) = list_at(filter, data);
    assert_eq!(status, 0);
    let mut current = null_mut();
    while let Ok((kind, context)) = if list.is_null() { Err(0) } else { next(filter, list, current) } {
        // SAFETY: parameters of these tests have eight bytes.
        let text = unsafe { context.cast::<[u8; 8]>().read() };
        let kind = if kind == ONE { "one" } else { "two" };
        note(format!("{kind} {}", String::from_utf8_lossy(&text)));
        current = context;
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.10.
#[test]
fn an_extra_parameter_is_found_by_its_type_until_it_is_removed() {
    let scene = Scene::new();
    scene.inside(|related| {
        let filter = related.Filter;
        let list = list(filter);
        let one = parameter(filter, &ONE, b"content1");
        assert_eq!(find(filter, list, &ONE), (status::NOT_FOUND, null_mut(), 0));
        assert_eq!(insert(filter, list, one), 0);
        assert_eq!(find(filter, list, &ONE), (0, one, 8));
        assert_eq!(find(filter, list, &TWO), (status::NOT_FOUND, null_mut(), 0));
        let another = parameter(filter, &ONE, b"content2");
        assert_eq!(insert(filter, list, another), status::INVALID_PARAMETER);
        assert_eq!(insert(filter, list, one), status::INVALID_PARAMETER);
        assert_eq!(remove(filter, list, &TWO), (status::NOT_FOUND, null_mut()));
        assert_eq!(remove(filter, list, &ONE), (0, one));
        assert_eq!(find(filter, list, &ONE).0, status::NOT_FOUND);
        assert_eq!(insert(filter, list, another), 0);
        assert_eq!(notes(), [""; 0], "removing does not free");
        free(filter, one);
        free_list(filter, list);
    });
    scene.clean();
}

/// minifilter-rules §1.10.
#[test]
fn extra_parameters_are_told_one_after_another() {
    let scene = Scene::new();
    scene.inside(|related| {
        let filter = related.Filter;
        assert_eq!(next(filter, null_mut(), null_mut()), Err(status::INVALID_PARAMETER));
        let list = list(filter);
        assert_eq!(next(filter, list, null_mut()), Err(status::NOT_FOUND));
        let (one, two) = (parameter(filter, &ONE, b"content1"), parameter(filter, &TWO, b"content2"));
        assert_eq!((insert(filter, list, one), insert(filter, list, two)), (0, 0));
        assert_eq!(next(filter, list, null_mut()), Ok((ONE, one)));
        assert_eq!(next(filter, list, one), Ok((TWO, two)));
        assert_eq!(next(filter, list, two), Err(status::NOT_FOUND));
        free_list(filter, list);
    });
    scene.clean();
}

/// minifilter-rules §1.10.
#[test]
fn the_cleanup_callback_of_an_extra_parameter_runs_when_it_goes() {
    let scene = Scene::new();
    scene.inside(|related| {
        let filter = related.Filter;
        free(filter, parameter(filter, &TWO, b"by hand."));
        assert_eq!(notes(), ["two by hand. goes"]);
        free_list(filter, list_of(filter, b"in list."));
        assert_eq!(notes(), ["one in list. goes"]);
    });
    scene.clean();
}

/// minifilter-rules §1.10.
#[test]
fn an_acknowledged_extra_parameter_is_known_as_one() {
    let scene = Scene::new();
    scene.inside(|related| {
        let filter = related.Filter;
        let one = parameter(filter, &ONE, b"content1");
        // SAFETY: a live parameter.
        unsafe {
            assert_eq!(FltIsEcpAcknowledged(filter, one), 0);
            FltAcknowledgeEcp(filter, one);
            assert_eq!(FltIsEcpAcknowledged(filter, one), 1);
            assert_eq!(FltIsEcpFromUserMode(filter, one), 0);
        }
        free(filter, one);
    });
    scene.clean();
}

/// minifilter-rules §1.10.
#[test]
fn an_extra_parameter_is_in_paged_pool_if_not_told_otherwise() {
    for (flags, broken) in
        [(0, "paged-at-dispatch"), (1, "paged-at-dispatch"), (2, "none"), (3, "none"), (4, "bad-parameter")]
    {
        let scene = Scene::new();
        let found = scene.try_inside(move |related| {
            let (filter, mut made) = (related.Filter, null_mut());
            let kind = ONE;
            let kind: LPCGUID = (&raw const kind).cast();
            // SAFETY: pointers to locals; eight bytes are what was asked for.
            unsafe {
                FltAllocateExtraCreateParameter(filter, kind, 8, flags, None, TAG, &raw mut made);
                let old = lab_executive::with_lab(|lab| lab.raise_irql(DISPATCH_LEVEL));
                made.cast::<u8>().write_volatile(1);
                lab_executive::with_lab(|lab| lab.lower_irql(old));
            }
            free(filter, made);
        });
        assert_eq!(found, broken, "{flags}");
    }
    let scene = Scene::new();
    scene.inside(|related| {
        let mut list = null_mut();
        // SAFETY: as `list`: a list may be charged, too.
        unsafe { FltAllocateExtraCreateParameterList(related.Filter, 1, &raw mut list) };
        free_list(related.Filter, list);
    });
    scene.clean();
}

/// minifilter-rules §1.10, §1.3: the list stays the caller's, and serves as many opens as he likes.
#[test]
fn the_extra_parameters_of_an_open_are_seen_below() {
    let scene = Scene::new();
    Made::new().on(IRP_MJ_CREATE, Some(note_extra), None).load::<1>(&scene.lab, "145100").unwrap();
    scene.inside(|related| {
        notes();
        let list = list_of(related.Filter, b"carried.");
        let context = Some([40, list.expose_provenance(), 0, 0, 1]);
        for _ in 0..2 {
            let (_, handle, file) = OwnOpen { context, ..OwnOpen::new(related, r"\a") }.open(related);
            done_with(handle, file);
            assert_eq!(notes(), ["one carried."]);
        }
        let (_, handle, file) = OwnOpen::new(related, r"\a").open(related);
        done_with(handle, file);
        assert_eq!(notes(), [""; 0]);
        // Beside a transaction, too.
        let transaction = create();
        let parameters = lab_nt::TXN_PARAMETER_BLOCK {
            Length: size_of::<lab_nt::TXN_PARAMETER_BLOCK>() as u16,
            TxFsContext: 0xFFFE,
            TransactionObject: object(transaction),
        };
        let at = (&raw const parameters).expose_provenance();
        let context = Some([40, list.expose_provenance(), 0, at, 1]);
        let (told, handle, file) = OwnOpen { context, ..OwnOpen::new(related, r"\a") }.open(related);
        assert_eq!((told, notes()), (0, vec!["one carried.".to_string()]));
        done_with(handle, file);
        close(transaction);
        free_list(related.Filter, list);
        assert_eq!(notes(), ["one carried. goes"]);
    });
    scene.clean();
}

unsafe extern "win64" fn add(data: Data, related: Related, _: *mut PVOID) -> i32 {
    let filter = filter_of(related);
    let (_, list) = list_at(filter, data);
    if !list.is_null() {
        assert_eq!(insert(filter, list, parameter(filter, &TWO, b"added...")), 0);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.10.
#[test]
fn what_is_added_to_the_list_of_an_open_goes_with_it() {
    let scene = Scene::new();
    Made::new().on(IRP_MJ_CREATE, Some(add), None).load::<1>(&scene.lab, "145200").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(note_extra), None).load::<2>(&scene.lab, "145100").unwrap();
    scene.inside(|related| {
        let filter = related.Filter;
        let list = list_of(filter, b"carried.");
        notes();
        let context = Some([40, list.expose_provenance(), 0, 0, 1]);
        for path in [r"\a", r"\nothing"] {
            let (status, handle, file) = OwnOpen { context, ..OwnOpen::new(related, path) }.open(related);
            assert_eq!(status == 0, path == r"\a");
            assert_eq!(notes(), ["one carried.", "two added...", "two added... goes"], "{path}");
            assert_eq!(find(filter, list, &TWO).0, status::NOT_FOUND);
            if status == 0 {
                done_with(handle, file);
            }
        }
        free_list(filter, list);
    });
    scene.clean();
}

/// Opens another file with the list of a create, which a filter below adds to.
unsafe extern "win64" fn nest(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    let related = unsafe { &*related };
    let (_, list) = list_at(related.Filter, data);
    if !list.is_null() {
        let context = Some([40, list.expose_provenance(), 0, 0, 1]);
        let (_, handle, file) = OwnOpen { context, ..OwnOpen::new(related, r"\trigger") }.open(related);
        note(format!("nested {:#x}", find(related.Filter, list, &TWO).0));
        done_with(handle, file);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn add_first(data: Data, related: Related, _: *mut PVOID) -> i32 {
    let filter = filter_of(related);
    let (_, list) = list_at(filter, data);
    if !list.is_null() {
        assert_eq!(insert(filter, list, parameter(filter, &ONE, b"outer...")), 0);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.10.
#[test]
fn what_is_added_to_the_list_of_a_nested_open_goes_with_the_nested_one() {
    let scene = Scene::new();
    Made::new().on(IRP_MJ_CREATE, Some(add_first), None).load::<3>(&scene.lab, "145300").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(nest), None).load::<1>(&scene.lab, "145200").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(add), None).load::<2>(&scene.lab, "145100").unwrap();
    scene.inside(|related| {
        let list = list(related.Filter);
        notes();
        let context = Some([40, list.expose_provenance(), 0, 0, 1]);
        let (_, handle, file) = OwnOpen { context, ..OwnOpen::new(related, r"\a") }.open(related);
        let gone = "two added... goes";
        assert_eq!(notes(), [gone, "nested 0xc0000225", "one outer... goes", gone]);
        done_with(handle, file);
        free_list(related.Filter, list);
    });
    scene.clean();
}

/// Sets a list of its own into a create.
unsafe extern "win64" fn give(data: Data, related: Related, _: *mut PVOID) -> i32 {
    let filter = filter_of(related);
    let (_, there) = list_at(filter, data);
    if there.is_null() {
        assert_eq!(set(filter, data, list_of(filter, b"given...")), 0);
    } else {
        note("has one");
    }
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn given(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    note(format!("after {}", list_at(filter_of(related), data).1.is_null()));
    FLT_POSTOP_FINISHED_PROCESSING
}

fn open_and_close(program: &Process, path: &str) {
    let handle = program.create_file(CreateOptions::open(path, GENERIC_READ)).unwrap();
    program.close(handle).unwrap();
}

/// minifilter-rules §1.10.
#[test]
fn a_list_that_a_filter_sets_goes_with_the_create() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(give), Some(given)).load::<0>(&lab, "225000").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(note_extra), None).load::<1>(&lab, "145100").unwrap();
    open_and_close(&program, r"C:\a");
    assert_eq!(notes(), ["one given...", "after false", "one given... goes"]);
    clean(&lab, &program);
}

/// minifilter-rules §1.10.
#[test]
fn a_list_that_a_filter_sets_is_there_behind_a_junction() {
    let (lab, program) = lab_with(1);
    junction(&lab, "way");
    Made::new().on(IRP_MJ_CREATE, Some(give), Some(given)).load::<0>(&lab, "225000").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(note_extra), None).load::<1>(&lab, "145100").unwrap();
    open_and_close(&program, r"C:\way\a");
    let once = ["one given...", "after false"];
    assert_eq!(notes(), [&once[..], &["has one"], &once, &["one given... goes"]].concat());
    clean(&lab, &program);
}

/// Asks as if the operation were a create without a list.
unsafe extern "win64" fn set_all_the_same(data: Data, related: Related, _: *mut PVOID) -> i32 {
    let filter = filter_of(related);
    let list = list(filter);
    note(format!("{:#x} {:#x}", list_at(filter, data).0, set(filter, data, list)));
    free_list(filter, list);
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.10.
#[test]
fn only_a_create_without_a_list_is_given_one() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(give), Some(given)).load::<0>(&lab, "225000").unwrap();
    let below = Made::new().on(IRP_MJ_CREATE, Some(set_all_the_same), None);
    let below = below.on(IRP_MJ_CLEANUP, Some(set_all_the_same), None);
    below.on(IRP_MJ_NETWORK_QUERY_OPEN, Some(set_all_the_same), None).load::<1>(&lab, "145100").unwrap();
    program.call(|caller| caller.query_attributes_by_path(r"C:\a")).unwrap();
    assert_eq!(notes(), ["0xc000000d 0xc00000f0"], "what is no IRP");
    open_and_close(&program, r"C:\a");
    let told = notes();
    assert_eq!(told, ["0x0 0xc00000f1", "after false", "one given... goes", "0xc000000d 0xc00000f0"]);
    clean(&lab, &program);
}

/// What a filter does wrong, the rule that it breaks.
type Misuse = (&'static str, fn(&FLT_RELATED_OBJECTS));

const MISUSES: [Misuse; 11] = [
    ("ecp-context", |related| {
        let one = parameter(related.Filter, &ONE, b"content1");
        free(related.Filter, one);
        free(related.Filter, one);
    }),
    ("ecp-list", |related| {
        let list = list(related.Filter);
        free_list(related.Filter, list);
        free_list(related.Filter, list);
    }),
    ("ecp-context", |related| {
        let list = list(related.Filter);
        insert(related.Filter, list, std::ptr::without_provenance_mut(0x5A50));
    }),
    ("ecp-context", |related| {
        let filter = related.Filter;
        let (one, other) = (list_of(filter, b"content1"), list_of(filter, b"content2"));
        let _ = next(filter, one, find(filter, other, &ONE).1);
    }),
    ("ecp-list", |related| {
        find(related.Filter, null_mut(), &ONE);
    }),
    ("ecp-in-list", |related| {
        let filter = related.Filter;
        let list = list_of(filter, b"content1");
        free(filter, find(filter, list, &ONE).1);
    }),
    ("ecp-in-list", |related| {
        let filter = related.Filter;
        let one = find(filter, list_of(filter, b"content1"), &ONE).1;
        insert(filter, list(filter), one);
    }),
    ("ecp-list", |related| {
        let list = list(related.Filter);
        free_list(related.Filter, list);
        let context = Some([40, list.expose_provenance(), 0, 0, 1]);
        OwnOpen { context, ..OwnOpen::new(related, r"\a") }.open(related);
    }),
    ("bad-parameter", |related| {
        let mut list = null_mut();
        // SAFETY: as `list`, but for the flags.
        unsafe { FltAllocateExtraCreateParameterList(related.Filter, 2, &raw mut list) };
    }),
    ("flt-object", |_| {
        list(null_mut());
    }),
    ("use-after-free", |related| {
        let one = parameter(related.Filter, &ONE, b"content1");
        free(related.Filter, one);
        // SAFETY: none: its memory has gone.
        unsafe { one.cast::<u8>().write_volatile(1) };
    }),
];

/// minifilter-rules §1.10.
#[test]
fn misuse_of_extra_parameters_stops_the_run() {
    for (number, (broken, act)) in MISUSES.into_iter().enumerate() {
        assert_eq!(Scene::new().try_inside(act), broken, "misuse {number}");
    }
}

/// Acknowledges a parameter, or asks about it.
fn ask(filter: PFLT_FILTER, parameter: PVOID, what: u8) {
    // SAFETY: see above; tests of misuse are wrong on purpose.
    unsafe {
        match what {
            0 => FltAcknowledgeEcp(filter, parameter),
            1 => assert_eq!(FltIsEcpAcknowledged(filter, parameter), 0),
            _ => assert_eq!(FltIsEcpFromUserMode(filter, parameter), 0),
        }
    }
}

/// minifilter-rules §1.10.
#[test]
fn a_routine_for_extra_parameters_wants_the_filter_and_a_live_parameter() {
    const NO_FILTER: PFLT_FILTER = null_mut();
    type Routine = fn(PFLT_FILTER, PECP_LIST, PVOID);
    let routines: [Routine; 9] = [
        |filter, list, _| free_list(filter, list),
        |filter, _, alone| free(filter, alone),
        |filter, list, alone| {
            insert(filter, list, alone);
        },
        |filter, list, _| {
            remove(filter, list, &ONE);
        },
        |filter, list, _| {
            find(filter, list, &ONE);
        },
        |filter, list, _| {
            let _ = next(filter, list, null_mut());
        },
        |filter, _, alone| ask(filter, alone, 0),
        |filter, _, alone| ask(filter, alone, 1),
        |filter, _, alone| ask(filter, alone, 2),
    ];
    for (number, routine) in routines.into_iter().enumerate() {
        let found = Scene::new().try_inside(move |related| {
            let (list, alone) =
                (list_of(related.Filter, b"in list."), parameter(related.Filter, &TWO, b"alone..."));
            routine(NO_FILTER, list, alone);
        });
        assert_eq!(found, "flt-object", "routine {number}");
    }
    for routine in &routines[6..] {
        let routine = *routine;
        let found = Scene::new().try_inside(move |related| {
            routine(related.Filter, null_mut(), std::ptr::without_provenance_mut(0x5A50));
        });
        assert_eq!(found, "ecp-context");
    }
    let of_create: [Pre; 2] = [list_without_filter, set_without_filter];
    for pre in of_create {
        let (lab, program) = lab_with(1);
        Made::new().on(IRP_MJ_CREATE, Some(pre), None).load::<0>(&lab, "225000").unwrap();
        assert_eq!(rule(program.try_call(|caller| caller.put(r"C:\a", b"x"))), "flt-object");
    }
}

unsafe extern "win64" fn list_without_filter(data: Data, _: Related, _: *mut PVOID) -> i32 {
    list_at(null_mut(), data);
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn set_without_filter(data: Data, related: Related, _: *mut PVOID) -> i32 {
    set(null_mut(), data, list(filter_of(related)));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn keep_list(data: Data, related: Related, _: *mut PVOID) -> i32 {
    let list = list(filter_of(related));
    keep(list);
    assert_eq!(set(filter_of(related), data, list), 0);
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn free_kept(_: Data, related: Related, _: *mut PVOID) -> i32 {
    free_list(filter_of(related), kept());
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn open_another(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    let related = unsafe { &*related };
    OwnOpen::new(related, r"\a").open(related);
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn set_kept(data: Data, related: Related, _: *mut PVOID) -> i32 {
    if list_at(filter_of(related), data).1.is_null() {
        set(filter_of(related), data, kept());
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.10.
#[test]
fn a_list_of_a_create_under_way_is_not_freed_nor_set_into_another() {
    for (second, says) in [(free_kept as Pre, "frees a list"), (open_another, "a second create")] {
        let (lab, program) = lab_with(1);
        Made::new().on(IRP_MJ_CREATE, Some(keep_list), None).load::<0>(&lab, "225000").unwrap();
        Made::new().on(IRP_MJ_CREATE, Some(second), None).load::<1>(&lab, "145200").unwrap();
        Made::new().on(IRP_MJ_CREATE, Some(set_kept), None).load::<2>(&lab, "145100").unwrap();
        let opened = program.try_call(|caller| caller.put(r"C:\a", b"x"));
        assert!(opened.as_ref().is_err_and(|broken| broken.what.contains(says)), "{opened:?}");
        assert_eq!(rule(opened), "ecp-list-attached");
    }
}

unsafe extern "win64" fn leave(_: Data, related: Related, _: *mut PVOID) -> i32 {
    let filter = filter_of(related);
    parameter(filter, &TWO, b"alone...");
    list_of(filter, b"in list.");
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.10.
#[test]
fn extra_parameters_that_nobody_frees_are_listed_when_their_filter_unloads() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(leave), None).load::<0>(&lab, "225000").unwrap();
    Made::new().load::<1>(&lab, "145100").unwrap();
    program.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(r"C:\a", GENERIC_WRITE)).unwrap().handle;
        caller.flush(handle).unwrap();
        caller.close(handle).unwrap();
    });
    program.exit(0);
    let text = lab.unload().to_string();
    let list = text.find("made0: list of 1 extra create parameter(s), #").unwrap();
    let alone = text.find("made0: extra create parameter of 8 bytes, #").unwrap();
    assert!(alone < list, "the oldest comes first: {text}");
    assert_eq!(
        text.matches("extra create parameter").count(),
        2,
        "what is in a list goes by its list: {text}"
    );
}
