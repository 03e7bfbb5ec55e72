//! The shortest program that still fails.

use crate::program::{END, Program};

/// Takes steps away and makes numbers smaller as long as the program still fails; `fails` runs it.
pub fn shrink(mut program: Program, mut fails: impl FnMut(&Program) -> bool) -> Program {
    loop {
        let before = program.clone();
        take_steps_away(&mut program, &mut fails);
        simplify(&mut program, &mut fails);
        if program == before {
            return program;
        }
    }
}

fn take_steps_away(program: &mut Program, fails: &mut impl FnMut(&Program) -> bool) {
    let mut size = program.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < program.steps.len() {
            let mut shorter = program.clone();
            shorter.steps.drain(at..(at + size).min(program.steps.len()));
            if fails(&shorter) {
                *program = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
}

fn simplify(program: &mut Program, fails: &mut impl FnMut(&Program) -> bool) {
    for index in 0..program.steps.len() {
        if program.steps[index].process != 0 {
            let mut simpler = program.clone();
            simpler.steps[index].process = 0;
            if fails(&simpler) {
                *program = simpler;
            }
        }
        for field in 0..program.steps[index].call.fields().len() {
            let (name, value) = program.steps[index].call.fields()[field];
            // Rights and flags lose a bit at a time, sizes half of them.
            let flags = matches!(name, "access" | "options" | "attributes" | "share" | "filter");
            let bits = (0..32).filter(|bit| flags && value >> bit & 1 != 0).map(|bit| value & !(1 << bit));
            // The end and the position are no places to halve: a place far away would fail for reasons of its own.
            let half = (!flags && value < END).then_some(value / 2);
            let less = (!flags && value < 16).then(|| value.saturating_sub(1));
            for smaller in
                [0, 1].into_iter().chain(half).chain(less).chain(bits).filter(|smaller| *smaller < value)
            {
                let mut simpler = program.clone();
                if let Some(number) = simpler.steps[index].call.fields_mut().into_iter().nth(field) {
                    *number = smaller;
                }
                if fails(&simpler) {
                    *program = simpler;
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Focus, program};
    use crate::program::Call;

    #[test]
    fn only_what_makes_it_fail_is_left() {
        let parts = (0..6).flat_map(|seed| program(seed, &Focus::default()).steps);
        let long = Program { steps: parts.collect() };
        let fails = |program: &Program| {
            let writes =
                |step: &&crate::program::Step| matches!(step.call, Call::Write { length, .. } if length > 2);
            program.steps.iter().filter(writes).count() >= 2
        };
        assert!(fails(&long));
        let short = shrink(long, fails);
        assert_eq!(short.steps.len(), 2, "{short}");
        assert!(fails(&short));
        assert!(short.to_string().matches("length=3").count() == 2, "{short}");
    }
}
