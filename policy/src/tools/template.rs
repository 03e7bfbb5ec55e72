//! Group Policy templates, made from the schema.
//!
//! A template can write values into keys that it names, but it cannot make up names of keys: so it has a number of rules
//! with fixed names, each a policy setting of its own. A rule that is not configured leaves no values behind, and a
//! rule without values is none.

use std::fmt::Write as _;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::schema::{Kind, SCHEMA_VERSION, Value, ValueSchema};

/// How many rules the published template has.
pub const RULE_SLOTS: usize = 16;

/// The namespace of the published schema.
pub(super) const SCHEMA: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";
/// The policy key, as templates name it.
pub(super) const KEY: &str = r"SOFTWARE\Policies\Intact";
/// The name of the template's only category.
pub(super) const CATEGORY: &str = "Intact";

/// A template's rules.
#[derive(Clone, Debug)]
pub struct Template {
    /// The name of each setting (letters, digits and `_`), and of its rule's key.
    pub rules: Vec<(String, String)>,
}

/// The template that is published: rules `Rule01` to `Rule16`.
pub fn slots() -> Template {
    let name = |slot: usize| format!("Rule{slot:02}");
    Template { rules: (1..=RULE_SLOTS).map(|slot| (name(slot), name(slot))).collect() }
}

impl Template {
    /// A template for rules with these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Template {
        let setting =
            |(place, name): (usize, &str)| (format!("Rule{:02}", place.saturating_add(1)), name.to_string());
        Template { rules: names.enumerate().map(setting).collect() }
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn rows(at_root: bool) -> impl Iterator<Item = &'static ValueSchema> {
    Value::ALL.iter().filter(move |row| row.at_root == at_root)
}

/// The definitions: `intact.admx`.
pub fn admx(template: &Template) -> String {
    let mut out = format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<policyDefinitions xmlns="{SCHEMA}" revision="1.0" schemaVersion="1.0">
  <policyNamespaces>
    <target prefix="intact" namespace="Intact.Policies.Intact" />
  </policyNamespaces>
  <resources minRequiredRevision="1.0" fallbackCulture="en-US" />
  <supportedOn>
    <definitions>
      <definition name="SUPPORTED_Intact" displayName="$(string.SUPPORTED_Intact)" />
    </definitions>
  </supportedOn>
  <categories>
    <category name="{CATEGORY}" displayName="$(string.{CATEGORY})" explainText="$(string.{CATEGORY}_Explain)" />
  </categories>
  <policies>
"#
    );
    for row in rows(true) {
        let name = row.name;
        let off = if row.value == Value::Version { "<delete />" } else { r#"<decimal value="0" />"# };
        let on = if row.value == Value::Version { SCHEMA_VERSION } else { 1 };
        let _ = write!(
            out,
            r#"    <policy name="{name}" class="Machine" displayName="$(string.{name})" explainText="$(string.{name}_Explain)" key="{KEY}" valueName="{name}">
      <parentCategory ref="{CATEGORY}" />
      <supportedOn ref="SUPPORTED_Intact" />
      <enabledValue><decimal value="{on}" /></enabledValue>
      <disabledValue>{off}</disabledValue>
    </policy>
"#
        );
    }
    for (setting, rule) in &template.rules {
        let key = escaped(&format!(r"{KEY}\{rule}"));
        let _ = write!(
            out,
            r#"    <policy name="{setting}" class="Machine" displayName="$(string.{setting})" explainText="$(string.Rule_Explain)" presentation="$(presentation.{setting})" key="{key}">
      <parentCategory ref="{CATEGORY}" />
      <supportedOn ref="SUPPORTED_Intact" />
      <elements>
"#
        );
        for row in rows(false) {
            element(&mut out, row);
        }
        out.push_str("      </elements>\n    </policy>\n");
    }
    out.push_str("  </policies>\n</policyDefinitions>\n");
    out
}

fn element(out: &mut String, row: &ValueSchema) {
    let name = row.name;
    let _ = match row.kind {
        Kind::Patterns => {
            let required = if row.value == Value::Paths { r#" required="true""# } else { "" };
            writeln!(
                out,
                r#"        <multiText id="{name}" valueName="{name}"{required} maxLength="32767" />"#
            )
        }
        Kind::Number { max: 1, .. } => writeln!(
            out,
            r#"        <boolean id="{name}" valueName="{name}"><trueValue><decimal value="1" /></trueValue><falseValue><decimal value="0" /></falseValue></boolean>"#
        ),
        Kind::Number { max, .. } => {
            writeln!(
                out,
                r#"        <decimal id="{name}" valueName="{name}" minValue="0" maxValue="{max}" />"#
            )
        }
        Kind::Word(words) => {
            let _ = writeln!(out, r#"        <enum id="{name}" valueName="{name}">"#);
            for word in words {
                let _ = writeln!(
                    out,
                    r#"          <item displayName="$(string.{name}_{word})"><value><string>{word}</string></value></item>"#
                );
            }
            writeln!(out, "        </enum>")
        }
    };
}

/// The texts in English: `en-US/intact.adml`.
pub fn adml(template: &Template) -> String {
    let mut out = format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<policyDefinitionResources xmlns="{SCHEMA}" revision="1.0" schemaVersion="1.0">
  <displayName>Intact</displayName>
  <description>Which saves Intact makes atomic</description>
  <resources>
    <stringTable>
"#
    );
    let mut string = |id: &str, text: &str| {
        let _ = writeln!(out, r#"      <string id="{id}">{}</string>"#, escaped(text));
    };
    string(CATEGORY, "Intact");
    string(
        &format!("{CATEGORY}_Explain"),
        "Intact makes the saves of programs atomic: a file is entirely old or entirely new.",
    );
    string("SUPPORTED_Intact", "Any Windows on which Intact is installed");
    for row in rows(true) {
        string(row.name, row.name);
        string(&format!("{}_Explain", row.name), &sentence(row));
    }
    for (setting, rule) in &template.rules {
        string(setting, &format!("Rule {rule}"));
    }
    let mut explained = String::from(
        "A rule: which files, saved by which programs, are saved atomically, and how. Not configured or disabled: there is \
         no such rule.",
    );
    for row in rows(false) {
        let _ = write!(explained, "\n\n{}: {}", row.name, sentence(row));
    }
    string("Rule_Explain", &explained);
    for row in rows(false) {
        if let Kind::Word(words) = row.kind {
            words.iter().for_each(|word| string(&format!("{}_{word}", row.name), word));
        }
    }
    out.push_str("    </stringTable>\n    <presentationTable>\n");
    for (setting, _) in &template.rules {
        let _ = writeln!(out, r#"      <presentation id="{setting}">"#);
        for row in rows(false) {
            let name = row.name;
            let _ = match row.kind {
                Kind::Patterns => {
                    writeln!(
                        out,
                        r#"        <multiTextBox refId="{name}" defaultHeight="4">{name}</multiTextBox>"#
                    )
                }
                Kind::Word(_) => writeln!(
                    out,
                    r#"        <dropdownList refId="{name}" noSort="true" defaultItem="0">{name}</dropdownList>"#
                ),
                Kind::Number { max: 1, default } => writeln!(
                    out,
                    r#"        <checkBox refId="{name}" defaultChecked="{}">{name}</checkBox>"#,
                    default == 1
                ),
                Kind::Number { default, .. } => writeln!(
                    out,
                    r#"        <decimalTextBox refId="{name}" defaultValue="{default}">{name}</decimalTextBox>"#
                ),
            };
        }
        out.push_str("      </presentation>\n");
    }
    out.push_str("    </presentationTable>\n  </resources>\n</policyDefinitionResources>\n");
    out
}

/// What a value means, as a sentence.
fn sentence(row: &ValueSchema) -> String {
    let mut letters = row.meaning.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
