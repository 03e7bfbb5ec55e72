//! Pool, paged memory, user buffers.

use std::ptr;

use lab_executive::Lab;
use lab_executive::imports::pool::{ExAllocatePool2, ExAllocatePoolWithTag, ExFreePool, ExFreePoolWithTag};
use lab_executive::imports::spinlocks::{KeLowerIrql, KeRaiseIrqlToDpcLevel};

use crate::{NON_PAGED, PAGED, TAG, lab_with, must_violate, run};

fn allocate(bytes: usize) -> *mut u8 {
    // SAFETY: called in a lab thread with valid arguments.
    unsafe { ExAllocatePool2(NON_PAGED, bytes, TAG).cast() }
}

fn free(block: *mut u8, tag: u32) {
    // SAFETY: called in a lab thread; wrong blocks are what these tests pass.
    unsafe { ExFreePoolWithTag(block.cast(), tag) }
}

/// Writes a byte that the compiler must not know anything about.
fn poke(at: *mut u8) {
    // SAFETY: none: a fault is what these tests want, and the lab catches it.
    unsafe { ptr::write_volatile(at, 1) }
}

fn peek(at: *const u8) -> u8 {
    // SAFETY: as in `poke`.
    unsafe { ptr::read_volatile(at) }
}

#[test]
fn allocations_are_zeroed_and_page_sized_ones_aligned() {
    run(|lab| {
        let block = allocate(100);
        assert!((0..100).all(|i| peek(block.wrapping_add(i)) == 0));
        let page = allocate(5000);
        assert_eq!(page.addr() % 4096, 0);
        assert_eq!(block.addr() % 16, 0);
        free(block, TAG);
        free(page, 0);
        assert!(lab.pool.allocations() > 2);
    });
}

#[test]
fn uninitialised_pool_is_filled_with_a_pattern() {
    run(|_| {
        // SAFETY: valid arguments; NonPagedPoolNx is 512.
        let block: *mut u8 = unsafe { ExAllocatePoolWithTag(512, 32, TAG).cast() };
        assert!((0..32).all(|i| peek(block.wrapping_add(i)) == 0xCD));
        free(block, TAG);
    });
}

#[test]
fn a_write_past_the_end_faults_at_the_guard_page() {
    let violation = must_violate("pool-overrun", |_| poke(allocate(64).wrapping_add(64)));
    assert!(violation.what.contains("'Test'"), "{violation}");
}

#[test]
fn a_small_overrun_is_found_at_the_free() {
    must_violate("pool-overrun", |_| {
        let block = allocate(20);
        poke(block.wrapping_add(20));
        free(block, TAG);
    });
}

#[test]
fn an_underrun_is_found_at_the_free() {
    must_violate("pool-underrun", |_| {
        let block = allocate(64);
        poke(block.wrapping_sub(1));
        free(block, TAG);
    });
}

#[test]
fn a_far_underrun_faults() {
    must_violate("pool-underrun", |_| poke(allocate(4096).wrapping_sub(1)));
}

#[test]
fn a_touch_after_free_faults() {
    let violation = must_violate("use-after-free", |_| {
        let block = allocate(64);
        free(block, TAG);
        peek(block);
    });
    assert!(violation.what.contains("read"), "{violation}");
}

#[test]
fn a_second_free_is_named() {
    must_violate("double-free", |_| {
        let block = allocate(64);
        free(block, TAG);
        free(block, TAG);
    });
}

#[test]
fn a_free_with_another_tag_is_named() {
    must_violate("free-wrong-tag", |_| free(allocate(64), u32::from_le_bytes(*b"Else")));
}

#[test]
fn a_free_of_the_middle_of_a_block_is_named() {
    must_violate("bad-free", |_| free(allocate(64).wrapping_add(16), TAG));
}

#[test]
fn a_free_of_an_object_is_named() {
    // SAFETY: a wrong block is the point.
    must_violate("bad-free", |lab| unsafe { ExFreePool(lab.thread().ethread.cast()) });
}

#[test]
fn zero_bytes_zero_tag_and_bad_flags_are_refused() {
    // SAFETY: called in a lab thread.
    must_violate("pool-size", |_| unsafe { ExAllocatePool2(NON_PAGED, 0, TAG) });
    // SAFETY: as above.
    must_violate("pool-tag", |_| unsafe { ExAllocatePool2(NON_PAGED, 8, 0) });
    // SAFETY: as above.
    must_violate("pool-flags", |_| unsafe { ExAllocatePool2(NON_PAGED | PAGED, 8, TAG) });
    // SAFETY: as above; 0 is NonPagedPoolExecute.
    must_violate("executable-pool", |_| unsafe { ExAllocatePoolWithTag(0, 8, TAG) });
}

#[test]
fn paged_pool_is_gone_at_dispatch_level() {
    let touch = |lab: &Lab| {
        // SAFETY: called in a lab thread.
        let (block, former) =
            unsafe { (ExAllocatePool2(PAGED, 64, TAG).cast::<u8>(), KeRaiseIrqlToDpcLevel()) };
        poke(block);
        // SAFETY: the level that the raise returned.
        unsafe { KeLowerIrql(former) };
        lab.trace.event("survived", 0);
    };
    must_violate("paged-at-dispatch", touch);
    assert!(lab_with(|c| c.page_out_at_dispatch = false).run(touch).is_ok());
}

#[test]
fn paged_pool_is_back_at_passive_level() {
    run(|_| {
        // SAFETY: called in a lab thread.
        unsafe {
            let block = ExAllocatePool2(PAGED, 64, TAG).cast::<u8>();
            let former = KeRaiseIrqlToDpcLevel();
            KeLowerIrql(former);
            poke(block);
            ExFreePool(block.cast());
        }
    });
}

#[test]
fn paged_pool_is_not_allocated_at_dispatch_level() {
    must_violate("irql-ceiling", |_| {
        // SAFETY: called in a lab thread.
        unsafe {
            KeRaiseIrqlToDpcLevel();
            ExAllocatePool2(PAGED, 64, TAG);
        }
    });
}

#[test]
fn user_buffers_are_reached_through_their_alias_only() {
    run(|lab| {
        let user = lab.user_memory.allocate(10_000);
        let alias = lab.user_memory.alias(user.wrapping_add(5000), 100).expect("inside the buffer");
        poke(alias);
        assert_eq!(lab.user_memory.alias(user.wrapping_add(9_990), 11), None);
        lab.user_memory.free(user);
    });
    let violation = must_violate("user-pointer", |lab| poke(lab.user_memory.allocate(100)));
    assert!(violation.what.contains("user buffer"), "{violation}");
}

#[test]
fn a_null_pointer_is_named() {
    must_violate("null-pointer", |_| poke(ptr::without_provenance_mut(8)));
}

#[test]
fn memory_with_an_object_in_use_cannot_be_freed() {
    use lab_executive::imports::resources::ExInitializeResourceLite;
    must_violate("free-in-use", |_| {
        let block = allocate(104);
        // SAFETY: 104 bytes of pool.
        unsafe { ExInitializeResourceLite(block) };
        free(block, TAG);
    });
}

#[test]
fn many_allocations_stay_cheap_and_guarded() {
    run(|_| {
        let mut live = Vec::new();
        for round in 0..20_000usize {
            live.push(allocate(1 + round % 700));
            if live.len() > 300 {
                free(live.swap_remove(round % 300), TAG);
            }
        }
        live.into_iter().for_each(|block| free(block, TAG));
    });
}

#[test]
fn past_the_limit_blocks_still_show_an_overrun() {
    must_violate("pool-overrun", |_| {
        let blocks: Vec<_> = (0..lab_executive::pool::GUARDED + 10).map(|_| allocate(16)).collect();
        let last = *blocks.last().expect("some");
        poke(last.wrapping_add(16));
        free(last, TAG);
    });
}

/// A driver's null pointer faults inside the routine, and is the driver's: the process survives.
#[test]
#[allow(clippy::undocumented_unsafe_blocks, reason = "every case breaks a contract; that is the point")]
fn null_pointers_passed_to_routines_are_named_with_the_routine() {
    use lab_executive::imports::{events, memory, mutexes, spinlocks, strings};
    let cases: [(&str, fn()); 6] = [
        ("KeSetEvent", || unsafe {
            events::KeSetEvent(ptr::null_mut(), 0, 0);
        }),
        ("memcpy", || unsafe {
            memory::memcpy(ptr::null_mut(), [1u8; 4].as_ptr(), 4);
        }),
        ("memset", || unsafe {
            memory::memset(ptr::null_mut(), 0, 4);
        }),
        ("KeInitializeSpinLock", || unsafe { spinlocks::KeInitializeSpinLock(ptr::null_mut()) }),
        ("ExAcquireFastMutex", || unsafe { mutexes::ExAcquireFastMutex(ptr::null_mut()) }),
        ("RtlCopyUnicodeString", || unsafe { strings::RtlCopyUnicodeString(ptr::null_mut(), ptr::null()) }),
    ];
    for (routine, case) in cases {
        let violation = must_violate("null-pointer", move |_| case());
        assert_eq!(violation.place.import, Some(routine));
    }
}
