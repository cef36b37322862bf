//! A plan as EXPLAIN shows it: a tree in TiDB's columns.

use codec::datum::Datum;
use query::expr::{Expr, Named};
use sql_catalog::TableInfo;

use super::access::EVERYTHING;
use super::change::{self, Action};
use super::estimate::estimate;
use super::plan::{
    Access, ColId, Columns, Frame, JoinKind, JoinWay, LateKeys, MergePart, NodeId, Path, Physical, Plan, Scan, SortKey,
    Subquery, SubqueryKind, WindowCall, WindowFunc,
};
use super::ranges::{self, Interval};

/// What the printer asks.
struct Names<'a> {
    /// Names of columns.
    columns: &'a Columns,
    /// Whether a table's rows are put together on this server.
    local: &'a dyn Fn(&TableInfo) -> bool,
}

/// A line of EXPLAIN.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What leads it in a tree.
    pub lead: String,
    /// How deep it is in the tree.
    pub depth: usize,
    /// What is done.
    pub name: String,
    /// Its number among the lines, from 1.
    pub number: usize,
    /// Rows, as estimated.
    pub rows: Option<f64>,
    /// Where it is done.
    pub task: String,
    /// What is read.
    pub object: String,
    /// The rest.
    pub info: String,
    /// Who does it.
    pub done_by: DoneBy,
}

/// Who does what a line shows: where its numbers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneBy {
    /// The operator of a node.
    Node(NodeId),
    /// For a scan's node an executor of the storage nodes, counted from the one that reads.
    Storage(NodeId, usize),
    /// Nobody apart: it is a part of the line above.
    Part,
}

impl Line {
    /// Its columns: `brief` ones have no number.
    pub fn columns(&self, brief: bool) -> [String; 5] {
        let number = if brief { String::new() } else { format!("_{}", self.number) };
        let rows = self.rows.map_or("N/A".into(), |r| format!("{r:.2}"));
        let id = format!("{}{}{number}", self.lead, self.name);
        [id, rows, self.task.clone(), self.object.clone(), self.info.clone()]
    }
}

/// Column names of the lines.
pub const COLUMNS: [&str; 5] = ["id", "estRows", "task", "access object", "operator info"];

/// The lines of a plan. `local` says whether a table's rows are put together on this server; `action` is what is done with the
/// rows.
pub fn lines(physical: &Physical, local: &dyn Fn(&TableInfo) -> bool, action: Option<&Action>) -> Vec<Line> {
    let mut lines = Lines { rows: Vec::new(), done_by: DoneBy::Part };
    let names = Names { columns: &physical.columns, local };
    let (mut first, mut rest) = (String::new(), String::new());
    if let Some(action) = action {
        let name = match action {
            Action::Insert(_) => "Insert",
            Action::Update(_) => "Update",
            Action::Delete(_) => "Delete",
        };
        lines.push(String::new(), name, None, "root", "N/A", "N/A");
        for [name, object, info] in change::shown(action, &physical.columns).iter().rev() {
            lines.push(format!("{rest}└─"), name, None, "root", object, info);
            rest.push_str("  ");
        }
        first = format!("{rest}└─");
        rest.push_str("  ");
    }
    match action {
        Some(Action::Insert(insert)) if insert.values.is_some() => {
            let rows = insert.values.as_ref().map_or(0, Vec::len);
            lines.push(first, "Values", Some(rows as f64), "root", "", &format!("rows:{rows}"));
        }
        _ => lines.node(&physical.plan, NodeId::default(), &names, &first, &rest),
    }
    for (subquery, at) in physical.subqueries.iter().zip(physical.subquery_nodes()) {
        lines.subquery(subquery, at, &names);
    }
    for (cte, at) in physical.shared.iter().zip(physical.shared_nodes()) {
        let rows = Some(estimate(&cte.plan));
        let info = format!("CTE_{}, evaluated once", cte.number);
        lines.push(String::new(), "CTE", rows, "root", &format!("CTE:{}", cte.name), &info);
        lines.node(&cte.plan, at, &names, "└─", "  ");
    }
    lines.rows
}

struct Lines {
    rows: Vec<Line>,
    /// Who does what comes next.
    done_by: DoneBy,
}

fn list(exprs: &[Expr], rt: &Names<'_>) -> String {
    exprs.iter().map(|e| Named(e, |i| rt.columns.name(i)).to_string()).collect::<Vec<_>>().join(", ")
}

fn keys(keys: &[SortKey], rt: &Names<'_>) -> String {
    let one = |k: &SortKey| format!("{}{}", Named(&k.expr, |i| rt.columns.name(i)), if k.desc { ":desc" } else { "" });
    keys.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `sum(a)->Column#7 over(partition by b order by c rows between …)`, as TiDB has it but with the frame at each call.
fn window(partition: &[Expr], order: &[SortKey], calls: &[(WindowCall, ColId)], rt: &Names<'_>) -> String {
    let call = |(call, id): &(WindowCall, ColId)| {
        let args = match &call.func {
            WindowFunc::Aggregate(agg) if agg.args.is_empty() => "1".into(),
            WindowFunc::Aggregate(agg) => list(&agg.args, rt),
            _ => list(&call.args, rt),
        };
        let mut over = Vec::new();
        if !partition.is_empty() {
            over.push(format!("partition by {}", list(partition, rt)));
        }
        if !order.is_empty() {
            over.push(format!("order by {}", keys(order, rt)));
        }
        if call.func.has_frame() && call.frame != Frame::unsaid(!order.is_empty()) {
            over.push(call.frame.to_string());
        }
        format!("{}({args})->{} over({})", call.func.name(), rt.columns.name(*id), over.join(" "))
    };
    calls.iter().map(call).collect::<Vec<_>>().join(", ")
}

/// Which conditions choose the keys of a run.
fn decided_by(late: &LateKeys, rt: &Names<'_>) -> String {
    format!("decided by [{}]", list(&late.conditions, rt))
}

/// Which partitions are read, as far as the plan knows.
fn partitions_shown(scan: &Scan) -> Option<String> {
    let (partitions, info) = (scan.partitions.as_ref()?, scan.table.partition.as_ref()?);
    Some(match partitions.known.len() {
        0 => "partition:dual".to_owned(),
        n if n == info.definitions.len() => "partition:all".to_owned(),
        _ => {
            let names = partitions.known.iter().filter_map(|at| info.definitions.get(*at));
            format!("partition:{}", names.map(|p| p.name.original.as_str()).collect::<Vec<_>>().join(","))
        }
    })
}

/// Ranges of handles in words.
fn handle_words(list: &[(i64, i64)]) -> String {
    let end = |v: i64, low| match v {
        i64::MIN if low => "-inf".to_owned(),
        i64::MAX if !low => "+inf".to_owned(),
        v => v.to_string(),
    };
    let ranges: Vec<String> =
        list.iter().take(8).map(|(a, b)| format!("[{},{}]", end(*a, true), end(*b, false))).collect();
    ranges.join(", ")
}

impl Lines {
    fn push(&mut self, lead: String, name: &str, rows: Option<f64>, task: &str, object: &str, info: &str) {
        self.rows.push(Line {
            depth: lead.chars().count() / 2,
            lead,
            name: name.to_owned(),
            number: self.rows.len() + 1,
            rows,
            task: task.to_owned(),
            object: object.to_owned(),
            info: info.to_owned(),
            done_by: std::mem::replace(&mut self.done_by, DoneBy::Part),
        });
    }

    /// A subquery that is run first.
    fn subquery(&mut self, subquery: &Subquery, at: NodeId, rt: &Names<'_>) {
        let name = match subquery.kind {
            SubqueryKind::Scalar => "ScalarSubQuery",
            SubqueryKind::Exists => "ExistsSubQuery",
            SubqueryKind::List { .. } => "ListSubQuery",
            SubqueryKind::Test { .. } => "TestSubQuery",
        };
        self.push(String::new(), name, None, "root", "", &format!("Output:{}", rt.columns.name(subquery.slot)));
        self.node(&subquery.plan, at, rt, "└─", "  ");
    }

    /// `first` leads the node's own line, `rest` the lines below it.
    fn node(&mut self, plan: &Plan, at: NodeId, rt: &Names<'_>, first: &str, rest: &str) {
        self.done_by = DoneBy::Node(at);
        let rows = Some(estimate(plan));
        let lead = first.to_owned();
        match plan {
            Plan::One => self.push(lead, "TableDual", rows, "root", "", "rows:1"),
            Plan::Nothing(_) => self.push(lead, "TableDual", rows, "root", "", "rows:0"),
            Plan::Values { rows: values, .. } => {
                self.push(lead, "TableDual", rows, "root", "", &format!("rows:{}", values.len()))
            }
            Plan::Memory { table, .. } => {
                self.push(lead, "MemTableScan", rows, "root", &format!("table:{}", table.name), "")
            }
            Plan::Scan(scan) => self.scan(scan, at, rt, first, rest),
            Plan::Filter { conditions, .. } => self.push(lead, "Selection", rows, "root", "", &list(conditions, rt)),
            Plan::Project { exprs, .. } => {
                let exprs: Vec<Expr> = exprs.iter().map(|e| e.0.clone()).collect();
                self.push(lead, "Projection", rows, "root", "", &list(&exprs, rt));
            }
            Plan::Join { kind, equal, other, way, .. } => {
                let kind = match kind {
                    JoinKind::Inner => "inner join",
                    JoinKind::Left => "left outer join",
                    JoinKind::Semi => "semi join",
                    JoinKind::Anti => "anti semi join",
                };
                let mut info = vec![kind.to_owned()];
                if equal.is_empty() {
                    info[0] = format!("CARTESIAN {kind}");
                } else {
                    let pairs: Vec<String> = equal
                        .iter()
                        .map(|(a, b)| {
                            format!("eq({}, {})", Named(a, |i| rt.columns.name(i)), Named(b, |i| rt.columns.name(i)))
                        })
                        .collect();
                    info.push(format!("equal:[{}]", pairs.join(", ")));
                }
                if !other.is_empty() {
                    info.push(format!("other cond:{}", list(other, rt)));
                }
                let name = match way {
                    JoinWay::Hash => "HashJoin",
                    JoinWay::Lookup(_) => "IndexJoin",
                    JoinWay::Merge => "MergeJoin",
                };
                self.push(lead, name, rows, "root", "", &info.join(", "));
            }
            Plan::Aggregate { group, aggs, .. } => {
                let group: Vec<Expr> = group.iter().map(|g| g.0.clone()).collect();
                let funcs: Vec<String> = aggs
                    .iter()
                    .map(|(a, id)| {
                        format!(
                            "funcs:{}({}{})->{}",
                            a.name,
                            if a.distinct { "distinct " } else { "" },
                            if a.args.is_empty() { "1".into() } else { list(&a.args, rt) },
                            rt.columns.name(*id)
                        )
                    })
                    .collect();
                let mut info = funcs.join(", ");
                if !group.is_empty() {
                    info = format!("group by:{}, {info}", list(&group, rt));
                }
                self.push(lead, "HashAgg", rows, "root", "", &info);
            }
            Plan::Window { partition, order, calls, .. } => {
                self.push(lead, "Window", rows, "root", "", &window(partition, order, calls, rt));
            }
            Plan::Distinct(_) => self.push(lead, "HashAgg", rows, "root", "", "distinct"),
            Plan::Sort { keys: k, limit: Some(n), .. } => {
                self.push(lead, "TopN", rows, "root", "", &format!("{}, offset:0, count:{n}", keys(k, rt)))
            }
            Plan::Sort { keys: k, .. } => self.push(lead, "Sort", rows, "root", "", &keys(k, rt)),
            Plan::Limit { offset, count, .. } => {
                self.push(lead, "Limit", rows, "root", "", &format!("offset:{offset}, count:{count}"))
            }
            Plan::Union { .. } => self.push(lead, "Union", rows, "root", "", ""),
            Plan::Expand { group, .. } => {
                let group: Vec<Expr> = group.iter().map(|g| g.0.clone()).collect();
                self.push(lead, "Expand", rows, "root", "", &format!("rollup:{}", list(&group, rt)));
            }
            Plan::Recursive(recursive) => {
                let union = if recursive.distinct { "union distinct" } else { "union all" };
                let limit = recursive.limit.map_or(String::new(), |n| format!(", limit:{n}"));
                let object = format!("CTE:{}", recursive.name);
                self.push(lead, "RecursiveCTE", rows, "root", &object, &format!("{union}{limit}"));
            }
            Plan::Cte(cte) => {
                let object = match cte.alias == cte.name {
                    true => format!("CTE:{}", cte.name),
                    false => format!("CTE:{} AS {}", cte.name, cte.alias),
                };
                self.push(lead, "CTEFullScan", rows, "root", &object, &format!("data:CTE_{}", cte.number));
            }
            Plan::WorkTable { alias, .. } => {
                self.push(lead, "CTETable", rows, "root", &format!("CTE:{alias}"), "rows of the last round");
            }
            Plan::Repeat { times, .. } => {
                let info = format!("times:{}", Named(times, |i| rt.columns.name(i)));
                self.push(lead, "Repeat", rows, "root", "", &info);
            }
            Plan::Lateral { outer, .. } => {
                let info = if *outer { "left outer join" } else { "inner join" };
                self.push(lead, "LateralJoin", rows, "root", "", info);
            }
            Plan::Apply { .. } => self.push(lead, "Apply", rows, "root", "", "correlated subquery"),
        }
        let below = plan.below();
        for (i, input) in below.iter().enumerate() {
            let last = i + 1 == below.len();
            let (a, b) = if last { ("└─", "  ") } else { ("├─", "│ ") };
            self.node(input, at.below(plan, i), rt, &format!("{rest}{a}"), &format!("{rest}{b}"));
        }
    }

    /// Entries of an index, and the rows that they lead to.
    fn lookup(&mut self, lead: String, rest: &str, rows: Option<f64>, [at, index, table]: [&str; 3], infos: [&str; 2]) {
        self.push(lead, "IndexLookUp", rows, "root", at, "");
        self.push(format!("{rest}├─"), "IndexRangeScan(Build)", rows, "cop[tikv]", index, infos[0]);
        self.push(format!("{rest}└─"), "TableRowIDScan(Probe)", rows, "cop[tikv]", table, infos[1]);
    }

    /// A part of an index merge: what leads to handles.
    fn merged(
        &mut self,
        lead: &str,
        part: &MergePart,
        (object, table): (&dyn Fn(i64) -> String, &str),
        pseudo: &str,
        rt: &Names<'_>,
    ) {
        let (name, object, range) = match &part.access {
            Access::Index { index, words, .. } => ("IndexRangeScan", object(*index), words.clone()),
            Access::PointIndex { index, keys } => {
                let values = |key: &Vec<Datum>| {
                    ranges::words(&key[..key.len() - 1], &[Interval::point(key[key.len() - 1].clone())])
                };
                let some: Vec<String> = keys.iter().take(8).filter(|key| !key.is_empty()).map(values).collect();
                ("IndexRangeScan", object(*index), some.join(", "))
            }
            Access::Late(late) => match late.path {
                Path::Index { index, .. } => ("IndexRangeScan", object(index), decided_by(late, rt)),
                Path::Handle { .. } => ("TableRangeScan", table.to_owned(), decided_by(late, rt)),
            },
            Access::Handles(list) => ("TableRangeScan", table.to_owned(), handle_words(list)),
            Access::PointHandles(list) => {
                let list: Vec<(i64, i64)> = list.iter().map(|h| (*h, *h)).collect();
                ("TableRangeScan", table.to_owned(), handle_words(&list))
            }
            Access::Full | Access::Empty | Access::Merge(_) => ("TableFullScan", table.to_owned(), String::new()),
        };
        let info = format!("range:{range}, keep order:false{pseudo}");
        self.push(lead.to_owned(), &format!("{name}(Build)"), Some(part.rows), "cop[tikv]", &object, &info);
    }

    fn scan(&mut self, scan: &Scan, at: NodeId, rt: &Names<'_>, first: &str, rest: &str) {
        let rows = Some(scan.estimate);
        let table = format!("table:{}", scan.alias);
        // Points say with their table where they are, and whoever else reads says it instead.
        let partitions = partitions_shown(scan);
        let table = match (&partitions, scan.access.is_points()) {
            (Some(partitions), true) => format!("{table}, {partitions}"),
            _ => table,
        };
        let partitions = partitions.unwrap_or_default();
        let object = |index: i64| {
            let Some(i) = scan.table.indexes.iter().find(|i| i.id == index) else { return table.clone() };
            let columns: Vec<&str> = i.columns.iter().map(|c| c.name.as_str()).collect();
            let kind = if scan.table.is_clustered_by(i) { "clustered index" } else { "index" };
            format!("{table}, {kind}:{}({})", i.name, columns.join(", "))
        };
        let mut lead = first.to_owned();
        let mut rest = rest.to_owned();
        let mut root = scan.residual.clone();
        let local = (rt.local)(&scan.table);
        // Where the rows are put together here, so are their conditions checked.
        if scan.access.is_points() || local || scan.access.is_lookup() {
            root.extend(scan.pushed.filters.iter().cloned());
        }
        if !root.is_empty() {
            self.push(lead, "Selection", rows, "root", "", &list(&root, rt));
            lead = format!("{rest}└─");
            rest.push_str("  ");
        }
        // As in TiDB: the numbers of rows are guesses.
        let pseudo = if scan.known.is_pseudo() { ", stats:pseudo" } else { "" };
        let desc = if scan.order == Some(true) { ", desc" } else { "" };
        let of_points = format!("keep order:{}{desc}", scan.order.is_some());
        let order = format!("{of_points}{pseudo}");
        let of_rows = format!("keep order:false{pseudo}");
        match &scan.access {
            Access::Empty => self.push(lead, "TableDual", Some(0.0), "root", "", "rows:0"),
            Access::PointHandles(h) if h.len() == 1 => {
                self.push(lead, "Point_Get", rows, "root", &table, &format!("handle:{}", h[0]))
            }
            Access::PointHandles(h) => {
                let list: Vec<String> = h.iter().take(16).map(i64::to_string).collect();
                self.push(
                    lead,
                    "Batch_Point_Get",
                    rows,
                    "root",
                    &table,
                    &format!("handle:[{}], {of_points}", list.join(" ")),
                );
            }
            Access::PointIndex { index, keys } if keys.len() == 1 => {
                self.push(lead, "Point_Get", rows, "root", &object(*index), "")
            }
            Access::PointIndex { index, .. } => {
                self.push(lead, "Batch_Point_Get", rows, "root", &object(*index), &of_points)
            }
            Access::Late(late) if scan.access.is_points() => {
                let single = late.conditions.len() == 1 && scan.estimate <= 1.0;
                let name = if single { "Point_Get" } else { "Batch_Point_Get" };
                let object = match late.path {
                    Path::Handle { .. } => table.clone(),
                    Path::Index { index, .. } => object(index),
                };
                self.push(lead, name, rows, "root", &object, &decided_by(late, rt));
            }
            Access::Index { index, words, covering: false, .. } => {
                let range = format!("range:{words}, {order}");
                self.lookup(lead, &rest, rows, [&partitions, &object(*index), &table], [&range, &of_rows]);
            }
            Access::Late(late) if scan.access.is_lookup() => {
                let index = match late.path {
                    Path::Index { index, .. } => object(index),
                    Path::Handle { .. } => table.clone(),
                };
                let range = format!("range:{}, {order}", decided_by(late, rt));
                self.lookup(lead, &rest, rows, [&partitions, &index, &table], [&range, &of_rows]);
            }
            Access::Merge(merge) => {
                let kind = if merge.all { "intersection" } else { "union" };
                self.push(lead, "IndexMerge", rows, "root", &partitions, &format!("type: {kind}"));
                for part in &merge.parts {
                    self.merged(&format!("{rest}├─"), part, (&object, &table), pseudo, rt);
                }
                self.push(format!("{rest}└─"), "TableRowIDScan(Probe)", rows, "cop[tikv]", &table, &of_rows);
            }
            access => {
                let of_rows = |index: i64| scan.table.clustered_index().is_some_and(|key| key.id == index);
                let of_index = match access {
                    Access::Index { index, .. } => !of_rows(*index),
                    Access::Late(late) => matches!(late.path, Path::Index { index, .. } if !of_rows(index)),
                    _ => false,
                };
                let reader = if of_index { "IndexReader" } else { "TableReader" };
                let (name, object, range) = match access {
                    Access::Index { words, .. } if !of_index => {
                        ("TableRangeScan", table.clone(), format!("range:{words}, "))
                    }
                    Access::Index { index, words, .. } => {
                        let full = words == EVERYTHING;
                        (
                            if full { "IndexFullScan" } else { "IndexRangeScan" },
                            object(*index),
                            if full { String::new() } else { format!("range:{words}, ") },
                        )
                    }
                    Access::Late(late) => {
                        let (name, object) = match late.path {
                            Path::Index { index, .. } if of_index => ("IndexRangeScan", object(index)),
                            Path::Index { .. } | Path::Handle { .. } => ("TableRangeScan", table.clone()),
                        };
                        (name, object, format!("range:{}, ", decided_by(late, rt)))
                    }
                    Access::Handles(list) => {
                        ("TableRangeScan", table.clone(), format!("range:{}, ", handle_words(list)))
                    }
                    _ => ("TableFullScan", table.clone(), String::new()),
                };
                if local {
                    self.push(lead, "UnionScan", rows, "root", &partitions, "");
                    self.push(format!("{rest}└─"), name, rows, "root", &object, &format!("{range}{order}"));
                    return;
                }
                let pushed = &scan.pushed;
                let above = [
                    pushed.limit.is_some(),
                    pushed.topn.is_some(),
                    pushed.aggregate.is_some(),
                    !pushed.filters.is_empty(),
                ];
                let mut above = above.into_iter().filter(|there| *there).count();
                if self.done_by == DoneBy::Part {
                    self.done_by = DoneBy::Storage(at, above);
                }
                self.push(lead, reader, rows, "root", &partitions, "");
                let mut lead = format!("{rest}└─");
                let mut under = format!("{rest}  ");
                let mut cop = |name: &str, info: String, lines: &mut Lines| {
                    lines.done_by = DoneBy::Storage(at, above);
                    above -= 1;
                    lines.push(std::mem::replace(&mut lead, format!("{under}└─")), name, rows, "cop[tikv]", "", &info);
                    under.push_str("  ");
                };
                if let Some(n) = scan.pushed.limit {
                    cop("Limit", format!("offset:0, count:{n}"), self);
                }
                if let Some((k, n)) = &scan.pushed.topn {
                    cop("TopN", format!("{}, offset:0, count:{n}", keys(k, rt)), self);
                }
                if let Some(agg) = &scan.pushed.aggregate {
                    let group: Vec<Expr> = agg.group.iter().map(|g| g.0.clone()).collect();
                    let names: Vec<&str> = agg.aggs.iter().map(|a| a.0.name.as_str()).collect();
                    cop("HashAgg", format!("group by:{}, funcs:{}", list(&group, rt), names.join(", ")), self);
                }
                if !scan.pushed.filters.is_empty() {
                    cop("Selection", list(&scan.pushed.filters, rt), self);
                }
                self.done_by = DoneBy::Storage(at, 0);
                self.push(lead, name, rows, "cop[tikv]", &object, &format!("{range}{order}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use codec::types::FieldType;

    use super::super::plan::Recursive;
    use super::*;

    #[test]
    fn rounds_and_levels_of_groups_show() {
        let mut columns = Columns::default();
        let [of_table, of_rounds, key, level] =
            ["r.n", "r.n", "n", "level"].map(|n| columns.add(n, FieldType::bigint()));
        let table = Plan::WorkTable { number: 0, alias: "r".into(), ids: vec![of_table] };
        let recursive = Recursive {
            name: "r".into(),
            number: 0,
            ids: vec![of_rounds],
            inputs: vec![Plan::One, table],
            distinct: true,
            limit: Some(3),
        };
        let group = vec![(columns.expr(of_rounds), key)];
        let plan = Plan::Expand { input: Box::new(Plan::Recursive(Box::new(recursive))), group, level };
        let physical = Physical { plan, columns: columns.into(), ..Physical::default() };
        let seen: Vec<String> =
            lines(&physical, &|_| false, None).iter().map(|line| line.columns(false).join("|")).collect();
        assert_eq!(
            seen,
            [
                "Expand_1|202.00|root||rollup:r.n",
                "└─RecursiveCTE_2|101.00|root|CTE:r|union distinct, limit:3",
                "  ├─TableDual_3|1.00|root||rows:1",
                "  └─CTETable_4|100.00|root|CTE:r|rows of the last round",
            ]
        );
    }
}
