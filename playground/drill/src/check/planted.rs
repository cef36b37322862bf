//! The judges judged: clean histories pass, and a fault planted into one makes the verdict fail.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Name, NodeInfo, Tier, Topology, plan};
use crate::history::{Call, Outcome, Rows, Step};
use crate::model;
use crate::report::{Facts, draw_up};
use crate::rto::Phases;
use crate::verdict::Status;

const SEED: u64 = 0x51f2;
const SECONDS: u64 = 12;

fn recorded(workload: Workload) -> (Vec<Op>, Vec<Final>) {
    model::history(workload, SEED, SECONDS, &[])
}

/// The verdict of a whole report, as `ctl` would exit.
fn verdict(workload: Workload, ops: &[Op], finals: &[Final]) -> (Status, u64, String) {
    let regions: Vec<String> = model::REGIONS.map(String::from).to_vec();
    let tiers = [(Tier::Pd, "pd"), (Tier::Kv, "kv"), (Tier::Sql, "sql")];
    let node = |(tier, prefix): (Tier, &str), i: usize| NodeInfo {
        name: format!("{prefix}-{i}"),
        tier,
        region: regions[i].clone(),
    };
    let nodes = tiers.into_iter().flat_map(|t| (0..3).map(move |i| (t, i))).map(|(t, i)| node(t, i)).collect();
    let topology =
        Topology { regions: regions.clone(), nodes, pd_leader: Some("pd-0".into()), wan: true, faults: true };
    let second = 1_000_000;
    let phases = Phases {
        calm_us: 0,
        fault_us: 3 * second,
        healed_us: 6 * second,
        whole_us: Some(7 * second),
        end_us: 12 * second,
    };
    let facts = Facts {
        tag: "test".into(),
        plan: plan(Name::PdLeader, &topology, None).unwrap(),
        regions,
        homes: BTreeMap::new(),
        workload,
        seed: SEED,
        started_unix: 0,
        rto_target_ms: 5000,
        phases,
        events: vec![],
        checks: vec![],
        not_whole: vec![],
        warnings: vec![],
    };
    let report = draw_up(facts, ops, check(workload, ops, finals));
    (report.verdict.status, report.commits.lost, report.verdict.text())
}

/// The planted fault must break a promise whose text has `word`.
fn fails(workload: Workload, ops: &[Op], finals: &[Final], word: &str) -> u64 {
    let (status, lost, text) = verdict(workload, ops, finals);
    assert_eq!(status, Status::Broken, "{workload}: {text}");
    assert!(text.contains(word), "{workload}: {text}");
    lost
}

/// The last acknowledged write that `pick` likes.
fn last_write(ops: &[Op], pick: impl Fn(&Op) -> bool) -> &Op {
    let writes = ops.iter().filter(|op| op.is_ok() && op.kind == crate::history::Kind::Write && pick(op));
    writes.max_by_key(|op| op.complete_us).expect("a write")
}

#[test]
fn a_recorded_clean_history_passes() {
    for workload in Workload::ALL {
        let (ops, finals) = recorded(workload);
        let (status, lost, text) = verdict(workload, &ops, &finals);
        assert_eq!((status, lost), (Status::Pass, 0), "{workload}: {text}");
        assert!(ops.len() > 1000, "{workload}: {} operations", ops.len());
    }
}

#[test]
fn a_lost_write_fails() {
    for workload in Workload::ALL {
        let (ops, mut finals) = recorded(workload);
        // Somewhere in the middle for those that keep everything; a register forgets all but its last value.
        let middle = |op: &Op| op.complete_us < 6_000_000;
        for last in &mut finals {
            match &mut last.rows {
                Rows::Bank { balances, log } => {
                    let Call::Transfer { id, from, to, amount } = last_write(&ops, middle).call else { panic!() };
                    // Atomically lost: the sums are still right.
                    log.retain(|row| row.id != id);
                    for (account, balance) in balances {
                        *balance += if *account == from { amount } else { 0 } - if *account == to { amount } else { 0 };
                    }
                }
                Rows::Append { lists } => {
                    let Call::Txn { steps } = &last_write(&ops, |_| true).call else { panic!() };
                    for step in steps {
                        if let Step::Append { key, value } = step {
                            lists.get_mut(key).unwrap().retain(|v| v != value);
                        }
                    }
                }
                Rows::Register { values } => {
                    // The row of the last write has its former value again.
                    let Call::Put { key, value } = last_write(&ops, |op| matches!(op.call, Call::Put { .. })).call
                    else {
                        panic!()
                    };
                    let before = ops.iter().filter(|op| op.is_ok()).filter_map(|op| match op.call {
                        Call::Get { key: k, value: Some(v) } if k == key && v != value => Some((op.complete_us, v)),
                        _ => None,
                    });
                    let (_, old) = before.max().expect("somebody read it before");
                    values.iter_mut().filter(|(k, _)| *k == key).for_each(|(_, v)| *v = old);
                }
                Rows::Orders { headers, lines } => {
                    let Call::Place { id, .. } = last_write(&ops, middle).call else { panic!() };
                    headers.retain(|(i, _)| *i != id);
                    lines.retain(|(i, _)| *i != id);
                }
            }
        }
        let lost = fails(workload, &ops, &finals, "");
        assert!(lost >= 1, "{workload}: {lost} lost");
    }
}

#[test]
fn a_stale_read_fails() {
    // A read that began long after a write was acknowledged answers as if it had not happened.
    for workload in Workload::ALL {
        let (mut ops, finals) = recorded(workload);
        let at = match workload {
            Workload::Bank => {
                let known: BTreeMapOf = ops
                    .iter()
                    .filter(|op| op.is_ok())
                    .filter_map(|op| match op.call {
                        Call::Transfer { id, .. } => Some((id, op.complete_us)),
                        _ => None,
                    })
                    .collect();
                position(&ops, |op| {
                    matches!(op.call, Call::Lookup { id, rows: Some(1) }
                    if known.get(&id).is_some_and(|done| *done < op.invoke_us))
                })
            }
            Workload::Append => position(&ops, |op| {
                matches!(&op.call, Call::Txn { steps } if op.invoke_us > 8_000_000 && steps.len() == 1
                    && matches!(&steps[0], Step::Read { values: Some(v), .. } if v.len() > 4))
            }),
            Workload::Register => {
                let first: BTreeMapOf = ops
                    .iter()
                    .filter(|op| op.is_ok())
                    .filter_map(|op| match op.call {
                        Call::Put { key, .. } => Some((key.into(), op.complete_us)),
                        _ => None,
                    })
                    .rev()
                    .collect();
                position(&ops, |op| {
                    matches!(op.call, Call::Get { key, .. }
                    if first.get(&key.into()).is_some_and(|done| *done < op.invoke_us))
                })
            }
            Workload::Orders => {
                let known: BTreeMapOf = ops
                    .iter()
                    .filter(|op| op.is_ok())
                    .filter_map(|op| match op.call {
                        Call::Place { id, .. } => Some((id, op.complete_us)),
                        _ => None,
                    })
                    .collect();
                position(&ops, |op| {
                    matches!(op.call, Call::Look { id, answer: Some(_) }
                    if known.get(&id).is_some_and(|done| *done < op.invoke_us))
                })
            }
        };
        match &mut ops[at].call {
            Call::Lookup { rows, .. } => *rows = Some(0),
            Call::Txn { steps } => {
                let Step::Read { values: Some(values), .. } = &mut steps[0] else { panic!() };
                values.truncate(1);
            }
            Call::Get { value, .. } => *value = Some(crate::workload::register::INITIAL),
            Call::Look { answer, .. } => {
                *answer = Some(crate::history::OrderSeen { headers: 0, promised: 0, lines: 0 });
            }
            other => panic!("{other:?}"),
        }
        fails(
            workload,
            &ops,
            &finals,
            match workload {
                Workload::Append => "real time",
                Workload::Register => "linearizable",
                _ => "stale",
            },
        );
    }
}

type BTreeMapOf = std::collections::BTreeMap<u64, u64>;

fn position(ops: &[Op], pick: impl Fn(&Op) -> bool) -> usize {
    ops.iter().position(|op| op.is_ok() && pick(op)).expect("such an operation")
}

#[test]
fn a_torn_transaction_fails() {
    // Seen by a reader.
    let (mut ops, finals) = recorded(Workload::Bank);
    let at = position(&ops, |op| matches!(op.call, Call::Sum { .. }));
    ops[at].call = Call::Sum { answer: Some((400, crate::workload::bank::TOTAL - 7)) };
    fails(Workload::Bank, &ops, &finals, "torn");

    let (mut ops, finals) = recorded(Workload::Orders);
    let at = position(&ops, |op| matches!(op.call, Call::Look { answer: Some(seen), .. } if seen.lines > 0));
    let Call::Look { answer: Some(seen), .. } = &mut ops[at].call else { panic!() };
    seen.lines -= 1;
    fails(Workload::Orders, &ops, &finals, "torn");

    // A transaction saw one append of another and missed the other one.
    let (mut ops, finals) = recorded(Workload::Append);
    let pair = |op: &Op| match &op.call {
        Call::Txn { steps } => match &steps[..] {
            [Step::Append { key: a, value: v }, Step::Append { key: b, value: w }, ..] if a != b => {
                Some((*a, *v, *b, *w))
            }
            _ => None,
        },
        _ => None,
    };
    let (a, v, b, w) = ops.iter().filter(|op| op.is_ok()).find_map(pair).expect("a transaction with two appends");
    let Rows::Append { lists } = &finals[0].rows else { panic!() };
    let upto = |key: &u32, value: u64| {
        let list = &lists[key];
        list[..list.iter().position(|x| *x == value).unwrap() + 1].to_vec()
    };
    let mut without = upto(&b, w);
    without.pop();
    let steps = vec![Step::Read { key: a, values: Some(upto(&a, v)) }, Step::Read { key: b, values: Some(without) }];
    // It overlaps with everything, so that nothing but the tearing is wrong with it.
    let (begin, end) = (0, 20_000_000);
    ops.push(Op {
        process: 99,
        invoke_us: begin,
        complete_us: end,
        call: Call::Txn { steps },
        ..ops[at_ok(&ops)].clone()
    });
    fails(Workload::Append, &ops, &finals, "");

    // Half of a transaction is there at the end.
    for workload in [Workload::Bank, Workload::Orders] {
        let (ops, mut finals) = recorded(workload);
        for last in &mut finals {
            match &mut last.rows {
                Rows::Bank { balances, .. } => balances[3].1 += 5,
                Rows::Orders { lines, .. } => {
                    lines.pop();
                }
                _ => {}
            }
        }
        fails(workload, &ops, &finals, "");
    }
}

fn at_ok(ops: &[Op]) -> usize {
    position(ops, |_| true)
}

#[test]
fn a_duplicated_row_fails() {
    for workload in Workload::ALL {
        let (ops, mut finals) = recorded(workload);
        for last in &mut finals {
            match &mut last.rows {
                Rows::Bank { log, .. } => log.push(log[7]),
                Rows::Append { lists } => {
                    let list = lists.values_mut().find(|l| !l.is_empty()).unwrap();
                    list.push(list[0]);
                }
                Rows::Register { values } => values.push(values[7]),
                Rows::Orders { headers, .. } => headers.push(headers[7]),
            }
        }
        let word = if workload == Workload::Register { "more than once" } else { "twice" };
        fails(workload, &ops, &finals, word);
    }
    // Seen by a reader only.
    let (mut ops, finals) = recorded(Workload::Bank);
    let at = position(&ops, |op| matches!(op.call, Call::Lookup { rows: Some(1), .. }));
    let Call::Lookup { rows, .. } = &mut ops[at].call else { panic!() };
    *rows = Some(2);
    fails(Workload::Bank, &ops, &finals, "2 times");
}

#[test]
fn what_failed_must_not_be_there() {
    for workload in Workload::ALL {
        let (mut ops, finals) = recorded(workload);
        let present = |op: &Op| match (&op.call, &finals[0].rows) {
            (Call::Put { value, .. } | Call::Cas { value, .. }, Rows::Register { values }) => {
                values.iter().any(|(_, v)| v == value)
            }
            (Call::Transfer { .. } | Call::Txn { .. } | Call::Place { .. }, _) => true,
            _ => false,
        };
        let at = position(&ops, |op| op.kind == crate::history::Kind::Write && present(op));
        ops[at].outcome = Outcome::Fail("9007".into());
        fails(workload, &ops, &finals, "failed");
    }
}

#[test]
fn a_long_history_is_judged_in_seconds() {
    for workload in Workload::ALL {
        let begin = std::time::Instant::now();
        let (ops, finals) = model::history(workload, 7, 120, &[]);
        assert!(ops.len() > 12_000, "{}", ops.len());
        assert!(check(workload, &ops, &finals).clean());
        assert!(begin.elapsed().as_secs() < 30, "{workload}: {:?}", begin.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_a_serial_database_did_always_passes(seed: u64) {
        let outage = model::Outage { region: (seed % 3) as usize, from_us: 1_000_000, to_us: 3_000_000 };
        for workload in Workload::ALL {
            let (ops, finals) = model::history(workload, seed, 5, &[outage]);
            let findings = check(workload, &ops, &finals);
            prop_assert!(findings.clean(), "{workload}, seed {seed}: {:?}", findings.checks());
            prop_assert_eq!(findings.lost, 0);
        }
    }
}
