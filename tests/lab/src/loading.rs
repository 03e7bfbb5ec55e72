//! Services and drivers.
use crate::Executive;
use crate::report::Report;
pub(crate) fn unload_all(_lab: &Executive, _report: &mut Report) {}
