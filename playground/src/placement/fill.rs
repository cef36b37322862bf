//! Who fills the places of rules: a matching in which every candidate fills at most one place.
//!
//! Candidates are a region's replicas, or the stores that they could stand on. Earlier rules come first, as in PD's fit;
//! a later rule takes a candidate from an earlier one only if another fills that place. So whether all places can be
//! filled is decided exactly, which PD, that also looks for isolation, does not promise.

use super::rules::Rule;

/// The outcome.
pub(super) struct Filled {
    /// Places filled, by rule.
    found: Vec<usize>,
    /// The candidates that fill no place.
    pub(super) idle: Vec<usize>,
}

impl Filled {
    /// The rules that have a place open, and how many of their places are filled.
    pub(super) fn short<'a>(&self, rules: &'a [Rule]) -> impl Iterator<Item = (&'a Rule, usize)> {
        rules.iter().zip(self.found.clone()).filter(|(rule, found)| *found < rule.count)
    }
}

/// Fills as many places as possible.
pub(super) fn fill(rules: &[Rule], candidates: usize, fits: impl Fn(&Rule, usize) -> bool) -> Filled {
    let able: Vec<Vec<usize>> = rules.iter().map(|rule| (0..candidates).filter(|c| fits(rule, *c)).collect()).collect();
    // By candidate: the rule that it fills a place of.
    let mut serves: Vec<Option<usize>> = vec![None; candidates];
    let mut found = vec![0; rules.len()];
    for (index, rule) in rules.iter().enumerate() {
        while found[index] < rule.count && take(index, &able, &mut serves, &mut vec![false; candidates]) {
            found[index] += 1;
        }
    }
    let idle = (0..candidates).filter(|c| serves[*c].is_none()).collect();
    Filled { found, idle }
}

/// Finds one more candidate for a rule; one that serves another rule, if that finds another.
fn take(rule: usize, able: &[Vec<usize>], serves: &mut [Option<usize>], asked: &mut [bool]) -> bool {
    for candidate in &able[rule] {
        if std::mem::replace(&mut asked[*candidate], true) {
            continue;
        }
        if serves[*candidate].is_none_or(|other| take(other, able, serves, asked)) {
            serves[*candidate] = Some(rule);
            return true;
        }
    }
    false
}
