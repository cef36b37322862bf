//! What the schema knows.

use std::collections::HashMap;
use std::sync::Arc;

use codec::charset::Charset;
use codec::datum::Datum;
use codec::types::{Collation, FieldType, TypeCode, flags};
use query::context::{EvalContext, TimeZone};
use sql_base::SqlError;
use sql_catalog::{
    AutoIdKind, CheckOption, ColumnDefault, ColumnInfo, IndexInfo, PolicyRef, Schema, TableInfo, TableKind, ViewInfo,
    row,
};
use sql_context::Services;
use sql_planner::view::{Definitions, as_shown};

use statistics::{Distribution, Statistics, TableStatistics};

use super::cluster::time_of;
use super::{Rows, s};
use crate::admin::names::Found;
use crate::cluster::Server;

fn policy_name(policy: &Option<PolicyRef>) -> Datum {
    policy.as_ref().map_or(Datum::Null, |policy| s(policy.name.original.clone()))
}

/// Every table with its database's name, in order.
fn all_tables(schema: &Schema) -> impl Iterator<Item = (&str, &Arc<TableInfo>)> {
    schema.databases().flat_map(|database| database.tables().map(|table| (database.info.name.as_str(), table)))
}

pub(crate) fn schemata(schema: &Schema) -> Rows {
    let row = |info: &sql_catalog::DatabaseInfo| {
        vec![
            s("def"),
            s(info.name.as_str()),
            s(info.charset.as_str()),
            s(info.collate.as_str()),
            Datum::Null,
            policy_name(&info.policy),
        ]
    };
    schema.databases().map(|database| row(&database.info)).collect()
}

/// What the clustered primary key is called in `TIDB_PK_TYPE`.
fn pk_type(table: &TableInfo) -> &'static str {
    if table.is_clustered() { "CLUSTERED" } else { "NONCLUSTERED" }
}

/// Columns of information_schema.tables, and the one that is asked of the counters of each table.
const TABLES_WIDTH: usize = 25;
const TABLES_AUTO_INCREMENT: usize = 13;
/// Columns of information_schema.partitions.
const PARTITIONS_WIDTH: usize = 27;

/// How large a table is thought to be.
struct Size {
    /// Rows.
    rows: u64,
    /// Bytes of a row.
    row_bytes: u64,
    /// Bytes of all index entries.
    index_bytes: u64,
}

/// The size of a table as far as it has been counted and analysed.
fn size(known: &TableStatistics, table: &TableInfo) -> Size {
    let rows = known.meta.rows;
    let bytes = |d: Option<&Distribution>| d.map_or(0.0, Distribution::average_bytes);
    let row: f64 = table.public_columns().map(|c| bytes(known.column(c.id))).sum();
    let entry: f64 = table.indexes_with_entries().filter(|i| i.is_public()).map(|i| bytes(known.index(i.id))).sum();
    Size { rows, row_bytes: row.round() as u64, index_bytes: (entry * rows as f64) as u64 }
}

/// How many different values the first `parts` columns of a key have, as far as it is known: 0 where it is not.
fn cardinality(known: &TableStatistics, key: &Key<'_>, parts: usize) -> i64 {
    let distinct = |d: &Distribution| known.distinct(d);
    let whole = key.index.and_then(|i| known.index(i.id)).map(distinct);
    let columns = key.columns.iter().take(parts).map(|(c, _)| known.column(c.id).map(distinct));
    let product: Option<f64> = columns.product();
    let count = match (whole, product) {
        (Some(whole), _) if parts == key.columns.len() => whole,
        (Some(whole), Some(product)) => product.min(whole),
        (None, Some(product)) => product.min(known.rows()),
        (_, None) => 0.0,
    };
    count.round() as i64
}

/// All tables in their databases.
pub(super) fn listed(schema: &Schema) -> Vec<Found> {
    let tables =
        schema.databases().map(|database| database.tables().map(|table| (Arc::clone(database), Arc::clone(table))));
    tables.flatten().collect()
}

/// The rows of tables, as far as these columns are wanted.
pub(crate) async fn tables(server: &Server, listed: &[Found], columns: &[usize]) -> Result<Rows, SqlError> {
    let known = server.domain()?.statistics().current();
    let counters = columns.contains(&TABLES_AUTO_INCREMENT);
    let mut rows = Vec::new();
    for (database, table) in listed {
        let database = database.info.name.as_str();
        if table.view.is_some() {
            let mut row = vec![Datum::Null; TABLES_WIDTH];
            row[..4].clone_from_slice(&[s("def"), s(database), s(table.name.as_str()), s(table.type_name())]);
            row[14] = time_of(table.update_ts);
            row[20] = s("VIEW");
            row[21] = Datum::Int(table.id);
            rows.push(row);
            continue;
        }
        let base = table.kind == TableKind::Base;
        let auto_increment = if counters && table.auto_increment_column().is_some() {
            let next = server.auto_ids()?.next(table, AutoIdKind::AutoIncrement).await?;
            Datum::UInt(next.unsigned_abs())
        } else {
            Datum::Null
        };
        let number = |value: u64| if base { Datum::UInt(value) } else { Datum::Null };
        let size = size(known.table(table.id), table);
        rows.push(vec![
            s("def"),
            s(database),
            s(table.name.as_str()),
            s(table.type_name()),
            if base { s("InnoDB") } else { Datum::Null },
            Datum::UInt(10),
            s("Compact"),
            number(size.rows),
            number(size.row_bytes),
            number(size.rows * size.row_bytes),
            number(0),
            number(size.index_bytes),
            number(0),
            auto_increment,
            time_of(table.update_ts),
            Datum::Null,
            Datum::Null,
            s(table.collate.as_str()),
            Datum::Null,
            s(if table.partition.is_some() { "partitioned" } else { "" }),
            s(table.comment.as_str()),
            Datum::Int(table.id),
            if base { s("NOT_SHARDED") } else { Datum::Null },
            if base { s(pk_type(table)) } else { Datum::Null },
            policy_name(&table.policy),
        ]);
    }
    Ok(rows)
}

/// Every partition; a table without any has one row.
pub(crate) fn partitions(schema: &Schema, statistics: &Statistics) -> Rows {
    let mut rows = Vec::new();
    for (database, table) in all_tables(schema).filter(|(_, table)| table.is_base()) {
        let head = [s("def"), s(database), s(table.name.as_str())];
        let known = statistics.table(table.id);
        let size = size(known, table);
        let Some(info) = &table.partition else {
            let mut row = vec![Datum::Null; PARTITIONS_WIDTH];
            row[..3].clone_from_slice(&head);
            let sizes = [size.rows, size.row_bytes, size.rows * size.row_bytes, 0, size.index_bytes, 0];
            row[12..18].clone_from_slice(&sizes.map(Datum::UInt));
            row[18] = time_of(table.update_ts);
            row[22] = s("");
            row[26] = policy_name(&table.policy);
            rows.push(row);
            continue;
        };
        for (at, partition) in info.definitions.iter().enumerate() {
            let mut row = vec![Datum::Null; PARTITIONS_WIDTH];
            row[..3].clone_from_slice(&head);
            row[3] = s(partition.name.as_str());
            row[5] = Datum::Int(at as i64 + 1);
            row[7] = s(info.method_name());
            row[9] = s(info.expression_text(table));
            row[11] = partition.description(info.columns.len()).map_or(Datum::Null, s);
            // How its rows are spread is not counted; how large one is, is that of all.
            row[13] = Datum::UInt(size.row_bytes);
            row[18] = time_of(table.update_ts);
            row[22] = s(partition.comment.as_str());
            row[25] = Datum::Int(partition.id);
            row[26] = policy_name(&partition.policy);
            rows.push(row);
        }
    }
    rows
}

/// How a column is part of keys: PRI, UNI, MUL or nothing.
fn column_key(column: &ColumnInfo) -> &'static str {
    let ty = &column.field_type;
    if ty.has(flags::PRI_KEY) {
        "PRI"
    } else if ty.has(flags::UNIQUE_KEY) {
        "UNI"
    } else if ty.has(flags::MULTIPLE_KEY) {
        "MUL"
    } else {
        ""
    }
}

/// `CURRENT_TIMESTAMP` with its digits.
fn now_text(ty: &FieldType) -> String {
    if ty.fsp() > 0 { format!("CURRENT_TIMESTAMP({})", ty.fsp()) } else { "CURRENT_TIMESTAMP".into() }
}

/// The default as it is printed to a reader in this zone.
fn column_default(column: &ColumnInfo, zone: &TimeZone) -> Datum {
    match &column.default {
        ColumnDefault::None | ColumnDefault::Null => Datum::Null,
        ColumnDefault::CurrentTimestamp => s(now_text(&column.field_type)),
        ColumnDefault::Constant(bytes) if column.field_type.tp == TypeCode::Bit => s(bit_text(bytes)),
        ColumnDefault::Constant(_) => row::default_text(column, zone).map_or(Datum::Null, Datum::Bytes),
    }
}

/// DEFINER or INVOKER.
pub(crate) fn security(view: &ViewInfo) -> &'static str {
    if view.invoker { "INVOKER" } else { "DEFINER" }
}

/// `b'101'`.
pub(crate) fn bit_text(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("b'{number:b}'")
}

/// `auto_increment`, `on update CURRENT_TIMESTAMP`, `DEFAULT_GENERATED`.
fn column_extra(column: &ColumnInfo) -> String {
    let mut parts = Vec::new();
    if column.field_type.has(flags::AUTO_INCREMENT) {
        parts.push("auto_increment".to_owned());
    }
    if column.default == ColumnDefault::CurrentTimestamp {
        parts.push("DEFAULT_GENERATED".to_owned());
    }
    if column.on_update_now {
        parts.push(format!("on update {}", now_text(&column.field_type)));
    }
    if let Some(generation) = &column.generated {
        parts.push(if generation.stored { "STORED GENERATED" } else { "VIRTUAL GENERATED" }.to_owned());
    }
    parts.join(" ")
}

/// The type's name alone: `varchar`, `bigint`.
fn data_type(ty: &FieldType) -> String {
    let declaration = ty.declaration();
    let end = declaration.find(['(', ' ']).unwrap_or(declaration.len());
    declaration[..end].to_owned()
}

/// The views as they are now: what each shows, unless it no longer fits its tables, and whether it can be changed.
fn all_views(
    schema: &Arc<Schema>,
) -> impl Iterator<Item = (&str, &Arc<TableInfo>, &ViewInfo, Option<(TableInfo, bool)>)> {
    let eval = EvalContext::default();
    all_tables(schema).filter_map(move |(database, table)| {
        let view = table.view.as_deref()?;
        let env = Definitions { schema, database: None, eval: &eval };
        Some((database, table, view, as_shown(&env, database, table).ok()))
    })
}

pub(super) fn views(schema: &Arc<Schema>) -> Rows {
    let row = |(database, table, view, shown): (&str, &Arc<TableInfo>, &ViewInfo, Option<(TableInfo, bool)>)| {
        vec![
            s("def"),
            s(database),
            s(table.name.as_str()),
            s(view.select.as_str()),
            s(view.check_option.map_or("NONE", CheckOption::as_str)),
            s(if shown.is_some_and(|(_, updatable)| updatable) { "YES" } else { "NO" }),
            s(format!("{}@{}", view.definer.user, view.definer.host)),
            s(security(view)),
            s(view.charset.as_str()),
            s(view.collation.as_str()),
        ]
    };
    all_views(schema).map(row).collect()
}

/// The columns of all tables, and those of views as far as they fit their tables.
pub(super) fn all_columns(schema: &Arc<Schema>, zone: &TimeZone) -> Rows {
    let views: HashMap<i64, TableInfo> =
        all_views(schema).filter_map(|(_, table, _, shown)| Some((table.id, shown?.0))).collect();
    columns(all_tables(schema).map(|(database, table)| (database, views.get(&table.id).unwrap_or(table))), zone)
}

/// The columns of tables, each with its database's name.
pub(crate) fn columns<'a>(of: impl IntoIterator<Item = (&'a str, &'a TableInfo)>, zone: &TimeZone) -> Rows {
    let mut rows = Vec::new();
    for (database, table) in of {
        for (position, column) in (1..).zip(table.public_columns()) {
            let ty = &column.field_type;
            let null = Datum::Null;
            let strings = ty.tp.is_string() || matches!(ty.tp, TypeCode::Enum | TypeCode::Set);
            let (chars, octets) = if strings && ty.flen >= 0 {
                let chars = u64::from(ty.flen.unsigned_abs());
                let per_char = if ty.tp.is_blob() { 1 } else { u64::from(ty.collation.set().bytes_max()) };
                (Datum::UInt(chars), Datum::UInt(chars * per_char))
            } else {
                (null.clone(), null.clone())
            };
            let (precision, scale) = match ty.tp {
                TypeCode::NewDecimal => (
                    Datum::UInt(u64::from(ty.flen.unsigned_abs())),
                    Datum::UInt(u64::from(ty.decimal.max(0).unsigned_abs())),
                ),
                TypeCode::Bit => (Datum::UInt(u64::from(ty.flen.unsigned_abs())), null.clone()),
                tp if tp.is_integer() && tp != TypeCode::Year => {
                    let digits = match (tp, ty.is_unsigned()) {
                        (TypeCode::Tiny, _) => 3,
                        (TypeCode::Short, _) => 5,
                        (TypeCode::Int24, false) => 7,
                        (TypeCode::Int24, true) => 8,
                        (TypeCode::Long, _) => 10,
                        (_, false) => 19,
                        (_, true) => 20,
                    };
                    (Datum::UInt(digits), Datum::UInt(0))
                }
                TypeCode::Float => (Datum::UInt(12), null.clone()),
                TypeCode::Double => (Datum::UInt(22), null.clone()),
                _ => (null.clone(), null.clone()),
            };
            let fsp = match ty.tp {
                TypeCode::DateTime | TypeCode::Timestamp | TypeCode::Duration => Datum::UInt(ty.fsp().into()),
                _ => null.clone(),
            };
            let (charset, collation) = if ty.is_text() {
                (s(ty.collation.charset()), s(ty.collation.name()))
            } else {
                (null.clone(), null.clone())
            };
            rows.push(vec![
                s("def"),
                s(database),
                s(table.name.as_str()),
                s(column.name.as_str()),
                Datum::Int(position),
                column_default(column, zone),
                s(if ty.is_not_null() { "NO" } else { "YES" }),
                s(data_type(ty)),
                chars,
                octets,
                precision,
                scale,
                fsp,
                charset,
                collation,
                s(ty.declaration()),
                s(column_key(column)),
                s(column_extra(column)),
                s("select,insert,update,references"),
                s(column.comment.as_str()),
                s(column.generated.as_ref().map_or("", |generation| generation.expr.as_str())),
                null,
            ]);
        }
    }
    rows
}

/// A key of a table as SHOW INDEX lists it: the primary key that rows are kept by is one, too.
pub(crate) struct Key<'a> {
    /// `PRIMARY` or the index's name.
    pub(crate) name: &'a str,
    /// Refuses duplicates.
    pub(crate) unique: bool,
    /// Rows are kept by it.
    pub(crate) clustered: bool,
    /// The index, `None` for the number that rows are kept by.
    pub(crate) index: Option<&'a IndexInfo>,
    /// Columns and prefix lengths.
    pub(crate) columns: Vec<(&'a ColumnInfo, Option<u32>)>,
}

/// The keys of a table, the primary key first.
pub(crate) fn keys(table: &TableInfo) -> Vec<Key<'_>> {
    let mut keys = Vec::new();
    if let Some(column) = table.handle_column() {
        keys.push(Key { name: "PRIMARY", unique: true, clustered: true, index: None, columns: vec![(column, None)] });
    }
    let mut indexes: Vec<_> = table.public_indexes().collect();
    indexes.sort_by_key(|index| !index.primary);
    for index in indexes {
        let columns = index.columns.iter().filter_map(|part| Some((table.columns.get(part.offset)?, part.length)));
        keys.push(Key {
            name: index.name.as_str(),
            unique: index.unique,
            clustered: table.is_clustered_by(index),
            index: Some(index),
            columns: columns.collect(),
        });
    }
    keys
}

/// A part of a key, as SHOW INDEX and `STATISTICS` tell of it.
pub(crate) struct KeyPart {
    /// What both tell, from `TABLE_NAME` to `EXPRESSION`, but for the database's name between.
    told: Vec<Datum>,
    clustered: bool,
}

impl KeyPart {
    /// A row of SHOW INDEX.
    pub(crate) fn shown(mut self) -> Vec<Datum> {
        self.told.push(s(if self.clustered { "YES" } else { "NO" }));
        self.told
    }

    /// A row of `STATISTICS`.
    fn of_database(self, database: &str) -> Vec<Datum> {
        let mut row = vec![s("def"), s(database)];
        row.extend(self.told);
        row.insert(STATISTICS_INDEX_SCHEMA, s(database));
        row
    }
}

/// Where `STATISTICS` says the database of an index.
const STATISTICS_INDEX_SCHEMA: usize = 4;

/// The parts of all keys of a table.
pub(crate) fn key_parts(table: &TableInfo, known: &TableStatistics) -> Vec<KeyPart> {
    let mut parts = Vec::new();
    for key in keys(table) {
        for (number, (column, prefix)) in (1..).zip(&key.columns) {
            let told = vec![
                s(table.name.as_str()),
                Datum::Int((!key.unique).into()),
                s(key.name),
                Datum::Int(number),
                s(column.name.as_str()),
                s("A"),
                Datum::Int(cardinality(known, &key, number as usize)),
                prefix.map_or(Datum::Null, |length| Datum::Int(length.into())),
                Datum::Null,
                s(if column.field_type.is_not_null() { "" } else { "YES" }),
                s("BTREE"),
                s(""),
                s(key.index.map_or("", |index| index.comment.as_str())),
                s(if key.index.is_some_and(|index| index.invisible) { "NO" } else { "YES" }),
                Datum::Null,
            ];
            parts.push(KeyPart { told, clustered: key.clustered });
        }
    }
    parts
}

pub(super) fn statistics(schema: &Schema, known: &Statistics) -> Rows {
    let parts = all_tables(schema).flat_map(|(database, table)| {
        key_parts(table, known.table(table.id)).into_iter().map(move |part| part.of_database(database))
    });
    parts.collect()
}

pub(super) fn tidb_indexes(schema: &Schema) -> Rows {
    let mut rows = Vec::new();
    for (database, table) in all_tables(schema) {
        for key in keys(table) {
            for (number, (column, prefix)) in (1..).zip(&key.columns) {
                rows.push(vec![
                    s(database),
                    s(table.name.as_str()),
                    Datum::Int((!key.unique).into()),
                    s(key.name),
                    Datum::Int(number),
                    s(column.name.as_str()),
                    prefix.map_or(Datum::Null, |length| Datum::Int(length.into())),
                    s(key.index.map_or("", |index| index.comment.as_str())),
                    Datum::Null,
                    Datum::Int(key.index.map_or(0, |index| index.id)),
                    s(if key.index.is_some_and(|index| index.invisible) { "NO" } else { "YES" }),
                    s(if key.clustered { "YES" } else { "NO" }),
                ]);
            }
        }
    }
    rows
}

pub(super) fn key_column_usage(schema: &Schema) -> Rows {
    let mut rows = Vec::new();
    for (database, table) in all_tables(schema) {
        for key in keys(table).into_iter().filter(|key| key.unique) {
            for (number, (column, _)) in (1..).zip(&key.columns) {
                rows.push(vec![
                    s("def"),
                    s(database),
                    s(key.name),
                    s("def"),
                    s(database),
                    s(table.name.as_str()),
                    s(column.name.as_str()),
                    Datum::Int(number),
                    Datum::Null,
                    Datum::Null,
                    Datum::Null,
                    Datum::Null,
                ]);
            }
        }
    }
    rows
}

pub(super) fn table_constraints(schema: &Schema) -> Rows {
    let mut rows = Vec::new();
    for (database, table) in all_tables(schema) {
        for key in keys(table).into_iter().filter(|key| key.unique) {
            rows.push(vec![
                s("def"),
                s(database),
                s(key.name),
                s(database),
                s(table.name.as_str()),
                s(if key.name == "PRIMARY" { "PRIMARY KEY" } else { "UNIQUE" }),
                s("YES"),
            ]);
        }
        for check in table.public_checks() {
            rows.push(vec![
                s("def"),
                s(database),
                s(check.name.as_str()),
                s(database),
                s(table.name.as_str()),
                s("CHECK"),
                s(if check.enforced { "YES" } else { "NO" }),
            ]);
        }
    }
    rows
}

pub(super) fn check_constraints(schema: &Schema) -> Rows {
    let of_table = |(database, table): (&str, &Arc<TableInfo>)| {
        let row = |check: &sql_catalog::CheckInfo| {
            vec![s("def"), s(database), s(check.name.as_str()), s(check.expr.as_str())]
        };
        table.public_checks().map(row).collect::<Vec<_>>()
    };
    all_tables(schema).flat_map(of_table).collect()
}

pub(crate) fn engines() -> Rows {
    let comment = "Supports transactions, row-level locking, and placement over regions";
    vec![vec![s("InnoDB"), s("DEFAULT"), s(comment), s("YES"), s("NO"), s("YES")]]
}

pub(crate) fn character_sets() -> Rows {
    let row = |set: Charset| {
        let default = Collation::default_of_charset(set.name())?;
        Some(vec![s(set.name()), s(default.name()), s(set.description()), Datum::Int(set.bytes_max().into())])
    };
    Charset::ALL.into_iter().filter_map(row).collect()
}

pub(crate) fn collations() -> Rows {
    let row = |collation: Collation| {
        let default = Collation::default_of_charset(collation.charset()) == Some(collation);
        let pads = !collation.name().contains("0900") && collation != Collation::BINARY;
        vec![
            s(collation.name()),
            s(collation.charset()),
            Datum::Int(collation.id().into()),
            s(if default { "Yes" } else { "" }),
            s("Yes"),
            Datum::Int(1),
            s(if pads { "PAD SPACE" } else { "NO PAD" }),
        ]
    };
    Collation::all().map(row).collect()
}

pub(super) fn collation_character_sets() -> Rows {
    Collation::all().map(|collation| vec![s(collation.name()), s(collation.charset())]).collect()
}

pub(super) fn placement_policies(schema: &Schema) -> Rows {
    let row = |policy: &Arc<sql_catalog::PolicyInfo>| {
        let settings = &policy.settings;
        let followers = if settings.followers == 0 { 2 } else { settings.followers };
        vec![
            Datum::Int(policy.id),
            s("def"),
            s(policy.name.as_str()),
            s(settings.primary_region.as_str()),
            s(settings.regions.as_str()),
            s(settings.constraints.as_str()),
            s(settings.leader_constraints.as_str()),
            s(settings.follower_constraints.as_str()),
            s(settings.learner_constraints.as_str()),
            s(settings.schedule.as_str()),
            Datum::Int(followers as i64),
            Datum::Int(settings.learners as i64),
            s(settings.survival_preferences.as_str()),
        ]
    };
    schema.policies().map(row).collect()
}

/// There is one user, who may do everything.
pub(super) fn user_privileges(table: &str) -> Rows {
    if table != "user_privileges" {
        return Vec::new();
    }
    let privileges = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "PROCESS", "SUPER"];
    privileges.into_iter().map(|privilege| vec![s("'root'@'%'"), s("def"), s(privilege), s("YES")]).collect()
}
