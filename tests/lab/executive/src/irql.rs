//! Interrupt request levels, as far as a filter meets them.

/// An IRQL; one per lab thread, since a lab has one processor and threads run one at a time.
pub type Irql = u8;

/// Ordinary thread context.
pub const PASSIVE_LEVEL: Irql = 0;
/// APCs are held off; fast mutexes run here.
pub const APC_LEVEL: Irql = 1;
/// No waiting, no paged memory; spin locks run here.
pub const DISPATCH_LEVEL: Irql = 2;
/// The ceiling of routines that may be called anywhere.
pub const HIGH_LEVEL: Irql = 15;

/// The level's name as the documentation writes it.
pub fn name(irql: Irql) -> String {
    match irql {
        PASSIVE_LEVEL => "PASSIVE_LEVEL".into(),
        APC_LEVEL => "APC_LEVEL".into(),
        DISPATCH_LEVEL => "DISPATCH_LEVEL".into(),
        HIGH_LEVEL => "HIGH_LEVEL".into(),
        other => format!("IRQL {other}"),
    }
}
