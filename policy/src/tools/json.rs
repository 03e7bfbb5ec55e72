//! A policy in JSON:
//!
//! ```json
//! {
//!   "Policies": {
//!     "Enabled": 1,
//!     "Rules": { "Reports": { "Paths": ["D:\\Reports\\**"], "OnExit": "Rollback", "Order": 100 } }
//!   },
//!   "Parameters": { "Rules": {} }
//! }
//! ```

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::{Map, Value as Json};

use super::document::{Data, Document, KEYS, Section};
use crate::schema::{Kind, Value};
use crate::{Key, kind};

const RULES: &str = "Rules";

fn name(key: Key) -> &'static str {
    match key {
        Key::Policies => "Policies",
        Key::Parameters => "Parameters",
    }
}

/// Writes a policy.
pub fn to_json(document: &Document) -> String {
    let mut all = Map::new();
    for key in KEYS {
        let mut of_key = Map::new();
        let mut rules = Map::new();
        for section in document.sections.iter().filter(|section| section.key == key) {
            let values = section.values.iter().map(|(value, data)| {
                let json = match data {
                    Data::List(elements) => Json::from(elements.clone()),
                    Data::Word(word) => Json::from(word.clone()),
                    Data::Number(number) => Json::from(*number),
                };
                (value.name().to_string(), json)
            });
            match &section.rule {
                None => of_key.extend(values),
                Some(rule) => _ = rules.insert(rule.clone(), Json::Object(values.collect())),
            }
        }
        if !rules.is_empty() {
            of_key.insert(RULES.to_string(), Json::Object(rules));
        }
        if !of_key.is_empty() {
            all.insert(name(key).to_string(), Json::Object(of_key));
        }
    }
    format!("{:#}\n", Json::Object(all))
}

/// Reads a policy; every error with the place where it is.
pub fn from_json(text: &str) -> Result<Document, Vec<String>> {
    let json: Json =
        serde_json::from_str(text).map_err(|error| Vec::from([format!("this is no JSON: {error}")]))?;
    let mut reader = Reader { errors: Vec::new(), document: Document::default() };
    match &json {
        Json::Object(keys) => {
            for (member, value) in keys {
                match KEYS.into_iter().find(|key| name(*key) == member) {
                    Some(key) => reader.key(key, value),
                    None => reader.error(member, "is no key: there are Policies and Parameters"),
                }
            }
        }
        _ => reader.error("the file", "must be an object with Policies, Parameters or both"),
    }
    let order = |section: &Section| KEYS.iter().position(|key| *key == section.key);
    reader.document.sections.sort_by_key(order);
    if reader.errors.is_empty() { Ok(reader.document) } else { Err(reader.errors) }
}

struct Reader {
    errors: Vec<String>,
    document: Document,
}

impl Reader {
    fn error(&mut self, place: &str, what: &str) {
        self.errors.push(format!("{place} {what}"));
    }

    fn key(&mut self, key: Key, json: &Json) {
        let Json::Object(members) = json else {
            return self.error(name(key), "must be an object");
        };
        let values = members.iter().filter(|(member, _)| *member != RULES);
        self.section(key, None, name(key), values);
        match members.get(RULES) {
            None => {}
            Some(Json::Object(rules)) => {
                for (rule, json) in rules {
                    let place = format!("{}.{RULES}.{rule}", name(key));
                    if rule.is_empty() || rule.contains('\\') {
                        self.error(&place, "is no name of a registry key");
                    }
                    match json {
                        Json::Object(values) => self.section(key, Some(rule), &place, values.iter()),
                        _ => self.error(&place, "must be an object"),
                    }
                }
            }
            Some(_) => self.error(&format!("{}.{RULES}", name(key)), "must be an object: name to rule"),
        }
    }

    fn section<'j>(
        &mut self,
        key: Key,
        rule: Option<&str>,
        place: &str,
        values: impl Iterator<Item = (&'j String, &'j Json)>,
    ) {
        let mut section = Section { key, rule: rule.map(ToString::to_string), values: Vec::new() };
        for (member, json) in values {
            let place = format!("{place}.{member}");
            let units: Vec<u16> = member.encode_utf16().collect();
            let Some(value) = Value::find(&units, rule.is_none()) else {
                self.error(&place, "is not a value that Intact knows here");
                continue;
            };
            match read(value, json) {
                Ok(data) if section.values.iter().all(|(known, _)| *known != value) => {
                    section.values.push((value, data));
                }
                Ok(_) => self.error(&place, "is there twice"),
                Err(why) => self.error(&place, &why),
            }
        }
        section.sort();
        self.document.sections.push(section);
    }
}

fn read(value: Value, json: &Json) -> Result<Data, String> {
    match (value.schema().kind, json) {
        (Kind::Patterns, Json::Array(elements)) => {
            let text = |(place, element): (usize, &Json)| match element {
                Json::String(text) if !text.is_empty() && !text.contains('\0') => Ok(text.clone()),
                _ => Err(format!("[{}] must be a pattern between quotes", place.saturating_add(1))),
            };
            elements.iter().enumerate().map(text).collect::<Result<_, _>>().map(Data::List)
        }
        (Kind::Patterns, _) => Err("must be a list of patterns: [\"C:\\\\Data\\\\**\"]".to_string()),
        (Kind::Word(_), Json::String(word)) if !word.contains('\0') => Ok(Data::Word(word.clone())),
        (Kind::Word(words), _) => Err(format!("must be one of \"{}\"", words.join("\", \""))),
        (Kind::Number { .. }, Json::Number(number)) => {
            let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
            number
                .map(Data::Number)
                .ok_or_else(|| format!("must be a whole number that fits into {}", kind::name(kind::DWORD)))
        }
        (Kind::Number { .. }, _) => Err("must be a number".to_string()),
    }
}
