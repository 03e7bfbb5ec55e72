//! What Intact costs those who have nothing to do with it, in instructions: counted, and the same in every run. A test of its
//! own program, because the code of one image in a process is counted.

use lab::bench::{self, Costs};
use lab::run::DriverFile;

/// Instructions of the first version that made saves atomic, for what no rule is about. None may cost a tenth more.
const FIRST: [(&str, u64); 4] = [("create", 2_368), ("write", 24), ("read", 16), ("close", 32)];

#[test]
fn operations_that_no_rule_is_about_cost_no_more_than_they_did() {
    let policy = include_bytes!("../../../xtask/policy/bench.reg");
    let driver = DriverFile { path: intact_saves::intact(), altitude: None };
    let Costs { operations, .. } = bench::measure(&driver, Some(policy), 3).unwrap();
    for (name, first) in FIRST {
        let name = format!("unmatched {name}");
        let cost = operations.iter().find(|cost| cost.operation == name).unwrap();
        assert!(cost.instructions > 0 && cost.steady, "{cost:?}");
        assert!(10 * cost.instructions <= 11 * first, "{cost:?}, at first {first}");
        assert_eq!(cost.allocations, 0, "{cost:?}");
    }
}
