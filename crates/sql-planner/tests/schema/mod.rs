//! The tables of the plan goldens:
//!
//! ```sql
//! CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, c VARCHAR(20), d DATETIME, e DECIMAL(10,2), KEY ab (a, b), UNIQUE c (c));
//! CREATE TABLE u (id BIGINT PRIMARY KEY, t_id INT, v INT NOT NULL, w VARCHAR(20), KEY t_id (t_id), UNIQUE vw (v, w));
//! CREATE TABLE p (a INT, b INT, s VARCHAR(50), n INT, PRIMARY KEY (a, b) NONCLUSTERED, KEY s (s(4)));
//! CREATE TABLE k (s VARCHAR(20) COLLATE utf8mb4_general_ci, a INT, v INT, w VARCHAR(20), n INT, PRIMARY KEY (s, a) CLUSTERED,
//!                 KEY v (v), UNIQUE w (w));
//! CREATE TABLE g (id BIGINT UNSIGNED PRIMARY KEY, ts TIMESTAMP, y YEAR, j JSON, f DOUBLE, ci VARCHAR(10) COLLATE utf8mb4_general_ci,
//!                 KEY ts (ts), KEY ci (ci), KEY f (f));
//! CREATE TABLE n (x INT, y INT);
//! CREATE TABLE f (id INT PRIMARY KEY, a INT, b INT AS (a + 1) STORED, m TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
//!                 CONSTRAINT small CHECK (b < 10), CONSTRAINT never CHECK (a <> 0) NOT ENFORCED);
//! ```

use std::sync::Arc;

use codec::types::{Collation, FieldType, TypeCode, flags};
use sql_catalog::{
    CheckInfo, ColumnInfo, Database, DatabaseInfo, Generation, IndexColumn, IndexInfo, Name, Schema, SchemaState,
    TableInfo,
};

/// Name, whether it is unique, columns with the length that it keeps of them.
type Index<'a> = (&'a str, bool, &'a [(&'a str, Option<u32>)]);

fn table(id: i64, name: &str, columns: &[(&str, FieldType)], indexes: &[Index<'_>]) -> Arc<TableInfo> {
    let columns: Vec<ColumnInfo> = columns
        .iter()
        .enumerate()
        .map(|(offset, (name, field_type))| ColumnInfo::new(offset, *name, field_type.clone()))
        .collect();
    let offset_of = |name: &str| columns.iter().position(|c| c.name.matches(name)).expect("a column");
    let indexes: Vec<IndexInfo> = indexes
        .iter()
        .enumerate()
        .map(|(at, (name, unique, parts))| IndexInfo {
            id: at as i64 + 1,
            name: Name::new(*name),
            columns: parts
                .iter()
                .map(|(name, length)| IndexColumn { name: Name::new(*name), offset: offset_of(name), length: *length })
                .collect(),
            unique: *unique,
            primary: *name == "PRIMARY",
            invisible: false,
            state: SchemaState::Public,
            comment: String::new(),
        })
        .collect();
    Arc::new(TableInfo {
        pk_is_handle: columns.iter().any(|c| c.field_type.has(flags::PRI_KEY)),
        max_index_id: indexes.len() as i64,
        indexes,
        ..TableInfo::new(id, name, columns)
    })
}

/// Database `d` with the tables above.
pub(crate) fn schema() -> Arc<Schema> {
    let int = || FieldType::new(TypeCode::Long);
    let key = |ty: FieldType| ty.with_flags(flags::NOT_NULL | flags::PRI_KEY);
    let not_null = |ty: FieldType| ty.with_flags(flags::NOT_NULL);
    let text = |n| FieldType::varchar(n).with_collation(Collation::UTF8MB4_BIN);
    let t = table(
        10,
        "t",
        &[
            ("id", key(int())),
            ("a", int()),
            ("b", int()),
            ("c", text(20)),
            ("d", FieldType::datetime(0)),
            ("e", FieldType::decimal(10, 2)),
        ],
        &[("ab", false, &[("a", None), ("b", None)]), ("c", true, &[("c", None)])],
    );
    let u = table(
        11,
        "u",
        &[("id", key(FieldType::bigint())), ("t_id", int()), ("v", not_null(int())), ("w", text(20))],
        &[("t_id", false, &[("t_id", None)]), ("vw", true, &[("v", None), ("w", None)])],
    );
    let p = table(
        12,
        "p",
        &[("a", not_null(int())), ("b", not_null(int())), ("s", text(50)), ("n", int())],
        &[("PRIMARY", true, &[("a", None), ("b", None)]), ("s", false, &[("s", Some(4))])],
    );
    let g = table(
        13,
        "g",
        &[
            ("id", key(FieldType::bigint_unsigned())),
            ("ts", FieldType::new(TypeCode::Timestamp)),
            ("y", FieldType::new(TypeCode::Year)),
            ("j", FieldType::new(TypeCode::Json)),
            ("f", FieldType::double()),
            ("ci", FieldType::varchar(10).with_collation(Collation::UTF8MB4_GENERAL_CI)),
        ],
        &[("ts", false, &[("ts", None)]), ("ci", false, &[("ci", None)]), ("f", false, &[("f", None)])],
    );
    let ci = FieldType::varchar(20).with_collation(Collation::UTF8MB4_GENERAL_CI);
    let k = TableInfo {
        is_common_handle: true,
        ..TableInfo::clone(&table(
            15,
            "k",
            &[("s", not_null(ci)), ("a", not_null(int())), ("v", int()), ("w", text(20)), ("n", int())],
            &[
                ("PRIMARY", true, &[("s", None), ("a", None)]),
                ("v", false, &[("v", None)]),
                ("w", true, &[("w", None)]),
            ],
        ))
    };
    let n = table(14, "n", &[("x", int()), ("y", int())], &[]);
    let mut f = TableInfo::clone(&table(
        16,
        "f",
        &[("id", key(int())), ("a", int()), ("b", int()), ("m", FieldType::new(TypeCode::Timestamp))],
        &[],
    ));
    let (expr, columns) = ("(`a` + 1)".to_owned(), vec![Name::new("a")]);
    f.columns[2].generated = Some(Box::new(Generation { expr, stored: true, columns, zone: String::new() }));
    f.columns[3].on_update_now = true;
    let checks = [("small", "b", "(`b` < 10)", true), ("never", "a", "(`a` <> 0)", false)];
    f.checks = (1..)
        .zip(checks)
        .map(|(id, (name, column, expr, enforced))| CheckInfo {
            id,
            name: Name::new(name),
            columns: vec![Name::new(column)],
            enforced,
            pending: false,
            expr: expr.to_owned(),
            state: SchemaState::Public,
        })
        .collect();
    let info = DatabaseInfo {
        id: 1,
        name: Name::new("d"),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        state: SchemaState::Public,
        policy: None,
    };
    Arc::new(Schema::new(1, [Arc::new(Database::new(info, [t, u, p, g, n, Arc::new(k), Arc::new(f)]))], []))
}
