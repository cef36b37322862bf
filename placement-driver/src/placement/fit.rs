//! How well the peers of a region meet its rules.
//!
//! Rules are served in order. For each one, every choice of its peers is tried, and the best is kept: more peers first,
//! then fewer with the wrong role, then the more isolated ones; a later rule breaks ties of an earlier one. What no rule
//! takes is an orphan. A region has a handful of peers and rules, so trying everything is cheap and never surprises.

use std::cmp::Ordering;

use super::rule::{Rule, RuleRole};
use crate::cluster::model::{Peer, Region, Store};

/// How one rule is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFit {
    /// The rule.
    pub rule: Rule,
    /// The peers that serve it.
    pub peers: Vec<Peer>,
    /// Those of them whose role is not what the rule wants, though it can become so.
    pub wrong_role: Vec<Peer>,
    /// How far apart the peers stand; more is better, comparable only for the same rule.
    pub isolation: u64,
}

impl RuleFit {
    /// Whether the rule is met.
    pub fn is_satisfied(&self) -> bool {
        self.peers.len() == self.rule.count as usize && self.wrong_role.is_empty()
    }

    /// How many peers are missing.
    pub fn missing(&self) -> usize {
        self.rule.count as usize - self.peers.len()
    }

    fn compare(&self, other: &RuleFit) -> Ordering {
        (self.peers.len().cmp(&other.peers.len()))
            .then(other.wrong_role.len().cmp(&self.wrong_role.len()))
            .then(self.isolation.cmp(&other.isolation))
    }
}

/// How a region's rules are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionFit {
    /// One for each rule, in the rules' order.
    pub rules: Vec<RuleFit>,
    /// Peers that serve no rule.
    pub orphans: Vec<Peer>,
}

impl RegionFit {
    /// Whether every rule is met and no peer is too many.
    pub fn is_satisfied(&self) -> bool {
        self.orphans.is_empty() && self.rules.iter().all(RuleFit::is_satisfied)
    }

    /// The rule that the peer serves.
    pub fn rule_of(&self, peer_id: u64) -> Option<&RuleFit> {
        self.rules.iter().find(|f| f.peers.iter().any(|p| p.id == peer_id))
    }

    /// Better fits are greater.
    pub fn compare(&self, other: &RegionFit) -> Ordering {
        for (mine, theirs) in self.rules.iter().zip(&other.rules) {
            match mine.compare(theirs) {
                Ordering::Equal => {}
                different => return different,
            }
        }
        other.orphans.len().cmp(&self.orphans.len())
    }

    /// Whether the peer may lead: it serves no rule that keeps it from that.
    pub fn may_lead(&self, peer: &Peer) -> bool {
        let Some(own) = self.rule_of(peer.id) else { return false };
        let leader_rule = self.rules.iter().any(|f| f.rule.role == RuleRole::Leader);
        !peer.is_learner()
            && match own.rule.role {
                RuleRole::Leader => true,
                RuleRole::Voter => !leader_rule,
                RuleRole::Follower | RuleRole::Learner => false,
            }
    }
}

/// Fits the peers of `region` to `rules`. A peer whose store is unknown serves no rule.
pub fn fit(region: &Region, rules: &[Rule], stores: &dyn Fn(u64) -> Option<Store>) -> RegionFit {
    let candidates: Vec<(Peer, Store)> =
        region.peers.iter().filter_map(|peer| Some((*peer, stores(peer.store_id)?))).collect();
    let mut search = Search { region, rules, candidates: &candidates, used: vec![false; candidates.len()], best: None };
    search.place_from(0, &mut Vec::new());
    let rules = search.best.unwrap_or_default();
    let serves = |peer: &Peer| rules.iter().any(|f| f.peers.iter().any(|p| p.id == peer.id));
    let orphans = region.peers.iter().filter(|peer| !serves(peer)).copied().collect();
    RegionFit { rules, orphans }
}

struct Search<'a> {
    region: &'a Region,
    rules: &'a [Rule],
    candidates: &'a [(Peer, Store)],
    used: Vec<bool>,
    best: Option<Vec<RuleFit>>,
}

impl Search<'_> {
    fn place_from(&mut self, index: usize, chosen: &mut Vec<RuleFit>) {
        let Some(rule) = self.rules.get(index) else {
            let better = self.best.as_ref().is_none_or(|best| compare_all(chosen, best) == Ordering::Greater);
            if better {
                self.best = Some(chosen.clone());
            }
            return;
        };
        let able: Vec<usize> = (0..self.candidates.len())
            .filter(|i| !self.used[*i])
            .filter(|i| rule.role.can_become(&self.candidates[*i].0) && rule.matches_store(&self.candidates[*i].1))
            .collect();
        // Taking fewer peers than possible is never better for this rule, which goes before all later ones.
        let take = able.len().min(rule.count as usize);
        self.choose(index, &able, take, &mut Vec::new(), chosen);
    }

    fn choose(
        &mut self,
        index: usize,
        able: &[usize],
        take: usize,
        picked: &mut Vec<usize>,
        chosen: &mut Vec<RuleFit>,
    ) {
        if take == 0 {
            chosen.push(self.evaluate(&self.rules[index], picked));
            // A prefix that is already worse than the best cannot win any more.
            let hopeless = self.best.as_ref().is_some_and(|best| compare_all(chosen, best) == Ordering::Less);
            if !hopeless {
                self.place_from(index + 1, chosen);
            }
            chosen.pop();
            return;
        }
        for (position, candidate) in able.iter().enumerate() {
            if able.len() - position < take {
                break;
            }
            self.used[*candidate] = true;
            picked.push(*candidate);
            self.choose(index, &able[position + 1..], take - 1, picked, chosen);
            picked.pop();
            self.used[*candidate] = false;
        }
    }

    fn evaluate(&self, rule: &Rule, picked: &[usize]) -> RuleFit {
        let peers: Vec<Peer> = picked.iter().map(|i| self.candidates[*i].0).collect();
        let wrong_role = peers.iter().filter(|p| !rule.role.matches(p, self.region)).copied().collect();
        let stores: Vec<&Store> = picked.iter().map(|i| &self.candidates[*i].1).collect();
        RuleFit { rule: rule.clone(), peers, wrong_role, isolation: isolation(&rule.location_labels, &stores) }
    }
}

/// Compares rule by rule; rules that only one side has come later and do not count.
fn compare_all(mine: &[RuleFit], theirs: &[RuleFit]) -> Ordering {
    mine.iter().zip(theirs).map(|(a, b)| a.compare(b)).find(|o| *o != Ordering::Equal).unwrap_or(Ordering::Equal)
}

/// How far apart stores stand: for each pair, the wider the first label in which they differ, the more
/// (100^(labels − position − 1), as PD scores it).
pub fn isolation(location_labels: &[String], stores: &[&Store]) -> u64 {
    let mut score = 0u64;
    for (i, a) in stores.iter().enumerate() {
        for b in &stores[i + 1..] {
            if let Some(position) = location_labels.iter().position(|label| a.label(label) != b.label(label)) {
                score = score.saturating_add(100u64.saturating_pow((location_labels.len() - position - 1) as u32));
            }
        }
    }
    score
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::model::PeerRole;

    /// Stores 1… in regions by letter: 1=u1 2=u2 3=eu 4=u1.
    fn stores(id: u64) -> Option<Store> {
        let region = ["us-1", "us-2", "eu", "us-1"].get(id as usize - 1)?;
        let labels = BTreeMap::from([("region".to_owned(), region.to_string())]);
        Some(Store { id, labels, ..Store::default() })
    }

    /// Peers like "1 2L 3*": store, L for learner, * for the leader. Peer ids are ten times the store's.
    fn region(peers: &str) -> Region {
        let mut region = Region { id: 1, ..Region::default() };
        for word in peers.split_whitespace() {
            let store_id: u64 = word.trim_end_matches(['L', '*']).parse().unwrap();
            let role = if word.ends_with('L') { PeerRole::Learner } else { PeerRole::Voter };
            region.peers.push(Peer { id: store_id * 10, store_id, role });
            if word.ends_with('*') {
                region.leader = Some(store_id * 10);
            }
        }
        region
    }

    /// Rules like "leader1 eu; voter2".
    fn rules(text: &str) -> Vec<Rule> {
        let parse = |(index, part): (usize, &str)| {
            let (head, region) = part.trim().split_once(' ').unwrap_or((part.trim(), ""));
            let (role, count) = head.split_at(head.len() - 1);
            let constraints = match region {
                "" => String::new(),
                _ => format!(r#","label_constraints":[{{"key":"region","op":"in","values":["{region}"]}}]"#),
            };
            let json = format!(
                r#"{{"group_id":"g","id":"{index}","role":"{role}","count":{count},"location_labels":["region"]{constraints}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        text.split(';').enumerate().map(parse).collect()
    }

    /// What the fit looks like: stores by rule, `!` for a wrong role, then orphans.
    fn check(peers: &str, rule_text: &str, expect: &str) {
        let fit = fit(&region(peers), &rules(rule_text), &stores);
        let stores = |peers: &[Peer], wrong: &[Peer]| {
            let name = |p: &Peer| format!("{}{}", p.store_id, if wrong.contains(p) { "!" } else { "" });
            peers.iter().map(name).collect::<Vec<_>>().join(",")
        };
        let mut seen: Vec<String> = fit.rules.iter().map(|f| stores(&f.peers, &f.wrong_role)).collect();
        seen.push(format!("orphans {}", stores(&fit.orphans, &[])));
        assert_eq!(seen.join(" | "), expect, "{peers} under {rule_text}");
    }

    #[test]
    fn peers_are_given_to_the_rules_that_fit_them_best() {
        check("1* 2 3", "voter3", "1,2,3 | orphans ");
        check("1* 2 3", "leader1 eu; voter2", "3! | 1,2 | orphans ");
        check("1 2 3*", "leader1 eu; voter2", "3 | 1,2 | orphans ");
        check("1* 2 3 4", "voter3", "1,2,3 | orphans 4");
        check("1 2 3* 4", "voter3", "1,2,3 | orphans 4");
        check("1* 2", "leader1 eu; voter2", " | 1,2 | orphans ");
        check("1* 2 3L", "voter2; learner1 eu", "1,2 | 3 | orphans ");
        check("1* 2 3", "voter2 us-1; voter1", "1 | 2 | orphans 3");
        check("1* 2L 3", "voter3", "1,2!,3 | orphans ");
    }

    #[test]
    fn the_more_isolated_choice_wins_and_the_crowded_peer_is_the_orphan() {
        check("1* 4 2 3", "voter3", "1,2,3 | orphans 4");
    }

    #[test]
    fn only_peers_whose_rule_allows_it_may_lead() {
        let may = |peers: &str, rule_text: &str| {
            let region = region(peers);
            let fit = fit(&region, &rules(rule_text), &stores);
            region.peers.iter().filter(|p| fit.may_lead(p)).map(|p| p.store_id).collect::<Vec<_>>()
        };
        assert_eq!(may("1* 2 3", "voter3"), [1, 2, 3]);
        assert_eq!(may("1* 2 3", "leader1 eu; voter2"), [3]);
        assert_eq!(may("1* 2 3", "voter2; follower1 eu"), [1, 2]);
        assert_eq!(may("1* 2 3L", "voter2; learner1"), [1, 2]);
    }
}
