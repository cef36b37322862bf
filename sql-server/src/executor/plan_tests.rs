//! Golden plans: a statement and the tree that EXPLAIN prints for it, without a cluster.

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode, flags};
use query::context::{EvalContext, TimeZone};
use query::expr::Expr;

use super::explain::{Names, render};
use super::pushdown;
use crate::catalog::{
    ColumnDefault, ColumnInfo, Database, DatabaseInfo, IndexColumn, IndexInfo, Name, Schema, SchemaState, TableInfo,
    TableKind,
};
use crate::error::SqlError;
use crate::parser::{self, LexMode, Statement};
use crate::planner::binder::{Binder, Environment};
use crate::planner::optimize::Rules;

struct Env {
    schema: Arc<Schema>,
    eval: EvalContext,
}

impl Environment for Env {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn database(&self) -> Option<&str> {
        Some("shop")
    }

    fn params(&self) -> &[Datum] {
        &[]
    }

    fn variable(&self, name: &str) -> Result<(Datum, FieldType), SqlError> {
        Err(SqlError::UnknownSystemVariable(name.into()))
    }

    fn eval(&self) -> &EvalContext {
        &self.eval
    }
}

fn column(offset: usize, name: &str, ty: FieldType) -> ColumnInfo {
    ColumnInfo {
        id: offset as i64 + 1,
        name: Name::new(name),
        offset,
        field_type: ty,
        default: ColumnDefault::None,
        origin_default: None,
        on_update_now: false,
        state: SchemaState::Public,
        comment: String::new(),
    }
}

fn index(id: i64, name: &str, unique: bool, columns: &[(&str, usize)]) -> IndexInfo {
    let part = |(name, offset): &(&str, usize)| IndexColumn { name: Name::new(*name), offset: *offset, length: None };
    IndexInfo {
        id,
        name: Name::new(name),
        columns: columns.iter().map(part).collect(),
        unique,
        primary: false,
        invisible: false,
        state: SchemaState::Public,
        comment: String::new(),
    }
}

fn table(id: i64, name: &str, columns: Vec<ColumnInfo>, indexes: Vec<IndexInfo>) -> Arc<TableInfo> {
    Arc::new(TableInfo {
        id,
        name: Name::new(name),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        columns,
        indexes,
        state: SchemaState::Public,
        pk_is_handle: true,
        comment: String::new(),
        auto_inc_start: 0,
        max_column_id: 0,
        max_index_id: 0,
        revision: 0,
        auto_id_schema_id: 0,
        update_ts: 0,
        policy: None,
        kind: TableKind::Base,
    })
}

/// `orders (id BIGINT PRIMARY KEY, buyer INT, total DECIMAL(12,2), note VARCHAR(50), KEY k_buyer (buyer, total))` and
/// `users (id BIGINT PRIMARY KEY, email VARCHAR(100) NOT NULL, UNIQUE uk (email))`.
fn env() -> Env {
    let key = || FieldType::bigint().with_flags(flags::PRI_KEY | flags::NOT_NULL);
    let orders = table(
        10,
        "orders",
        vec![
            column(0, "id", key()),
            column(1, "buyer", FieldType::new(TypeCode::Long)),
            column(2, "total", FieldType::decimal(12, 2)),
            column(3, "note", FieldType::varchar(50)),
        ],
        vec![index(1, "k_buyer", false, &[("buyer", 1), ("total", 2)])],
    );
    let users = table(
        11,
        "users",
        vec![column(0, "id", key()), column(1, "email", FieldType::varchar(100).with_flags(flags::NOT_NULL))],
        vec![index(1, "uk", true, &[("email", 1)])],
    );
    let info = DatabaseInfo {
        id: 1,
        name: Name::new("shop"),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        state: SchemaState::Public,
        policy: None,
    };
    let schema = Schema::new(1, [Arc::new(Database::new(info, [orders, users]))], []);
    Env { schema: Arc::new(schema), eval: EvalContext::default() }
}

/// The plan as lines of `id | access object | operator info`, node numbers left out.
fn plan(sql: &str) -> String {
    let env = env();
    let piece = parser::split(sql.as_bytes(), LexMode::default()).unwrap().remove(0);
    let Statement::Query(query) = piece.parse(sql.as_bytes()).unwrap().statement else { panic!("{sql}") };
    let mut binder = Binder::new(&env);
    let bound = match binder.bind_query(&query) {
        Ok(bound) => bound,
        Err(e) => return format!("{} {e}", e.code().0),
    };
    let columns = binder.columns;
    let pushable = |e: &Expr| pushdown::can_push(e);
    let rules = Rules { columns: &columns, zone: &TimeZone::UTC, dirty: &|_| false, pushable: &pushable };
    let plan = rules.optimize(bound.plan);
    let lines = render(&plan, &Names { columns: &columns, local: &|_| false });
    let text = |d: &Datum| String::from_utf8(super::convert::text_of(d, None)).unwrap();
    let line = |row: &Vec<Datum>| {
        let id = text(&row[0]);
        let id = id.rsplit_once('_').map_or(id.as_str(), |(id, _)| id).to_owned();
        [id, text(&row[3]), text(&row[4])].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" | ")
    };
    lines.iter().map(line).filter(|l| !l.contains("Projection")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(sql: &str, want: &[&str]) {
    assert_eq!(plan(sql), want.join("\n"), "\n{sql}");
}

#[test]
fn the_handle_is_read_by_points_and_ranges() {
    check("SELECT * FROM orders WHERE id = 7", &["└─Point_Get | table:orders | handle:7"]);
    check(
        "SELECT * FROM orders WHERE id IN (3, 1, 3)",
        &["└─Batch_Point_Get | table:orders | handle:[1 3], keep order:false"],
    );
    check("SELECT * FROM orders WHERE id = 1.5", &["└─TableDual | rows:0"]);
    check("SELECT * FROM orders WHERE id = 1 AND id = 2", &["└─TableDual | rows:0"]);
    check(
        "SELECT * FROM orders WHERE id > 5 AND id <= 9",
        &["└─TableReader", "  └─TableRangeScan | table:orders | range:[6,9], keep order:false"],
    );
}

#[test]
fn index_range_keeps_the_residual_filter() {
    check(
        "SELECT note FROM orders WHERE buyer = 7 AND note = 'x'",
        &[
            "└─Selection | eq(shop.orders.note, \"x\")",
            "  └─IndexLookUp",
            "    ├─IndexRangeScan(Build) | table:orders, index:k_buyer(buyer, total) | range:[7,7], keep order:false",
            "    └─TableRowIDScan(Probe) | table:orders | keep order:false",
        ],
    );
    check(
        "SELECT total FROM orders WHERE buyer = 7 AND total > 10",
        &[
            "└─IndexReader",
            "  └─IndexRangeScan | table:orders, index:k_buyer(buyer, total) | range:(7 10.00,7 +inf], keep order:false",
        ],
    );
    check("SELECT id FROM users WHERE email = 'a@x'", &["└─Point_Get | table:users, index:uk(email)"]);
}

#[test]
fn an_order_that_the_keys_have_replaces_the_sort() {
    check(
        "SELECT * FROM orders ORDER BY id DESC LIMIT 2",
        &[
            "Limit | offset:0, count:2",
            "  └─TableReader",
            "    └─Limit | offset:0, count:2",
            "      └─TableFullScan | table:orders | keep order:true, desc",
        ],
    );
    check(
        "SELECT id FROM orders WHERE buyer = 1 ORDER BY total LIMIT 2",
        &[
            "Limit | offset:0, count:2",
            "  └─IndexReader",
            "    └─Limit | offset:0, count:2",
            "      └─IndexRangeScan | table:orders, index:k_buyer(buyer, total) | range:[1,1], keep order:true",
        ],
    );
}

#[test]
fn a_few_rows_are_joined_by_looking_up_the_others() {
    let got = plan("SELECT o.note FROM users u JOIN orders o ON o.buyer = u.id WHERE u.id = 3");
    assert!(got.contains("Point_Get | table:u") || got.contains("Point_Get"), "{got}");
    assert!(got.contains("Join"), "{got}");
}

#[test]
fn outer_joins_become_inner_where_nulls_are_rejected() {
    let left = plan("SELECT u.email FROM users u LEFT JOIN orders o ON o.id = u.id");
    assert!(left.contains("left outer join"), "{left}");
    let inner = plan("SELECT u.email FROM users u LEFT JOIN orders o ON o.id = u.id WHERE o.total > 1");
    assert!(inner.contains("inner join"), "{inner}");
}

#[test]
fn errors_name_what_is_wrong() {
    check("SELECT nope FROM orders", &["1054 Unknown column 'nope' in 'field list'"]);
    check("SELECT id FROM orders, users", &["1052 Column 'id' in field list is ambiguous"]);
    check("SELECT * FROM nothing", &["1146 Table 'shop.nothing' doesn't exist"]);
    check("SELECT sum(sum(total)) FROM orders", &["1111 Invalid use of group function"]);
    check("SELECT * FROM (SELECT 1)", &["1248 Every derived table must have its own alias"]);
    check("SELECT 1 UNION SELECT 1, 2", &["1222 The used SELECT statements have a different number of columns"]);
    check(
        "SELECT buyer, note FROM orders GROUP BY buyer",
        &[
            "1055 Expression #2 of SELECT list is not in GROUP BY clause and contains nonaggregated column 'shop.orders.note' which is not functionally dependent on columns in GROUP BY clause; this is incompatible with sql_mode=only_full_group_by",
        ],
    );
    // The primary key determines the rest.
    assert!(plan("SELECT id, note FROM orders GROUP BY id").contains("HashAgg"));
}
