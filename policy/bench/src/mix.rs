//! The patterns and paths that are measured: made from a seed, alike at every size.

/// Patterns of one policy, rule by rule: the rule at place 0 is asked first.
pub(crate) struct Mix {
    pub(crate) rules: Vec<Vec<String>>,
    patterns: Vec<String>,
}

/// The kinds of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// As programs open them; half of them match.
    Usual,
    /// Deep, long, and almost matching.
    Adversarial,
}

/// Drive letters and the devices behind them.
pub(crate) const VOLUMES: [(&str, &str); 2] =
    [("C:", r"\Device\HarddiskVolume3"), ("D:", r"\Device\HarddiskVolume5")];

const EXTENSIONS: [&str; 8] = ["csv", "xls", "dbf", "txt", "docx", "mdb", "dat", "xml"];

impl Mix {
    /// 40 % `dir\**`, 20 % exact files, 20 % `dir\*.ext`, 10 % leading wildcard, 10 % wildcard in the middle; one in a
    /// thousand is made to be slow.
    pub(crate) fn new(count: usize) -> Mix {
        let patterns: Vec<String> = (0..count).map(pattern).collect();
        let rules = patterns.chunks((count / 100).clamp(1, 100)).map(<[String]>::to_vec).collect();
        Mix { rules, patterns }
    }

    /// NT paths in the case in which a program might write them.
    pub(crate) fn paths(&self, kind: Paths, count: usize) -> Vec<String> {
        let mut random = Random(0x5EED ^ count as u64);
        (0..count)
            .map(|place| {
                let index = random.below(self.patterns.len());
                let path = match (kind, place % 2) {
                    (Paths::Usual, 0) => instance(index, &mut random),
                    (Paths::Usual, _) => outside(index, &mut random),
                    (Paths::Adversarial, 0) => {
                        // Each component is the beginning of what a pattern with a leading wildcard looks for.
                        let near = format!(r"\export{}_x", index - index % 10 + 8);
                        format!(r"C:\Data\Dept{}{}\x.bak", index % 37, near.repeat(40))
                    }
                    (Paths::Adversarial, _) => {
                        format!(r"C:\Data{}", format!(r"\{}", "a".repeat(200)).repeat(20))
                    }
                };
                let (letter, rest) = path.split_at(2);
                let device =
                    VOLUMES.iter().find(|(name, _)| *name == letter).map_or(letter, |(_, device)| device);
                let rest: String = rest
                    .chars()
                    .map(|letter| if random.below(4) == 0 { swapped(letter) } else { letter })
                    .collect();
                format!("{device}{rest}")
            })
            .collect()
    }
}

fn pattern(index: usize) -> String {
    let extension = EXTENSIONS[index % EXTENSIONS.len()];
    match index % 10 {
        0..=3 => format!(r"C:\Data\Dept{}\Project{index}\**", index % 37),
        4 | 5 => format!(r"C:\Users\user{}\Documents\Ledger{index}.xlsx", index % 499),
        6 | 7 => format!(r"D:\Reports\Branch{}\Run{index}\*.{extension}", index % 97),
        8 => format!(r"**\export{index}_*.{extension}"),
        _ if index % 1000 == 509 => format!(r"**\*a*a*a*a*b{index}"),
        _ => format!(r"C:\Data\Dept{}\*\archive{index}\*.{extension}", index % 37),
    }
}

/// A path that the pattern at `index` matches.
fn instance(index: usize, random: &mut Random) -> String {
    let extension = EXTENSIONS[index % EXTENSIONS.len()];
    let any = random.below(10_000);
    match index % 10 {
        0..=3 => format!(r"C:\Data\Dept{}\Project{index}\plans\sheet{any}.dwg", index % 37),
        4 | 5 => format!(r"C:\Users\user{}\Documents\Ledger{index}.xlsx", index % 499),
        6 | 7 => format!(r"D:\Reports\Branch{}\Run{index}\totals{any}.{extension}", index % 97),
        8 => format!(r"C:\Users\user{}\Desktop\export{index}_{any}.{extension}", any % 499),
        _ if index % 1000 == 509 => format!(r"C:\ProgramData\Vendor\banana-data-b{index}"),
        _ => format!(r"C:\Data\Dept{}\year{any}\archive{index}\list.{extension}", index % 37),
    }
}

/// A path that comes as far as most do, and that no pattern matches.
fn outside(index: usize, random: &mut Random) -> String {
    let any = random.below(10_000);
    match index % 10 {
        0 | 1 => format!(r"C:\Data\Dept{}\Notes{any}\plans\sheet{index}.dwg", index % 37),
        2 | 3 => format!(r"C:\Windows\System32\winevt\Logs\Channel{any}.evtx"),
        4 | 5 => format!(r"C:\Users\user{}\Documents\Letter{any}.odt", index % 499),
        6 | 7 => format!(r"D:\Reports\Branch{}\Run{index}\totals{any}.tmp", index % 97),
        8 => format!(r"C:\Users\user{}\AppData\Local\Temp\exp{any}.tmp", any % 499),
        _ => format!(r"C:\Program Files\Vendor\Suite\module{any}.dll"),
    }
}

fn swapped(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}
