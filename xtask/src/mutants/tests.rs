//! Small sources, and what can be changed in them.

use super::rewrite::rewrite;
use super::sites::{self, Site};

/// `what: text` of each change of a source.
fn changes(source: &str) -> Vec<String> {
    let sites = sites::find(source).unwrap();
    let changes = sites.iter().flat_map(|site| &site.changes);
    changes.map(|change| format!("{}: {}", change.what, change.text)).collect()
}

/// The changes of the body of a function that returns what nothing is known of.
fn in_body(body: &str) -> Vec<String> {
    changes(&format!("fn f() -> T {{ {body} }}"))
}

/// The source with all changes whose number `keep` wants, on one line.
fn rewritten(source: &str, keep: &dyn Fn(u32) -> bool) -> String {
    let text = rewrite(source, &sites::find(source).unwrap(), 1, keep, "m").text;
    syn::parse_file(&text).unwrap();
    text
}

#[test]
fn operators_are_exchanged() {
    assert_eq!(in_body("a == b"), ["replace == with !=: a == b"]);
    assert_eq!(
        in_body("a < b"),
        ["replace < with ==: a < b", "replace < with >: a < b", "replace < with <=: a < b"]
    );
    assert_eq!(in_body("a | b"), ["replace | with &: a | b", "replace | with ^: a | b"]);
    assert_eq!(
        in_body("a.saturating_add(b)"),
        ["replace saturating_add with saturating_sub: a.saturating_add(b)"]
    );
    assert_eq!(in_body("!a"), ["delete !: !a"]);
}

#[test]
fn operands_keep_what_belongs_together() {
    let text = rewritten("fn f() -> T { a - b + c }", &|number| number == 1);
    assert_eq!(text, "fn f() -> T { (if m::on(1) { ((a - b) - (c)) } else { (a - b + c) }) }");
}

#[test]
fn conditions_become_true_and_false() {
    assert_eq!(
        in_body("if a() { b } else { c }"),
        ["replace condition with false: a()", "replace condition with true: a()"]
    );
    let text = rewritten("fn f() -> T { if a() { b } else { c } }", &|_| true);
    assert_eq!(text, "fn f() -> T { if (!m::is(1) && (m::is(2) || (m::seen(1, 2, a())))) { b } else { c } }");
    let text = rewritten("fn f() -> T { if a() { b } else { c } }", &|number| number == 2);
    assert_eq!(text, "fn f() -> T { if (m::is(2) || (m::seen(0, 2, a()))) { b } else { c } }");
}

#[test]
fn a_loop_never_becomes_endless() {
    assert_eq!(in_body("while a() {}"), ["replace condition with false: a()"]);
}

#[test]
fn of_a_chain_only_what_is_no_pattern_is_changed() {
    let found = in_body("if let Some(a) = b && c == d { e } else { g }");
    assert_eq!(
        found,
        [
            "replace condition with false: c == d",
            "replace condition with true: c == d",
            "replace == with !=: c == d"
        ]
    );
    let source = "fn f() -> T { if let Some(a) = b && c == d { e } else { g } }";
    assert_eq!(
        rewritten(source, &|_| true),
        "fn f() -> T { if let Some(a) = b && \
         (!m::is(1) && (m::is(2) || (m::seen(1, 2, (if m::on(3) { ((c) != (d)) } else { (c == d) }))))) \
         { e } else { g } }"
    );
}

#[test]
fn guards_become_true_and_false_and_arms_go_if_another_takes_all() {
    assert_eq!(
        in_body("match a { X if b() => c, Y => d, _ => e }"),
        ["delete the arm: Y", "replace guard with false: b()", "replace guard with true: b()"]
    );
    assert!(in_body("match a { X => c, Y => d }").is_empty());
    let source = "fn f() -> T { match a { X => c, _ => d } }";
    assert_eq!(rewritten(source, &|_| true), "fn f() -> T { match a { X if !m::on(1) => c, _ => d } }");
}

#[test]
fn statements_that_only_act_are_left_out() {
    let found = in_body("a(); b.c(); d = e; g?; let _ = h(); let i = j(); return k;");
    let expected = ["a();", "b.c();", "d = e;", "g?;", "let _ = h();"];
    assert_eq!(found, expected.map(|text| format!("delete the statement: {text}")));
    assert_eq!(rewritten("fn f() -> T { a(); b }", &|_| true), "fn f() -> T { if !m::on(1) { a(); } b }");
}

#[test]
fn what_is_dropped_last_is_dropped_in_any_case() {
    assert_eq!(in_body("drop(a); drop(b);"), ["delete the statement: drop(a);"]);
    assert_eq!(in_body("drop(a());"), ["delete the statement: drop(a());"]);
}

#[test]
fn functions_return_at_once_what_is_simple() {
    let of = |kind: &str| changes(&format!("fn f() -> {kind} {{ a }}"));
    assert_eq!(of("bool"), ["return true at once: a", "return false at once: a"]);
    assert_eq!(
        of("Option<u8>"),
        ["return None at once: a", "return Some(0) at once: a", "return Some(1) at once: a"]
    );
    assert_eq!(of("Result<()>"), ["return Ok(()) at once: a"]);
    assert_eq!(of("Status"), ["return Status::SUCCESS at once: a"]);
    assert!(of("Other").is_empty());
    assert_eq!(changes("fn f() { a() }"), ["return () at once: a()"]);
    assert!(changes("fn f() -> Result<()> { let _ = a; Ok(()) }").is_empty());
    assert_eq!(
        changes("fn f() -> bool { true }"),
        ["return false at once: true", "replace true with false: true"]
    );
    assert_eq!(rewritten("fn f() { a() }", &|_| true), "fn f() { if m::on(1) { return (); } a() }");
}

#[test]
fn a_change_is_made_of_the_text_without_those_inside_it() {
    let text = rewritten("fn f() -> T { a == b && c }", &|_| true);
    assert_eq!(
        text,
        "fn f() -> T { (if m::on(1) { ((a == b) || (c)) } else { ((if m::on(2) { ((a) != (b)) } else { (a == b) }) && c) }) }"
    );
}

#[test]
fn nothing_is_changed_where_only_constants_may_stand() {
    for source in [
        "const A: bool = b == c;",
        "static A: u8 = 1 + 2;",
        "const fn f() -> bool { a == b }",
        "fn f() -> T { const A: bool = b == c; g }",
        "fn f() -> T { const { assert!(a == b) }; g }",
        "fn f() -> [u8; 1 + 2] { g }",
        "fn f() -> T { [0; 1 + 2] }",
        "fn f() -> T { g::<{ 1 + 2 }> }",
        "enum E { A = 1 + 2 }",
        "impl T { const A: bool = b == c; }",
        "macro_rules! m { () => { a == b } }",
    ] {
        assert_eq!(changes(source), [""; 0], "{source}");
    }
}

#[test]
fn nothing_is_changed_in_tests_and_in_what_people_read() {
    for source in [
        "#[cfg(test)] mod tests { fn f() { a() } }",
        "#[test] fn f() { a() }",
        "impl fmt::Debug for T { fn fmt(&self) -> bool { a == b } }",
    ] {
        assert_eq!(changes(source), [""; 0], "{source}");
    }
}

#[test]
fn a_change_says_where_it_is() {
    let source = "mod m {\n    impl T for S<u8> {\n        fn f() -> X {\n            ä; a == b\n        }\n    }\n}\n";
    let sites: Vec<Site> = sites::find(source).unwrap();
    let change = &sites[0].changes[0];
    assert_eq!((change.function.as_str(), change.line, change.column), ("S::f", 4, 18));
}

#[test]
fn what_is_added_for_a_change_is_found_again() {
    let source = "fn f() -> bool { if a == b { c(); } d }";
    let rewritten = rewrite(source, &sites::find(source).unwrap(), 1, &|_| true, "m");
    for (number, range) in rewritten.added {
        let text = &rewritten.text[range];
        assert!(["on", "is"].iter().any(|switch| text.contains(&format!("m::{switch}({number})"))), "{text}");
    }
}

#[test]
fn a_seed_draws_always_the_same() {
    let sources = super::copy::sources(crate::workspace::root()).unwrap();
    let mutants = super::copy::mutants(&sources);
    let drawn = |seed| mutants.iter().map(|mutant| super::draw(seed, mutant)).collect::<Vec<u64>>();
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}

#[test]
fn a_shard_is_a_fraction_less_than_one() {
    assert_eq!(super::shard("1/4"), Ok((1, 4)));
    assert!(super::shard("4/4").is_err() && super::shard("x").is_err());
}
