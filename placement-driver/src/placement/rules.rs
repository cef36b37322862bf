//! The set of all rules: validated changes, and the rules in force for each key.
//!
//! The bounds of all rules cut the key space into segments; in each segment the rules are put in order (group index,
//! group id, rule index, rule id) and the overridden ones dropped, once per change, so that a lookup is a binary search.
//!
//! ```text
//!   pd/default          |---------------------- 3 voters ----------------------|
//!   TiDB_DDL_71 (ovr.)            |- leader eu, 2 voters -|
//!   segments            |   s0    |          s1           |         s2         |
//! ```
//!
//! Invariants: every key has at least one rule that can hold a leader, and at most one leader is asked for. A change
//! that would break them is refused whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rule::{GroupBundle, Rule, RuleGroup, RuleRole};
use crate::cluster::model::Store;

/// The group of the rule that holds where no other does.
pub const DEFAULT_GROUP: &str = "pd";
/// The id of that rule.
pub const DEFAULT_RULE: &str = "default";

/// Why a change of the rules was refused. The texts are PD's: SQL servers pass them on to their users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The rule itself makes no sense, or no store could ever meet it.
    #[error("[PD:placement:ErrRuleContent]invalid rule content, {0}")]
    Content(String),
    /// The rules together do not.
    #[error("[PD:placement:ErrBuildRuleList]build rule list failed, {0}")]
    List(String),
}

/// A key range in which the same rules hold. It ends where the next one starts.
#[derive(Clone, Debug)]
struct Segment {
    start: Vec<u8>,
    rules: Arc<Vec<Rule>>,
}

/// All rules and groups.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: BTreeMap<(String, String), Rule>,
    groups: BTreeMap<String, RuleGroup>,
    segments: Vec<Segment>,
}

/// The rule for keys that nobody has placed: so many voters anywhere, as far apart as the labels tell.
pub fn default_rule(replicas: u32, location_labels: &[String]) -> Rule {
    Rule {
        group_id: DEFAULT_GROUP.into(),
        id: DEFAULT_RULE.into(),
        index: 0,
        overrides: false,
        start_key: String::new(),
        end_key: String::new(),
        role: RuleRole::Voter,
        count: replicas,
        label_constraints: Vec::new(),
        location_labels: location_labels.to_vec(),
        isolation_level: String::new(),
    }
}

impl RuleSet {
    /// The default rule alone.
    pub fn new(replicas: u32, location_labels: &[String]) -> RuleSet {
        let rule = default_rule(replicas, location_labels);
        let mut set =
            RuleSet { rules: BTreeMap::from([(rule.key(), rule)]), groups: BTreeMap::new(), segments: Vec::new() };
        set.segments = set.build().expect("the default rule covers the whole key space");
        set
    }

    /// What was saved before. The stores are not asked: they have not reported yet.
    pub fn load(rules: Vec<Rule>, groups: Vec<RuleGroup>) -> Result<RuleSet, RuleError> {
        let mut set = RuleSet {
            rules: rules.into_iter().map(|r| (r.key(), r)).collect(),
            groups: groups.into_iter().map(|g| (g.id.clone(), g)).collect(),
            segments: Vec::new(),
        };
        set.segments = set.build()?;
        Ok(set)
    }

    /// Every rule, by group and id.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// One rule.
    pub fn rule(&self, group: &str, id: &str) -> Option<&Rule> {
        self.rules.get(&(group.to_owned(), id.to_owned()))
    }

    /// Every group that was given an index or override of its own.
    pub fn groups(&self) -> impl Iterator<Item = &RuleGroup> {
        self.groups.values()
    }

    /// A group with its rules, in order; `None` when it has none.
    pub fn bundle(&self, group: &str) -> Option<GroupBundle> {
        self.bundles().into_iter().find(|b| b.group_id == group)
    }

    /// Every group with its rules, in order.
    pub fn bundles(&self) -> Vec<GroupBundle> {
        let mut bundles: Vec<GroupBundle> = Vec::new();
        for rule in self.sorted() {
            if bundles.last().is_none_or(|b| b.group_id != rule.group_id) {
                let group = self.group(&rule.group_id);
                bundles.push(GroupBundle {
                    group_id: rule.group_id.clone(),
                    group_index: group.index,
                    group_override: group.overrides,
                    rules: Vec::new(),
                });
            }
            if let Some(bundle) = bundles.last_mut() {
                bundle.rules.push(rule.clone());
            }
        }
        bundles
    }

    /// The set with these groups replaced whole; a bundle without rules removes its group. Refused if a rule is
    /// invalid, matches none of the stores, or leaves a key without a possible leader.
    pub fn with_bundles(&self, bundles: Vec<GroupBundle>, stores: &[&Store]) -> Result<RuleSet, RuleError> {
        let mut next = self.clone();
        for bundle in bundles {
            next.rules.retain(|(group, _), _| *group != bundle.group_id);
            next.groups.remove(&bundle.group_id);
            if bundle.rules.is_empty() {
                continue;
            }
            if bundle.group_index != 0 || bundle.group_override {
                let group = RuleGroup {
                    id: bundle.group_id.clone(),
                    index: bundle.group_index,
                    overrides: bundle.group_override,
                };
                next.groups.insert(group.id.clone(), group);
            }
            for mut rule in bundle.rules {
                if rule.group_id.is_empty() {
                    rule.group_id.clone_from(&bundle.group_id);
                }
                if rule.group_id != bundle.group_id {
                    let (rule_group, bundle_group) = (&rule.group_id, &bundle.group_id);
                    let text = format!("rule group {rule_group} does not match group ID {bundle_group}");
                    return Err(RuleError::Content(text));
                }
                next.insert(rule, stores)?;
            }
        }
        next.segments = next.build()?;
        Ok(next)
    }

    /// The set with these rules added or replaced.
    pub fn with_rules(&self, rules: Vec<Rule>, stores: &[&Store]) -> Result<RuleSet, RuleError> {
        let mut next = self.clone();
        for rule in rules {
            next.insert(rule, stores)?;
        }
        next.segments = next.build()?;
        Ok(next)
    }

    /// The set without that rule.
    pub fn without_rule(&self, group: &str, id: &str) -> Result<RuleSet, RuleError> {
        let mut next = self.clone();
        next.rules.remove(&(group.to_owned(), id.to_owned()));
        next.segments = next.build()?;
        Ok(next)
    }

    fn insert(&mut self, rule: Rule, stores: &[&Store]) -> Result<(), RuleError> {
        let name = format!("rule '{}' from rule group '{}'", rule.id, rule.group_id);
        let invalid = |why: String| Err(RuleError::Content(why));
        if rule.group_id.is_empty() || rule.id.is_empty() {
            return invalid("group ID and rule ID should not be empty".into());
        }
        let (start, end) = match (rule.start(), rule.end()) {
            (Ok(start), Ok(end)) => (start, end),
            (Err(error), _) | (_, Err(error)) => return invalid(format!("{name}: {error}")),
        };
        if !end.is_empty() && end <= start {
            return invalid(format!("{name}: endKey should be greater than startKey"));
        }
        if rule.count == 0 {
            return invalid(format!("{name}: invalid count 0"));
        }
        if rule.role == RuleRole::Leader && rule.count > 1 {
            return invalid(format!("{name}: define multiple leaders by count {}", rule.count));
        }
        if !stores.iter().any(|store| rule.matches_store(store)) {
            return invalid(format!("{name} can not match any store"));
        }
        self.rules.insert(rule.key(), rule);
        Ok(())
    }

    fn group(&self, id: &str) -> RuleGroup {
        self.groups.get(id).cloned().unwrap_or_else(|| RuleGroup { id: id.to_owned(), ..RuleGroup::default() })
    }

    fn sorted(&self) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.rules.values().collect();
        rules.sort_by_cached_key(|r| (self.group(&r.group_id).index, r.group_id.clone(), r.index, r.id.clone()));
        rules
    }

    fn build(&self) -> Result<Vec<Segment>, RuleError> {
        let mut ranges = Vec::new();
        for rule in self.sorted() {
            let bounds = (rule.start(), rule.end());
            let (Ok(start), Ok(end)) = bounds else {
                return Err(RuleError::Content(format!("rule '{}' has an invalid key", rule.id)));
            };
            ranges.push((start, end, rule));
        }
        let mut bounds: Vec<Vec<u8>> = vec![Vec::new()];
        bounds.extend(ranges.iter().flat_map(|(start, end, _)| [start.clone(), end.clone()]));
        bounds.sort();
        bounds.dedup();
        let segment = |start: Vec<u8>| {
            let mut applied: Vec<&Rule> = Vec::new();
            for (rule_start, rule_end, rule) in &ranges {
                if start < *rule_start || (!rule_end.is_empty() && start >= *rule_end) {
                    continue;
                }
                let group = self.group(&rule.group_id);
                if group.overrides {
                    applied.retain(|r| r.group_id == rule.group_id);
                }
                if rule.overrides {
                    applied.retain(|r| r.group_id != rule.group_id);
                }
                applied.push(rule);
            }
            check_segment(&start, &applied)?;
            Ok(Segment { start, rules: Arc::new(applied.into_iter().cloned().collect()) })
        };
        bounds.into_iter().map(segment).collect()
    }

    /// The rules in force for the region that covers `[start, end)`: those of its first key. A region that lies across
    /// a boundary is to be split there first, see [`RuleSet::split_keys`].
    pub fn rules_at(&self, start: &[u8]) -> Arc<Vec<Rule>> {
        let after = self.segments.partition_point(|s| s.start.as_slice() <= start);
        Arc::clone(&self.segments[after.max(1) - 1].rules)
    }

    /// Keys strictly inside `[start, end)` at which other rules begin to hold.
    pub fn split_keys(&self, start: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
        let first = self.segments.partition_point(|s| s.start.as_slice() <= start);
        self.segments[first..]
            .iter()
            .map(|s| &s.start)
            .take_while(|key| end.is_empty() || key.as_slice() < end)
            .cloned()
            .collect()
    }
}

fn check_segment(start: &[u8], rules: &[&Rule]) -> Result<(), RuleError> {
    let at = super::rule::encode_hex(start);
    if rules.is_empty() {
        return Err(RuleError::List(format!("no rule left for range starting at {at:?}")));
    }
    let leaders: u32 = rules.iter().filter(|r| r.role == RuleRole::Leader).map(|r| r.count).sum();
    if leaders > 1 {
        return Err(RuleError::List(format!("multiple leader replicas for range starting at {at:?}")));
    }
    if leaders == 0 && rules.iter().all(|r| r.role != RuleRole::Voter) {
        return Err(RuleError::List(format!("needs at least one leader or voter for range starting at {at:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(region: &str) -> Store {
        Store { labels: BTreeMap::from([("region".into(), region.into())]), ..Store::default() }
    }

    fn rule(group: &str, id: &str, role: &str, count: u32, region: &str, range: (&str, &str)) -> Rule {
        let constraints = match region {
            "" => "[]".to_owned(),
            _ => format!(r#"[{{"key":"region","op":"in","values":["{region}"]}}]"#),
        };
        let json = format!(
            r#"{{"group_id":"{group}","id":"{id}","role":"{role}","count":{count},"start_key":"{}","end_key":"{}",
                "label_constraints":{constraints}}}"#,
            range.0, range.1
        );
        serde_json::from_str(&json).unwrap()
    }

    fn bundle(group: &str, index: i64, rules: Vec<Rule>) -> GroupBundle {
        GroupBundle { group_id: group.into(), group_index: index, group_override: true, rules }
    }

    fn ids(set: &RuleSet, key: &[u8]) -> Vec<String> {
        set.rules_at(key).iter().map(|r| r.id.clone()).collect()
    }

    #[test]
    fn a_table_group_hides_the_default_inside_its_range_only() {
        let (eu, us) = (store("eu"), store("us"));
        let rules = vec![rule("t", "l", "leader", 1, "eu", ("20", "30")), rule("t", "v", "voter", 2, "", ("20", "30"))];
        let set = RuleSet::new(3, &[]).with_bundles(vec![bundle("t", 40, rules)], &[&eu, &us]).unwrap();
        assert_eq!(ids(&set, b""), ["default"]);
        assert_eq!(ids(&set, b"\x20"), ["l", "v"]);
        assert_eq!(ids(&set, b"\x2f\xff"), ["l", "v"]);
        assert_eq!(ids(&set, b"\x30"), ["default"]);
        assert_eq!(set.split_keys(b"", b""), [vec![0x20], vec![0x30]]);
        assert_eq!(set.split_keys(b"\x20", b"\x30"), [] as [Vec<u8>; 0]);
        let removed = set.with_bundles(vec![bundle("t", 40, vec![])], &[&eu]).unwrap();
        assert_eq!(ids(&removed, b"\x20"), ["default"]);
        assert_eq!(removed.bundles().len(), 1);
    }

    #[test]
    fn a_higher_group_index_wins_where_groups_overlap() {
        let eu = store("eu");
        let all = bundle("range", 20, vec![rule("range", "all", "voter", 5, "", ("", ""))]);
        let table = bundle("table", 40, vec![rule("table", "own", "voter", 1, "", ("40", "50"))]);
        let set = RuleSet::new(3, &[]).with_bundles(vec![table, all], &[&eu]).unwrap();
        assert_eq!(ids(&set, b"\x10"), ["all"]);
        assert_eq!(ids(&set, b"\x45"), ["own"]);
    }

    #[test]
    fn what_no_store_can_meet_is_refused_in_pds_words() {
        let eu = store("eu");
        let check = |rules: Vec<Rule>, expect: &str| {
            let error = RuleSet::new(3, &[]).with_bundles(vec![bundle("g", 1, rules)], &[&eu]).unwrap_err();
            assert_eq!(error.to_string(), expect);
        };
        check(
            vec![rule("g", "r", "voter", 1, "mars", ("", ""))],
            "[PD:placement:ErrRuleContent]invalid rule content, rule 'r' from rule group 'g' can not match any store",
        );
        check(
            vec![rule("g", "r", "learner", 1, "", ("", ""))],
            "[PD:placement:ErrBuildRuleList]build rule list failed, needs at least one leader or voter for range \
             starting at \"\"",
        );
        check(
            vec![rule("g", "a", "leader", 1, "", ("", "")), rule("g", "b", "leader", 1, "", ("", ""))],
            "[PD:placement:ErrBuildRuleList]build rule list failed, multiple leader replicas for range starting at \"\"",
        );
        check(
            vec![rule("g", "r", "leader", 2, "", ("", ""))],
            "[PD:placement:ErrRuleContent]invalid rule content, rule 'r' from rule group 'g': define multiple leaders \
             by count 2",
        );
    }

    #[test]
    fn the_last_rule_cannot_be_removed() {
        let error = RuleSet::new(3, &[]).without_rule(DEFAULT_GROUP, DEFAULT_RULE).unwrap_err();
        assert!(error.to_string().contains("no rule left"), "{error}");
    }
}
