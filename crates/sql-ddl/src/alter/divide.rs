//! Changes of partitions: what is written, against the table as it is.

use sql_base::{PartitionError, SqlError};
use sql_catalog::partition::{Division, Method, Value};
use sql_catalog::{Partition, PartitionInfo, SchemaState, TableInfo};
use sql_parser::{PartitionChange, PartitionNames};

use crate::exec::Statement;
use crate::job::Action;
use crate::partitions::{Context, check, definitions, in_order, numbered, words};

impl Statement<'_> {
    /// The jobs of a change of partitions.
    pub(super) fn plan_partitions(
        &mut self,
        table: &TableInfo,
        change: &PartitionChange,
    ) -> Result<Vec<Action>, SqlError> {
        if let PartitionChange::By(by) = change {
            let info = self.partitions(table, by)?;
            return Ok(vec![divide(Some(info))]);
        }
        let info = table.partition.as_deref().ok_or(PartitionError::NotPartitioned)?;
        let hashed = matches!(info.method, Method::Hash | Method::Key);
        let missing =
            |name: &String| SqlError::UnknownPartition { partition: name.clone(), table: table.name.original.clone() };
        let policy = |policy: &sql_parser::PolicyRef| self.policy_ref(policy);
        let cx = Context { eval: &self.eval, policy: &policy };
        let action = match change {
            PartitionChange::By(_) => return Ok(Vec::new()),
            PartitionChange::Remove => divide(None),
            PartitionChange::Add { if_not_exists, definitions: defs, count } => {
                let there = defs.iter().find(|def| info.position(&def.name).is_some());
                if let Some(def) = there.filter(|_| *if_not_exists) {
                    let there = PartitionError::SameName(def.name.clone());
                    self.note_if(true, there.into())?;
                    return Ok(Vec::new());
                }
                if *count == Some(0) || (count.is_none() && defs.is_empty()) {
                    return Err(PartitionError::NothingAdded.into());
                }
                let added = match count {
                    Some(count) if hashed => numbered(info.definitions.len(), *count)?,
                    Some(_) if info.method == Method::Range => {
                        return Err(PartitionError::RequiresValues { method: "RANGE", values: "LESS THAN" }.into());
                    }
                    Some(_) => return Err(PartitionError::RequiresValues { method: "LIST", values: "IN" }.into()),
                    None => definitions(table, info, defs, &cx)?,
                };
                let others = |partition: &Partition| partition.in_values.contains(&vec![Value::Default]);
                if info.definitions.iter().any(others) {
                    return Err(SqlError::UnsupportedDdl(
                        "ADD List partition, already contains DEFAULT partition. Please use REORGANIZE PARTITION instead"
                            .into(),
                    ));
                }
                match hashed {
                    // Each row has another remainder.
                    true => divide(Some(anew(info, info.definitions.iter().cloned().chain(added).collect()))),
                    false => Action::AddPartitions(added),
                }
            }
            PartitionChange::Drop { if_exists, names } => {
                if hashed {
                    return Err(PartitionError::OnlyRangeList("DROP").into());
                }
                if names.iter().any(|name| info.position(name).is_none()) {
                    self.note_if(*if_exists, PartitionError::NotInList("DROP").into())?;
                    return Ok(Vec::new());
                }
                Action::DropPartitions(names.clone())
            }
            PartitionChange::Truncate(names) => {
                let names = match names {
                    PartitionNames::All => info.definitions.iter().map(|p| p.name.original.clone()).collect(),
                    PartitionNames::Some(names) => names.clone(),
                };
                if let Some(name) = names.iter().find(|name| info.position(name).is_none()) {
                    return Err(missing(name));
                }
                Action::TruncatePartitions { names, ids: Vec::new() }
            }
            PartitionChange::Coalesce(count) => {
                if !hashed {
                    return Err(PartitionError::CoalesceOnlyHash.into());
                }
                let left = match usize::try_from(*count).ok().and_then(|n| info.definitions.len().checked_sub(n)) {
                    Some(_) if *count == 0 => return Err(PartitionError::NothingCoalesced.into()),
                    Some(0) | None => return Err(PartitionError::DropLast.into()),
                    Some(left) => left,
                };
                divide(Some(anew(info, info.definitions[..left].to_vec())))
            }
            PartitionChange::Reorganize { .. } if hashed => {
                return Err(SqlError::NotSupported("REORGANIZE PARTITION of HASH and KEY".into()));
            }
            PartitionChange::Reorganize { names, definitions: defs } => {
                divide(Some(reorganized(table, info, names, definitions(table, info, defs, &cx)?)?))
            }
            PartitionChange::Exchange { .. } => return Err(SqlError::NotSupported(words(change).into())),
            PartitionChange::Placement { partition, policy } => {
                let at = info.position(partition).ok_or_else(|| missing(partition))?;
                let name = info.definitions[at].name.original.clone();
                Action::PartitionPolicy { name, policy: self.policy_ref(policy)? }
            }
        };
        Ok(vec![action])
    }
}

fn divide(info: Option<PartitionInfo>) -> Action {
    Action::Divide(Box::new(Division { state: SchemaState::None, partition: info.map(Box::new), rows_at: 0 }))
}

/// The same division among other partitions, of which none has its rows yet.
fn anew(info: &PartitionInfo, partitions: Vec<Partition>) -> PartitionInfo {
    let partitions = partitions.into_iter().map(|p| Partition { id: 0, ..p }).collect();
    PartitionInfo::new(info.method, info.expr.clone(), info.columns.clone(), partitions)
}

/// Partitions in the place of others; those that stay keep their ids.
fn reorganized(
    table: &TableInfo,
    info: &PartitionInfo,
    names: &[String],
    new: Vec<Partition>,
) -> Result<PartitionInfo, SqlError> {
    let position = |name: &String| info.position(name).ok_or(PartitionError::NotInList("REORGANIZE"));
    let mut places = names.iter().map(position).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    if let Some(same) = places.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(PartitionError::SameName(info.definitions[same[0]].name.original.clone()).into());
    }
    let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) else {
        return Err(PartitionError::NotInList("REORGANIZE").into());
    };
    if info.method == Method::Range {
        if last - first + 1 != places.len() {
            return Err(PartitionError::NotConsecutive.into());
        }
        let old_end = in_order(table, info, &info.definitions[last].less_than);
        let new_end = new.last().map(|p| in_order(table, info, &p.less_than)).unwrap_or_default();
        let order = new_end.iter().zip(&old_end).map(|(a, b)| a.0.compare(&b.0, a.1)).find(|order| order.is_ne());
        let may_extend = last + 1 == info.definitions.len();
        match order {
            None => {}
            Some(std::cmp::Ordering::Greater) if may_extend => {}
            Some(_) => return Err(PartitionError::OutsideRange.into()),
        }
    }
    let mut all = Vec::new();
    let mut new = Some(new);
    for (at, partition) in info.definitions.iter().enumerate() {
        if at == first {
            all.extend(new.take().into_iter().flatten());
        }
        if !places.contains(&at) {
            all.push(partition.clone());
        }
    }
    let others = |partition: &Partition| partition.in_values.contains(&vec![Value::Default]);
    let made = match info.definitions.iter().chain(&all).any(others) {
        // What is in no list may be in one afterwards, and the other way round: no partition keeps its rows.
        true => anew(info, all),
        false => PartitionInfo::new(info.method, info.expr.clone(), info.columns.clone(), all),
    };
    check(table, &made)?;
    Ok(made)
}
