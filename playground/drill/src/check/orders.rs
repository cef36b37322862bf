//! The judge of orders: an order and its lines are one transaction, so nobody may ever see a part of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::history::{Call, Final, Op, Outcome, Rows};

/// Judges a history of orders.
pub fn check(ops: &[Op], finals: &[Final]) -> Findings {
    let mut findings = Findings::default();
    looks(ops, &mut findings);
    rows(ops, finals, &mut findings);
    findings
}

fn looks(ops: &[Op], findings: &mut Findings) {
    // From when on an order must be seen: it was acknowledged, or somebody has seen it.
    let mut known: BTreeMap<u64, u64> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.is_ok()) {
        let id = match op.call {
            Call::Place { id, .. } => id,
            Call::Look { id, answer: Some(seen) } if seen.headers > 0 => id,
            _ => continue,
        };
        let from = known.entry(id).or_insert(u64::MAX);
        *from = (*from).min(op.complete_us);
    }
    let (mut stale, mut torn, mut count) = (Vec::new(), Vec::new(), 0);
    for op in ops.iter().filter(|op| op.is_ok()) {
        let Call::Look { id, answer: Some(seen) } = op.call else { continue };
        count += 1;
        if seen.headers == 0 && known.get(&id).is_some_and(|from| *from < op.invoke_us) {
            stale.push(format!("{} did not find order {id}, which was there before", op.whence()));
        }
        if seen.headers > 1 || seen.lines != seen.promised {
            torn.push(format!(
                "{} saw order {id} {} times with {} lines of {}",
                op.whence(),
                seen.headers,
                seen.lines,
                seen.promised
            ));
        }
    }
    findings.claim("no read is stale: what was acknowledged is found", format!("{count} orders looked at"), stale);
    findings.claim(
        "no snapshot shows a torn transaction: an order comes with its lines",
        format!("{count} looked at"),
        torn,
    );
}

fn rows(ops: &[Op], finals: &[Final], findings: &mut Findings) {
    let mut asked: BTreeMap<u64, (&Op, u32)> = BTreeMap::new();
    for op in ops {
        if let Call::Place { id, lines } = op.call {
            asked.insert(id, (op, lines));
        }
    }
    let acknowledged = asked.values().filter(|(op, _)| op.is_ok()).count();
    let (mut lost, mut missing, mut torn, mut twice, mut alien) =
        (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for last in finals {
        let Rows::Orders { headers, lines } = &last.rows else { continue };
        let mut found: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (id, promised) in headers {
            let entry = found.entry(*id).or_default();
            *entry = (entry.0 + 1, *promised);
        }
        let mut lines_of: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        for (id, line) in lines {
            if !lines_of.entry(*id).or_default().insert(*line) {
                twice.push(format!("{}: line {line} of order {id} is there more than once", last.server));
            }
            if !found.contains_key(id) {
                torn.push(format!("{}: line {line} belongs to order {id}, which is not there", last.server));
            }
        }
        for (id, (times, promised)) in &found {
            if *times > 1 {
                twice.push(format!("{}: order {id} is there {times} times", last.server));
            }
            let expected: BTreeSet<u32> = (1..=*promised as u32).collect();
            if lines_of.get(id) != Some(&expected) {
                let has = lines_of.get(id).map_or(0, BTreeSet::len);
                torn.push(format!("{}: order {id} has {has} lines of {promised}", last.server));
            }
            match asked.get(id) {
                None => alien.push(format!("{}: order {id} was never asked for", last.server)),
                Some((op, _)) if matches!(op.outcome, Outcome::Fail(_)) => {
                    alien.push(format!("{}: order {id} of {} failed, and is there", last.server, op.whence()));
                }
                Some((_, lines)) if u64::from(*lines) != *promised => {
                    alien.push(format!("{}: order {id} says {promised} lines, asked for were {lines}", last.server));
                }
                Some(_) => {}
            }
        }
        for (id, (op, _)) in asked.iter().filter(|(_, (op, _))| op.is_ok()) {
            if !found.contains_key(id) && lost.insert(*id) {
                missing.push(format!("{}: order {id} of {} is not there", last.server, op.whence()));
            }
        }
    }
    findings.lost += lost.len() as u64;
    let servers = finals.len();
    findings.claim(
        "no acknowledged write is lost",
        format!("{acknowledged} acknowledged orders, read back through {servers} SQL servers"),
        missing,
    );
    findings.claim("no order is there in part", format!("{acknowledged} orders with their lines"), torn);
    findings.claim("nothing is there twice", format!("{acknowledged} orders"), twice);
    findings.claim("nothing is there that failed or was never asked for", format!("{} asked for", asked.len()), alien);
}
