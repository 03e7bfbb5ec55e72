//! Time and memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::solvers::{Path, Solver};

/// The system's allocator, counting.
pub(crate) struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes that are allocated now.
pub(crate) fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Calls to the allocator so far.
pub(crate) fn calls() -> usize {
    CALLS.load(Ordering::Relaxed)
}

/// Paths that are timed together, so that reading the clock does not count.
const BATCH: usize = 16;

/// Median time of one path, in nanoseconds, when policy and paths were just used.
pub(crate) fn warm(solver: &mut dyn Solver, paths: &[Path], budget: Duration) -> f64 {
    let mut samples = Vec::new();
    let begun = Instant::now();
    // The first round warms up.
    for round in 0.. {
        for batch in paths.chunks(BATCH) {
            let started = Instant::now();
            for path in batch {
                black_box(solver.winner(black_box(path)));
            }
            if round > 0 {
                samples.push(started.elapsed().as_nanos() as f64 / batch.len() as f64);
            }
            if begun.elapsed() > budget {
                if samples.len() > 8 {
                    return median(&mut samples);
                }
                // One that is this slow is not made faster by warming up.
                if round == 0 {
                    break;
                }
            }
        }
    }
    f64::NAN
}

/// Median time of one path in one round over all of them, after one round that warms up.
pub(crate) fn round(solver: &mut dyn Solver, paths: &[Path]) -> f64 {
    for path in paths {
        black_box(solver.winner(black_box(path)));
    }
    let batches = paths.chunks(BATCH).map(|batch| {
        let started = Instant::now();
        for path in batch {
            black_box(solver.winner(black_box(path)));
        }
        started.elapsed().as_nanos() as f64 / batch.len() as f64
    });
    median(&mut batches.collect::<Vec<f64>>())
}

/// As [`warm`], with the processor's caches emptied before each path.
pub(crate) fn cold(solver: &mut dyn Solver, paths: &[Path], budget: Duration) -> f64 {
    let mut other = vec![1u8; 64 << 20];
    let clock =
        median(&mut (0..1000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect::<Vec<_>>());
    let mut samples = Vec::new();
    let begun = Instant::now();
    for path in paths.iter().cycle() {
        other.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
        black_box(&other);
        let started = Instant::now();
        black_box(solver.winner(black_box(path)));
        samples.push(started.elapsed().as_nanos() as f64 - clock);
        if samples.len() > 8 && begun.elapsed() > budget {
            break;
        }
    }
    median(&mut samples)
}

pub(crate) fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
