//! The grid: programs × faults, without and with Intact; what each cell says, and whether the whole is good.

use lab::run::report::{Fault, File, Report, Trial};

use crate::programs::Program;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Finishes,
    Killed,
    DiskFull,
    PowerCut,
}

impl Column {
    pub(crate) const ALL: [Column; 4] =
        [Column::Finishes, Column::Killed, Column::DiskFull, Column::PowerCut];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::Finishes => "finishes",
            Column::Killed => "killed",
            Column::DiskFull => "disk full",
            Column::PowerCut => "power cut",
        }
    }

    fn of(fault: &Fault) -> Column {
        match fault {
            Fault::None => Column::Finishes,
            Fault::Kill { .. } => Column::Killed,
            Fault::DiskFull { .. } => Column::DiskFull,
            Fault::PowerCut { .. } => Column::PowerCut,
        }
    }
}

/// A program with its two reports.
pub(crate) struct Row {
    pub(crate) program: &'static Program,
    pub(crate) without: Report,
    pub(crate) with: Report,
}

/// The trials of one program under one fault.
pub(crate) struct Cell<'a> {
    pub(crate) column: Column,
    pub(crate) trials: Vec<&'a Trial>,
    document: &'static str,
}

impl Row {
    pub(crate) fn cell(&self, column: Column, with: bool) -> Cell<'_> {
        let report = if with { &self.with } else { &self.without };
        let trials = report.trials.iter().filter(|trial| Column::of(&trial.fault) == column).collect();
        Cell { column, trials, document: self.program.document }
    }

    /// What is wrong with this row, in words; nothing if it shows what it should.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let name = self.program.name;
        let mut shown = false;
        for column in Column::ALL {
            let (without, with) = (self.cell(column, false), self.cell(column, true));
            shown |= column != Column::Finishes && without.losses() > 0;
            for (cell, how) in [(&without, "without"), (&with, "with")] {
                if cell.trials.is_empty() {
                    complaints.push(format!("{name}, {}, {how} Intact: no trial", column.title()));
                }
                if column == Column::Finishes && cell.word() != "new" {
                    let word = cell.word();
                    complaints.push(format!("{name} finishes {how} Intact, and the file is {word}, not new"));
                }
                for trial in &cell.trials {
                    for trouble in &trial.trouble {
                        complaints.push(format!("{name}, {}, {how} Intact: {trouble}", trial.fault));
                    }
                }
            }
            for trial in with.trials.iter().filter(|trial| trial.is_loss()) {
                for file in trial.files.iter().filter(|file| file.is_loss()) {
                    let File { name: lost, state, .. } = file;
                    complaints.push(format!("{name}, {}, with Intact: {lost} is {state}", trial.fault));
                }
            }
        }
        if !shown {
            complaints.push(format!("{name}: no fault damages its file without Intact, so nothing is shown"));
        }
        complaints
    }
}

impl<'a> Cell<'a> {
    /// The document in a trial.
    pub(crate) fn document(&self, trial: &'a Trial) -> Option<&'a File> {
        trial.files.iter().find(|file| file.name == self.document)
    }

    /// Trials in which a file was lost.
    pub(crate) fn losses(&self) -> usize {
        self.trials.iter().filter(|trial| trial.is_loss()).count()
    }

    /// The states of the document, each with how often it was found, the worst first.
    fn states(&self) -> Vec<(&'a str, usize)> {
        let mut states: Vec<(&str, usize)> = Vec::new();
        for trial in &self.trials {
            let state = self.document(trial).map_or("missing", |file| file.state.as_str());
            match states.iter_mut().find(|(known, _)| *known == state) {
                Some((_, count)) => *count += 1,
                None => states.push((state, 1)),
            }
        }
        let badness = |state: &str| ["missing", "damaged"].iter().position(|bad| *bad == state).unwrap_or(9);
        states.sort_by_key(|(state, count)| (badness(state), usize::MAX - count));
        states
    }

    /// What the cell says: the worst first.
    pub(crate) fn word(&self) -> String {
        match self.states().as_slice() {
            [(state, _)] => (*state).to_owned(),
            [(state, count), ..] if self.losses() > 0 => format!("{state} {count}/{}", self.trials.len()),
            states => states.iter().map(|(state, _)| *state).collect::<Vec<_>>().join(" or "),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::programs::PROGRAMS;
    use lab::run::report::{Exit, Range, Reference};

    pub(crate) fn trial(fault: Fault, state: &str) -> Trial {
        let file = File {
            name: PROGRAMS[0].document.into(),
            state: state.into(),
            old: Some(10),
            new: Some(12),
            found: Some(12),
            ranges: vec![Range { start: 0, end: 12, origin: "new".into() }],
        };
        let (exit, events) = (Exit::Code(0), Vec::new());
        Trial {
            fault,
            struck: true,
            exit,
            said: String::new(),
            files: vec![file],
            events,
            trouble: Vec::new(),
        }
    }

    pub(crate) fn row(without: [&str; 4], with: [&str; 4]) -> Row {
        let faults = [
            Fault::None,
            Fault::Kill { after_writes: 1 },
            Fault::DiskFull { after_bytes: 1 },
            Fault::PowerCut { after_effects: 1, of: 2, state: 0 },
        ];
        let report = |states: [&str; 4]| Report {
            program: Vec::new(),
            drivers: Vec::new(),
            reference: Reference { exit: Exit::Code(0), writes: 1, effects: 1, bytes: 1 },
            trials: faults.iter().zip(states).map(|(fault, state)| trial(*fault, state)).collect(),
        };
        Row { program: &PROGRAMS[0], without: report(without), with: report(with) }
    }

    const HARM: [&str; 4] = ["new", "damaged", "new", "old"];
    const SAFE: [&str; 4] = ["new", "old", "old", "new"];

    #[test]
    fn a_row_that_shows_damage_without_and_none_with_is_good() {
        assert_eq!(row(HARM, SAFE).complaints(), Vec::<String>::new());
    }

    #[test]
    fn damage_with_intact_is_a_complaint() {
        for column in 1..4 {
            let mut with = SAFE;
            with[column] = "damaged";
            assert_eq!(row(HARM, with).complaints().len(), 1, "{column}");
        }
    }

    #[test]
    fn a_save_that_finished_and_left_the_old_file_is_a_complaint() {
        assert_eq!(row(HARM, ["old", "old", "old", "old"]).complaints().len(), 1);
    }

    #[test]
    fn a_row_without_any_damage_proves_nothing() {
        assert_eq!(row(SAFE, SAFE).complaints().len(), 1);
    }

    #[test]
    fn trouble_in_a_driver_is_a_complaint() {
        let mut row = row(HARM, SAFE);
        row.with.trials[1].trouble.push("a context is left".into());
        assert_eq!(row.complaints().len(), 1);
    }

    #[test]
    fn a_cell_says_the_worst_that_happened() {
        let mut row = row(HARM, SAFE);
        row.without.trials.push(trial(Fault::Kill { after_writes: 2 }, "new"));
        assert_eq!(row.cell(Column::Killed, false).word(), "damaged 1/2");
        row.with.trials.push(trial(Fault::Kill { after_writes: 2 }, "new"));
        assert_eq!(row.cell(Column::Killed, true).word(), "old or new");
    }
}
