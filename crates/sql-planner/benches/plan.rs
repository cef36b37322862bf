//! Parsing, binding and planning, each apart, of queries from a point select to a join of 61 tables.
//!
//! `cargo bench -p sql-planner`; compare only what one run measured.

#[path = "../tests/schema/mod.rs"]
mod schema;
#[path = "../tests/surroundings/mod.rs"]
mod surroundings;

use divan::Bencher;
use sql_parser::{LexMode, Statement, parse_one};
use sql_planner::binder::Binder;
use sql_planner::optimize::{Settings, optimize};
use sql_planner::plan::Logical;

use surroundings::Surroundings;

fn main() {
    divan::main();
}

const NAMES: &[&str] = &["point", "range", "subqueries", "join of 5", "join of 10", "join of 61"];

fn query(name: &str) -> String {
    let join = |tables: usize| {
        let list: Vec<String> = (0..tables).map(|n| format!("t t{n}")).collect();
        let on: Vec<String> = (1..tables).map(|n| format!("t{n}.a = t{}.b", n - 1)).collect();
        format!("SELECT t0.c FROM {} WHERE {}", list.join(", "), on.join(" AND "))
    };
    match name {
        "point" => "SELECT c FROM t WHERE id = 7".into(),
        "range" => "SELECT c, SUM(b) FROM t WHERE id BETWEEN 5 AND 104 GROUP BY c ORDER BY c".into(),
        "subqueries" => "SELECT c FROM t WHERE a IN (SELECT v FROM u WHERE u.t_id = t.id) AND NOT EXISTS (SELECT 1 FROM p WHERE p.a = t.b)".into(),
        "join of 5" => join(5),
        "join of 10" => join(10),
        "join of 61" => join(61),
        other => unreachable!("{other}"),
    }
}

fn statement(sql: &str) -> Statement {
    parse_one(sql.as_bytes(), LexMode::default()).expect("a query").statement
}

fn logical(statement: &Statement, surroundings: &Surroundings) -> Logical {
    let Statement::Query(query) = statement else { unreachable!("no query") };
    let mut binder = Binder::new(surroundings);
    let bound = binder.bind_query(query).expect("names that there are");
    Logical { plan: bound.plan, subqueries: binder.subqueries, shared: binder.shared, columns: binder.columns }
}

#[divan::bench(args = NAMES)]
fn parse(bencher: Bencher<'_, '_>, name: &str) {
    let sql = query(name);
    bencher.bench_local(|| statement(&sql));
}

#[divan::bench(args = NAMES)]
fn bind(bencher: Bencher<'_, '_>, name: &str) {
    let (statement, surroundings) = (statement(&query(name)), surroundings::surroundings());
    bencher.bench_local(|| logical(&statement, &surroundings));
}

#[divan::bench(args = NAMES)]
fn plan(bencher: Bencher<'_, '_>, name: &str) {
    let (statement, surroundings) = (statement(&query(name)), surroundings::surroundings());
    let settings = Settings { zone: query::context::TimeZone::UTC, statistics: Default::default() };
    bencher
        .with_inputs(|| logical(&statement, &surroundings))
        .bench_local_values(|logical| optimize(logical, &settings));
}
