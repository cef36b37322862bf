//! One rule: so many replicas of a role for a key range, on stores with such labels.

use serde::{Deserialize, Serialize};

use crate::cluster::model::{Peer, Region, Store};

/// What the replicas of a rule must be in the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleRole {
    /// Votes, and may lead.
    Voter,
    /// The leader itself.
    Leader,
    /// Votes, but does not lead.
    Follower,
    /// Does not vote.
    Learner,
}

impl RuleRole {
    /// Whether the peer is what the rule wants.
    pub fn matches(self, peer: &Peer, region: &Region) -> bool {
        let leads = region.leader == Some(peer.id);
        match self {
            RuleRole::Voter => !peer.is_learner(),
            RuleRole::Leader => leads,
            RuleRole::Follower => !peer.is_learner() && !leads,
            RuleRole::Learner => peer.is_learner(),
        }
    }

    /// Whether the peer can be made what the rule wants without moving data. A voter is never made a learner: its
    /// place is given up and a learner is added.
    pub fn can_become(self, peer: &Peer) -> bool {
        self != RuleRole::Learner || peer.is_learner()
    }
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LabelOp {
    /// The value is one of those listed.
    #[serde(rename = "in")]
    In,
    /// The value is none of those listed; a store without the label passes.
    #[serde(rename = "notIn")]
    NotIn,
    /// The store has the label.
    #[serde(rename = "exists")]
    Exists,
    /// The store lacks the label.
    #[serde(rename = "notExists")]
    NotExists,
}

/// A condition on a store's label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LabelConstraint {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub op: LabelOp,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelConstraint {
    /// Whether the store meets the condition.
    pub fn matches(&self, store: &Store) -> bool {
        let value = store.label(&self.key);
        match self.op {
            LabelOp::In => self.values.iter().any(|v| v == value),
            LabelOp::NotIn => self.values.iter().all(|v| v != value),
            LabelOp::Exists => !value.is_empty(),
            LabelOp::NotExists => value.is_empty(),
        }
    }
}

/// Labels that reserve a store: it is used only by rules that name the label.
fn is_exclusive(label: &str) -> bool {
    label.starts_with('$') || label == "engine" || label == "exclusive"
}

/// A placement rule, in the JSON form of PD's HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The group it belongs to.
    pub group_id: String,
    /// Unique in its group.
    pub id: String,
    /// Order within the group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub index: i64,
    /// Hides the rules of the same group that come before it.
    #[serde(default, rename = "override", skip_serializing_if = "is_false")]
    pub overrides: bool,
    /// First key, memcomparable-encoded, in hexadecimal; empty for "from the beginning".
    #[serde(default)]
    pub start_key: String,
    /// First key past the range, in hexadecimal; empty for "to the end".
    #[serde(default)]
    pub end_key: String,
    /// What the replicas must be.
    pub role: RuleRole,
    /// How many.
    pub count: u32,
    /// Conditions on their stores; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_constraints: Vec<LabelConstraint>,
    /// Labels that tell how far apart two stores are, widest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub location_labels: Vec<String>,
    /// The label in which any two replicas must differ: a replica is rather left missing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub isolation_level: String,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !*b
}

impl Rule {
    /// Whether a replica of the rule may stand on that store.
    pub fn matches_store(&self, store: &Store) -> bool {
        let reserved = store
            .labels
            .keys()
            .any(|label| is_exclusive(label) && self.label_constraints.iter().all(|c| &c.key != label));
        !reserved && self.label_constraints.iter().all(|c| c.matches(store))
    }

    /// `group/id`, as messages name it.
    pub fn key(&self) -> (String, String) {
        (self.group_id.clone(), self.id.clone())
    }

    /// The range's first key, decoded.
    pub fn start(&self) -> Result<Vec<u8>, String> {
        decode_hex(&self.start_key)
    }

    /// The range's first key past it, decoded.
    pub fn end(&self) -> Result<Vec<u8>, String> {
        decode_hex(&self.end_key)
    }
}

/// Bytes from hexadecimal digits of either case.
pub fn decode_hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |c: u8| (c as char).to_digit(16).ok_or_else(|| format!("'{text}' is not hexadecimal"));
    if !text.len().is_multiple_of(2) {
        return Err(format!("'{text}' has an odd number of hexadecimal digits"));
    }
    text.as_bytes().chunks(2).map(|pair| Ok((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

/// Bytes as hexadecimal digits, upper case as PD prints keys.
pub fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// A group of rules: the order among groups, and whether it hides the groups before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleGroup {
    /// Unique name.
    pub id: String,
    /// Order among groups.
    #[serde(default)]
    pub index: i64,
    /// Hides the rules of the groups before it wherever it has a rule.
    #[serde(default, rename = "override")]
    pub overrides: bool,
}

/// A group with its rules, in the JSON form of PD's HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBundle {
    /// The group's name.
    pub group_id: String,
    /// Order among groups.
    #[serde(default)]
    pub group_index: i64,
    /// Hides the rules of the groups before it wherever it has a rule.
    #[serde(default)]
    pub group_override: bool,
    /// The rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(labels: &[(&str, &str)]) -> Store {
        Store { labels: labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(), ..Store::default() }
    }

    #[test]
    fn labels_are_compared_as_pd_does() {
        let check = |op, values: &[&str], labels: &[(&str, &str)], expect: bool| {
            let values = values.iter().map(|v| v.to_string()).collect();
            let constraint = LabelConstraint { key: "region".into(), op, values };
            assert_eq!(constraint.matches(&store(labels)), expect, "{constraint:?} {labels:?}");
        };
        let eu = [("region", "eu")];
        check(LabelOp::In, &["eu", "us"], &eu, true);
        check(LabelOp::In, &["us"], &eu, false);
        check(LabelOp::In, &["us"], &[], false);
        check(LabelOp::NotIn, &["us"], &eu, true);
        check(LabelOp::NotIn, &["eu"], &eu, false);
        check(LabelOp::NotIn, &["eu"], &[], true);
        check(LabelOp::Exists, &[], &eu, true);
        check(LabelOp::Exists, &[], &[], false);
        check(LabelOp::NotExists, &[], &[], true);
    }

    #[test]
    fn a_reserved_store_serves_only_rules_that_name_its_label() {
        let rule = |json: &str| serde_json::from_str::<Rule>(json).unwrap();
        let plain = rule(r#"{"group_id":"g","id":"a","role":"voter","count":1}"#);
        let named = rule(
            r#"{"group_id":"g","id":"b","role":"learner","count":1,
                "label_constraints":[{"key":"engine","op":"in","values":["flash"]}]}"#,
        );
        let flash = store(&[("engine", "flash")]);
        assert!(!plain.matches_store(&flash));
        assert!(named.matches_store(&flash));
        assert!(!named.matches_store(&store(&[])));
    }

    #[test]
    fn json_is_pds() {
        let json = r#"{"group_id":"TiDB_DDL_71","id":"table_rule_71_0","index":40,"override":true,"start_key":"7480",
            "end_key":"74FF","role":"leader","count":1,"label_constraints":[{"key":"region","op":"in","values":["eu"]}]}"#;
        let rule: Rule = serde_json::from_str(json).unwrap();
        assert_eq!((rule.start().unwrap(), rule.overrides), (vec![0x74, 0x80], true));
        let again: serde_json::Value = serde_json::to_value(&rule).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).unwrap());
        assert!(decode_hex("7z").is_err() && decode_hex("748").is_err());
    }
}
