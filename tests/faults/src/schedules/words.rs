//! One schedule in words, as a report shows it and the command line takes it: `abort random seed=7 fail=1f:1:timeout`.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use lab_executive::scheduler::Strategy;

use super::{Meanwhile, Schedule};
use crate::assumed::Assumed;
use crate::sites;

impl Schedule {
    /// The command that runs it again.
    pub(super) fn command(&self) -> String {
        let assume = match self.assumed {
            Assumed::NOTHING => String::new(),
            assumed => format!(" --assume '{assumed}'"),
        };
        format!("cargo xtask faults -- --schedule '{self}'{assume}")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meanwhile = self.meanwhile.to_possible_value();
        write!(f, "{} ", meanwhile.as_ref().map_or("nothing", |value| value.get_name()))?;
        match &self.strategy {
            Strategy::Random => write!(f, "random")?,
            Strategy::Priorities { changes, length } => write!(f, "priorities={changes}.{length}")?,
            Strategy::Script(script) => {
                let places: Vec<String> = script.iter().map(|(at, who)| format!("{at}.{who}")).collect();
                write!(f, "script={}", places.join(","))?;
            }
        }
        write!(f, " seed={}", self.seed)?;
        self.faults.iter().try_for_each(|fault| write!(f, " fail={}", sites::show(*fault)))
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let meanwhile = Meanwhile::from_str(words.next().unwrap_or_default(), false).map_err(|_| {
            let known: Vec<String> = Meanwhile::value_variants()
                .iter()
                .filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned()))
                .collect();
            format!("{text:?} begins with none of {}", known.join(", "))
        })?;
        let mut schedule = Schedule {
            meanwhile,
            strategy: Strategy::Random,
            seed: 1,
            faults: Vec::new(),
            assumed: Assumed::NOTHING,
        };
        for word in words {
            match word.split_once('=') {
                None if word == "random" => schedule.strategy = Strategy::Random,
                Some(("priorities", pair)) => {
                    let (changes, length) = pair_of(pair)?;
                    schedule.strategy = Strategy::Priorities { changes, length };
                }
                Some(("script", places)) => {
                    let places = places.split(',').filter(|place| !place.is_empty()).map(pair_of);
                    schedule.strategy = Strategy::Script(places.collect::<Result<_, _>>()?);
                }
                Some(("seed", seed)) => schedule.seed = number(seed)?,
                Some(("fail", fault)) => schedule.faults.push(sites::parse(fault)?),
                _ => {
                    return Err(format!(
                        "{word:?} is none of random, priorities=CHANGES.LENGTH, script=AT.WHO,…, seed=N, \
                         fail=SITE:CALL:STATUS"
                    ));
                }
            }
        }
        Ok(schedule)
    }
}

fn number<N: FromStr<Err: fmt::Display>>(text: &str) -> Result<N, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn pair_of(text: &str) -> Result<(usize, usize), String> {
    let (first, second) =
        text.split_once('.').ok_or_else(|| format!("{text:?} is not two numbers, as in 4.1"))?;
    Ok((number(first)?, number(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_shown() {
        for text in [
            "abort random seed=3397533042166560100 fail=aa60a5ee2008c8dd:1:timeout",
            "close priorities=3.512 seed=7",
            "nothing script=12.1,40.0 seed=1 fail=1f:2:null fail=20:1:c000009a",
            "all script= seed=2",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        let error = "reboot random".parse::<Schedule>().unwrap_err();
        assert!(error.contains("reboot") && error.contains("abort"), "{error}");
        assert!("abort slowly".parse::<Schedule>().unwrap_err().contains("slowly"));
        assert!("abort script=12".parse::<Schedule>().unwrap_err().contains("12"));
    }
}
