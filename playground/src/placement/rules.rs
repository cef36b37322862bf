//! Which placement rules hold where, as PD decides it.
//!
//! The bounds of all rules cut the keys into segments. In each segment the rules over it are put in order (group index,
//! group, rule index, rule); a group that overrides hides the groups before it, a rule that overrides hides those of its
//! own group before it. The semantics are PD's, written down a second time: what judges a cluster does not take its
//! word. Not here: `isolation_level`, for which PD would rather leave a replica missing; no policy of SQL sets it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// The labels of a store.
pub(super) type Labels = BTreeMap<String, String>;

/// A group of rules, as PD tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Bundle {
    #[serde(default)]
    group_index: i64,
    #[serde(default)]
    group_override: bool,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// What a replica has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Voter,
    Leader,
    Follower,
    Learner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Voter => "voter",
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Learner => "learner",
        })
    }
}

/// So many replicas of a role, on stores with such labels.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) group_id: String,
    pub(super) id: String,
    #[serde(default)]
    index: i64,
    #[serde(default, rename = "override")]
    overrides: bool,
    /// In hexadecimal, as the other one.
    #[serde(default)]
    start_key: String,
    /// Empty: to the end.
    #[serde(default)]
    end_key: String,
    pub(super) role: Role,
    pub(super) count: usize,
    #[serde(default)]
    label_constraints: Vec<Constraint>,
}

#[derive(Clone, Debug, Deserialize)]
struct Constraint {
    key: String,
    op: Op,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Op {
    In,
    NotIn,
    Exists,
    NotExists,
}

impl Rule {
    /// `group/id`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.group_id, self.id)
    }

    /// Whether a replica of the rule may stand on a store with such labels. Some labels reserve a store for rules that
    /// name them.
    pub(super) fn takes(&self, labels: &Labels) -> bool {
        let reserves = |label: &&String| label.starts_with('$') || *label == "engine" || *label == "exclusive";
        let named = |label: &String| self.label_constraints.iter().any(|c| c.key == *label);
        labels.keys().filter(reserves).all(named) && self.label_constraints.iter().all(|c| c.met_by(labels))
    }

    /// ` on stores with region us`, for a person; empty when any store will do.
    pub(super) fn place(&self) -> String {
        let conditions: Vec<String> = self.label_constraints.iter().map(Constraint::to_string).collect();
        if conditions.is_empty() { String::new() } else { format!(" on stores with {}", conditions.join(" and ")) }
    }
}

impl Constraint {
    fn met_by(&self, labels: &Labels) -> bool {
        // An absent label is one without a value.
        let value = labels.get(&self.key).map_or("", String::as_str);
        match self.op {
            Op::In => self.values.iter().any(|v| v == value),
            Op::NotIn => self.values.iter().all(|v| v != value),
            Op::Exists => !value.is_empty(),
            Op::NotExists => value.is_empty(),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(" or "));
        match self.op {
            Op::In => write!(f, "{key} {values}"),
            Op::NotIn => write!(f, "{key} other than {values}"),
            Op::Exists => write!(f, "a {key}"),
            Op::NotExists => write!(f, "no {key}"),
        }
    }
}

/// A key range in which the same rules hold.
#[derive(Debug)]
pub(super) struct Segment {
    /// In hexadecimal, lower case, as the other one.
    start: String,
    /// Empty: to the end.
    end: String,
    pub(super) rules: Vec<Rule>,
}

impl Segment {
    /// Whether the range has keys in common with another one, whose bounds are hexadecimal in lower case.
    pub(super) fn overlaps(&self, start: &str, end: &str) -> bool {
        overlap((&self.start, &self.end), (start, end))
    }
}

/// Whether two key ranges have keys in common. An empty end is the end of all keys.
fn overlap(a: (&str, &str), b: (&str, &str)) -> bool {
    let before = |end: &str, start: &str| !end.is_empty() && end <= start;
    !before(a.1, b.0) && !before(b.1, a.0)
}

/// All segments, in the order of their keys.
pub(super) fn segments(bundles: &[Bundle]) -> Vec<Segment> {
    let mut rules: Vec<(&Bundle, Rule)> = Vec::new();
    for bundle in bundles {
        rules.extend(bundle.rules.iter().map(|rule| {
            let (start_key, end_key) = (rule.start_key.to_lowercase(), rule.end_key.to_lowercase());
            (bundle, Rule { start_key, end_key, ..rule.clone() })
        }));
    }
    rules.sort_by_cached_key(|(group, rule)| (group.group_index, rule.group_id.clone(), rule.index, rule.id.clone()));
    let mut bounds: Vec<String> = vec![String::new()];
    bounds.extend(rules.iter().flat_map(|(_, rule)| [rule.start_key.clone(), rule.end_key.clone()]));
    bounds.sort();
    bounds.dedup();
    let ends = bounds.iter().skip(1).cloned().chain([String::new()]);
    let segment = |(start, end): (&String, String)| {
        let mut applied: Vec<Rule> = Vec::new();
        let over = |rule: &Rule| overlap((&rule.start_key, &rule.end_key), (start, &end));
        for (group, rule) in rules.iter().filter(|(_, rule)| over(rule)) {
            if group.group_override {
                applied.retain(|r| r.group_id == rule.group_id);
            }
            if rule.overrides {
                applied.retain(|r| r.group_id != rule.group_id);
            }
            applied.push(rule.clone());
        }
        Segment { start: start.clone(), end, rules: applied }
    };
    bounds.iter().zip(ends).map(segment).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(group: &str, id: &str, range: (&str, &str), more: Value) -> Value {
        let mut rule = json!({ "group_id": group, "id": id, "role": "voter", "count": 1,
            "start_key": range.0, "end_key": range.1 });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    }

    fn bundle(group: &str, index: i64, overrides: bool, rules: &[Value]) -> Value {
        json!({ "group_id": group, "group_index": index, "group_override": overrides, "rules": rules })
    }

    /// `start: rules; …`
    fn in_force(bundles: &[Value]) -> String {
        let bundles: Vec<Bundle> = bundles.iter().map(|b| serde_json::from_value(b.clone()).unwrap()).collect();
        let text = |s: Segment| {
            let ids: Vec<&str> = s.rules.iter().map(|r| r.id.as_str()).collect();
            format!("{}: {}", s.start, ids.join(" "))
        };
        segments(&bundles).into_iter().map(text).collect::<Vec<_>>().join("; ")
    }

    fn default() -> Value {
        bundle("pd", 0, false, &[rule("pd", "default", ("", ""), json!({}))])
    }

    #[test]
    fn a_tables_group_hides_the_default_inside_its_range_only() {
        let table = bundle(
            "t",
            40,
            true,
            &[rule("t", "l", ("2A", "30"), json!({ "role": "leader" })), rule("t", "v", ("2A", "30"), json!({}))],
        );
        assert_eq!(in_force(&[default(), table]), ": default; 2a: l v; 30: default");
    }

    #[test]
    fn a_higher_index_comes_later_whatever_the_groups_are_called() {
        let table = bundle("a-table", 40, true, &[rule("a-table", "own", ("40", "50"), json!({}))]);
        let all = bundle("range", 20, true, &[rule("range", "all", ("", ""), json!({ "count": 5 }))]);
        assert_eq!(in_force(&[table, default(), all]), ": all; 40: own; 50: all");
    }

    #[test]
    fn a_group_that_does_not_override_adds_to_the_ones_before_it() {
        // As TiDB's rule for columnar replicas: beside the voters that the default wants.
        let learners = bundle("tiflash", 120, false, &[rule("tiflash", "t", ("20", ""), json!({ "role": "learner" }))]);
        assert_eq!(in_force(&[default(), learners]), ": default; 20: default t");
    }

    #[test]
    fn the_default_is_not_hidden_by_a_group_before_it() {
        let early = bundle("early", -1, true, &[rule("early", "e", ("", ""), json!({}))]);
        assert_eq!(in_force(&[default(), early]), ": e default");
    }

    #[test]
    fn a_rule_that_overrides_hides_its_own_group_and_no_other() {
        let group = bundle(
            "g",
            1,
            false,
            &[
                rule("g", "z-wide", ("", ""), json!({ "index": 1 })),
                rule("g", "a-narrow", ("20", "30"), json!({ "index": 2, "override": true })),
            ],
        );
        assert_eq!(in_force(&[default(), group]), ": default z-wide; 20: default a-narrow; 30: default z-wide");
    }

    #[test]
    fn labels_are_compared_as_pd_does() {
        let takes = |constraint: Value, labels: &[(&str, &str)]| {
            let constraints = json!({ "label_constraints": [constraint] });
            let rule: Rule = serde_json::from_value(rule("g", "r", ("", ""), constraints)).unwrap();
            rule.takes(&labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        let region = |op: &str, values: &[&str]| json!({ "key": "region", "op": op, "values": values });
        let eu = [("region", "eu")];
        assert!(takes(region("in", &["us", "eu"]), &eu) && !takes(region("in", &["us"]), &eu));
        assert!(!takes(region("in", &["us"]), &[]));
        assert!(takes(region("notIn", &["us"]), &eu) && !takes(region("notIn", &["eu"]), &eu));
        assert!(takes(region("notIn", &["eu"]), &[]));
        assert!(takes(region("exists", &[]), &eu) && !takes(region("exists", &[]), &[]));
        assert!(takes(region("notExists", &[]), &[]) && !takes(region("notExists", &[]), &eu));
        let flash = [("region", "eu"), ("engine", "tiflash")];
        assert!(!takes(region("in", &["eu"]), &flash), "a store that is reserved");
        assert!(takes(json!({ "key": "engine", "op": "in", "values": ["tiflash"] }), &flash));
    }
}
