//! An INF file: sections of entries, with comments, quotes, continued lines and `%strings%` resolved.
//!
//! Source of the syntax: the WDK page "General Syntax Rules for INF Files".

use std::collections::HashMap;

use crate::rules::Finding;

/// One line of a section, continued lines joined: `key = value, value` or `value, value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What stands before `=`, if anything does.
    pub key: Option<String>,
    /// What stands after it, parted at commas.
    pub values: Vec<String>,
    /// Where it begins, counted from 1.
    pub line: usize,
}

impl Entry {
    /// A value; empty if there are fewer.
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// A value as a number, decimal or `0x…`.
    pub fn number(&self, index: usize) -> Option<u32> {
        let text = self.value(index);
        match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }
}

/// All entries of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// As first written.
    pub name: String,
    /// Where it is first opened.
    pub line: usize,
    /// Its entries; a section that is opened twice has those of both.
    pub entries: Vec<Entry>,
}

impl Section {
    /// Entries with this key.
    pub fn all<'s>(&'s self, key: &str) -> impl Iterator<Item = &'s Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.key.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(key)))
    }

    /// The first entry with this key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.all(key).next()
    }
}

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub struct Inf {
    /// In the order of the file.
    pub sections: Vec<Section>,
    /// What could not be read.
    pub errors: Vec<Finding>,
    /// Comments by line.
    pub comments: HashMap<usize, String>,
}

const SYNTAX: &str = "syntax";

impl Inf {
    /// Reads a whole file. It never fails: what cannot be read is in [`Inf::errors`].
    pub fn parse(text: &str) -> Inf {
        let mut inf = Inf::default();
        let mut current: Option<usize> = None;
        let mut pending = String::new();
        let mut begun = 0;
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            let line = inf.without_comment(number, line);
            if pending.is_empty() {
                begun = number;
            }
            if let Some(continued) = line.strip_suffix('\\') {
                pending += continued;
                continue;
            }
            let line = std::mem::take(&mut pending) + &line;
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                match header.strip_suffix(']').map(str::trim) {
                    Some(name) if !name.is_empty() => current = Some(inf.open(name, begun)),
                    _ => inf.error(begun, format!("'{line}' is no section header")),
                }
            } else if !line.is_empty() {
                match current {
                    Some(section) => inf.entry(section, line, begun),
                    None => inf.error(begun, "this line is before the first section".to_owned()),
                }
            }
        }
        if !pending.is_empty() {
            inf.error(begun, "the last line is continued, and nothing follows".to_owned());
        }
        inf.resolve_strings();
        inf
    }

    /// The section with this name, without regard to case.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name.eq_ignore_ascii_case(name))
    }

    /// The first value of an entry of a section.
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        Some(self.section(section)?.get(key)?.value(0))
    }

    fn error(&mut self, line: usize, text: String) {
        self.errors.push(Finding { rule: SYNTAX, line, text });
    }

    fn open(&mut self, name: &str, line: usize) -> usize {
        match self.sections.iter().position(|section| section.name.eq_ignore_ascii_case(name)) {
            Some(known) => known,
            None => {
                self.sections.push(Section { name: name.to_owned(), line, entries: Vec::new() });
                self.sections.len() - 1
            }
        }
    }

    /// Takes off a comment, which begins at a semicolon outside of quotes, and white space at the end.
    fn without_comment(&mut self, number: usize, line: &str) -> String {
        let mut quoted = false;
        for (at, letter) in line.char_indices() {
            match letter {
                '"' => quoted = !quoted,
                ';' if !quoted => {
                    self.comments.insert(number, line[at + 1..].trim().to_owned());
                    return line[..at].trim_end().to_owned();
                }
                _ => {}
            }
        }
        line.trim_end().to_owned()
    }

    fn entry(&mut self, section: usize, text: &str, line: usize) {
        let Some(parts) = split(text) else {
            return self.error(line, "a quote is not closed".to_owned());
        };
        let Parts { key, values } = parts;
        if key.as_deref() == Some("") {
            return self.error(line, "there is nothing before '='".to_owned());
        }
        self.sections[section].entries.push(Entry { key, values, line });
    }

    /// Replaces `%name%` by its string everywhere but in `[Strings]` itself. `%13%` and other numbers are directories.
    fn resolve_strings(&mut self) {
        let mut strings = HashMap::new();
        let mut doubles = Vec::new();
        for entry in self.section("Strings").into_iter().flat_map(|section| &section.entries) {
            let Some(key) = &entry.key else {
                doubles.push((entry.line, "a string needs a name: write name = \"text\"".to_owned()));
                continue;
            };
            if strings.insert(key.to_lowercase(), entry.values.join(",")).is_some() {
                doubles.push((entry.line, format!("the string '{key}' is defined twice")));
            }
        }
        let mut missing = Vec::new();
        for section in
            self.sections.iter_mut().filter(|section| !section.name.eq_ignore_ascii_case("Strings"))
        {
            for entry in &mut section.entries {
                for text in entry.key.iter_mut().chain(&mut entry.values) {
                    match expand(text, &strings) {
                        Ok(expanded) => *text = expanded,
                        Err(reason) => missing.push((entry.line, reason)),
                    }
                }
            }
        }
        doubles.into_iter().chain(missing).for_each(|(line, text)| self.error(line, text));
    }
}

struct Parts {
    key: Option<String>,
    values: Vec<String>,
}

/// Parts an entry at `=` and at commas, outside of quotes. Quotes vanish; a doubled one inside of quotes stays as one.
/// `None`: a quote is not closed.
fn split(text: &str) -> Option<Parts> {
    let mut key = None;
    let mut fields = vec![String::new()];
    // White space around a field vanishes, inside of quotes it stays: how much of the field's end is quoted.
    let mut kept = 0;
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' => {
                if !quoted && field.trim().is_empty() {
                    field.clear();
                }
                quoted = !quoted;
                kept = field.len();
            }
            ',' | '=' if !quoted && (letter == ',' || key.is_none()) => {
                trim_end(field, kept);
                kept = 0;
                if letter == ',' {
                    fields.push(String::new());
                } else if fields.len() == 1 {
                    key = fields.pop();
                    fields.push(String::new());
                } else {
                    fields.last_mut()?.push('=');
                }
            }
            letter if !quoted && letter.is_whitespace() && field.is_empty() && kept == 0 => {}
            letter => field.push(letter),
        }
        if quoted {
            kept = fields.last()?.len();
        }
    }
    trim_end(fields.last_mut()?, kept);
    (!quoted).then_some(Parts { key, values: fields })
}

fn trim_end(field: &mut String, kept: usize) {
    field.truncate(field.trim_end().len().max(kept));
}

fn expand(text: &str, strings: &HashMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        let Some((name, after)) = after.split_once('%') else {
            return Err(format!("'%' is not closed in '{text}'"));
        };
        match strings.get(&name.to_lowercase()) {
            _ if name.is_empty() => out.push('%'),
            Some(value) => out += value,
            None if name.bytes().all(|byte| byte.is_ascii_digit()) => out = format!("{out}%{name}%"),
            None => return Err(format!("the string '%{name}%' is not defined")),
        }
        rest = after;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::Inf;

    fn values(line: &str) -> Vec<String> {
        let inf = Inf::parse(&format!("[A]\n{line}\n[Strings]\nName = \"the, name\"\nNumber = 0x7"));
        assert!(inf.errors.is_empty(), "{:?}", inf.errors);
        inf.sections[0].entries[0].values.clone()
    }

    #[test]
    fn values_are_parted_at_commas_outside_of_quotes() {
        assert_eq!(values(r#"a = b , "c,  d" ,, %name%"#), ["b", "c,  d", "", "the, name"]);
        assert_eq!(values(r#"HKR,,"x""y""#), ["HKR", "", "x\"y"]);
        assert_eq!(values(r#"HKR,"Instances\"%Name%"#), ["HKR", r"Instances\the, name"]);
        assert_eq!(values(r#"k = " padded ""#), [" padded "]);
        assert_eq!(values("k = a=b, c=d"), ["a=b", "c=d"]);
        assert_eq!(values("k = 100%%"), ["100%"]);
        assert_eq!(values(r"k = %13%\x.sys"), [r"%13%\x.sys"]);
    }

    #[test]
    fn comments_end_a_line_unless_quoted_and_are_kept() {
        let inf = Inf::parse("; all of it\n[A] ; here\nk = \"a;b\" ; there");
        assert_eq!(inf.sections[0].entries[0].values, ["a;b"]);
        assert_eq!(inf.comments[&3], "there");
    }

    #[test]
    fn a_backslash_at_the_end_continues_a_line() {
        let inf = Inf::parse("[A]\nk = a, \\ ; more follows\n    b\nl = c");
        assert_eq!(inf.sections[0].entries[0].values, ["a", "b"]);
        assert_eq!(inf.sections[0].entries[1].line, 4);
    }

    #[test]
    fn a_section_opened_twice_is_one_and_case_does_not_matter() {
        let inf = Inf::parse("[A]\nk = 1\n[B]\n[a]\nK = 2");
        assert_eq!(inf.sections.len(), 2);
        assert_eq!(
            inf.section("A").unwrap().all("k").map(|entry| entry.number(0)).collect::<Vec<_>>(),
            [Some(1), Some(2)]
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_line() {
        for (text, line) in [
            ("k = 1", 1),
            ("[A]\n[B", 2),
            ("[]", 1),
            ("[A]\nk = \"x", 2),
            ("[A]\nk = %missing%", 2),
            ("[A]\nk = %half", 2),
            ("[A]\n= 1", 2),
            ("[A]\nk = 1 \\", 2),
            ("[Strings]\na = 1\nA = 2", 3),
            ("[Strings]\nlost", 2),
        ] {
            let errors = Inf::parse(text).errors;
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert_eq!(errors[0].line, line, "{text}");
        }
    }
}
