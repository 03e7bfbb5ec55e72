//! The text of a file with all of its changes in it, each behind its switch.

use std::ops::Range;

use super::sites::{Form, Site};

/// A changed file.
pub(super) struct Rewritten {
    pub(super) text: String,
    /// What each change has added to the text, by its number.
    pub(super) added: Vec<(u32, Range<usize>)>,
}

/// Puts the changes into a file. They are numbered from `first` in their order; those that `keep` does not want are left
/// out. `switch` is the module with the functions that say whether a change is on.
pub(super) fn rewrite(
    source: &str,
    sites: &[Site],
    first: u32,
    keep: &dyn Fn(u32) -> bool,
    switch: &str,
) -> Rewritten {
    let mut numbered = Vec::new();
    let mut next = first;
    for site in sites {
        let numbers = (next..).take(site.changes.len()).collect::<Vec<u32>>();
        next = next.saturating_add(u32::try_from(site.changes.len()).unwrap_or(u32::MAX));
        numbered.push((site, numbers));
    }
    // Stable: of two that have the same range the one that was found first is outside.
    numbered.sort_by_key(|(site, _)| (site.range.start, usize::MAX - site.range.end));
    let mut writer = Writer {
        source,
        keep,
        switch,
        result: Rewritten { text: String::with_capacity(source.len() * 4), added: Vec::new() },
    };
    writer.write(0..source.len(), &numbered);
    writer.result
}

struct Writer<'a> {
    source: &'a str,
    keep: &'a dyn Fn(u32) -> bool,
    switch: &'a str,
    result: Rewritten,
}

type Numbered<'a> = (&'a Site, Vec<u32>);

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.result.text.push_str(text);
    }

    fn is_on(&self, number: u32) -> String {
        format!("{}::on({number})", self.switch)
    }

    /// As [`Self::is_on`], where a change that is reached need not make a difference.
    fn is(&self, number: u32) -> String {
        format!("{}::is({number})", self.switch)
    }

    /// Text that is a change's own.
    fn add(&mut self, number: u32, text: &str) {
        let start = self.result.text.len();
        self.push(text);
        self.result.added.push((number, start..self.result.text.len()));
    }

    fn write(&mut self, range: Range<usize>, sites: &[Numbered<'_>]) {
        let mut at = range.start;
        let mut rest = sites;
        while let [(site, numbers), after @ ..] = rest {
            let is_inside = |(inner, _): &&Numbered<'_>| inner.range.end <= site.range.end;
            let inside = if site.range.is_empty() { 0 } else { after.iter().take_while(is_inside).count() };
            let (inner, next) = after.split_at(inside);
            self.push(&self.source[at..site.range.start]);
            self.site(site, numbers, inner);
            at = site.range.end;
            rest = next;
        }
        self.push(&self.source[at..range.end]);
    }

    fn site(&mut self, site: &Site, numbers: &[u32], inner: &[Numbered<'_>]) {
        let range = site.range.clone();
        let kept: Vec<(usize, u32)> =
            numbers.iter().copied().enumerate().filter(|(_, number)| (self.keep)(*number)).collect();
        if kept.is_empty() {
            return self.write(range, inner);
        }
        match &site.form {
            Form::Expression(others) => {
                self.push("(");
                for (index, number) in kept {
                    let other = others.get(index).map_or("", String::as_str);
                    let text = format!("if {} {{ ({other}) }}", self.is_on(number));
                    self.add(number, &text);
                    self.push(" else ");
                }
                // In parentheses: what begins with `if` would be a statement.
                self.push("{ (");
                self.write(range, inner);
                self.push(") })");
            }
            Form::Condition => {
                let other =
                    |when: usize| kept.iter().find(|(index, _)| *index == when).map_or(0, |kept| kept.1);
                let seen = format!("{}::seen({}, {}, ", self.switch, other(0), other(1));
                self.push("(");
                let mut open = 2_usize;
                for (index, number) in kept {
                    let (negated, operator) = if index == 0 { ("!", "&&") } else { ("", "||") };
                    let text = format!("{negated}{}", self.is(number));
                    self.add(number, &text);
                    self.push(&format!(" {operator} ("));
                    open += 1;
                }
                self.push(&seen);
                self.write(range, inner);
                self.push(&")".repeat(open));
            }
            Form::Statement => {
                for &(_, number) in &kept {
                    let start = self.result.text.len();
                    self.push(&format!("if !{} {{ ", self.is_on(number)));
                    self.write(range.clone(), inner);
                    self.push(" }");
                    self.result.added.push((number, start..self.result.text.len()));
                }
            }
            Form::Return(values) => {
                for (index, number) in kept {
                    let value = values.get(index).map_or("", String::as_str);
                    let text = format!(" if {} {{ return {value}; }}", self.is_on(number));
                    self.add(number, &text);
                }
            }
            Form::Guard => {
                for (_, number) in kept {
                    let text = format!(" if !{}", self.is_on(number));
                    self.add(number, &text);
                }
            }
        }
    }
}
