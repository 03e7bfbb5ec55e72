//! A lab with one file and one program.

use std::rc::Rc;

use lab::{GENERIC_READ, GENERIC_WRITE, Lab, Process};

pub(crate) const ALL: u32 = GENERIC_READ | GENERIC_WRITE;

/// A lab with `C:\a`, ten digits, and a program.
pub(crate) fn lab_with(seed: u64) -> (Rc<Lab>, Process) {
    let lab = Lab::builder().seed(seed).build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    let program = lab.process("program.exe");
    (lab, program)
}

/// Ends the program and unloads everything: nothing may be left.
pub(crate) fn clean(lab: &Lab, program: &Process) {
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}
