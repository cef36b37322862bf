//! From a definition as written to catalogue objects, with everything checked that does not need the storage.
//!
//! The checks and their order are MySQL's as far as a client can see them: the first thing wrong, in the order of the
//! definition, gives the error.

use codec::charset::Charset;
use codec::types::{Collation, FieldType, TypeCode, UNSPECIFIED_LENGTH, flags};
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::{
    CheckInfo, ColumnDefault, ColumnInfo, IndexColumn, IndexInfo, Name, SchemaState, TableInfo, TableKind,
    is_virtual_database,
};
use sql_context::vars::ClusteredIndex;
use sql_parser::{
    Clustered, ColumnDef, ColumnType, CreateTable, IndexDef, IndexKind, IndexPart, IndexTarget, TableOptions, TypeKind,
};

use super::default::{column_default, zero_value};

/// Characters in a name.
const NAME_CHARS_MAX: usize = 64;
/// Columns of a table, as in TiDB.
const COLUMNS_MAX: usize = 1017;
/// Indexes of a table.
const INDEXES_MAX: usize = 64;
/// Columns of an index.
const INDEX_COLUMNS_MAX: usize = 16;
/// Bytes of an index key.
const KEY_BYTES_MAX: u32 = 3072;
/// Characters of a comment on a table, and on a column or index.
const COMMENT_CHARS_MAX: usize = 2048;

/// What virtual generated columns cannot be.
const VIRTUAL_PRIMARY: &str = "Defining a virtual generated column as primary key";

/// What every primary key's index is called.
pub(super) const PRIMARY: &str = "PRIMARY";

/// Refuses names that no database may have.
pub(super) fn check_database_name(name: &str) -> Result<(), SqlError> {
    if name.is_empty() || name.ends_with(' ') || name.contains('\0') {
        return Err(SqlError::WrongDatabaseName(name.to_owned()));
    }
    check_length(name)
}

/// Refuses names that no table may have.
pub(super) fn check_table_name(name: &str) -> Result<(), SqlError> {
    if name.is_empty() || name.ends_with(' ') || name.contains('\0') {
        return Err(SqlError::WrongTableName(name.to_owned()));
    }
    check_length(name)
}

pub(super) fn check_column_name(name: &str) -> Result<(), SqlError> {
    // `_tidb_rowid` is the hidden row number: a column of that name would hide it.
    if name.is_empty() || name.ends_with(' ') || name.eq_ignore_ascii_case("_tidb_rowid") {
        return Err(SqlError::WrongColumnName(name.to_owned()));
    }
    check_length(name)
}

/// Refuses names over the limit.
pub(super) fn check_length(name: &str) -> Result<(), SqlError> {
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(SqlError::IdentifierTooLong(name.to_owned()));
    }
    Ok(())
}

/// Refuses comments over the limit.
pub(super) fn check_comment(what: &str, comment: &str) -> Result<(), SqlError> {
    if comment.chars().count() > COMMENT_CHARS_MAX {
        return Err(SqlError::TooLongComment { what: what.to_owned(), max: COMMENT_CHARS_MAX as u64 });
    }
    Ok(())
}

/// Refuses changes in databases that the server computes.
pub(super) fn check_writable(database: &str) -> Result<(), SqlError> {
    if is_virtual_database(database) {
        return Err(SqlError::DatabaseAccessDenied {
            user: "root".into(),
            host: "%".into(),
            database: database.to_lowercase(),
        });
    }
    Ok(())
}

/// The collation that a character set and a collation clause name, either or both missing.
pub(super) fn resolve_collation(
    charset: Option<&str>,
    collate: Option<&str>,
    inherited: Collation,
) -> Result<Collation, SqlError> {
    let of_charset = charset
        .map(|name| Collation::default_of_charset(name).ok_or_else(|| SqlError::UnknownCharacterSet(name.to_owned())))
        .transpose()?;
    let Some(name) = collate else { return Ok(of_charset.unwrap_or(inherited)) };
    let collation = Collation::from_name(name).ok_or_else(|| SqlError::UnknownCollation(name.to_owned()))?;
    if let Some(of_charset) = of_charset
        && of_charset.charset() != collation.charset()
    {
        return Err(SqlError::CollationCharsetMismatch {
            collation: collation.name().to_owned(),
            charset: of_charset.charset().to_owned(),
        });
    }
    Ok(collation)
}

/// The type that a column definition names, with the flags that the type itself brings.
pub(super) fn field_type(column: &str, ty: &ColumnType, table: Collation) -> Result<FieldType, SqlError> {
    use TypeKind as K;
    let (code, binary) = match ty.kind {
        K::TinyInt => (TypeCode::Tiny, true),
        K::SmallInt => (TypeCode::Short, true),
        K::MediumInt => (TypeCode::Int24, true),
        K::Int => (TypeCode::Long, true),
        K::BigInt => (TypeCode::LongLong, true),
        K::Float => match (ty.length, ty.decimals) {
            (Some(25..=53), None) => (TypeCode::Double, true),
            (Some(54..), None) => return Err(SqlError::WrongColumnSpecifier(column.to_owned())),
            _ => (TypeCode::Float, true),
        },
        K::Double => (TypeCode::Double, true),
        K::Decimal => (TypeCode::NewDecimal, true),
        K::Bit => (TypeCode::Bit, true),
        K::Date => (TypeCode::Date, true),
        K::DateTime => (TypeCode::DateTime, true),
        K::Timestamp => (TypeCode::Timestamp, true),
        K::Time => (TypeCode::Duration, true),
        K::Year => (TypeCode::Year, true),
        K::Char => (TypeCode::String, false),
        K::VarChar => (TypeCode::Varchar, false),
        K::Binary => (TypeCode::String, true),
        K::VarBinary => (TypeCode::Varchar, true),
        K::TinyText => (TypeCode::TinyBlob, false),
        K::Text => (TypeCode::Blob, false),
        K::MediumText => (TypeCode::MediumBlob, false),
        K::LongText => (TypeCode::LongBlob, false),
        K::TinyBlob => (TypeCode::TinyBlob, true),
        K::Blob => (TypeCode::Blob, true),
        K::MediumBlob => (TypeCode::MediumBlob, true),
        K::LongBlob => (TypeCode::LongBlob, true),
        K::Enum => (TypeCode::Enum, false),
        K::Set => (TypeCode::Set, false),
        K::Json => (TypeCode::Json, true),
    };
    let mut field = FieldType::new(code);
    field.collation = if binary {
        Collation::BINARY
    } else {
        let collation = resolve_collation(ty.charset.as_deref(), ty.collate.as_deref(), table)?;
        if ty.binary && ty.collate.is_none() {
            Collation::from_name(&format!("{}_bin", collation.charset())).unwrap_or(collation)
        } else {
            collation
        }
    };
    if ty.unsigned && code.is_numeric() {
        field.flags |= flags::UNSIGNED;
    }
    if ty.zerofill && code.is_numeric() {
        field.flags |= flags::ZEROFILL | flags::UNSIGNED;
    }
    if code.is_blob() {
        field.flags |= flags::BLOB;
    }
    if code.is_string() && field.collation == Collation::BINARY {
        field.flags |= flags::BINARY;
    }
    match code {
        TypeCode::Enum => field.flags |= flags::ENUM,
        TypeCode::Set => field.flags |= flags::SET,
        TypeCode::Timestamp => field.flags |= flags::TIMESTAMP,
        TypeCode::Year | TypeCode::Bit => field.flags |= flags::UNSIGNED,
        _ => {}
    }
    set_lengths(column, ty, &mut field)?;
    Ok(field)
}

fn set_lengths(column: &str, ty: &ColumnType, field: &mut FieldType) -> Result<(), SqlError> {
    use TypeCode as T;
    let too_big = |max: u32| SqlError::TooBigFieldLength { column: column.to_owned(), max };
    let as_flen = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
    let (default_flen, _) = codec::types::default_length(field.tp, field.is_unsigned());
    match field.tp {
        T::Tiny | T::Short | T::Int24 | T::Long | T::LongLong => {
            field.flen = default_flen;
            match ty.length {
                Some(256..) => return Err(SqlError::TooBigDisplayWidth { column: column.to_owned(), max: 255 }),
                // Display widths mean nothing but for TINYINT(1), a truth value to many clients, and for padding.
                Some(length) if length > 0 && (ty.zerofill || (field.tp == T::Tiny && length == 1)) => {
                    field.flen = as_flen(length);
                }
                _ => {}
            }
        }
        T::Float | T::Double => {
            if let Some(decimals) = ty.decimals {
                let length = ty.length.unwrap_or(0);
                check_decimals(column, length, 255, decimals)?;
                (field.flen, field.decimal) = (as_flen(length), as_flen(decimals));
            }
        }
        T::NewDecimal => {
            let precision = ty.length.filter(|length| *length > 0).unwrap_or(10);
            let scale = ty.decimals.unwrap_or(0);
            check_decimals(column, precision, 65, scale)?;
            (field.flen, field.decimal) = (as_flen(precision), as_flen(scale));
        }
        T::Bit => {
            let bits = ty.length.unwrap_or(1);
            if bits > 64 {
                return Err(SqlError::TooBigDisplayWidth { column: column.to_owned(), max: 64 });
            }
            if bits == 0 {
                return Err(SqlError::WrongColumnSpecifier(column.to_owned()));
            }
            field.flen = as_flen(bits);
        }
        T::DateTime | T::Timestamp | T::Duration => {
            let fsp = ty.length.unwrap_or(0);
            if fsp > 6 {
                return Err(SqlError::TooBigPrecision { column: column.to_owned(), precision: fsp, max: 6 });
            }
            field.decimal = as_flen(fsp);
            field.flen = default_flen + if fsp > 0 { 1 + as_flen(fsp) } else { 0 };
        }
        T::String => {
            let length = ty.length.unwrap_or(1);
            if length > 255 {
                return Err(too_big(255));
            }
            (field.flen, field.decimal) = (as_flen(length), 0);
        }
        T::Varchar => {
            let length = ty.length.ok_or_else(|| SqlError::Syntax { near: column.to_owned(), line: 1 })?;
            let max = 65_535 / field.collation.set().bytes_max();
            if length > max {
                return Err(too_big(max));
            }
            (field.flen, field.decimal) = (as_flen(length), 0);
        }
        T::Blob => {
            // TEXT(n) and BLOB(n) are the smallest type that holds n characters.
            if let Some(length) = ty.length.filter(|length| *length > 0) {
                let bytes = u64::from(length) * u64::from(field.collation.set().bytes_max());
                field.tp = match bytes {
                    0..=255 => T::TinyBlob,
                    256..=65_535 => T::Blob,
                    65_536..=16_777_215 => T::MediumBlob,
                    _ => T::LongBlob,
                };
                field.flen = codec::types::default_length(field.tp, false).0;
            }
        }
        T::Enum | T::Set => {
            for (at, elem) in ty.elems.iter().enumerate() {
                let same = |other: &String| field.collation.compare(elem.as_bytes(), other.as_bytes()).is_eq();
                if ty.elems[..at].iter().any(same) {
                    return Err(SqlError::DuplicatedValueInType {
                        column: column.to_owned(),
                        value: elem.clone(),
                        kind: if field.tp == T::Enum { "ENUM" } else { "SET" },
                    });
                }
            }
            if field.tp == T::Set && ty.elems.len() > 64 {
                return Err(SqlError::NotSupported(format!("SET of more than 64 members in column '{column}'")));
            }
            let lengths = ty.elems.iter().map(|elem| as_flen(elem.chars().count().try_into().unwrap_or(u32::MAX)));
            field.flen = if field.tp == T::Enum {
                lengths.max().unwrap_or(0)
            } else {
                lengths.sum::<i32>() + as_flen(ty.elems.len() as u32).saturating_sub(1).max(0)
            };
            field.decimal = 0;
            // Trailing blanks of members do not count.
            field.elems = ty.elems.iter().map(|elem| elem.trim_end_matches(' ').to_owned()).collect();
        }
        _ => {}
    }
    if field.tp == T::Json {
        field.flen = UNSPECIFIED_LENGTH;
    }
    Ok(())
}

fn check_decimals(column: &str, precision: u32, precision_max: u32, scale: u32) -> Result<(), SqlError> {
    if scale > 30 {
        return Err(SqlError::TooBigScale { column: column.to_owned(), scale, max: 30 });
    }
    if precision > precision_max {
        return Err(SqlError::TooBigPrecision { column: column.to_owned(), precision, max: precision_max });
    }
    if scale > precision {
        return Err(SqlError::MBiggerThanD(column.to_owned()));
    }
    Ok(())
}

/// Gives a text column another collation, as CONVERT TO CHARACTER SET does: what its type holds stays so many characters.
pub(super) fn convert_text(column: &str, ty: &mut FieldType, to: Collation) -> Result<(), SqlError> {
    use TypeCode as T;
    if to.set().bytes_max() > ty.collation.set().bytes_max() {
        ty.tp = match ty.tp {
            T::TinyBlob => T::Blob,
            T::Blob => T::MediumBlob,
            T::MediumBlob => T::LongBlob,
            tp => tp,
        };
        if ty.tp.is_blob() {
            ty.flen = codec::types::default_length(ty.tp, false).0;
        }
    }
    let max = 65_535 / to.set().bytes_max();
    if ty.tp == T::Varchar && ty.flen.unsigned_abs() > max {
        return Err(SqlError::TooBigFieldLength { column: column.to_owned(), max });
    }
    ty.collation = to;
    if to == Collation::BINARY {
        ty.flags |= flags::BINARY;
    }
    Ok(())
}

/// A column from its definition, written in this zone. Its id and place are for the caller; keys named on it are in the
/// definition.
pub(super) fn column(def: &ColumnDef, table: Collation, zone: &TimeZone) -> Result<ColumnInfo, SqlError> {
    check_column_name(&def.name)?;
    if let Some(refused) = def.refused.first() {
        return Err(SqlError::NotSupported(refused.clone()));
    }
    if def.generated.is_some() {
        let given = [
            (def.default.is_some(), "DEFAULT"),
            (def.auto_increment, "AUTO_INCREMENT"),
            (def.on_update_now.is_some(), "ON UPDATE"),
        ];
        if let Some((_, what)) = given.into_iter().find(|(given, _)| *given) {
            return Err(SqlError::WrongUsage(what.to_owned(), "generated column".to_owned()));
        }
    }
    if def.auto_random.is_some() {
        return Err(SqlError::NotSupported("AUTO_RANDOM".into()));
    }
    let mut ty = field_type(&def.name, &def.ty, table)?;
    if def.nullable == Some(false) || (def.auto_increment && def.nullable.is_none()) {
        ty.flags |= flags::NOT_NULL;
    }
    if def.auto_increment {
        if !(ty.tp.is_integer() && ty.tp != TypeCode::Year || ty.tp.is_float()) || def.nullable == Some(true) {
            return Err(SqlError::WrongColumnSpecifier(def.name.clone()));
        }
        ty.flags |= flags::AUTO_INCREMENT;
    }
    if def.primary_key.is_some() {
        if def.nullable == Some(true) {
            return Err(SqlError::PrimaryCantHaveNull);
        }
        ty.flags |= flags::NOT_NULL;
    }
    if let Some(fsp) = def.on_update_now {
        if !matches!(ty.tp, TypeCode::DateTime | TypeCode::Timestamp) || ty.fsp() != fsp {
            return Err(SqlError::InvalidOnUpdate(def.name.clone()));
        }
        ty.flags |= flags::ON_UPDATE_NOW;
    }
    let default = match &def.default {
        Some(default) => column_default(&def.name, &ty, default, zone)?,
        None => ColumnDefault::None,
    };
    if default == ColumnDefault::None && ty.is_not_null() && !def.auto_increment && def.generated.is_none() {
        ty.flags |= flags::NO_DEFAULT_VALUE;
    }
    let comment = def.comment.clone().unwrap_or_default();
    check_comment(&format!("Comment for field '{}'", def.name), &comment)?;
    Ok(ColumnInfo {
        id: 0,
        name: Name::new(def.name.clone()),
        offset: 0,
        field_type: ty,
        default,
        origin_default: None,
        on_update_now: def.on_update_now.is_some(),
        // Who knows the whole table fills this in.
        generated: def.generated.as_ref().map(|_| Box::default()),
        state: SchemaState::Public,
        comment,
        converts: None,
    })
}

/// What rows that exist already hold in a column that is being added.
pub(super) fn origin_default(column: &ColumnInfo, now: &str) -> Option<Vec<u8>> {
    match &column.default {
        ColumnDefault::Constant(bytes) => Some(bytes.clone()),
        ColumnDefault::CurrentTimestamp => Some(now.as_bytes().to_vec()),
        ColumnDefault::None if column.field_type.is_not_null() => Some(zero_value(&column.field_type)),
        ColumnDefault::None | ColumnDefault::Null => None,
    }
}

/// Refuses options that scatter rows.
pub(super) fn check_options(options: &TableOptions) -> Result<(), SqlError> {
    for (given, name) in
        [(options.shard_row_id_bits, "SHARD_ROW_ID_BITS"), (options.pre_split_regions, "PRE_SPLIT_REGIONS")]
    {
        if given.is_some_and(|n| n > 0) {
            return Err(SqlError::NotSupported(name.into()));
        }
    }
    Ok(())
}

/// What AUTO_ID_CACHE says.
pub(super) fn auto_id_cache(options: &TableOptions) -> Option<i64> {
    options.auto_id_cache.map(|size| size.try_into().unwrap_or(i64::MAX))
}

/// A table from its definition, without id. `collation` is the database's, `zone` the session's; `clustered` says of primary keys
/// that do not say it themselves whether rows are kept by them.
pub(super) fn table(
    create: &CreateTable,
    collation: Collation,
    zone: &TimeZone,
    clustered: ClusteredIndex,
) -> Result<TableInfo, SqlError> {
    check_table_name(&create.table.name)?;
    if let Some(refused) = create.refused.first() {
        return Err(SqlError::NotSupported(refused.clone()));
    }
    let options = &create.options;
    check_options(options)?;
    let collation = resolve_collation(options.charset.as_deref(), options.collate.as_deref(), collation)?;
    if create.columns.is_empty() {
        return Err(SqlError::TableMustHaveColumns);
    }
    if create.columns.len() > COLUMNS_MAX {
        return Err(SqlError::TooManyColumns);
    }
    let comment = options.comment.clone().unwrap_or_default();
    check_comment(&format!("Comment for table '{}'", create.table.name), &comment)?;
    let mut table = TableInfo {
        charset: collation.charset().to_owned(),
        collate: collation.name().to_owned(),
        comment,
        auto_inc_start: options.auto_increment.unwrap_or(0).try_into().unwrap_or(i64::MAX),
        auto_id_cache: auto_id_cache(options).unwrap_or(0),
        ..TableInfo::new(0, Name::new(create.table.name.clone()), Vec::new())
    };
    for def in &create.columns {
        let mut info = column(def, collation, zone)?;
        if table.columns.iter().any(|held| held.name == info.name) {
            return Err(SqlError::DuplicateColumn(def.name.clone()));
        }
        table.max_column_id += 1;
        info.id = table.max_column_id;
        info.offset = table.columns.len();
        table.columns.push(info);
    }
    // Keys named on columns come first, then the table's, the primary key ahead of all.
    let mut indexes: Vec<IndexDef> = Vec::new();
    for def in &create.columns {
        if let Some(clustered) = def.primary_key {
            indexes.push(IndexDef { clustered, ..key_on(def, IndexKind::Primary) });
        }
        if def.unique {
            indexes.push(key_on(def, IndexKind::Unique));
        }
    }
    indexes.extend(create.indexes.iter().cloned());
    if indexes.iter().filter(|index| index.kind == IndexKind::Primary).count() > 1 {
        return Err(SqlError::MultiplePrimaryKey);
    }
    indexes.sort_by_key(|index| index.kind != IndexKind::Primary);
    for def in &indexes {
        add_index(&mut table, def, Some(&create.columns), clustered)?;
    }
    check_auto_increment(&table)?;
    Ok(table)
}

pub(super) fn key_on(def: &ColumnDef, kind: IndexKind) -> IndexDef {
    IndexDef {
        kind,
        name: None,
        if_not_exists: false,
        columns: vec![IndexPart { target: IndexTarget::Column(def.name.clone()), length: None, desc: false }],
        comment: None,
        invisible: false,
        clustered: Clustered::Unsaid,
    }
}

/// Adds an index in the public state to a table that is being built.
fn add_index(
    table: &mut TableInfo,
    def: &IndexDef,
    columns: Option<&[ColumnDef]>,
    unsaid: ClusteredIndex,
) -> Result<(), SqlError> {
    if def.kind == IndexKind::Primary {
        // The columns of a primary key are NOT NULL, said or not.
        for part in &def.columns {
            let IndexTarget::Column(name) = &part.target else { continue };
            let nullable = columns.and_then(|defs| defs.iter().find(|def| def.name.eq_ignore_ascii_case(name)));
            if nullable.and_then(|def| def.generated.as_ref()).is_some_and(|generated| !generated.stored) {
                return Err(SqlError::UnsupportedOnGenerated(VIRTUAL_PRIMARY.to_owned()));
            }
            if nullable.is_some_and(|def| def.nullable == Some(true)) {
                return Err(SqlError::PrimaryCantHaveNull);
            }
            if let Some(column) = table.columns.iter_mut().find(|column| column.name.matches(name)) {
                if column.default == ColumnDefault::Null {
                    return Err(SqlError::InvalidDefault(column.name.original.clone()));
                }
                column.field_type.flags |= flags::NOT_NULL | flags::PRI_KEY;
                let given = column.field_type.has(flags::AUTO_INCREMENT) || column.is_generated();
                if column.default == ColumnDefault::None && !given {
                    column.field_type.flags |= flags::NO_DEFAULT_VALUE;
                }
            }
        }
        let one_integer = match def.columns.as_slice() {
            [IndexPart { target: IndexTarget::Column(name), length: None, .. }] => {
                table.any_column(name).is_some_and(|column| column.field_type.tp.is_integer())
            }
            _ => false,
        };
        let clustered = match (def.clustered, unsaid) {
            (Clustered::Clustered, _) | (Clustered::Unsaid, ClusteredIndex::On) => true,
            (Clustered::Unsaid, ClusteredIndex::IntOnly) => one_integer,
            (Clustered::NonClustered, _) | (Clustered::Unsaid, ClusteredIndex::Off) => false,
        };
        if clustered && one_integer {
            table.pk_is_handle = true;
            return Ok(());
        }
        table.is_common_handle = clustered;
    }
    let mut info = index(table, def)?;
    table.max_index_id += 1;
    info.id = table.max_index_id;
    info.state = SchemaState::Public;
    mark_key_columns(table, &info);
    table.indexes.push(info);
    Ok(())
}

/// Sets the flags that columns of an index show to clients.
pub(super) fn mark_key_columns(table: &mut TableInfo, index: &IndexInfo) {
    for (at, part) in index.columns.iter().enumerate() {
        let Some(column) = table.columns.iter_mut().find(|column| column.name == part.name) else { continue };
        column.field_type.flags |= match (index.primary, index.unique, at) {
            (true, ..) => flags::PRI_KEY,
            (false, true, 0) if index.columns.len() == 1 => flags::UNIQUE_KEY,
            (false, _, 0) => flags::MULTIPLE_KEY,
            _ => 0,
        };
    }
}

/// Computes the key flags of all columns anew, after an index or column is gone.
pub(super) fn remark_keys(table: &mut TableInfo) {
    let handle = table.handle_column().map(|column| column.id);
    for column in &mut table.columns {
        let primary = if handle == Some(column.id) { flags::PRI_KEY } else { 0 };
        column.field_type.flags &= !(flags::PRI_KEY | flags::UNIQUE_KEY | flags::MULTIPLE_KEY);
        column.field_type.flags |= primary;
    }
    for index in table.indexes.clone().iter().filter(|index| index.is_public()) {
        mark_key_columns(table, index);
    }
}

/// An index over a table's columns, checked, without id, in no state yet.
pub(super) fn index(table: &TableInfo, def: &IndexDef) -> Result<IndexInfo, SqlError> {
    match def.kind {
        IndexKind::FullText => return Err(SqlError::NotSupported("FULLTEXT index".into())),
        IndexKind::Spatial => return Err(SqlError::NotSupported("SPATIAL index".into())),
        _ => {}
    }
    let primary = def.kind == IndexKind::Primary;
    if def.columns.len() > INDEX_COLUMNS_MAX {
        return Err(SqlError::TooManyKeyParts(INDEX_COLUMNS_MAX as u32));
    }
    if table.indexes.len() >= INDEXES_MAX {
        return Err(SqlError::TooManyKeys(INDEXES_MAX as u32));
    }
    let mut columns: Vec<IndexColumn> = Vec::new();
    let mut bytes = 0_u32;
    for part in &def.columns {
        let IndexTarget::Column(name) = &part.target else {
            return Err(SqlError::NotSupported("expression index".into()));
        };
        let column = table
            .columns
            .iter()
            .find(|column| column.name.matches(name) && column.state == SchemaState::Public)
            .ok_or_else(|| SqlError::KeyColumnMissing(name.clone()))?;
        if primary
            && column.generated.as_ref().is_some_and(|generation| !generation.stored && !generation.expr.is_empty())
        {
            return Err(SqlError::UnsupportedOnGenerated(VIRTUAL_PRIMARY.to_owned()));
        }
        if columns.iter().any(|held| held.name == column.name) {
            return Err(SqlError::DuplicateColumn(column.name.original.clone()));
        }
        let (length, part_bytes) = key_part(column, part.length)?;
        bytes = bytes.saturating_add(part_bytes);
        columns.push(IndexColumn { name: column.name.clone(), offset: column.offset, length });
    }
    if bytes > KEY_BYTES_MAX {
        return Err(SqlError::TooLongKey(KEY_BYTES_MAX));
    }
    let name = match &def.name {
        _ if primary => PRIMARY.to_owned(),
        Some(name) => {
            if name.is_empty() || name.eq_ignore_ascii_case(PRIMARY) {
                return Err(SqlError::WrongIndexName(name.clone()));
            }
            check_length(name)?;
            name.clone()
        }
        None => free_index_name(table, columns.first().map_or("idx", |column| column.name.as_str())),
    };
    if table.any_index(&name).is_some() {
        return Err(if primary { SqlError::MultiplePrimaryKey } else { SqlError::DuplicateKeyName(name) });
    }
    let comment = def.comment.clone().unwrap_or_default();
    check_comment(&format!("Comment for index '{name}'"), &comment)?;
    if primary && def.invisible {
        return Err(SqlError::NotSupported("INVISIBLE primary key".into()));
    }
    Ok(IndexInfo {
        id: 0,
        name: Name::new(name),
        columns,
        unique: primary || def.kind == IndexKind::Unique,
        primary,
        invisible: def.invisible,
        state: SchemaState::None,
        comment,
    })
}

/// A column as part of a key: the prefix length (`None` for all of it) and the most bytes it takes.
fn key_part(column: &ColumnInfo, length: Option<u32>) -> Result<(Option<u32>, u32), SqlError> {
    use TypeCode as T;
    let ty = &column.field_type;
    let name = || column.name.original.clone();
    if ty.tp == T::Json {
        return Err(SqlError::JsonAsKey(name()));
    }
    if length == Some(0) {
        return Err(SqlError::KeyPartZero(name()));
    }
    if !ty.tp.is_string() {
        if length.is_some() {
            return Err(SqlError::WrongSubKey);
        }
        let bytes = match ty.tp {
            T::Tiny | T::Year => 1,
            T::Short => 2,
            T::Int24 | T::Date | T::Duration => 3,
            T::Long | T::Float | T::Timestamp => 4,
            T::NewDecimal => ty.flen.max(0).unsigned_abs().div_ceil(2) + 1,
            _ => 8,
        };
        return Ok((None, bytes));
    }
    let per_char = ty.collation.set().bytes_max();
    if ty.tp.is_blob() {
        let length = length.ok_or_else(|| SqlError::BlobKeyWithoutLength(name()))?;
        return Ok((Some(length), length.saturating_mul(per_char)));
    }
    let whole = ty.flen.max(0).unsigned_abs();
    match length {
        Some(length) if length > whole => Err(SqlError::WrongSubKey),
        Some(length) if length < whole => Ok((Some(length), length.saturating_mul(per_char))),
        _ => Ok((None, whole.saturating_mul(per_char))),
    }
}

fn free_index_name(table: &TableInfo, column: &str) -> String {
    let base = if column.eq_ignore_ascii_case(PRIMARY) { format!("{column}_2") } else { column.to_owned() };
    if table.any_index(&base).is_none() {
        return base;
    }
    (2..).map(|number| format!("{column}_{number}")).find(|name| table.any_index(name).is_none()).unwrap_or(base)
}

/// At most one AUTO_INCREMENT column, and it leads a key.
pub(super) fn check_auto_increment(table: &TableInfo) -> Result<(), SqlError> {
    let mut columns = table.columns.iter().filter(|column| column.field_type.has(flags::AUTO_INCREMENT));
    let Some(column) = columns.next() else { return Ok(()) };
    let leads = |index: &IndexInfo| index.columns.first().is_some_and(|part| part.name == column.name);
    let is_handle = table.handle_column().is_some_and(|handle| handle.id == column.id);
    if columns.next().is_some() || !(is_handle || table.indexes.iter().any(leads)) {
        return Err(SqlError::WrongAutoKey);
    }
    Ok(())
}

/// Refuses to drop an index that the AUTO_INCREMENT column needs.
pub(super) fn check_auto_increment_after_drop(table: &TableInfo, dropped: i64) -> Result<(), SqlError> {
    let mut rest = table.clone();
    rest.indexes.retain(|index| index.id != dropped);
    check_auto_increment(&rest)
}

/// What a change of a column's definition takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: rows and entries as they are stored read the same under the new definition.
    Nothing,
    /// Its values must be converted.
    Conversion,
}

/// What a change takes, if it can be done at all.
pub(super) fn change_takes(table: &TableInfo, old: &ColumnInfo, new: &ColumnInfo) -> Result<Takes, SqlError> {
    let indexed = table.indexes.iter().any(|index| index.columns.iter().any(|part| part.name == old.name));
    let takes = match reads_the_same(&old.field_type, &new.field_type, indexed) {
        true => Takes::Nothing,
        false => Takes::Conversion,
    };
    if let Some(reader) = table.columns.iter().find(|column| column.reads(old.name.as_str()))
        && (takes == Takes::Conversion || old.field_type.collation != new.field_type.collation)
    {
        return Err(SqlError::UnsupportedModifyColumn(format!(
            "generated column '{}' is computed from it",
            reader.name
        )));
    }
    let compares_alike = old.field_type.collation == new.field_type.collation;
    if let Some(check) = table.checks.iter().find(|check| check.uses(old.name.as_str()))
        && (takes == Takes::Conversion || !compares_alike)
    {
        return Err(SqlError::UnsupportedModifyColumn(format!(
            "the column is used by check constraint '{}'",
            check.name
        )));
    }
    let clustered = table.is_clustered() && table.primary_key().iter().any(|key| key.id == old.id);
    if takes == Takes::Conversion && clustered {
        return Err(SqlError::UnsupportedModifyColumn(
            "the rows are kept by this column, which is in the clustered primary key".into(),
        ));
    }
    // A key part of another type must still fit the key.
    let mut changed = table.clone();
    changed.columns[old.offset] = ColumnInfo { offset: old.offset, ..new.clone() };
    for index in table.indexes.iter().filter(|index| index.columns.iter().any(|part| part.name == old.name)) {
        keep_prefixes(&changed, &mut index.clone())?;
    }
    Ok(takes)
}

/// Makes the prefixes of an index those that it has over these columns: none where the whole value is shorter.
pub(super) fn keep_prefixes(table: &TableInfo, index: &mut IndexInfo) -> Result<(), SqlError> {
    let mut total = 0_u32;
    for part in &mut index.columns {
        let Some(column) = table.columns.get(part.offset) else { continue };
        let ty = &column.field_type;
        let whole = !ty.tp.is_string() || (!ty.tp.is_blob() && part.length >= u32::try_from(ty.flen).ok());
        let (length, bytes) = key_part(column, part.length.filter(|_| !whole))?;
        part.length = length;
        total = total.saturating_add(bytes);
    }
    match total > KEY_BYTES_MAX {
        true => Err(SqlError::TooLongKey(KEY_BYTES_MAX)),
        false => Ok(()),
    }
}

/// Whether values as they are stored are those of the new type: it only widens.
fn reads_the_same(from: &FieldType, to: &FieldType, indexed: bool) -> bool {
    use TypeCode as T;
    let family = |tp: T| match tp {
        T::Tiny | T::Short | T::Int24 | T::Long | T::LongLong => 1,
        T::Varchar | T::VarString => 2,
        T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob => 3,
        other => 100 + other as u8 as i32,
    };
    // VARCHAR becomes TEXT without a change of the stored bytes, and the other way round.
    let strings = from.tp.is_string() && to.tp.is_string() && to.tp != T::String && from.tp != T::String;
    if family(from.tp) != family(to.tp) && !strings {
        return false;
    }
    let narrower = match from.tp {
        tp if family(tp) == 1 => integer_bytes(to.tp) < integer_bytes(from.tp),
        // Zeros fill up what is shorter.
        T::String if from.is_binary_string() => to.flen != from.flen,
        tp if tp.is_string() && from.tp.is_blob() == to.tp.is_blob() => to.flen < from.flen,
        tp if tp.is_string() => {
            let bytes = |ty: &FieldType| {
                let per_char = if ty.tp.is_blob() { 1 } else { i64::from(ty.collation.set().bytes_max()) };
                i64::from(ty.flen) * per_char
            };
            bytes(to) < bytes(from)
        }
        T::NewDecimal => (from.flen, from.decimal) != (to.flen, to.decimal),
        T::Float | T::Double => (from.flen, from.decimal) != (to.flen, to.decimal) && to.decimal >= 0,
        T::Bit => to.flen < from.flen,
        T::DateTime | T::Timestamp | T::Duration => to.decimal < from.decimal,
        T::Enum | T::Set => !to.elems.starts_with(&from.elems),
        _ => false,
    };
    // Text that is in no index is not sorted yet, and a character set that holds all the old one does changes no byte.
    let text = from.collation == to.collation
        || (!indexed && from.is_text() && to.is_text() && holds(to.collation, from.collation));
    !narrower && text && from.is_unsigned() == to.is_unsigned() && (from.is_not_null() || !to.is_not_null())
}

/// Whether a character set has all characters of another.
fn holds(wide: Collation, narrow: Collation) -> bool {
    let (wide, narrow) = (wide.set(), narrow.set());
    wide == narrow || wide == Charset::Utf8mb4 || (wide == Charset::Utf8mb3 && narrow != Charset::Utf8mb4)
}

fn integer_bytes(tp: TypeCode) -> u8 {
    match tp {
        TypeCode::Tiny => 1,
        TypeCode::Short => 2,
        TypeCode::Int24 => 3,
        TypeCode::Long => 4,
        _ => 8,
    }
}

/// CREATE TABLE LIKE: what is being added to the model, or removed from it, is not part of the copy.
pub(super) fn like(model: &TableInfo, name: &str) -> TableInfo {
    let mut table = model.clone();
    table.id = 0;
    table.name = Name::new(name);
    table.kind = TableKind::Base;
    table.auto_inc_start = 0;
    table.columns.retain(ColumnInfo::is_public);
    table.indexes.retain(|index| index.is_public());
    // Names are the database's: those of the copy are its own.
    let checks = std::mem::take(&mut table.checks);
    table.checks.clear();
    for check in checks.into_iter().filter(|check| check.state == SchemaState::Public) {
        let name = Name::new(table.next_check_name());
        table.checks.push(CheckInfo { name, pending: false, ..check });
    }
    for column in &mut table.columns {
        column.origin_default = None;
    }
    table.partition.iter_mut().flat_map(|info| &mut info.definitions).for_each(|partition| partition.id = 0);
    (table.rows_at, table.division) = (0, None);
    table.renumber();
    table
}
