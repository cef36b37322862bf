//! `EXPLAIN`: the statement is planned and its plan shown; `EXPLAIN ANALYZE`: it is run too, and shown is what was done.
//!
//! | format | shown as |
//! |---|---|
//! | `row`, `traditional`, or unsaid | TiDB's columns, a row for each operator |
//! | `brief` | the same without the operators' numbers, for comparing plans |
//! | `tree` | one text, a line for each operator |
//! | `json` | one JSON array, operators within operators |
//!
//! What is measured of the whole statement stands at the first operator: the round trips to PD and to the stores, and how
//! many of them left the server's region. A change that commits itself does so before, so that its commit counts.

use codec::datum::Datum;
use codec::json::Json;
use codec::types::FieldType;
use futures::StreamExt;
use kv_client::trips::{TripCounts, current};
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, Outcome, ResultSet, Rows};
use sql_catalog::TableInfo;
use sql_context::ExecContext;
use sql_parser::{Explain, Statement};
use sql_planner::binder::Binder;
use sql_planner::change::Action;
use sql_planner::explain::{COLUMNS, DoneBy, Line, lines};
use sql_planner::optimize::optimize;
use sql_planner::plan::{Logical, Physical};

use crate::env::Env;
use crate::measure::{Meters, Run, measured};
use crate::planned::settings;
use crate::{dml, select};

/// How a plan is shown.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Row,
    Brief,
    Tree,
    Json,
}

impl Format {
    fn of(explain: &Explain) -> Result<Format, SqlError> {
        Ok(match explain.format.as_deref() {
            None | Some("row" | "traditional") => Format::Row,
            Some("brief") => Format::Brief,
            Some("tree") => Format::Tree,
            Some("json") => Format::Json,
            Some(other) => return Err(SqlError::UnknownExplainFormat(other.to_owned())),
        })
    }
}

/// Columns of `EXPLAIN ANALYZE`, as TiDB has them.
const MEASURED: [&str; 9] =
    ["id", "estRows", "actRows", "task", "access object", "execution info", "operator info", "memory", "disk"];

/// Columns of the result.
pub(crate) fn columns(explain: &Explain) -> Result<Vec<ColumnMeta>, SqlError> {
    let names: &[&str] = match Format::of(explain)? {
        Format::Tree | Format::Json => &["EXPLAIN"],
        _ if explain.analyze => &MEASURED,
        _ => &COLUMNS,
    };
    Ok(names.iter().map(|name| ColumnMeta::computed(*name, FieldType::varchar(1024))).collect())
}

/// Plans a statement, runs it if that is asked for, and shows the plan.
pub(crate) async fn explain(ctx: &mut ExecContext<'_>, explain: &Explain) -> Result<ResultSet, SqlError> {
    let columns = columns(explain)?;
    let shown = if explain.analyze { analyze(ctx, explain).await? } else { plan(ctx, explain)? };
    let rows = show(&shown, Format::of(explain)?);
    let rows = rows.into_iter().map(|row| row.into_iter().map(Datum::string).collect()).collect();
    Ok(ResultSet { columns: columns.into(), rows: Rows::Datums(rows) })
}

/// A plan's lines, and what was measured.
struct Shown {
    lines: Vec<Line>,
    measured: Option<(std::sync::Arc<Meters>, TripCounts)>,
}

fn of_plan(ctx: &ExecContext<'_>, physical: &Physical, action: Option<&Action>) -> Vec<Line> {
    lines(physical, &|table| is_dirty(ctx, table), action)
}

fn plan(ctx: &mut ExecContext<'_>, explain: &Explain) -> Result<Shown, SqlError> {
    let lines = match &*explain.statement {
        Statement::Query(query) => {
            let env = Env::new(ctx, false);
            let mut binder = Binder::new(&env);
            let bound = binder.bind_query(query)?;
            let Binder { columns, subqueries, shared, warnings, .. } = binder;
            warnings.iter().for_each(|warning| ctx.warn(warning));
            let logical = Logical { plan: bound.plan, subqueries, shared, columns };
            of_plan(ctx, &optimize(logical, &settings(ctx.server, &env.eval)), None)
        }
        other => {
            let tree = dml::tree(other);
            let tree = tree.ok_or_else(|| SqlError::NotSupported("EXPLAIN of this statement".into()))?;
            let (plan, _) = dml::plan(ctx, tree, false)?;
            plan.warnings.iter().for_each(|warning| ctx.warn(warning));
            of_plan(ctx, &plan.physical, Some(&plan.action))
        }
    };
    Ok(Shown { lines, measured: None })
}

async fn analyze(ctx: &mut ExecContext<'_>, explain: &Explain) -> Result<Shown, SqlError> {
    let before = current();
    // What is done with the rows of a change.
    let change = match dml::tree(&explain.statement) {
        Some(tree) => Some(dml::plan(ctx, tree, false)?.0),
        None => None,
    };
    let (outcome, run) = measured(async {
        let outcome = match &*explain.statement {
            Statement::Query(query) => Box::pin(select::select(ctx, query, None)).await.map(Outcome::Rows),
            _ => match &change {
                Some(plan) => Box::pin(dml::run(ctx, plan, Vec::new())).await,
                None => return Err(SqlError::NotSupported("EXPLAIN ANALYZE of this statement".into())),
            },
        }?;
        match outcome {
            Outcome::Rows(ResultSet { rows: Rows::Batches(mut rows), .. }) => {
                while let Some(batch) = rows.next().await {
                    batch?;
                }
            }
            Outcome::Rows(_) => {}
            Outcome::Ok(_) if ctx.is_autocommit() => ctx.session.commit(ctx.server).await?,
            Outcome::Ok(_) => {}
        }
        Ok(())
    })
    .await;
    outcome?;
    let trips = current().since(before);
    let action = change.as_ref().map(|plan| &plan.action);
    Ok(match run {
        Some(Run { physical, meters }) => {
            Shown { lines: of_plan(ctx, &physical, action), measured: Some((meters, trips)) }
        }
        None => {
            let none = Physical::default();
            let meters = Meters::new(&none);
            Shown { lines: of_plan(ctx, &none, action), measured: Some((meters.into(), trips)) }
        }
    })
}

/// What was measured of a line: rows, info, memory, disk.
fn measures(line: &Line, meters: &Meters, trips: Option<TripCounts>) -> [String; 4] {
    let unknown = || "N/A".to_owned();
    let (rows, mut info, memory, disk) = match line.done_by {
        DoneBy::Node(at) => {
            let meter = meters.of(at);
            let mut info = vec![format!("time:{:.1?}", meter.time()), format!("loops:{}", meter.loops())];
            let tasks = meter.remote().tasks;
            if tasks > 0 {
                info.push(format!("cop_task:{{num:{tasks}}}"));
            }
            let memory = if meter.memory() > 0 { bytes(meter.memory() as u64) } else { unknown() };
            let disk = if meter.memory() > 0 { bytes(meter.disk()) } else { unknown() };
            (meter.rows().to_string(), info, memory, disk)
        }
        DoneBy::Storage(at, number) => match meters.of(at).remote().executors.get(number) {
            Some((rows, loops, time)) => {
                (rows.to_string(), vec![format!("time:{time:.1?}"), format!("loops:{loops}")], unknown(), unknown())
            }
            None => (unknown(), Vec::new(), unknown(), unknown()),
        },
        DoneBy::Part => (unknown(), Vec::new(), unknown(), unknown()),
    };
    if let Some(trips) = trips {
        info.push(format!("trips:{{pd:{}, storage:{}, other_region:{}}}", trips.pd, trips.storage, trips.away()));
    }
    [rows, info.join(", "), memory, disk]
}

/// A size, as TiDB words it.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if n < 1024 {
        return format!("{n} Bytes");
    }
    let mut size = n as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

fn show(shown: &Shown, format: Format) -> Vec<Vec<String>> {
    let measured: Vec<Option<[String; 4]>> = shown
        .lines
        .iter()
        .enumerate()
        .map(|(n, line)| {
            let (meters, trips) = shown.measured.as_ref()?;
            Some(measures(line, meters, Some(*trips).filter(|_| n == 0)))
        })
        .collect();
    match format {
        Format::Row | Format::Brief => {
            let rows = shown.lines.iter().zip(measured).map(|(line, measured)| {
                let columns = line.columns(format == Format::Brief);
                let Some([rows, info, memory, disk]) = measured else { return columns.to_vec() };
                let [id, estimate, task, object, operator] = columns;
                vec![id, estimate, rows, task, object, info, operator, memory, disk]
            });
            rows.collect()
        }
        Format::Tree => {
            let mut text = String::new();
            for (line, measured) in shown.lines.iter().zip(measured) {
                text.push_str(&tree_line(line, measured));
            }
            vec![vec![text]]
        }
        Format::Json => {
            let mut lines = shown.lines.iter().zip(measured).peekable();
            vec![vec![Json::Array(json(&mut lines, 0)).to_string()]]
        }
    }
}

fn tree_line(line: &Line, measured: Option<[String; 4]>) -> String {
    let mut text = format!("{}-> {}", "    ".repeat(line.depth), line.name);
    for (what, between) in [(&line.object, " on "), (&line.info, ": ")] {
        if !what.is_empty() && what != "N/A" {
            text.push_str(between);
            text.push_str(what);
        }
    }
    if let Some(rows) = line.rows {
        text.push_str(&format!("  (rows={rows:.2})"));
    }
    if let Some([rows, info, memory, disk]) = measured {
        text.push_str(&format!(" (actual rows={rows}"));
        for (name, what) in [("", &info), ("memory:", &memory), ("disk:", &disk)] {
            if !what.is_empty() && what != "N/A" {
                text.push_str(&format!(", {name}{what}"));
            }
        }
        text.push(')');
    }
    text.push('\n');
    text
}

/// The lines of this depth with those below each.
fn json<'a>(
    lines: &mut std::iter::Peekable<impl Iterator<Item = (&'a Line, Option<[String; 4]>)>>,
    depth: usize,
) -> Vec<Json> {
    let mut out = Vec::new();
    while let Some((line, measured)) = lines.next_if(|(line, _)| line.depth >= depth) {
        let [_, estimate, task, object, operator] = line.columns(false);
        let id = format!("{}_{}", line.name, line.number);
        let mut members = vec![("id", id), ("estRows", estimate)];
        if let Some([rows, _, _, _]) = &measured {
            members.push(("actRows", rows.clone()));
        }
        members.extend([("taskType", task), ("accessObject", object)]);
        if let Some([_, info, _, _]) = &measured {
            members.push(("executeInfo", info.clone()));
        }
        members.push(("operatorInfo", operator));
        if let Some([_, _, memory, disk]) = measured {
            members.extend([("memoryInfo", memory), ("diskInfo", disk)]);
        }
        let mut members: Vec<(String, Json)> =
            members.into_iter().map(|(name, value)| (name.to_owned(), Json::String(value))).collect();
        let below = json(lines, line.depth + 1);
        if !below.is_empty() {
            members.push(("subOperators".to_owned(), Json::Array(below)));
        }
        out.push(Json::Object(members));
    }
    out
}

/// Whether the transaction has changed rows of a table.
fn is_dirty(ctx: &ExecContext<'_>, table: &TableInfo) -> bool {
    let Some(txn) = ctx.session.txn.kv() else { return false };
    table
        .physical_ids()
        .into_iter()
        .map(codec::table::table_range)
        .any(|(start, end)| txn.iter_buffer(&start, &end).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(depth: usize, name: &str, number: usize) -> Line {
        Line {
            lead: String::new(),
            depth,
            name: name.into(),
            number,
            rows: Some(2.0),
            task: "root".into(),
            object: String::new(),
            info: format!("info {number}"),
            done_by: DoneBy::Node(Default::default()),
        }
    }

    #[test]
    fn operators_are_within_operators() {
        let lines =
            vec![line(0, "Join", 1), line(1, "Sort", 2), line(2, "Scan", 3), line(1, "Scan", 4), line(0, "Next", 5)];
        let shown = Shown { lines, measured: None };
        let text = show(&shown, Format::Json).concat().concat();
        let ids: String = text
            .split(['"', ':', ','])
            .map(str::trim)
            .filter(|word| word.contains('_') || word.starts_with(['[', ']', '}']))
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(ids, "[{ Join_1 [{ Sort_2 [{ Scan_3 }]} Scan_4 }]} Next_5 }]");
        let tree = show(&shown, Format::Tree).concat().concat();
        assert!(tree.starts_with("-> Join: info 1  (rows=2.00)\n    -> Sort: info 2"), "{tree}");
    }

    #[test]
    fn sizes_have_units() {
        let sizes = [0, 1023, 1024, 1536, 5 << 20, 3 << 40, 3 << 51];
        assert_eq!(sizes.map(bytes), ["0 Bytes", "1023 Bytes", "1.0 KB", "1.5 KB", "5.0 MB", "3.0 TB", "6144.0 TB"]);
    }
}
