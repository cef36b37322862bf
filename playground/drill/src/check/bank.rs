//! The bank's judge. The log is the witness: a transfer and its log row are one transaction, so that balances, log and
//! acknowledgements must tell the same story.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::history::{Call, Final, LogRow, Op, Outcome, Rows};
use crate::workload::bank::{ACCOUNTS, BALANCE, TOTAL};

/// Judges a history of the bank.
pub fn check(ops: &[Op], finals: &[Final]) -> Findings {
    let mut findings = Findings::default();
    sums(ops, &mut findings);
    lookups(ops, &mut findings);
    log(ops, finals, &mut findings);
    findings
}

fn sums(ops: &[Op], findings: &mut Findings) {
    let mut violations = Vec::new();
    let mut count = 0;
    for op in ops.iter().filter(|op| op.is_ok()) {
        if let Call::Sum { answer: Some((accounts, sum)) } = op.call {
            count += 1;
            if (accounts, sum) != (ACCOUNTS.into(), TOTAL) {
                violations.push(format!(
                    "{} read {sum} in {accounts} accounts, and {TOTAL} in {ACCOUNTS} is what there is",
                    op.whence()
                ));
            }
        }
    }
    findings.claim("no snapshot shows a torn transfer: every sum is the total", format!("{count} sums"), violations);
}

fn lookups(ops: &[Op], findings: &mut Findings) {
    // From when on a transfer must be seen: it was acknowledged, or somebody has seen it.
    let mut known: BTreeMap<u64, u64> = BTreeMap::new();
    let mut failed: BTreeSet<u64> = BTreeSet::new();
    for op in ops {
        let seen = match (&op.call, &op.outcome) {
            (Call::Transfer { id, .. }, Outcome::Ok) => Some(id),
            (Call::Lookup { id, rows: Some(1..) }, Outcome::Ok) => Some(id),
            (Call::Transfer { id, .. }, Outcome::Fail(_)) => {
                failed.insert(*id);
                None
            }
            _ => None,
        };
        if let Some(id) = seen {
            let from = known.entry(*id).or_insert(u64::MAX);
            *from = (*from).min(op.complete_us);
        }
    }
    let (mut stale, mut count) = (Vec::new(), 0);
    for op in ops.iter().filter(|op| op.is_ok()) {
        let Call::Lookup { id, rows: Some(rows) } = op.call else { continue };
        count += 1;
        let must = known.get(&id).is_some_and(|from| *from < op.invoke_us);
        if rows == 0 && must {
            stale.push(format!("{} did not find transfer {id}, which was there before", op.whence()));
        } else if rows > 1 {
            stale.push(format!("{} found transfer {id} {rows} times", op.whence()));
        } else if rows > 0 && failed.contains(&id) {
            stale.push(format!("{} found transfer {id}, which failed", op.whence()));
        }
    }
    findings.claim("no read is stale: what was acknowledged is found, once", format!("{count} look-ups"), stale);
}

fn log(ops: &[Op], finals: &[Final], findings: &mut Findings) {
    let mut asked: BTreeMap<u64, (&Op, LogRow)> = BTreeMap::new();
    for op in ops {
        if let Call::Transfer { id, from, to, amount } = op.call {
            asked.insert(id, (op, LogRow { id, from, to, amount }));
        }
    }
    let acknowledged = asked.values().filter(|(op, _)| op.is_ok()).count();
    let (mut lost, mut missing, mut twice, mut alien, mut balance) =
        (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for last in finals {
        let Rows::Bank { balances, log } = &last.rows else { continue };
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        let mut expected: BTreeMap<u32, i64> = (0..ACCOUNTS).map(|a| (a, BALANCE)).collect();
        for row in log {
            *found.entry(row.id).or_default() += 1;
            *expected.entry(row.from).or_default() -= row.amount;
            *expected.entry(row.to).or_default() += row.amount;
            match asked.get(&row.id) {
                None => alien.push(format!("{}: transfer {} was never asked for", last.server, row.id)),
                Some((op, _)) if op.outcome.is_fail() => {
                    alien.push(format!("{}: transfer {} of {} failed, and is there", last.server, row.id, op.whence()));
                }
                Some((_, wanted)) if wanted != row => {
                    alien.push(format!("{}: the log has {row:?}, and {wanted:?} was asked for", last.server));
                }
                Some(_) => {}
            }
        }
        for (id, (op, _)) in asked.iter().filter(|(_, (op, _))| op.is_ok()) {
            if !found.contains_key(id) && lost.insert(*id) {
                missing.push(format!("{}: transfer {id} of {} is not in the log", last.server, op.whence()));
            }
        }
        for (id, n) in found.iter().filter(|(_, n)| **n > 1) {
            twice.push(format!("{}: transfer {id} is in the log {n} times", last.server));
        }
        let mut accounts: BTreeMap<u32, i64> = BTreeMap::new();
        for (account, sum) in balances {
            if accounts.insert(*account, *sum).is_some() {
                twice.push(format!("{}: account {account} is there more than once", last.server));
            }
        }
        for account in expected.keys().chain(accounts.keys()).collect::<BTreeSet<_>>() {
            let (has, should) = (accounts.get(account), expected.get(account));
            if has != should {
                balance
                    .push(format!("{}: account {account} has {has:?}, and the log makes it {should:?}", last.server));
            }
        }
        let total: i64 = balances.iter().map(|(_, b)| b).sum();
        if total != TOTAL {
            balance.push(format!("{}: the balances add up to {total}, not {TOTAL}", last.server));
        }
    }
    findings.lost += lost.len() as u64;
    let servers = finals.len();
    findings.claim(
        "no acknowledged write is lost",
        format!("{acknowledged} acknowledged transfers, read back through {servers} SQL servers"),
        missing,
    );
    findings.claim("nothing is there twice", format!("{} rows", acknowledged), twice);
    findings.claim("nothing is there that failed or was never asked for", format!("{} asked for", asked.len()), alien);
    findings.claim("balances follow from the log", format!("{ACCOUNTS} accounts"), balance);
}
