//! Definitions as statements that make them again.

use codec::types::{Collation, TypeCode, flags};
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::partition::Method;
use sql_catalog::{
    ColumnDefault, ColumnInfo, DatabaseInfo, Partition, PartitionInfo, PolicyInfo, PolicyRef, TableInfo, TableKind,
    ViewInfo, row,
};
use sql_ddl::placement::settings;
use sql_parser::canonical::{AsWritten, query_text, quoted};
use sql_parser::parse_query;

use crate::admin::infoschema;

/// A string in quotes.
fn literal(text: &str) -> String {
    format!(
        "'{}'",
        text.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n").replace('\r', "\\r").replace('\0', "\\0")
    )
}

/// The comment that a policy is attached by: other servers than ours and TiDB skip it.
fn placement(policy: &Option<PolicyRef>) -> String {
    match policy {
        Some(policy) => format!(" /*T![placement] PLACEMENT POLICY={} */", quoted(policy.name.as_str())),
        None => String::new(),
    }
}

/// CREATE DATABASE.
pub(crate) fn create_database(info: &DatabaseInfo, if_not_exists: bool) -> String {
    let exists = if if_not_exists { "/*!32312 IF NOT EXISTS*/ " } else { "" };
    let collate = match Collation::default_of_charset(&info.charset) {
        Some(default) if default.name() == info.collate => String::new(),
        _ => format!(" COLLATE {}", info.collate),
    };
    format!(
        "CREATE DATABASE {exists}{} /*!40100 DEFAULT CHARACTER SET {}{collate} */{}",
        quoted(info.name.as_str()),
        info.charset,
        placement(&info.policy)
    )
}

/// CREATE PLACEMENT POLICY.
pub(crate) fn create_policy(policy: &PolicyInfo) -> String {
    format!("CREATE PLACEMENT POLICY {} {}", quoted(policy.name.as_str()), settings::render(&policy.settings))
}

/// CREATE VIEW. Where the current database is the view's, its name goes without, and so do those of tables unless `whole` is
/// said, as MySQL does where some are of another database.
pub(crate) fn create_view(
    database: &str,
    name: &str,
    view: &ViewInfo,
    current: Option<&str>,
    whole: bool,
) -> Result<String, SqlError> {
    let hidden = current.filter(|current| current.eq_ignore_ascii_case(database));
    let select = match hidden {
        Some(_) if !whole => query_text(&*parse_query(&view.select)?, &AsWritten, None, hidden)?,
        _ => view.select.clone(),
    };
    let whole = match hidden {
        Some(_) => quoted(name),
        None => format!("{}.{}", quoted(database), quoted(name)),
    };
    let columns: Vec<_> = view.columns.iter().map(|column| quoted(column.as_str())).collect();
    Ok(format!(
        "CREATE ALGORITHM={} DEFINER={}@{} SQL SECURITY {} VIEW {whole}{} AS {select}{}",
        view.algorithm.as_str(),
        quoted(&view.definer.user),
        quoted(&view.definer.host),
        infoschema::security(view),
        if view.columns_given { format!(" ({})", columns.join(",")) } else { String::new() },
        view.check_option.map_or(String::new(), |check| format!(" WITH {} CHECK OPTION", check.as_str())),
    ))
}

/// CREATE TABLE. `next` is what AUTO_INCREMENT gives next, told once it is not the first; `zone` is the reader's.
pub(crate) fn create_table(table: &TableInfo, next: Option<i64>, zone: &TimeZone) -> String {
    let mut lines: Vec<String> = table.public_columns().map(|column| column_line(table, column, zone)).collect();
    for key in infoschema::keys(table) {
        let columns: Vec<_> = key
            .columns
            .iter()
            .map(|(column, prefix)| match prefix {
                Some(length) => format!("{}({length})", quoted(column.name.as_str())),
                None => quoted(column.name.as_str()),
            })
            .collect();
        let columns = columns.join(",");
        let mut line = match (key.name, key.unique) {
            ("PRIMARY", _) => format!("  PRIMARY KEY ({columns})"),
            (name, true) => format!("  UNIQUE KEY {} ({columns})", quoted(name)),
            (name, false) => format!("  KEY {} ({columns})", quoted(name)),
        };
        if key.name == "PRIMARY" {
            let kind = if key.clustered { "CLUSTERED" } else { "NONCLUSTERED" };
            line.push_str(&format!(" /*T![clustered_index] {kind} */"));
        }
        if let Some(index) = key.index {
            if index.invisible {
                line.push_str(" /*!80000 INVISIBLE */");
            }
            if !index.comment.is_empty() {
                line.push_str(&format!(" COMMENT {}", literal(&index.comment)));
            }
        }
        lines.push(line);
    }
    lines.extend(table.public_checks().map(|check| {
        let enforced = if check.enforced { "" } else { " /*!80016 NOT ENFORCED */" };
        format!("  CONSTRAINT {} CHECK ({}){enforced}", quoted(check.name.as_str()), check.expr)
    }));
    let temporary = if table.kind == TableKind::Temporary { "TEMPORARY " } else { "" };
    let mut text =
        format!("CREATE {temporary}TABLE {} (\n{}\n) ENGINE=InnoDB", quoted(table.name.as_str()), lines.join(",\n"));
    text.push_str(&format!(" DEFAULT CHARSET={} COLLATE={}", table.charset, table.collate));
    if let Some(next) = next.filter(|next| *next > 1) {
        text.push_str(&format!(" AUTO_INCREMENT={next}"));
    }
    if table.auto_id_cache != 0 {
        text.push_str(&format!(" /*T![auto_id_cache] AUTO_ID_CACHE={} */", table.auto_id_cache));
    }
    if !table.comment.is_empty() {
        text.push_str(&format!(" COMMENT={}", literal(&table.comment)));
    }
    text.push_str(&placement(&table.policy));
    if let Some(info) = &table.partition {
        text.push_str(&partitions(table, info));
    }
    text
}

/// `PARTITION BY …` as TiDB writes it.
fn partitions(table: &TableInfo, info: &PartitionInfo) -> String {
    // A list of columns follows its word.
    let blank = if info.method_name().ends_with("COLUMNS") { "" } else { " " };
    let mut text = format!("\nPARTITION BY {}{blank}({})", info.method_name(), info.expression_text(table));
    let hashed = matches!(info.method, Method::Hash | Method::Key);
    let plain = |(at, p): (usize, &Partition)| {
        p.name.as_str() == format!("p{at}") && p.comment.is_empty() && p.policy.is_none()
    };
    if hashed && info.definitions.iter().enumerate().all(plain) {
        text.push_str(&format!(" PARTITIONS {}", info.definitions.len()));
        return text;
    }
    let width = info.columns.len();
    let line = |p: &Partition| {
        let values = p.values_text(width).map_or(String::new(), |values| format!(" VALUES {values}"));
        let comment = match p.comment.is_empty() {
            true => String::new(),
            false => format!(" COMMENT {}", literal(&p.comment)),
        };
        format!("PARTITION {}{values}{comment}{}", quoted(p.name.as_str()), placement(&p.policy))
    };
    let lines: Vec<String> = info.definitions.iter().map(line).collect();
    format!("{text}\n({})", lines.join(",\n "))
}

fn column_line(table: &TableInfo, column: &ColumnInfo, zone: &TimeZone) -> String {
    let ty = &column.field_type;
    let mut line = format!("  {} {}", quoted(column.name.as_str()), ty.declaration());
    if ty.is_text() && ty.collation.name() != table.collate {
        if ty.collation.charset() != table.charset {
            line.push_str(&format!(" CHARACTER SET {}", ty.collation.charset()));
        }
        line.push_str(&format!(" COLLATE {}", ty.collation.name()));
    }
    if let Some(generation) = &column.generated {
        let kind = if generation.stored { "STORED" } else { "VIRTUAL" };
        line.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", generation.expr));
    }
    if ty.is_not_null() {
        line.push_str(" NOT NULL");
    } else if ty.tp == TypeCode::Timestamp {
        line.push_str(" NULL");
    }
    let now = if ty.fsp() > 0 { format!("CURRENT_TIMESTAMP({})", ty.fsp()) } else { "CURRENT_TIMESTAMP".into() };
    match &column.default {
        _ if ty.has(flags::AUTO_INCREMENT) || column.is_generated() => {}
        ColumnDefault::None if ty.is_not_null() || ty.has(flags::NO_DEFAULT_VALUE) => {}
        ColumnDefault::None | ColumnDefault::Null if ty.tp.is_blob() || ty.tp == TypeCode::Json => {}
        ColumnDefault::None | ColumnDefault::Null => line.push_str(" DEFAULT NULL"),
        ColumnDefault::CurrentTimestamp => line.push_str(&format!(" DEFAULT {now}")),
        ColumnDefault::Constant(bytes) if ty.tp == TypeCode::Bit => {
            line.push_str(&format!(" DEFAULT {}", infoschema::bit_text(bytes)));
        }
        ColumnDefault::Constant(_) => match String::from_utf8(row::default_text(column, zone).unwrap_or_default()) {
            Ok(text) => line.push_str(&format!(" DEFAULT {}", literal(&text))),
            Err(bytes) => line.push_str(&format!(" DEFAULT 0x{}", sql_base::hex(bytes.as_bytes()))),
        },
    }
    if column.on_update_now {
        line.push_str(&format!(" ON UPDATE {now}"));
    }
    if ty.has(flags::AUTO_INCREMENT) {
        line.push_str(" AUTO_INCREMENT");
    }
    if !column.comment.is_empty() {
        line.push_str(&format!(" COMMENT {}", literal(&column.comment)));
    }
    line
}
