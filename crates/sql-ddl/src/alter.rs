//! ALTER TABLE: from what is written to one job.
//!
//! The changes are tried on a copy of the table one after the other, so each is checked against what those before it leave,
//! and a mistake in the last is found before anything is done. What then runs is one change, or [`Action::Several`], whose
//! parts become visible together:
//!
//! - all columns whose values are converted are one part, with the indexes that they are in, old and new;
//! - columns are added before indexes, which may be over them; a rename comes last;
//! - places of columns are taken when all columns are there.
//!
//! Two changes of one column, and an index over a column that only gets another name, are refused by name.

use codec::time::{Time, TimeKind};
use codec::types::{Collation, TypeCode, flags};
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::{ColumnDefault, ColumnInfo, Conversion, Database, Name, TableInfo};
use sql_parser::{
    Algorithm, AlterAction, Clustered, ColumnDef, ColumnPosition, IndexDef, IndexKind, TableName, TableOptions,
};

use super::build::{self, PRIMARY, Takes};
use super::constraints;
use super::default::column_default;
use super::exec::{Statement, collation};
use super::job::{Action, ColumnChange, ConvertColumns, Job, JobState, Position, Rename};
use super::partitions;
use super::step;

mod divide;

/// The changes of a statement as they come together.
#[derive(Default)]
struct Plan {
    actions: Vec<Action>,
    /// Columns that are changed, by the names they have and get.
    columns: Vec<Name>,
    /// Names that columns only get.
    renamed: Vec<Name>,
    /// Places that columns get, in the order as written.
    moves: Vec<(String, Position)>,
}

impl Plan {
    fn claim(&mut self, names: &[&Name]) -> Result<(), SqlError> {
        if let Some(name) = names.iter().find(|name| self.columns.contains(name)) {
            return Err(SqlError::UnsupportedDdl(format!("Unsupported operate same column '{name}'")));
        }
        self.columns.extend(names.iter().map(|name| (*name).clone()));
        Ok(())
    }

    fn claim_change(&mut self, change: &ColumnChange) -> Result<(), SqlError> {
        let (old, new) = (Name::new(change.name.clone()), &change.column.name);
        match old == *new {
            true => self.claim(&[new])?,
            false => self.claim(&[new, &old])?,
        }
        if let Some(position) = &change.position {
            self.moves.push((new.original.clone(), position.clone()));
        }
        Ok(())
    }

    fn add(&mut self, action: Action) -> Result<(), SqlError> {
        match &action {
            Action::AddColumn { column, position } => {
                self.claim(&[&column.name])?;
                if *position != Position::Last {
                    self.moves.push((column.name.original.clone(), position.clone()));
                }
            }
            Action::DropColumn { name } => self.claim(&[&Name::new(name.clone())])?,
            Action::ModifyColumn(change) => {
                self.claim_change(change)?;
                if !change.column.name.matches(&change.name) {
                    self.renamed.push(change.column.name.clone());
                }
            }
            Action::ConvertColumns(convert) => {
                convert.columns.iter().try_for_each(|change| self.claim_change(change))?;
                if let Some(held) = self.conversion() {
                    held.columns.extend(convert.columns.iter().cloned());
                    return Ok(());
                }
            }
            Action::AddIndex(index) => {
                let renamed = index.columns.iter().find(|part| self.renamed.contains(&part.name));
                if let Some(part) = renamed {
                    return Err(SqlError::UnsupportedDdl(format!("Unsupported operate same column '{}'", part.name)));
                }
            }
            Action::AddCheck { check, .. } => {
                // Rows that are there are looked through as they were before.
                let converted = |name: &Name| {
                    self.actions.iter().any(|action| match action {
                        Action::ConvertColumns(convert) => convert.columns.iter().any(|c| c.column.name == *name),
                        _ => false,
                    })
                };
                if let Some(name) = check.columns.iter().find(|name| self.renamed.contains(name) || converted(name)) {
                    return Err(SqlError::UnsupportedDdl(format!("Unsupported operate same column '{name}'")));
                }
            }
            _ => {}
        }
        self.actions.push(action);
        Ok(())
    }

    fn conversion(&mut self) -> Option<&mut ConvertColumns> {
        self.actions.iter_mut().find_map(|action| match action {
            Action::ConvertColumns(convert) => Some(&mut **convert),
            _ => None,
        })
    }

    /// Gives the part that converts columns the indexes that are added over them, or dropped with them.
    fn gather_indexes(&mut self, table: &TableInfo) {
        let Some(convert) = self.conversion() else { return };
        let mut convert = std::mem::replace(
            convert,
            ConvertColumns { columns: Vec::new(), how: Conversion::default(), added: Vec::new(), dropped: Vec::new() },
        );
        self.actions.retain(|action| match action {
            Action::AddIndex(index) => {
                let over = |part: &sql_catalog::IndexColumn| convert.columns.iter().any(|c| c.column.name == part.name);
                let own = index.columns.iter().any(over);
                if own {
                    convert.added.push((**index).clone());
                }
                !own
            }
            Action::DropIndex { name } => {
                let over = |part: &sql_catalog::IndexColumn| convert.columns.iter().any(|c| part.name.matches(&c.name));
                let own = table.index(name).is_some_and(|index| index.columns.iter().any(over));
                if own {
                    convert.dropped.push(name.to_lowercase());
                }
                !own
            }
            _ => true,
        });
        if let Some(held) = self.conversion() {
            *held = convert;
        }
    }

    /// Whether what `ALGORITHM` demands can be.
    fn check_algorithm(&self, algorithm: Algorithm) -> Result<(), SqlError> {
        let converts = self.actions.iter().any(|action| matches!(action, Action::ConvertColumns(_)));
        let builds = self.actions.iter().any(|action| matches!(action, Action::AddIndex(_)));
        match algorithm {
            Algorithm::Instant if converts => Err(SqlError::AlterNeedsCopy("INSTANT")),
            Algorithm::Inplace if converts => Err(SqlError::AlterNeedsCopy("INPLACE")),
            Algorithm::Instant if builds => Err(SqlError::AlterAlgorithmNotSupported),
            _ => Ok(()),
        }
    }

    /// The job that does all of it; `None` when there is nothing to do.
    fn into_job(mut self, database: &Database, table: &TableInfo, sql: &str) -> Option<Job> {
        self.gather_indexes(table);
        let new = |action: Action| {
            Job::new(action, Some((database.info.id, &database.info.name)), Some((table.id, &table.name)), sql)
        };
        if self.actions.len() < 2 {
            return self.actions.pop().map(new);
        }
        let freed: Vec<String> = self.actions.iter().filter_map(freed_name).collect();
        // In this order; those of one kind as they were written.
        self.actions.sort_by_key(|action| match action {
            Action::AddColumn { .. } => 0,
            Action::RenameTables(_) => 2,
            _ => 1,
        });
        let mut job = new(Action::Several { moves: self.moves });
        for mut action in self.actions {
            match &mut action {
                Action::AddColumn { position, .. } => *position = Position::Last,
                Action::ModifyColumn(change) => change.position = None,
                Action::ConvertColumns(convert) => convert.columns.iter_mut().for_each(|c| c.position = None),
                _ => {}
            }
            let part = job.part(action);
            job.parts.push(Job { freed_names: freed.clone(), ..part });
        }
        Some(job)
    }
}

/// The name of the index or constraint that a change drops.
fn freed_name(action: &Action) -> Option<String> {
    match action {
        Action::DropIndex { name } | Action::DropCheck { name } => Some(name.to_lowercase()),
        _ => None,
    }
}

impl Statement<'_> {
    pub(super) async fn alter_table(
        &mut self,
        name: &TableName,
        actions: &[AlterAction],
        algorithm: Algorithm,
    ) -> Result<(), SqlError> {
        let (database, table) = self.writable_table(name)?;
        let mut trial = (*table).clone();
        let mut plan = Plan::default();
        if actions.len() > 1
            && let Some(change) = actions.iter().find_map(|action| match action {
                AlterAction::Partitions(change) => Some(change),
                _ => None,
            })
        {
            let what = format!("{} together with other changes", partitions::words(change));
            return Err(SqlError::NotSupported(what));
        }
        for action in actions {
            for planned in self.plan(&database, &trial, action)? {
                try_out(&mut trial, &planned)?;
                plan.add(planned)?;
            }
        }
        self.check_primary_key(&trial)?;
        build::check_auto_increment(&trial)?;
        partitions::check_altered(&table, &trial)?;
        plan.check_algorithm(algorithm)?;
        self.check_zero_dates(&table, &plan.actions).await?;
        if let Some(job) = plan.into_job(&database, &table, self.sql) {
            let done = self.run_job(job).await?;
            self.warnings.extend(done.warnings.into_iter().map(SqlError::from));
        }
        Ok(())
    }

    /// Rows that are there take the zero of an added NOT NULL column without a default, which the sql_mode may not allow
    /// for a date.
    async fn check_zero_dates(&self, table: &TableInfo, jobs: &[Action]) -> Result<(), SqlError> {
        if !self.eval.is_strict() || !self.eval.has_mode(query::context::sql_mode::NO_ZERO_DATE) {
            return Ok(());
        }
        for job in jobs {
            let Action::AddColumn { column, .. } = job else { continue };
            let ty = &column.field_type;
            let Some(kind) = TimeKind::from_type(ty.tp) else { continue };
            if column.default != ColumnDefault::None || !ty.is_not_null() || column.is_generated() {
                continue;
            }
            let kv = self.domain.kv();
            let snapshot = kv.snapshot(kv.timestamp().await?);
            let mut filled = false;
            for at in table.physical_ids() {
                let (start, end) = codec::table::record_range(at);
                filled = filled || !snapshot.scan(&start, &end, 1, false, true).await?.is_empty();
            }
            if filled {
                return Err(SqlError::IncorrectTimeForColumn {
                    kind: if kind == TimeKind::Date { "date" } else { "datetime" }.to_owned(),
                    value: Time::zero(kind, ty.fsp()).to_string(),
                    column: column.name.original.clone(),
                    row: 1,
                });
            }
        }
        Ok(())
    }

    /// The statement's time as rows from before an added column hold it: a TIMESTAMP in UTC, anything else in the
    /// session's zone.
    fn now_text(&self, column: &ColumnInfo) -> String {
        let ty = &column.field_type;
        let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
        let now = self.eval.now(ty.fsp()).convert(kind, ty.fsp());
        match kind {
            TimeKind::Timestamp => self.eval.time_zone.timestamp_to_utc(&now),
            _ => now,
        }
        .to_string()
    }

    /// The jobs of one change of ALTER TABLE, against the table as the changes before it leave it.
    fn plan(&mut self, database: &Database, table: &TableInfo, action: &AlterAction) -> Result<Vec<Action>, SqlError> {
        let unsupported = |what: String| Err(SqlError::UnsupportedDdl(what));
        match action {
            AlterAction::AddColumn { if_not_exists, column, position } => {
                if table.column(&column.name).is_some() {
                    self.note_if(*if_not_exists, SqlError::DuplicateColumn(column.name.clone()))?;
                    return Ok(Vec::new());
                }
                let refused = |what: &str| {
                    format!(
                        "unsupported add column '{}' constraint {what} when altering '{}.{}'",
                        column.name, database.info.name, table.name
                    )
                };
                if column.primary_key.is_some() {
                    return unsupported(refused("PRIMARY KEY"));
                }
                if column.auto_increment {
                    return unsupported(refused("AUTO_INCREMENT"));
                }
                let mut info = build::column(column, collation(&table.collate), &self.eval.time_zone)?;
                match &column.generated {
                    Some(generated) => {
                        let mut with_column = table.clone();
                        info.offset = with_column.columns.len();
                        with_column.columns.push(info.clone());
                        info.generated = Some(Box::new(self.generation(&with_column, &info, generated)?));
                    }
                    None => info.origin_default = build::origin_default(&info, &self.now_text(&info)),
                }
                let added = Action::AddColumn { column: Box::new(info), position: self::position(position.as_ref()) };
                let mut with_column = table.clone();
                try_out(&mut with_column, &added)?;
                let mut actions = vec![added];
                if column.unique {
                    let index = build::index(&with_column, &build::key_on(column, IndexKind::Unique))?;
                    actions.push(Action::AddIndex(Box::new(index)));
                }
                self.add_column_checks(database, with_column, column, &mut actions)?;
                Ok(actions)
            }
            AlterAction::DropColumn { if_exists, name } => {
                let Some(column) = table.column(name) else {
                    self.note_if(*if_exists, SqlError::CantDropFieldOrKey(name.clone()))?;
                    return Ok(Vec::new());
                };
                // An index of this column alone goes with it.
                let mut actions = Vec::new();
                let mut without = table.clone();
                for index in table.public_indexes().filter(|index| !index.primary) {
                    if matches!(index.columns.as_slice(), [only] if only.name == column.name) {
                        let drop = Action::DropIndex { name: index.name.original.clone() };
                        try_out(&mut without, &drop)?;
                        actions.push(drop);
                    }
                }
                // So does a check of it alone.
                for check in table.public_checks().filter(|c| matches!(&c.columns[..], [only] if *only == column.name))
                {
                    let drop = Action::DropCheck { name: check.name.original.clone() };
                    try_out(&mut without, &drop)?;
                    actions.push(drop);
                }
                step::check_drop_column(&without, name)?;
                actions.push(Action::DropColumn { name: column.name.original.clone() });
                Ok(actions)
            }
            AlterAction::ModifyColumn { if_exists, column, position } => {
                self.modify((database, table), *if_exists, &column.name, column, position.as_ref())
            }
            AlterAction::ChangeColumn { if_exists, old, column, position } => {
                self.modify((database, table), *if_exists, old, column, position.as_ref())
            }
            AlterAction::AddCheck(def) => Ok(vec![self.add_check(database, table, def)?]),
            AlterAction::DropCheck(name) => Ok(vec![constraints::drop_check(table, name)?]),
            AlterAction::DropConstraint(name) => {
                self.plan(database, table, &constraints::dropped_constraint(table, name)?)
            }
            AlterAction::AlterCheck { name, enforced, constraint } => {
                Ok(Vec::from_iter(self.enforce_check(table, (name, *enforced, *constraint))?))
            }
            AlterAction::RenameColumn { old, new } => {
                let mut column = self.column(table, old)?.clone();
                column.name = Name::new(new.clone());
                build::check_column_name(new)?;
                Ok(vec![modification(old, column)])
            }
            AlterAction::AlterColumnDefault { name, default } => {
                let mut column = self.column(table, name)?.clone();
                if column.is_generated() {
                    return Err(SqlError::WrongUsage("DEFAULT".to_owned(), "generated column".to_owned()));
                }
                column.default = match default {
                    Some(default) => column_default(name, &column.field_type, default, &self.eval.time_zone)?,
                    None => ColumnDefault::None,
                };
                // Without a default even a nullable column has none: DROP DEFAULT is not DEFAULT NULL.
                let none = column.default == ColumnDefault::None;
                set_flag(&mut column.field_type.flags, flags::NO_DEFAULT_VALUE, none);
                Ok(vec![modification(name, column)])
            }
            AlterAction::AddIndex(def) => self.plan_index(table, def),
            AlterAction::DropIndex { name, .. } if name.eq_ignore_ascii_case(PRIMARY) => {
                self.plan(database, table, &AlterAction::DropPrimaryKey)
            }
            AlterAction::DropIndex { if_exists, name } => match table.index(name) {
                Some(index) => Ok(vec![Action::DropIndex { name: index.name.original.clone() }]),
                None => {
                    self.note_if(*if_exists, SqlError::CantDropFieldOrKey(name.clone()))?;
                    Ok(Vec::new())
                }
            },
            AlterAction::DropPrimaryKey if table.is_clustered() => {
                unsupported("Unsupported drop primary key when the table is using clustered index".into())
            }
            AlterAction::DropPrimaryKey => match table.primary_index() {
                Some(index) => Ok(vec![Action::DropIndex { name: index.name.original.clone() }]),
                None => Err(SqlError::CantDropFieldOrKey(PRIMARY.into())),
            },
            AlterAction::RenameIndex { old, new } => {
                if new.eq_ignore_ascii_case(PRIMARY) || old.eq_ignore_ascii_case(PRIMARY) || new.is_empty() {
                    return Err(SqlError::WrongIndexName(new.clone()));
                }
                build::check_length(new)?;
                Ok(vec![Action::RenameIndex { name: old.clone(), new: new.clone() }])
            }
            AlterAction::AlterIndexVisibility { name, invisible } => {
                if name.eq_ignore_ascii_case(PRIMARY) {
                    return Err(SqlError::NotSupported("INVISIBLE primary key".into()));
                }
                Ok(vec![Action::IndexVisibility { name: name.clone(), invisible: *invisible }])
            }
            AlterAction::RenameTo(to) => {
                let to_database = self.database_name(&TableName {
                    database: Some(to.database.clone().unwrap_or_else(|| database.info.name.original.clone())),
                    name: to.name.clone(),
                })?;
                build::check_writable(&to_database)?;
                build::check_table_name(&to.name)?;
                let target =
                    self.schema.database(&to_database).ok_or_else(|| SqlError::UnknownDatabase(to_database.clone()))?;
                if target.table(&to.name).is_some_and(|held| held.id != table.id) {
                    return Err(SqlError::TableExists(format!("{to_database}.{}", to.name)));
                }
                Ok(vec![Action::RenameTables(vec![Rename {
                    from_database: database.info.id,
                    table: table.id,
                    to_database: target.info.id,
                    name: to.name.clone(),
                }])])
            }
            AlterAction::Options(options) => self.options(table, options),
            AlterAction::ConvertCharset { charset, collate } => {
                let to = build::resolve_collation(Some(charset), collate.as_deref(), Collation::DEFAULT)?;
                let mut actions = Vec::new();
                for old in table.public_columns().filter(|c| c.field_type.is_text() && c.field_type.collation != to) {
                    if old.is_generated() {
                        let why = format!("'{}' is a generated column", old.name);
                        return Err(SqlError::UnsupportedModifyColumn(why));
                    }
                    let mut new = old.clone();
                    build::convert_text(old.name.as_str(), &mut new.field_type, to)?;
                    actions.push(self.change(table, old, ColumnChange::of(old, new))?);
                }
                let charset = Some((to.charset().to_owned(), to.name().to_owned()));
                let (auto_increment, auto_id_cache) = (None, None);
                actions.push(Action::TableOptions { comment: None, charset, auto_increment, auto_id_cache });
                Ok(actions)
            }
            AlterAction::Partitions(change) => self.plan_partitions(table, change),
            AlterAction::Refused(what) => Err(SqlError::NotSupported(what.clone())),
        }
    }

    fn plan_index(&mut self, table: &TableInfo, def: &IndexDef) -> Result<Vec<Action>, SqlError> {
        if def.kind == IndexKind::Primary {
            if table.pk_is_handle || table.primary_index().is_some() {
                return Err(SqlError::MultiplePrimaryKey);
            }
            if def.clustered == sql_parser::Clustered::Clustered {
                return Err(SqlError::UnsupportedDdl(
                    "Adding clustered primary key is not supported. Please consider adding NONCLUSTERED primary key instead"
                        .into(),
                ));
            }
        } else if let Some(name) = &def.name
            && table.any_index(name).is_some()
        {
            self.note_if(def.if_not_exists, SqlError::DuplicateKeyName(name.clone()))?;
            return Ok(Vec::new());
        }
        Ok(vec![Action::AddIndex(Box::new(build::index(table, def)?))])
    }

    fn options(&mut self, table: &TableInfo, options: &TableOptions) -> Result<Vec<Action>, SqlError> {
        build::check_options(options)?;
        let charset = if options.charset.is_some() || options.collate.is_some() {
            let held = collation(&table.collate);
            let to = build::resolve_collation(options.charset.as_deref(), options.collate.as_deref(), held)?;
            Some((to.charset().to_owned(), to.name().to_owned()))
        } else {
            None
        };
        if let Some(comment) = &options.comment {
            build::check_comment(&format!("Comment for table '{}'", table.name), comment)?;
        }
        let auto_increment = options.auto_increment.map(|least| i64::try_from(least).unwrap_or(i64::MAX));
        let auto_id_cache = build::auto_id_cache(options);
        if auto_id_cache.is_some_and(|size| (size == 1) != (table.auto_id_cache == 1)) {
            return Err(SqlError::UnsupportedDdl(
                "Can't Alter AUTO_ID_CACHE between 1 and non-1, the underlying implementation is different".into(),
            ));
        }
        let mut actions = Vec::new();
        let comment = options.comment.clone();
        if comment.is_some() || charset.is_some() || auto_increment.is_some() || auto_id_cache.is_some() {
            actions.push(Action::TableOptions { comment, charset, auto_increment, auto_id_cache });
        }
        if let Some(policy) = &options.placement {
            actions.push(Action::TablePolicy(self.policy_ref(policy)?));
        }
        Ok(actions)
    }

    fn column<'t>(&self, table: &'t TableInfo, name: &str) -> Result<&'t ColumnInfo, SqlError> {
        table
            .column(name)
            .ok_or_else(|| SqlError::UnknownColumn { column: name.to_owned(), clause: table.name.original.clone() })
    }

    fn modify(
        &mut self,
        (database, table): (&Database, &TableInfo),
        if_exists: bool,
        name: &str,
        def: &ColumnDef,
        position: Option<&ColumnPosition>,
    ) -> Result<Vec<Action>, SqlError> {
        let old = match self.column(table, name) {
            Ok(old) => old.clone(),
            Err(error) => {
                self.note_if(if_exists, error)?;
                return Ok(Vec::new());
            }
        };
        if old.is_generated() || def.generated.is_some() {
            return Err(SqlError::UnsupportedModifyColumn(format!("'{name}' is or would be a generated column")));
        }
        let primary = def.primary_key.is_some();
        if primary && !table.primary_key().is_empty() {
            return Err(SqlError::MultiplePrimaryKey);
        }
        let mut new = build::column(def, collation(&table.collate), &self.eval.time_zone)?;
        // A column without charset and collation keeps those it has.
        if def.ty.charset.is_none() && def.ty.collate.is_none() && new.field_type.is_text() && old.field_type.is_text()
        {
            new.field_type.collation = old.field_type.collation;
        }
        if table.primary_key().iter().any(|key| key.id == old.id) {
            if def.nullable == Some(true) {
                return Err(SqlError::PrimaryCantHaveNull);
            }
            new.field_type.flags |= flags::NOT_NULL;
        }
        let position = position.map(|position| self::position(Some(position)));
        let change = ColumnChange { position, ..ColumnChange::of(&old, new) };
        let mut actions = vec![self.change(table, &old, change)?];
        for kind in [(primary, IndexKind::Primary), (def.unique, IndexKind::Unique)] {
            if let (true, kind) = kind {
                let mut trial = table.clone();
                actions.iter().try_for_each(|action| try_out(&mut trial, action))?;
                let clustered = def.primary_key.unwrap_or(Clustered::Unsaid);
                let key = IndexDef { clustered, ..build::key_on(def, kind) };
                actions.extend(self.plan_index(&trial, &key)?);
            }
        }
        let mut changed = table.clone();
        actions.iter().try_for_each(|action| try_out(&mut changed, action))?;
        self.add_column_checks(database, changed, def, &mut actions)?;
        Ok(actions)
    }

    /// Adds the checks that are written on a column of a table which has it by now.
    fn add_column_checks(
        &self,
        database: &Database,
        mut table: TableInfo,
        def: &ColumnDef,
        actions: &mut Vec<Action>,
    ) -> Result<(), SqlError> {
        for check in &def.checks {
            let added = self.add_check(database, &table, check)?;
            try_out(&mut table, &added)?;
            actions.push(added);
        }
        Ok(())
    }

    /// A column's new definition, with or without a conversion of its values.
    fn change(&self, table: &TableInfo, old: &ColumnInfo, change: ColumnChange) -> Result<Action, SqlError> {
        if build::change_takes(table, old, &change.column)? == Takes::Nothing {
            return Ok(Action::ModifyColumn(change));
        }
        let zone = self.eval.time_zone.name();
        let moments = [old, &change.column].iter().filter(|column| column.field_type.tp == TypeCode::Timestamp).count();
        // The rules of this server's own zone may not be those of another server.
        let zone = match TimeZone::parse(&zone) {
            Some(_) => zone,
            None if moments == 1 => {
                return Err(SqlError::UnsupportedModifyColumn(format!(
                    "TIMESTAMP values in the time zone '{zone}': SET time_zone to a name or an offset first"
                )));
            }
            None => TimeZone::UTC.name(),
        };
        let how = Conversion {
            sql_mode: self.eval.sql_mode,
            zone,
            today: self.eval.now(0).convert(TimeKind::Date, 0).to_string(),
            ..Conversion::default()
        };
        let columns = vec![change];
        Ok(Action::ConvertColumns(Box::new(ConvertColumns { columns, how, added: Vec::new(), dropped: Vec::new() })))
    }
}

fn modification(name: &str, column: ColumnInfo) -> Action {
    Action::ModifyColumn(ColumnChange { name: name.to_owned(), column: Box::new(column), position: None })
}

/// Takes all steps of a change on a copy of the table.
fn try_out(table: &mut TableInfo, action: &Action) -> Result<(), SqlError> {
    let mut job = Job::new(action.clone(), None, Some((table.id, &table.name.clone())), "");
    job.state = JobState::Running;
    step::several::to_the_end(table, &mut job)
}

fn set_flag(held: &mut u32, flag: u32, on: bool) {
    if on {
        *held |= flag;
    } else {
        *held &= !flag;
    }
}

fn position(position: Option<&ColumnPosition>) -> Position {
    match position {
        None => Position::Last,
        Some(ColumnPosition::First) => Position::First,
        Some(ColumnPosition::After(name)) => Position::After(name.clone()),
    }
}
