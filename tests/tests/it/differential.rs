//! Generated tables, rows and queries, whose answers are held against each other:
//!
//! - the rows of a query are those for which a predicate is true, those for which it is false, and those for which it is
//!   unknown;
//! - hints, the memory that a query may take, and whether it is within a transaction that has written, change how rows are
//!   found and not which;
//! - with `WITNESS=host:port` another MySQL server finds the same.
//!
//! Everything follows from a seed, which a failure prints: `DIFF_SEED=…` runs that case again. `DIFF_CASES=…` runs more of
//! them than the few of every day. What fails is made smaller as long as it fails: fewer rows, a smaller predicate, fewer
//! joins; the rest is printed as statements.

use std::fmt::Write as _;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::cluster::{self, Cluster};

/// Cases of an ordinary run: each has tables of its own.
const CASES: u64 = 3;
/// Queries of a case.
const QUERIES: usize = 30;
/// How often a failing case is run to make it smaller.
const SHRINKS_MAX: usize = 300;

/// Columns of every table, after `id`.
const COLUMNS: [(&str, Type); 5] =
    [("a", Type::Int), ("b", Type::Int), ("c", Type::Text), ("d", Type::Decimal), ("e", Type::Date)];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    Int,
    Text,
    Decimal,
    Date,
}

impl Type {
    fn declaration(self) -> &'static str {
        match self {
            Type::Int => "INT",
            Type::Text => "VARCHAR(12)",
            Type::Decimal => "DECIMAL(8,2)",
            Type::Date => "DATETIME",
        }
    }

    /// A value of few, so that values meet.
    fn literal(self, rng: &mut StdRng) -> String {
        match self {
            Type::Int => rng.random_range(-3..6).to_string(),
            Type::Text => format!("'{}'", ["", "a", "B", "ab", "Ab", "b%", "a_", "zz"][rng.random_range(0..8)]),
            Type::Decimal => ["0", "1.50", "-2.25", "3", "0.01"][rng.random_range(0..5)].to_owned(),
            Type::Date => format!("'2024-02-{:02} 1{}:00:00'", rng.random_range(27..30), rng.random_range(0..3)),
        }
    }

    fn value(self, rng: &mut StdRng) -> String {
        if rng.random_range(0..5) == 0 { "NULL".to_owned() } else { self.literal(rng) }
    }
}

#[derive(Clone, Debug)]
struct Table {
    name: String,
    /// Definitions of keys.
    keys: Vec<String>,
    /// Names of those.
    key_names: Vec<String>,
    rows: Vec<String>,
}

impl Table {
    fn generate(name: String, rng: &mut StdRng) -> Table {
        let choices = [
            ("ka", "KEY ka (a)"),
            ("kb", "KEY kb (b, c)"),
            ("kc", "KEY kc (c)"),
            ("kp", "KEY kp (c(1))"),
            ("kd", "KEY kd (d, a)"),
            ("ke", "KEY ke (e)"),
            ("ku", "UNIQUE KEY ku (a, id)"),
        ];
        let chosen: Vec<_> = choices.iter().filter(|_| rng.random_range(0..2) == 0).collect();
        let rows = (0..rng.random_range(0..60)).map(|id| Table::row(id, rng)).collect();
        Table {
            name,
            keys: chosen.iter().map(|(_, definition)| (*definition).to_owned()).collect(),
            key_names: chosen.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows,
        }
    }

    fn row(id: i32, rng: &mut StdRng) -> String {
        let values: Vec<String> = COLUMNS.iter().map(|(_, ty)| ty.value(rng)).collect();
        format!("({id}, {})", values.join(", "))
    }

    fn create(&self) -> String {
        let columns: Vec<String> = COLUMNS.iter().map(|(name, ty)| format!("{name} {}", ty.declaration())).collect();
        let keys: String = self.keys.iter().fold(String::new(), |all, key| all + ", " + key);
        format!("CREATE TABLE {} (id INT PRIMARY KEY, {}{keys})", self.name, columns.join(", "))
    }

    fn fill(&self) -> Option<String> {
        (!self.rows.is_empty()).then(|| format!("INSERT INTO {} VALUES {}", self.name, self.rows.join(", ")))
    }
}

/// A condition: a leaf, or some below.
#[derive(Clone, Debug)]
enum Predicate {
    Leaf(String),
    Not(Box<Predicate>),
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
}

impl Predicate {
    fn generate(rng: &mut StdRng, aliases: &[&str], tables: usize, depth: u32) -> Predicate {
        if depth > 0 {
            match rng.random_range(0..6) {
                0 => return Predicate::Not(Box::new(Predicate::generate(rng, aliases, tables, depth - 1))),
                n @ 1..4 => {
                    let of = |rng: &mut StdRng| Predicate::generate(rng, aliases, tables, depth - 1);
                    let some = vec![of(rng), of(rng)];
                    return if n == 1 { Predicate::All(some) } else { Predicate::Any(some) };
                }
                _ => {}
            }
        }
        Predicate::Leaf(leaf(rng, aliases, tables, depth > 0))
    }

    fn sql(&self) -> String {
        let join = |list: &[Predicate], word: &str| {
            let list: Vec<String> = list.iter().map(Predicate::sql).collect();
            format!("({})", list.join(word))
        };
        match self {
            Predicate::Leaf(text) => text.clone(),
            Predicate::Not(inner) => format!("NOT ({})", inner.sql()),
            Predicate::All(list) => join(list, " AND "),
            Predicate::Any(list) => join(list, " OR "),
        }
    }

    /// Smaller ones.
    fn smaller(&self) -> Vec<Predicate> {
        match self {
            Predicate::Leaf(_) => Vec::new(),
            Predicate::Not(inner) => {
                let below = inner.smaller().into_iter().map(|p| Predicate::Not(Box::new(p)));
                std::iter::once((**inner).clone()).chain(below).collect()
            }
            Predicate::All(list) | Predicate::Any(list) => {
                let mut out = list.clone();
                for (at, one) in list.iter().enumerate() {
                    for smaller in one.smaller() {
                        let mut list = list.clone();
                        list[at] = smaller;
                        out.push(if matches!(self, Predicate::All(_)) {
                            Predicate::All(list)
                        } else {
                            Predicate::Any(list)
                        });
                    }
                }
                out
            }
        }
    }
}

fn column(rng: &mut StdRng, aliases: &[&str]) -> (String, Type) {
    let alias = aliases[rng.random_range(0..aliases.len())];
    if rng.random_range(0..6) == 0 {
        return (format!("{alias}.id"), Type::Int);
    }
    let (name, ty) = COLUMNS[rng.random_range(0..COLUMNS.len())];
    (format!("{alias}.{name}"), ty)
}

fn column_of(rng: &mut StdRng, aliases: &[&str], ty: Type) -> String {
    loop {
        let (name, of) = column(rng, aliases);
        if of == ty {
            return name;
        }
    }
}

fn leaf(rng: &mut StdRng, aliases: &[&str], tables: usize, subqueries: bool) -> String {
    let (name, ty) = column(rng, aliases);
    let literal = |rng: &mut StdRng| ty.literal(rng);
    let comparison = ["=", "<>", "<", "<=", ">", ">=", "<=>"][rng.random_range(0..7)];
    match rng.random_range(0..if subqueries { 12 } else { 8 }) {
        0 => format!("{name} IS NULL"),
        1 => format!("{name} BETWEEN {} AND {}", literal(rng), literal(rng)),
        2 => {
            let list: Vec<String> = (0..rng.random_range(1..4)).map(|_| literal(rng)).collect();
            let not = ["", "NOT "][rng.random_range(0..2)];
            let null = ["", ", NULL"][usize::from(rng.random_range(0..6) == 0)];
            format!("{name} {not}IN ({}{null})", list.join(", "))
        }
        3 if ty == Type::Text => {
            format!("{name} LIKE {}", ["'a%'", "'%b'", "'_'", "''", "'%'"][rng.random_range(0..5)])
        }
        4 => format!("{name} {comparison} {}", column_of(rng, aliases, ty)),
        5 if ty == Type::Int => format!("{name} + 1 {comparison} {}", column_of(rng, aliases, ty)),
        8 | 9 => {
            let inner = column_of(rng, &["s"], ty);
            let outer = column_of(rng, aliases, Type::Int);
            let not = ["", "NOT "][rng.random_range(0..2)];
            format!("{name} {not}IN (SELECT {inner} FROM t{} s WHERE s.b >= {outer})", rng.random_range(0..tables))
        }
        10 => {
            let outer = column_of(rng, aliases, Type::Int);
            let not = ["", "NOT "][rng.random_range(0..2)];
            format!("{not}EXISTS (SELECT 1 FROM t{} s WHERE s.a = {outer} AND s.c > 'a')", rng.random_range(0..tables))
        }
        11 => {
            let outer = column_of(rng, aliases, Type::Int);
            let call = ["COUNT(*)", "MAX(s.a)", "MIN(s.id)", "SUM(s.b)"][rng.random_range(0..4)];
            format!("(SELECT {call} FROM t{} s WHERE s.a = {outer}) {comparison} 1", rng.random_range(0..tables))
        }
        _ => format!("{name} {comparison} {}", literal(rng)),
    }
}

#[derive(Clone, Debug)]
struct Query {
    /// Number of the table called `x`.
    first: usize,
    /// Kind, number of the table called `y`, and on what it is joined.
    join: Option<(&'static str, usize, Predicate)>,
    filter: Predicate,
    shape: Shape,
}

/// What is asked of the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Columns,
    Distinct,
    Groups,
    Window,
}

impl Query {
    fn generate(rng: &mut StdRng, tables: usize) -> Query {
        let join = (rng.random_range(0..3) > 0).then(|| {
            let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN"][rng.random_range(0..3)];
            let key = ["x.a = y.a", "x.a = y.id", "x.c = y.c", "x.b = y.a + 1", "x.d = y.d", "x.e = y.e"];
            let key = Predicate::Leaf(key[rng.random_range(0..6)].to_owned());
            let on = match rng.random_range(0..4) {
                0 => Predicate::All(vec![key, Predicate::generate(rng, &["x", "y"], tables, 1)]),
                1 => Predicate::generate(rng, &["x", "y"], tables, 1),
                _ => key,
            };
            (kind, rng.random_range(0..tables), on)
        });
        let aliases: &[&str] = if join.is_some() { &["x", "y"] } else { &["x"] };
        let shape = [Shape::Columns, Shape::Columns, Shape::Distinct, Shape::Groups, Shape::Window];
        Query {
            first: rng.random_range(0..tables),
            filter: Predicate::generate(rng, aliases, tables, 3),
            join,
            shape: shape[rng.random_range(0..5)],
        }
    }

    fn sql(&self, hints: &str, condition: Option<&str>) -> String {
        let other = if self.join.is_some() { "y" } else { "x" };
        let what = match self.shape {
            Shape::Columns => format!("x.id, {other}.id, x.c, {other}.d"),
            Shape::Distinct => format!("DISTINCT x.a, {other}.c"),
            Shape::Groups => format!("x.a, COUNT(*), COUNT({other}.b), SUM({other}.b), MIN(x.d), MAX({other}.e)"),
            Shape::Window => {
                format!("x.id, {other}.id, COUNT(*) OVER (PARTITION BY x.a), SUM({other}.b) OVER (PARTITION BY x.a)")
            }
        };
        let mut sql = format!("SELECT {hints} {what} FROM t{} x", self.first);
        if let Some((kind, table, on)) = &self.join {
            let _ = write!(sql, " {kind} t{table} y ON {}", on.sql());
        }
        if let Some(condition) = condition {
            let _ = write!(sql, " WHERE {condition}");
        }
        if self.shape == Shape::Groups {
            sql.push_str(" GROUP BY x.a");
        }
        sql
    }

    fn smaller(&self) -> Vec<Query> {
        let mut out: Vec<Query> =
            self.filter.smaller().into_iter().map(|filter| Query { filter, ..self.clone() }).collect();
        if let Some((kind, table, on)) = &self.join {
            out.extend(on.smaller().into_iter().map(|on| Query { join: Some((kind, *table, on)), ..self.clone() }));
            if !self.filter.sql().contains("y.") {
                out.push(Query { join: None, ..self.clone() });
            }
        }
        if self.shape != Shape::Columns {
            out.push(Query { shape: Shape::Columns, ..self.clone() });
        }
        out
    }
}

#[derive(Clone, Debug)]
struct Case {
    tables: Vec<Table>,
    query: Query,
}

/// Rows in one order; an error by its number.
async fn rows(conn: &mut Conn, sql: &str) -> Result<Vec<String>, String> {
    match conn.query::<Row, _>(sql).await {
        Ok(rows) => {
            let text = |value: Value| match value {
                Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Value::NULL => "NULL".to_owned(),
                other => format!("{other:?}"),
            };
            let row = |row: Row| row.unwrap().into_iter().map(text).collect::<Vec<_>>().join("|");
            let mut rows: Vec<String> = rows.into_iter().map(row).collect();
            rows.sort();
            Ok(rows)
        }
        Err(mysql_async::Error::Server(e)) => Err(format!("{}: {}", e.code, e.message)),
        Err(e) => panic!("{sql}: {e}"),
    }
}

/// What two ways gave, if it is not the same.
fn compare(
    what: &str,
    one: &str,
    a: &Result<Vec<String>, String>,
    two: &str,
    b: &Result<Vec<String>, String>,
) -> Option<String> {
    let same = match (a, b) {
        (Ok(a), Ok(b)) => a == b,
        (Err(a), Err(b)) => a.split(':').next() == b.split(':').next(),
        _ => false,
    };
    (!same).then(|| format!("{what}:\n  {one};\n    gives {a:?}\n  {two};\n    gives {b:?}"))
}

struct Tester {
    conn: Conn,
    witness: Option<Conn>,
}

impl Tester {
    async fn both(&mut self, sql: &str) {
        self.conn.query_drop(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        if let Some(witness) = &mut self.witness {
            witness.query_drop(sql).await.unwrap_or_else(|e| panic!("the witness, {sql}: {e}"));
        }
    }

    async fn create(&mut self, tables: &[Table]) {
        for table in tables {
            self.both(&format!("DROP TABLE IF EXISTS {}", table.name)).await;
            self.both(&table.create()).await;
        }
    }

    async fn fill(&mut self, tables: &[Table]) {
        for table in tables {
            self.both(&format!("DELETE FROM {}", table.name)).await;
            if let Some(fill) = table.fill() {
                self.both(&fill).await;
            }
        }
    }

    /// What is wrong with the answers to a query.
    async fn judge(&mut self, case: &Case) -> Option<String> {
        let query = &case.query;
        let condition = query.filter.sql();
        let plain = query.sql("", Some(&condition));
        let answer = rows(&mut self.conn, &plain).await;
        // What is refused by its name is no wrong answer.
        if answer.as_ref().is_err_and(|e| e.starts_with("1235")) {
            return None;
        }
        if let Err(e) = &answer
            && ["1064", "1105", "1054"].iter().any(|code| e.starts_with(code))
        {
            return Some(format!("{plain};\n    fails with {e}"));
        }
        // Ways to find the rows.
        let keys: Vec<String> = case.tables[query.first].key_names.clone();
        let mut hints = vec![format!("/*+ USE_INDEX(x) {}*/", if query.join.is_some() { "USE_INDEX(y) " } else { "" })];
        hints.extend(keys.iter().map(|key| format!("/*+ USE_INDEX(x, {key}) */")));
        if query.join.is_some() {
            hints.extend(["/*+ HASH_JOIN(x, y) */", "/*+ INL_JOIN(y) */", "/*+ INL_JOIN(x) */"].map(str::to_owned));
            hints.push("/*+ STRAIGHT_JOIN() */".to_owned());
        }
        for hint in hints {
            let hinted = query.sql(&hint, Some(&condition));
            let other = rows(&mut self.conn, &hinted).await;
            if let Some(wrong) = compare("a hint changes the answer", &plain, &answer, &hinted, &other) {
                return Some(wrong);
            }
        }
        let little = [
            ("SET tidb_mem_quota_query = 4000", "SET tidb_mem_quota_query = DEFAULT"),
            // Pending writes are laid over what stores know.
            ("BEGIN", "ROLLBACK"),
        ];
        for (before, after) in little {
            self.conn.query_drop(before).await.unwrap();
            if before == "BEGIN" {
                for table in &case.tables {
                    let touch = format!("INSERT INTO {} (id) VALUES (1000)", table.name);
                    self.conn.query_drop(touch).await.unwrap();
                    self.conn.query_drop(format!("DELETE FROM {} WHERE id = 1000", table.name)).await.unwrap();
                    let same = format!("UPDATE {} SET a = a + 1, c = CONCAT(c, 'x') WHERE id % 2 = 0", table.name);
                    self.conn.query_drop(same).await.unwrap();
                    let back = format!(
                        "UPDATE {} SET a = a - 1, c = LEFT(c, CHAR_LENGTH(c) - 1) WHERE id % 2 = 0",
                        table.name
                    );
                    self.conn.query_drop(back).await.unwrap();
                }
            }
            let other = rows(&mut self.conn, &plain).await;
            self.conn.query_drop(after).await.unwrap();
            // What only one operator may hold is an error.
            if other.as_ref().is_err_and(|e| e.starts_with("8175")) {
                continue;
            }
            let changed = format!("{before}; {plain}");
            if let Some(wrong) = compare("the answer is another one", &plain, &answer, &changed, &other) {
                return Some(wrong);
            }
        }
        if query.shape == Shape::Columns {
            let whole = query.sql("", None);
            let all = rows(&mut self.conn, &whole).await;
            let mut parts = Ok(Vec::new());
            for part in ["", " IS FALSE", " IS NULL"] {
                let found = rows(&mut self.conn, &query.sql("", Some(&format!("({condition}){part}")))).await;
                parts = match (parts, found) {
                    (Ok(mut all), Ok(more)) => {
                        all.extend(more);
                        Ok(all)
                    }
                    (Err(e), _) | (_, Err(e)) => Err(e),
                };
            }
            if let Ok(parts) = &mut parts {
                parts.sort();
            }
            let three = format!("{plain} and those where it is false and unknown");
            if let Some(wrong) = compare("rows that it is true, false or unknown for", &whole, &all, &three, &parts) {
                return Some(wrong);
            }
        }
        if let Some(witness) = &mut self.witness {
            let other = rows(witness, &plain).await;
            return compare("the witness says otherwise", &plain, &answer, &plain, &other);
        }
        None
    }

    /// Makes a failing case smaller, as long as it fails.
    async fn shrink(&mut self, mut case: Case, mut wrong: String) -> (Case, String) {
        let mut tries = 0;
        'again: loop {
            let mut smaller: Vec<Case> = Vec::new();
            for at in 0..case.tables.len() {
                let n = case.tables[at].rows.len();
                for part in [n.div_ceil(2), n.div_ceil(4), 1] {
                    if part == 0 || part > n {
                        continue;
                    }
                    for start in (0..n).step_by(part) {
                        let mut fewer = case.clone();
                        fewer.tables[at].rows.drain(start..(start + part).min(n));
                        smaller.push(fewer);
                    }
                }
            }
            let queries = case.query.smaller().into_iter();
            smaller.extend(queries.map(|query| Case { query, tables: case.tables.clone() }));
            for candidate in smaller {
                tries += 1;
                if tries > SHRINKS_MAX {
                    return (case, wrong);
                }
                self.fill(&candidate.tables).await;
                if let Some(still) = self.judge(&candidate).await {
                    (case, wrong) = (candidate, still);
                    continue 'again;
                }
            }
            return (case, wrong);
        }
    }

    async fn run(&mut self, seed: u64) -> Result<(), String> {
        let mut rng = StdRng::seed_from_u64(seed);
        let tables: Vec<Table> = (0..2).map(|n| Table::generate(format!("t{n}"), &mut rng)).collect();
        self.create(&tables).await;
        self.fill(&tables).await;
        for _ in 0..QUERIES {
            let query = Query::generate(&mut rng, tables.len());
            let case = Case { tables: tables.clone(), query };
            if let Some(wrong) = self.judge(&case).await {
                let (small, wrong) = self.shrink(case, wrong).await;
                let mut text = format!("DIFF_SEED={seed:#x}\n");
                for table in &small.tables {
                    let _ = writeln!(text, "{};", table.create());
                    if let Some(fill) = table.fill() {
                        let _ = writeln!(text, "{fill};");
                    }
                }
                return Err(text + &wrong);
            }
        }
        Ok(())
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

async fn witness() -> Option<Conn> {
    let address = std::env::var("WITNESS").ok()?;
    let (host, port) = address.rsplit_once(':').expect("WITNESS is host:port");
    let port = port.parse().expect("WITNESS has a port number");
    let options = OptsBuilder::default().ip_or_hostname(host).tcp_port(port).user(Some("root"));
    Some(Conn::new(options.prefer_socket(Some(false))).await.expect("the witness"))
}

#[test]
fn answers_do_not_depend_on_how_they_are_found() {
    let seeds: Vec<u64> = match number("DIFF_SEED") {
        Some(seed) => vec![seed],
        None => {
            let first: u64 = if std::env::var_os("DIFF_CASES").is_some() { rand::random() } else { 0x5eed };
            let cases = number("DIFF_CASES").unwrap_or(CASES);
            (0..cases).map(|n| first.wrapping_add(n)).collect()
        }
    };
    let failures = cluster::runtime().block_on(async {
        let mut cluster = Cluster::start(1, 1).await;
        cluster.add_sql().await;
        let mut tester = Tester { conn: Conn::new(cluster.mysql(0)).await.unwrap(), witness: witness().await };
        let database = "differential";
        tester.both(&format!("DROP DATABASE IF EXISTS {database}")).await;
        tester.both(&format!("CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")).await;
        tester.both(&format!("USE {database}")).await;
        let mut failures = Vec::new();
        for seed in seeds {
            if let Err(wrong) = tester.run(seed).await {
                failures.push(wrong);
            }
        }
        drop(tester);
        cluster.stop().await;
        failures
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
