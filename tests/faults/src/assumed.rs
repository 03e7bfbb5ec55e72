//! What nobody outside Microsoft can know, assumed one way or another: each switch of the lab that asks something about
//! Windows, with each of its answers.

use std::fmt;
use std::str::FromStr;

use lab::Builder;
use lab::switches::SWITCHES;

/// An answer to one question; everything else, and every question of [`NOTHING`](Self::NOTHING), has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumed(Option<(usize, usize)>);

impl Assumed {
    /// All defaults.
    pub const NOTHING: Assumed = Assumed(None);

    /// Every answer that is not the default, of every question.
    pub fn all() -> Vec<Assumed> {
        let others = |(index, switch): (usize, &lab::switches::Switch)| {
            (1..switch.settings.len()).map(move |setting| Assumed(Some((index, setting))))
        };
        SWITCHES.iter().enumerate().flat_map(others).collect()
    }

    /// A lab in which it is so.
    pub fn apply(self, builder: Builder) -> Builder {
        match self.0 {
            Some((switch, setting)) => (SWITCHES[switch].settings[setting].apply)(builder),
            None => builder,
        }
    }

    /// Whether it is an answer to this question.
    pub fn is(self, switch: &str) -> bool {
        self.0.is_some_and(|(index, _)| SWITCHES[index].name == switch)
    }

    /// The option of the command that assumes it; empty if nothing is assumed.
    pub fn option(self) -> String {
        if self == Self::NOTHING { String::new() } else { format!(" --assume '{self}'") }
    }
}

impl fmt::Display for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((switch, setting)) => {
                let switch = &SWITCHES[switch];
                f.pad(&format!("{}={}", switch.name, switch.settings[setting].name))
            }
            None => f.pad("nothing"),
        }
    }
}

impl FromStr for Assumed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, answer) = text.split_once('=').unwrap_or((text, ""));
        let Some(index) = SWITCHES.iter().position(|switch| switch.name == name) else {
            let names: Vec<_> = SWITCHES.iter().map(|switch| switch.name).collect();
            return Err(format!("no switch is called \"{name}\"; there are {}", names.join(", ")));
        };
        let settings = SWITCHES[index].settings;
        let setting = settings.iter().position(|setting| setting.name == answer);
        setting.map(|setting| Assumed(Some((index, setting)))).ok_or_else(|| {
            let names: Vec<_> =
                settings.iter().map(|setting| format!("\"{name}={}\"", setting.name)).collect();
            format!("{name} has no setting \"{answer}\"; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_has_another_answer_and_each_reads_as_it_is_written() {
        let all = Assumed::all();
        assert!(all.len() >= SWITCHES.len());
        for assumed in all {
            assert_eq!(assumed.to_string().parse(), Ok(assumed));
            assert_eq!(assumed.option(), format!(" --assume '{assumed}'"));
        }
        assert!("nothing".parse::<Assumed>().unwrap_err().contains("writable_view_at_commit"));
        let wrong = "writable_view_at_commit=maybe".parse::<Assumed>().unwrap_err();
        assert!(wrong.contains("\"writable_view_at_commit=the commit waits\""), "{wrong}");
    }
}
