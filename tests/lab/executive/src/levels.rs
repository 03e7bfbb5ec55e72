//! Changing a thread's level, and what goes with it.

use crate::Lab;
use crate::irql::{self, DISPATCH_LEVEL, Irql};

impl Lab {
    /// Sets the running thread's level and returns the former one. At `DISPATCH_LEVEL` pageable memory goes away.
    pub fn set_irql(&self, level: Irql) -> Irql {
        let former = self.thread().irql.replace(level);
        if self.config.page_out_at_dispatch && (former >= DISPATCH_LEVEL) != (level >= DISPATCH_LEVEL) {
            let away = level >= DISPATCH_LEVEL;
            self.pool.page_out(away);
            self.images.page_out(away);
        }
        former
    }

    /// Raises the level as KeRaiseIrql does.
    ///
    /// Stops the run (rule `irql-order`) if the level would sink.
    pub fn raise_irql(&self, level: Irql) -> Irql {
        let now = self.thread().irql.get();
        if level < now {
            self.report(
                "irql-order",
                "wdm/KeRaiseIrql",
                format!("raises the level from {} to {}", irql::name(now), irql::name(level)),
            );
        }
        self.set_irql(level)
    }

    /// Lowers the level as KeLowerIrql does.
    ///
    /// Stops the run (rule `irql-order`) if the level would rise, or would sink below `DISPATCH_LEVEL` under a
    /// spin lock.
    pub fn lower_irql(&self, level: Irql) {
        let thread = self.thread();
        let now = thread.irql.get();
        if level > now {
            self.report(
                "irql-order",
                "wdm/KeLowerIrql",
                format!("lowers the level from {} to {}", irql::name(now), irql::name(level)),
            );
        }
        if level < DISPATCH_LEVEL && self.locks.holds_spin_lock(thread.id) {
            self.report(
                "irql-order",
                "wdm/KeLowerIrql",
                "lowers the level below DISPATCH_LEVEL under a spin lock",
            );
        }
        self.set_irql(level);
    }
}
