//! Answers to the open questions of `tests/lab/facts`, as facts to send back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::Machine;

/// What one experiment found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `M1` to `M10`: minifilter-rules §7; `Ta` to `Tj`: the end of txf-ktm §9.
    pub id: String,
    /// The question.
    pub question: String,
    /// What was done, and what came of it, in order.
    pub observed: Vec<(String, String)>,
    /// What that says; none where it could not be asked or does not say.
    pub conclusion: Option<String>,
    /// What is missing for an answer.
    pub open: Option<String>,
}

impl Answer {
    /// An answer to be filled.
    pub fn new(id: &str, question: &str) -> Answer {
        Answer {
            id: id.into(),
            question: question.into(),
            observed: Vec::new(),
            conclusion: None,
            open: None,
        }
    }

    /// Notes what was done and what came of it.
    pub fn note(&mut self, done: &str, result: impl fmt::Display) {
        self.observed.push((done.into(), result.to_string()));
    }

    /// With a conclusion.
    pub fn concluding(mut self, conclusion: impl Into<String>) -> Answer {
        self.conclusion = Some(conclusion.into());
        self
    }

    /// Left open.
    pub fn left_open(mut self, why: impl Into<String>) -> Answer {
        self.open = Some(why.into());
        self
    }
}

/// All of them, with the machine that they hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Version of this program.
    pub version: String,
    /// Where.
    pub machine: Machine,
    /// What was found.
    pub answers: Vec<Answer>,
}

/// What the lab answers where it is asked the same (`tests/lab_answers.rs` keeps it true): its model of Windows.
pub fn of_the_lab() -> Vec<Answer> {
    serde_json::from_str(include_str!("../lab-answers.json")).unwrap_or_default()
}

impl Answer {
    /// What the lab notes at the same place, if that is something else.
    fn otherwise<'a>(&self, lab: &'a [Answer], number: usize) -> Option<&'a str> {
        let lab = lab.iter().find(|answer| answer.id == self.id)?;
        let (done, result) = self.observed.get(number)?;
        let (_, modelled) = lab.observed.iter().find(|(same, _)| same == done)?;
        (modelled != result).then_some(modelled)
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "==== intact-faults {} answers ====\n{}", self.version, self.machine)?;
        let lab = of_the_lab();
        for answer in &self.answers {
            writeln!(f, "{}  {}", answer.id, answer.question)?;
            for (number, (done, result)) in answer.observed.iter().enumerate() {
                writeln!(f, "    {done}: {result}")?;
                if let Some(modelled) = answer.otherwise(&lab, number) {
                    writeln!(f, "        THE LAB SAYS: {modelled}")?;
                }
            }
            if let Some(conclusion) = &answer.conclusion {
                writeln!(f, "    => {conclusion}")?;
            }
            if let Some(open) = &answer.open {
                writeln!(f, "    OPEN: {open}")?;
            }
            writeln!(f)?;
        }
        if self.machine.wine.is_some() {
            writeln!(f, "This was Wine, not Windows: nothing of this is a fact about Windows.")?;
        }
        writeln!(f, "==== end ====")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Intact;

    #[test]
    fn what_differs_from_the_lab_is_shown_beside_it() {
        let mut answer = Answer::new("M2", "?");
        answer.note("transacted open for writing", "0x00000000 SUCCESS");
        answer.note("outside open with GENERIC_WRITE", "0x00000000 SUCCESS");
        let lab = of_the_lab();
        assert_eq!(answer.otherwise(&lab, 0), None);
        assert_eq!(answer.otherwise(&lab, 1), Some("0xc0000043 SHARING_VIOLATION"));
    }

    #[test]
    fn what_wine_answers_is_no_fact_about_windows() {
        let machine = Machine {
            system: "Windows 10.0.19043".into(),
            wine: Some("8.0".into()),
            folder: r"T:\".into(),
            file_system: "?".into(),
            transactions: false,
            intact: Intact::Assumed,
        };
        let mut answer = Answer::new("Ta", "?");
        answer.note("opened", "0x00000000");
        let answers = Answers { version: "1".into(), machine, answers: vec![answer.left_open("no KTM")] };
        let text = answers.to_string();
        assert!(text.contains("opened: 0x00000000") && text.contains("OPEN: no KTM"));
        assert!(text.contains("nothing of this is a fact about Windows"));
    }
}
