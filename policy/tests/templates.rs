//! The Group Policy templates: made from the schema, valid by the rules of the published ADMX schema (MS-GPREG §7:
//! BaseTypes, PolicyDefinitions, PolicyDefinitionFiles), complete, and giving the policy that they describe.
//!
//! The schema's own files are Microsoft's and not part of this repository; `ROWS` is what they require of the elements
//! that the templates use.

use intact_policy::reg::{RegFile, RegValue};
use intact_policy::tools::{Data, Document, adml, admx, slots};
use intact_policy::{Key, Kind, Value, kind};
use roxmltree::{Document as Xml, Node};

const ADMX: &str = include_str!("../../inf/intact.admx");
const ADML: &str = include_str!("../../inf/en-US/intact.adml");
const NAMESPACE: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";

#[test]
fn the_published_templates_are_those_that_the_schema_makes() {
    assert_eq!(ADMX, admx(&slots()), "cargo run -p intact-policy -- template admx > inf/intact.admx");
    assert_eq!(ADML, adml(&slots()), "cargo run -p intact-policy -- template adml > inf/en-US/intact.adml");
}

/// What may stand where: element, the element around it, required attributes, optional ones, children in their order
/// with least and most (a choice if `Choice`), and what an attribute must look like.
struct Row {
    name: &'static str,
    parent: &'static str,
    required: &'static [(&'static str, Form)],
    optional: &'static [(&'static str, Form)],
    children: Children,
}

#[derive(Clone, Copy)]
enum Form {
    Any,
    Item,
    Reference,
    Text,
    Presentation,
    Version,
    Number,
    Boolean,
    Class,
}
use Form::*;

#[derive(Clone, Copy)]
enum Children {
    Sequence(&'static [(&'static str, usize, usize)]),
    Choice(&'static [&'static str], usize),
    Content(usize),
    Empty,
}
use Children::*;

const ELEMENT: &[(&str, Form)] = &[("id", Any)];
const MANY: usize = usize::MAX;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "policyDefinitions", parent: "", required: &[("revision", Version), ("schemaVersion", Version)], optional: &[],
        children: Sequence(&[("policyNamespaces", 1, 1), ("supersededAdm", 0, MANY), ("annotation", 0, MANY), ("resources", 1, 1), ("supportedOn", 0, 1), ("categories", 0, 1), ("policies", 0, 1)]) },
    Row { name: "policyNamespaces", parent: "policyDefinitions", required: &[], optional: &[], children: Sequence(&[("target", 1, 1), ("using", 0, MANY)]) },
    Row { name: "target", parent: "policyNamespaces", required: &[("prefix", Item), ("namespace", Any)], optional: &[], children: Empty },
    Row { name: "resources", parent: "policyDefinitions", required: &[("minRequiredRevision", Version)], optional: &[("fallbackCulture", Any)], children: Empty },
    Row { name: "supportedOn", parent: "policyDefinitions", required: &[], optional: &[], children: Sequence(&[("products", 0, 1), ("definitions", 0, 1)]) },
    Row { name: "definitions", parent: "supportedOn", required: &[], optional: &[], children: Sequence(&[("definition", 1, MANY)]) },
    Row { name: "definition", parent: "definitions", required: &[("name", Item), ("displayName", Text)], optional: &[], children: Choice(&["or", "and"], 0) },
    Row { name: "categories", parent: "policyDefinitions", required: &[], optional: &[], children: Sequence(&[("category", 1, MANY)]) },
    Row { name: "category", parent: "categories", required: &[("name", Item), ("displayName", Text)], optional: &[("explainText", Text)],
        children: Sequence(&[("annotation", 0, MANY), ("parentCategory", 0, 1), ("seeAlso", 0, MANY), ("keywords", 0, 1)]) },
    Row { name: "policies", parent: "policyDefinitions", required: &[], optional: &[], children: Sequence(&[("policy", 1, MANY)]) },
    Row { name: "policy", parent: "policies", required: &[("name", Item), ("class", Class), ("displayName", Text), ("key", Any)],
        optional: &[("explainText", Text), ("presentation", Presentation), ("valueName", Any)],
        children: Sequence(&[("annotation", 0, MANY), ("parentCategory", 0, 1), ("seeAlso", 0, MANY), ("keywords", 0, 1), ("supportedOn", 1, 1), ("enabledValue", 0, 1), ("disabledValue", 0, 1), ("enabledList", 0, 1), ("disabledList", 0, 1), ("elements", 0, 1)]) },
    Row { name: "parentCategory", parent: "policy", required: &[("ref", Reference)], optional: &[], children: Empty },
    Row { name: "supportedOn", parent: "policy", required: &[("ref", Reference)], optional: &[], children: Empty },
    Row { name: "enabledValue", parent: "policy", required: &[], optional: &[], children: Choice(&["delete", "decimal", "string"], 1) },
    Row { name: "disabledValue", parent: "policy", required: &[], optional: &[], children: Choice(&["delete", "decimal", "string"], 1) },
    Row { name: "trueValue", parent: "boolean", required: &[], optional: &[], children: Choice(&["delete", "decimal", "string"], 1) },
    Row { name: "falseValue", parent: "boolean", required: &[], optional: &[], children: Choice(&["delete", "decimal", "string"], 1) },
    Row { name: "value", parent: "item", required: &[], optional: &[], children: Choice(&["delete", "decimal", "string"], 1) },
    Row { name: "decimal", parent: "elements", required: ELEMENT, optional: &[("clientExtension", Any), ("key", Any), ("valueName", Any), ("required", Boolean), ("minValue", Number), ("maxValue", Number), ("storeAsText", Boolean), ("soft", Boolean)], children: Empty },
    Row { name: "decimal", parent: "", required: &[("value", Number)], optional: &[], children: Empty },
    Row { name: "delete", parent: "", required: &[], optional: &[], children: Empty },
    Row { name: "string", parent: "value", required: &[], optional: &[], children: Content(255) },
    Row { name: "elements", parent: "policy", required: &[], optional: &[], children: Choice(&["boolean", "decimal", "text", "enum", "list", "multiText"], MANY) },
    Row { name: "multiText", parent: "elements", required: ELEMENT, optional: &[("clientExtension", Any), ("key", Any), ("valueName", Any), ("required", Boolean), ("maxLength", Number), ("maxStrings", Number), ("soft", Boolean)], children: Empty },
    Row { name: "boolean", parent: "elements", required: ELEMENT, optional: &[("clientExtension", Any), ("key", Any), ("valueName", Any)], children: Sequence(&[("trueValue", 0, 1), ("falseValue", 0, 1), ("trueList", 0, 1), ("falseList", 0, 1)]) },
    Row { name: "enum", parent: "elements", required: ELEMENT, optional: &[("clientExtension", Any), ("key", Any), ("valueName", Any), ("required", Boolean)], children: Sequence(&[("item", 0, MANY)]) },
    Row { name: "item", parent: "enum", required: &[("displayName", Text)], optional: &[], children: Sequence(&[("value", 1, 1), ("valueList", 0, 1)]) },
    Row { name: "policyDefinitionResources", parent: "", required: &[("revision", Version), ("schemaVersion", Version)], optional: &[],
        children: Sequence(&[("displayName", 1, 1), ("description", 1, 1), ("annotation", 0, MANY), ("resources", 1, 1)]) },
    Row { name: "displayName", parent: "policyDefinitionResources", required: &[], optional: &[], children: Content(MANY) },
    Row { name: "description", parent: "policyDefinitionResources", required: &[], optional: &[], children: Content(MANY) },
    Row { name: "resources", parent: "policyDefinitionResources", required: &[], optional: &[], children: Sequence(&[("stringTable", 0, 1), ("presentationTable", 0, 1)]) },
    Row { name: "stringTable", parent: "resources", required: &[], optional: &[], children: Sequence(&[("string", 1, MANY)]) },
    Row { name: "string", parent: "stringTable", required: &[("id", Item)], optional: &[], children: Content(MANY) },
    Row { name: "presentationTable", parent: "resources", required: &[], optional: &[], children: Sequence(&[("presentation", 1, MANY)]) },
    Row { name: "presentation", parent: "presentationTable", required: &[("id", Item)], optional: &[], children: Choice(&["text", "decimalTextBox", "textBox", "checkBox", "comboBox", "dropdownList", "listBox", "multiTextBox"], MANY) },
    Row { name: "decimalTextBox", parent: "presentation", required: &[("refId", Any)], optional: &[("defaultValue", Number), ("spin", Boolean), ("spinStep", Number)], children: Content(MANY) },
    Row { name: "checkBox", parent: "presentation", required: &[("refId", Any)], optional: &[("defaultChecked", Boolean)], children: Content(MANY) },
    Row { name: "dropdownList", parent: "presentation", required: &[("refId", Any)], optional: &[("noSort", Boolean), ("defaultItem", Number)], children: Content(MANY) },
    Row { name: "multiTextBox", parent: "presentation", required: &[("refId", Any)], optional: &[("showAsDialog", Boolean), ("defaultHeight", Number)], children: Content(MANY) },
];

fn is_item(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

fn fits(form: Form, text: &str) -> bool {
    let reference =
        |kind: &str| text.strip_prefix(kind).and_then(|rest| rest.strip_suffix(')')).is_some_and(is_item);
    match form {
        Any => true,
        Item => is_item(text),
        Reference => text.split(':').count() <= 2 && text.split(':').all(is_item),
        Text => reference("$(string."),
        Presentation => reference("$(presentation."),
        Version => text.split_once('.').is_some_and(|(major, minor)| {
            [(major, 4), (minor, 5)].iter().all(|(part, most)| {
                (1..=*most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
            })
        }),
        Number => text.parse::<u32>().is_ok(),
        Boolean => ["true", "false", "1", "0"].contains(&text),
        Class => ["User", "Machine", "Both"].contains(&text),
    }
}

/// What the schema has against an element and everything in it.
fn findings(node: Node<'_, '_>, out: &mut Vec<String>) {
    let name = node.tag_name().name();
    let parent = node.parent_element().map_or("", |parent| parent.tag_name().name());
    let mut say = |what: String| out.push(format!("<{name}> in <{parent}>: {what}"));
    if node.tag_name().namespace() != Some(NAMESPACE) {
        say("is in another namespace".into());
    }
    let row = ROWS.iter().find(|row| row.name == name && row.parent == parent);
    let Some(row) = row.or_else(|| ROWS.iter().find(|row| row.name == name && row.parent.is_empty())) else {
        return say("is not in the schema".into());
    };
    for (attribute, _) in row.required.iter().filter(|(attribute, _)| !node.has_attribute(*attribute)) {
        say(format!("lacks {attribute}"));
    }
    for attribute in node.attributes() {
        match row.required.iter().chain(row.optional).find(|(known, _)| *known == attribute.name()) {
            None => say(format!("cannot have {}", attribute.name())),
            Some((known, form)) if !fits(*form, attribute.value()) => {
                say(format!("{known}=\"{}\"", attribute.value()))
            }
            Some(_) => {}
        }
    }
    let children: Vec<&str> =
        node.children().filter(Node::is_element).map(|child| child.tag_name().name()).collect();
    let text: String = node.children().filter_map(|child| child.text().filter(|_| child.is_text())).collect();
    match row.children {
        Content(most) if children.is_empty() && text.chars().count() <= most => {}
        Content(_) => say("holds something else than a short text".into()),
        _ if !text.trim().is_empty() => say(format!("holds text: {text:?}")),
        Empty if children.is_empty() => {}
        Empty => say("must be empty".into()),
        Choice(known, most) => {
            let least = usize::from(most != 0 && name != "presentation");
            if children.iter().any(|child| !known.contains(child))
                || !(least..=most.max(1)).contains(&children.len())
            {
                say(format!("holds {children:?}"));
            }
        }
        Sequence(wanted) => {
            let mut left = children.as_slice();
            for (child, least, most) in wanted {
                let count = left.iter().take_while(|name| *name == child).count();
                if !(*least..=*most).contains(&count) {
                    say(format!("holds {count} <{child}>"));
                }
                left = &left[count..];
            }
            if !left.is_empty() {
                say(format!("holds {left:?} where nothing of the kind may stand"));
            }
        }
    }
    node.children().filter(Node::is_element).for_each(|child| findings(child, out));
}

fn judged(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    match Xml::parse(text) {
        Ok(xml) => findings(xml.root_element(), &mut out),
        Err(error) => out.push(error.to_string()),
    }
    out
}

#[test]
fn the_templates_follow_the_admx_schema() {
    assert_eq!(judged(ADMX), [""; 0]);
    assert_eq!(judged(ADML), [""; 0]);
}

#[test]
fn what_breaks_the_schema_is_found() {
    for (good, bad) in [
        ("class=\"Machine\"", "class=\"Computer\""),
        ("revision=\"1.0\"", "revision=\"one\""),
        ("<supportedOn ref=\"SUPPORTED_Intact\" />\n      <enabledValue>", "<enabledValue>"),
        ("multiText id=", "multiText name="),
        ("maxLength=\"32767\"", "maxLength=\"-1\""),
        ("<string>Handle</string>", "<text>Handle</text>"),
        ("displayName=\"$(string.Enabled)\"", "displayName=\"Enabled\""),
        ("GroupPolicy/2006/07", "GroupPolicy/2006/08"),
    ] {
        let broken = ADMX.replacen(good, bad, 1);
        assert_ne!(broken, ADMX, "{good}");
        assert_ne!(judged(&broken), [""; 0], "{bad}");
    }
    for (good, bad) in [
        ("refId=", "ref="),
        ("<displayName>Intact</displayName>", ""),
        ("string id=\"Intact\"", "string id=\"In tact\""),
    ] {
        let broken = ADML.replacen(good, bad, 1);
        assert_ne!(broken, ADML, "{good}");
        assert_ne!(judged(&broken), [""; 0], "{bad}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_element_has_its_control() {
    let (definitions, texts) = (Xml::parse(ADMX).unwrap(), Xml::parse(ADML).unwrap());
    let ids = |name: &str| -> Vec<String> {
        let nodes = texts.descendants().filter(|node| node.tag_name().name() == name);
        nodes.filter_map(|node| node.attribute("id")).map(str::to_owned).collect()
    };
    let (strings, presentations) = (ids("string"), ids("presentation"));
    let mut sorted = strings.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), strings.len(), "no text is there twice");
    for node in definitions.descendants() {
        for attribute in node.attributes() {
            let inside = |kind: &str| {
                attribute.value().strip_prefix(kind).map(|rest| rest.trim_end_matches(')').to_owned())
            };
            if let Some(id) = inside("$(string.") {
                assert!(strings.contains(&id), "{id}");
            }
            if let Some(id) = inside("$(presentation.") {
                assert!(presentations.contains(&id), "{id}");
            }
            if attribute.name() == "ref" {
                let named = definitions.descendants().any(|other| {
                    ["definition", "category"].contains(&other.tag_name().name())
                        && other.attribute("name") == Some(attribute.value())
                });
                assert!(named, "{}", attribute.value());
            }
        }
    }
    for policy in definitions.descendants().filter(|node| node.has_tag_name((NAMESPACE, "policy"))) {
        let elements = policy
            .children()
            .filter(|node| node.has_tag_name((NAMESPACE, "elements")))
            .flat_map(|node| node.children());
        let elements: Vec<(&str, &str)> =
            elements.filter_map(|node| Some((node.attribute("id")?, node.tag_name().name()))).collect();
        let Some(presentation) = policy.attribute("presentation") else {
            assert!(elements.is_empty());
            continue;
        };
        let id = presentation.trim_start_matches("$(presentation.").trim_end_matches(')');
        let controls = texts
            .descendants()
            .find(|node| node.tag_name().name() == "presentation" && node.attribute("id") == Some(id));
        let controls: Vec<(&str, &str)> = controls
            .unwrap()
            .children()
            .filter_map(|node| {
                let element = match node.tag_name().name() {
                    "multiTextBox" => "multiText",
                    "dropdownList" => "enum",
                    "checkBox" => "boolean",
                    "decimalTextBox" => "decimal",
                    _ => return None,
                };
                Some((node.attribute("refId")?, element))
            })
            .collect();
        assert_eq!(elements, controls, "{id}");
        let schema: Vec<&str> = Value::ALL.iter().filter(|row| !row.at_root).map(|row| row.name).collect();
        assert_eq!(elements.iter().map(|(id, _)| *id).collect::<Vec<_>>(), schema);
    }
}

/// What Group Policy writes when an administrator enables every setting and gives each element this answer.
fn applied(answer: impl Fn(&str) -> Data) -> RegFile {
    let xml = Xml::parse(ADMX).unwrap();
    let mut file = RegFile::default();
    let utf16 = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for policy in xml.descendants().filter(|node| node.has_tag_name((NAMESPACE, "policy"))) {
        let path = utf16(&format!(r"HKEY_LOCAL_MACHINE\{}", policy.attribute("key").unwrap()));
        let mut set = |name: &str, kind: u32, data: Vec<u8>| {
            file.set(&path, Some(RegValue { name: utf16(name), kind, data, line: 0 }));
        };
        for node in policy.children() {
            if node.tag_name().name() == "enabledValue" {
                let number: u32 =
                    node.first_element_child().unwrap().attribute("value").unwrap().parse().unwrap();
                set(policy.attribute("valueName").unwrap(), kind::DWORD, number.to_le_bytes().to_vec());
            }
            for element in
                node.children().filter(|_| node.tag_name().name() == "elements").filter(Node::is_element)
            {
                let name = element.attribute("valueName").unwrap();
                match (element.tag_name().name(), answer(element.attribute("id").unwrap())) {
                    ("multiText", Data::List(lines)) => {
                        set(name, kind::MULTI_SZ, bytes(&(lines.join("\0") + "\0\0")))
                    }
                    ("decimal", Data::Number(number)) => {
                        let (least, most) = ("minValue", "maxValue");
                        let bound = |which| element.attribute(which).unwrap().parse::<u32>().unwrap();
                        assert!((bound(least)..=bound(most)).contains(&number));
                        set(name, kind::DWORD, number.to_le_bytes().to_vec());
                    }
                    ("boolean", Data::Number(number)) => {
                        let wanted = if number == 1 { "trueValue" } else { "falseValue" };
                        let value =
                            element.children().find(|child| child.tag_name().name() == wanted).unwrap();
                        let number: u32 =
                            value.first_element_child().unwrap().attribute("value").unwrap().parse().unwrap();
                        set(name, kind::DWORD, number.to_le_bytes().to_vec());
                    }
                    ("enum", Data::Word(word)) => {
                        let offered = element
                            .descendants()
                            .any(|node| node.tag_name().name() == "string" && node.text() == Some(&word));
                        assert!(offered, "{word} is not offered");
                        set(name, kind::SZ, bytes(&format!("{word}\0")));
                    }
                    (element, answer) => panic!("<{element}> cannot be answered with {answer:?}"),
                }
            }
        }
    }
    file
}

#[test]
fn what_group_policy_writes_is_the_policy_that_the_settings_describe() {
    let longest = [r"C:\Data\**".to_owned(), format!(r"D:\{}", "x".repeat(200))];
    for last in [false, true] {
        let answer = |id: &str| {
            let row = Value::ALL.iter().find(|row| row.name == id).unwrap();
            match row.kind {
                Kind::Patterns if id.ends_with("Processes") => Data::List(vec!["a.exe".into()]),
                Kind::Patterns => Data::List(longest.to_vec()),
                Kind::Word(words) => Data::Word(if last { words[words.len() - 1] } else { words[0] }.into()),
                Kind::Number { max, default } => Data::Number(if last { max } else { default }),
            }
        };
        let (document, left_out) = Document::from_reg(&applied(answer));
        assert_eq!(left_out, [""; 0]);
        let (roots, rules): (Vec<_>, Vec<_>) =
            document.sections.iter().partition(|section| section.rule.is_none());
        assert_eq!(roots[0].values, [(Value::Enabled, Data::Number(1)), (Value::Version, Data::Number(1))]);
        assert_eq!(rules.len(), slots().rules.len());
        for (rule, (_, name)) in rules.iter().zip(&slots().rules) {
            assert_eq!((rule.key, rule.rule.as_deref()), (Key::Policies, Some(name.as_str())));
            let expected: Vec<(Value, Data)> = Value::ALL
                .iter()
                .filter(|row| !row.at_root)
                .map(|row| (row.value, answer(row.name)))
                .collect();
            assert_eq!(rule.values, expected);
        }
    }
}
