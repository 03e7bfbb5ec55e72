//! The fuzz targets of `fuzz/`, with a bounded number of inputs that are the same at every run.

mod common;
#[path = "common/fuzzed.rs"]
mod fuzzed;

const SAMPLE: &[u8] = include_bytes!("../../inf/intact-sample.reg");

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Gives a target random bytes, and what grows out of `seed` by small damage.
fn run(target: fn(&[u8]), seed: &[u8], rounds: u64) {
    for round in 0..rounds {
        let mut random = Random(round);
        let input: Vec<u8> = if seed.is_empty() || round % 4 == 0 {
            (0..random.below(600)).map(|_| random.next() as u8).collect()
        } else {
            let mut input = seed.to_vec();
            for _ in 0..=random.below(8) {
                let place = random.below(input.len());
                match random.below(4) {
                    0 => input.truncate(place.max(1)),
                    1 => input[place] = random.next() as u8,
                    2 => {
                        let piece: Vec<u8> = input[place..].iter().take(random.below(40)).copied().collect();
                        let at = random.below(input.len());
                        input.splice(at..at, piece);
                    }
                    _ => input[place] ^= 1 << random.below(8),
                }
            }
            input
        };
        target(&input);
    }
}

#[test]
fn the_matcher_agrees_with_the_reference_on_made_up_policies() {
    run(fuzzed::matcher, &[], 4000);
}

#[test]
fn any_registry_is_judged() {
    run(fuzzed::registry, &[], 20_000);
}

#[test]
fn any_reg_file_is_read_or_refused() {
    run(fuzzed::reg_file, &SAMPLE[SAMPLE.len() / 3..], 2000);
}

#[test]
fn any_hive_is_read_or_refused() {
    run(fuzzed::hive, &[], 4000);
}

#[test]
fn any_json_and_syncml_is_read_or_refused() {
    run(fuzzed::texts, include_bytes!("../../inf/intact-oma-uri.xml"), 500);
    run(
        fuzzed::texts,
        br#"{"Policies":{"Enabled":1,"Rules":{"R":{"Paths":["C:\\x"],"Order":7,"Scope":"Handle"}}}}"#,
        2000,
    );
}
