//! The lab's executive: loader, scheduler, pool, locks, objects, processes, registry, verifier
