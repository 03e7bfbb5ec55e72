//! A policy for mobile device management: SyncML that installs a template made for exactly its rules, and sets them.
//!
//! An MDM product takes each `LocURI` and `Data` as one OMA-URI setting. Device management writes below
//! `SOFTWARE\Policies` only, so rules of the service's own key cannot be written.

use std::fmt::Write as _;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use roxmltree::{Document as Xml, Node};

use super::document::{Data, Document, Section};
use super::template::{CATEGORY, KEY, Template, admx, escaped};
use crate::Key;
use crate::schema::{Kind, SCHEMA_VERSION, Value};

const INSTALL: &str = "./Device/Vendor/MSFT/Policy/ConfigOperations/ADMXInstall/Intact/Policy/intact.admx";
const CONFIG: &str = "./Device/Vendor/MSFT/Policy/Config/Intact~Policy~";

/// Between the elements of a list.
const SEPARATOR: char = '\u{F000}';

/// Writes the policy of `HKLM\SOFTWARE\Policies\Intact`.
pub fn to_oma_uri(document: &Document) -> Result<String, String> {
    if document.sections.iter().any(|section| section.key != Key::Policies && !section.values.is_empty()) {
        return Err(format!("device management cannot write {}", Key::Parameters.path()));
    }
    let rules = || {
        document
            .sections
            .iter()
            .filter(|section| section.key == Key::Policies && !section.values.is_empty())
            .filter_map(|section| section.rule.as_deref().map(|rule| (rule, section)))
    };
    let template = Template::new(rules().map(|(rule, _)| rule));
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<SyncML xmlns=\"SYNCML:SYNCML1.2\">\n  <SyncBody>\n",
    );
    let mut number = 0u32;
    let mut command = |verb: &str, uri: &str, data: &str| {
        number = number.saturating_add(1);
        let _ = write!(
            out,
            "    <{verb}>\n      <CmdID>{number}</CmdID>\n      <Item>\n        <Meta><Format xmlns=\"syncml:metinf\">chr</Format><Type xmlns=\"syncml:metinf\">text/plain</Type></Meta>\n        \
             <Target><LocURI>{}</LocURI></Target>\n        <Data>{}</Data>\n      </Item>\n    </{verb}>\n",
            escaped(uri),
            escaped(data)
        );
    };
    command("Add", INSTALL, &admx(&template));
    let roots =
        document.sections.iter().filter(|section| section.key == Key::Policies && section.rule.is_none());
    for (value, data) in roots.flat_map(|section| &section.values) {
        let payload = match data {
            Data::Number(0) => "<disabled/>",
            Data::Number(1) => "<enabled/>",
            other => return Err(format!("{} cannot be {other:?}", value.name())),
        };
        command("Replace", &format!("{CONFIG}{CATEGORY}/{}", value.name()), payload);
    }
    for ((setting, _), (_, section)) in template.rules.iter().zip(rules()) {
        let mut payload = String::from("<enabled/>");
        // Every element of the setting must be given.
        for row in Value::ALL.iter().filter(|row| !row.at_root) {
            let given = section.values.iter().find(|(value, _)| *value == row.value).map(|(_, data)| data);
            let text = match (given, row.kind) {
                (Some(Data::List(elements)), _) => elements.join(&SEPARATOR.to_string()),
                (Some(Data::Word(word)), _) => word.clone(),
                (Some(Data::Number(number)), _) => number.to_string(),
                (None, Kind::Patterns) => String::new(),
                (None, Kind::Word(words)) => words.first().map(ToString::to_string).unwrap_or_default(),
                (None, Kind::Number { default, .. }) => default.to_string(),
            };
            if row.kind != Kind::Patterns || !text.is_empty() {
                let value = escaped(&text).replace(SEPARATOR, "&#xF000;");
                let _ = write!(payload, "\n<data id=\"{}\" value=\"{value}\"/>", row.name);
            }
        }
        command("Replace", &format!("{CONFIG}{CATEGORY}/{setting}"), &payload);
    }
    out.push_str("    <Final/>\n  </SyncBody>\n</SyncML>\n");
    Ok(out)
}

/// Reads what [`to_oma_uri`] writes: settings of any template that is installed by the same file, or of the published
/// one. Every error with the place where it is.
pub fn from_oma_uri(text: &str) -> Result<Document, Vec<String>> {
    let xml = Xml::parse(text).map_err(|error| Vec::from([format!("this is no XML: {error}")]))?;
    let mut errors = Vec::new();
    let items: Vec<(String, String)> = xml
        .descendants()
        .filter(|node| node.has_tag_name(("SYNCML:SYNCML1.2", "Item")))
        .map(|item| (content(item, "LocURI"), content(item, "Data")))
        .collect();
    if items.is_empty() {
        errors.push("there is no <Item> of SyncML 1.2 in it".to_string());
    }
    let mut template = super::slots().rules;
    for (uri, data) in items.iter().filter(|(uri, _)| uri.contains("/ADMXInstall/")) {
        match rules_of(data) {
            Ok(rules) => template = rules,
            Err(why) => errors.push(format!("{uri}: {why}")),
        }
    }
    let mut root = Section { key: Key::Policies, rule: None, values: Vec::new() };
    let mut rules = Vec::new();
    for (uri, data) in items.iter().filter(|(uri, _)| !uri.contains("/ADMXInstall/")) {
        let Some(setting) = uri.strip_prefix(CONFIG).and_then(|rest| rest.strip_prefix("Intact/")) else {
            errors.push(format!("{uri} is no setting of Intact: they begin with {CONFIG}{CATEGORY}/"));
            continue;
        };
        let known = Value::ALL.iter().find(|row| row.at_root && row.name == setting).map(|row| row.value);
        let rule = template.iter().find(|(known, _)| known == setting).map(|(_, rule)| rule);
        let result = match (known, rule) {
            (Some(value), _) => switch(value, data).map(|value| root.values.extend(value)),
            (None, Some(rule)) => elements(rule, data).map(|section| rules.extend(section)),
            (None, None) => Err("is a setting that the template does not have".to_string()),
        };
        if let Err(why) = result {
            errors.push(format!("{uri}: {why}"));
        }
    }
    root.sort();
    let sections = core::iter::once(root).chain(rules).collect();
    if errors.is_empty() { Ok(Document { sections }) } else { Err(errors) }
}

fn content(item: Node<'_, '_>, name: &str) -> String {
    let node = item.descendants().find(|node| node.tag_name().name() == name);
    let text: String =
        node.into_iter().flat_map(|node| node.children()).filter_map(|node| node.text()).collect();
    text.trim().to_string()
}

/// The settings of an installed template, and the keys of the rules behind them.
fn rules_of(text: &str) -> Result<Vec<(String, String)>, String> {
    let xml = Xml::parse(text).map_err(|error| format!("the template is no XML: {error}"))?;
    let policies = xml.descendants().filter(|node| node.tag_name().name() == "policy");
    let rule = |policy: Node<'_, '_>| {
        let (parent, rule) = policy.attribute("key")?.split_at_checked(KEY.len())?;
        let rule = rule.strip_prefix('\\').filter(|_| parent.eq_ignore_ascii_case(KEY))?;
        Some((policy.attribute("name")?.to_string(), rule.to_string()))
    };
    Ok(policies.filter_map(rule).collect())
}

/// A root value: on, off or not there.
fn switch(value: Value, data: &str) -> Result<Option<(Value, Data)>, String> {
    match data.replace(' ', "").as_str() {
        "<enabled/>" if value == Value::Version => Ok(Some((value, Data::Number(SCHEMA_VERSION)))),
        "<enabled/>" => Ok(Some((value, Data::Number(1)))),
        "<disabled/>" if value == Value::Version => Ok(None),
        "<disabled/>" => Ok(Some((value, Data::Number(0)))),
        _ => Err("write <enabled/> or <disabled/>".to_string()),
    }
}

/// The values of a rule; `None` if it is disabled.
fn elements(rule: &str, data: &str) -> Result<Option<Section>, String> {
    let wrapped = format!("<payload>{data}</payload>");
    let xml = Xml::parse(&wrapped).map_err(|error| format!("the payload is no XML: {error}"))?;
    let named = |name: &str| xml.descendants().any(|node| node.tag_name().name() == name);
    if named("disabled") {
        return Ok(None);
    }
    if !named("enabled") {
        return Err("write <enabled/> or <disabled/>".to_string());
    }
    let mut section = Section { key: Key::Policies, rule: Some(rule.to_string()), values: Vec::new() };
    for node in xml.descendants().filter(|node| node.tag_name().name() == "data") {
        let (id, text) =
            (node.attribute("id").unwrap_or_default(), node.attribute("value").unwrap_or_default());
        let row = Value::ALL.iter().find(|row| !row.at_root && row.name == id);
        let row = row.ok_or_else(|| format!("\"{id}\" is not a value that Intact knows here"))?;
        let data = match row.kind {
            Kind::Patterns => Data::List(
                text.split(SEPARATOR).filter(|text| !text.is_empty()).map(ToString::to_string).collect(),
            ),
            Kind::Word(_) => Data::Word(text.to_string()),
            Kind::Number { .. } => {
                Data::Number(text.parse().map_err(|_| format!("{id} \"{text}\": write a number"))?)
            }
        };
        section.values.push((row.value, data));
    }
    section.sort();
    Ok(Some(section))
}
