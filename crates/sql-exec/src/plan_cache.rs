//! Plans of a session that are kept for the next time: those of queries and changes that are prepared, or that come again as
//! text with other literals, by their text.
//!
//! ```text
//!   "SELECT … WHERE id = ?"  ->  for BIGINT            Point: one row by key, nothing is bound or planned
//!                                for VARCHAR '7'       Query: the type of the comparison depended on the value
//!                                for NULL              Query
//!   "UPDATE … WHERE id = ?"  ->  for BIGINT            Change: which rows, what is set, what is written
//! ```
//!
//! A plan is found again for the same text, schema, surroundings ([`Surroundings`]) and statistics, for values that it takes
//! ([`Kept::takes`]). It holds nothing of the run that made it. When the schema changes all plans go; beyond the session's
//! number of plans the one goes that was not used for the longest time.

use std::collections::HashMap;
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{Collation, FieldType};
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::Schema;
use sql_context::{ExecContext, type_of_datum};
use sql_planner::expr::parameter_type;
use sql_planner::inputs::{Kept, Source};

use crate::planned::{ChangePlan, QueryPlan};
use crate::point::PointPlan;
use crate::runtime::Value;

/// What plans depend on beside the statement's text, the schema and the types of its values.
#[derive(Debug, Clone)]
pub struct Surroundings {
    database: Option<String>,
    sql_mode: u64,
    zone: TimeZone,
    collation: Collation,
    div_precision_increment: u8,
    max_allowed_packet: u64,
    select_limit: u64,
    statistics: u64,
}

impl Surroundings {
    /// Those of a statement.
    fn of(ctx: &ExecContext<'_>) -> Surroundings {
        let settings = ctx.session.vars.settings();
        Surroundings {
            database: ctx.session.database.clone(),
            sql_mode: settings.sql_mode,
            zone: settings.time_zone.clone(),
            collation: settings.collation,
            div_precision_increment: settings.div_precision_increment,
            max_allowed_packet: settings.max_allowed_packet,
            select_limit: settings.sql_select_limit,
            statistics: statistics_version(ctx),
        }
    }

    fn are_of(&self, ctx: &ExecContext<'_>) -> bool {
        let settings = ctx.session.vars.settings();
        self.database == ctx.session.database
            && self.sql_mode == settings.sql_mode
            && self.collation == settings.collation
            && self.div_precision_increment == settings.div_precision_increment
            && self.max_allowed_packet == settings.max_allowed_packet
            && self.select_limit == settings.sql_select_limit
            && self.statistics == statistics_version(ctx)
            && self.zone == settings.time_zone
    }
}

fn statistics_version(ctx: &ExecContext<'_>) -> u64 {
    ctx.server.statistics().map_or(0, |statistics| statistics.current().version())
}

/// What is done.
#[derive(Clone)]
pub(crate) enum Body {
    /// One row is read by key.
    Point(Arc<PointPlan>),
    /// Operators are built.
    Query(Arc<QueryPlan>),
    /// Rows are changed.
    Change(Arc<ChangePlan>),
}

struct Plan {
    surroundings: Surroundings,
    inputs: Vec<Kept>,
    body: Body,
    used: u64,
}

/// Plans of one text at most: one that is planned anew for every value must not drive out all others.
const VARIANTS_MAX: usize = 8;

/// The plans of a session.
#[derive(Default)]
pub struct PlanCache {
    schema: Option<Arc<Schema>>,
    plans: HashMap<Arc<str>, Vec<Plan>>,
    count: usize,
    uses: u64,
}

/// What a statement that may find its plan has of the cache.
pub struct PlanKey<'a> {
    /// The session's plans.
    pub cache: &'a mut PlanCache,
    /// The text, and how it was read.
    pub text: &'a Arc<str>,
    /// How many plans the session may keep.
    pub size: usize,
}

impl PlanKey<'_> {
    /// A plan for the statement with the values of its inputs, if there is one. `points` says whether one that reads a row
    /// by key is wanted, too.
    pub(crate) fn find(&mut self, ctx: &ExecContext<'_>, points: bool) -> Option<(Body, Vec<(usize, Value)>)> {
        let cache = &mut *self.cache;
        if !cache.schema.as_ref().is_some_and(|schema| Arc::ptr_eq(schema, &ctx.schema)) {
            *cache = PlanCache { schema: Some(ctx.schema.clone()), ..PlanCache::default() };
            return None;
        }
        cache.uses += 1;
        let uses = cache.uses;
        let fits = |plan: &&mut Plan| {
            (points || !matches!(plan.body, Body::Point(_)))
                && plan.surroundings.are_of(ctx)
                && takes(&plan.inputs, ctx)
        };
        let plan = cache.plans.get_mut(self.text)?.iter_mut().find(fits)?;
        plan.used = uses;
        let values = values_of(&plan.inputs, ctx).ok()?;
        Some((plan.body.clone(), values))
    }

    /// Keeps a plan.
    pub(crate) fn keep(&mut self, ctx: &ExecContext<'_>, inputs: Vec<Kept>, body: Body) {
        let cache = &mut *self.cache;
        if cache.plans.get(self.text).is_some_and(|plans| plans.len() >= VARIANTS_MAX) {
            cache.drop_oldest(Some(self.text));
        }
        while cache.count >= self.size.max(1) {
            cache.drop_oldest(None);
        }
        cache.uses += 1;
        let plan = Plan { surroundings: Surroundings::of(ctx), inputs, body, used: cache.uses };
        // What reads by key is tried first.
        let plans = cache.plans.entry(self.text.clone()).or_default();
        match plan.body {
            Body::Point(_) => plans.insert(0, plan),
            Body::Query(_) | Body::Change(_) => plans.push(plan),
        }
        cache.count += 1;
    }
}

impl PlanCache {
    /// Drops the plan, of this text or of all, that was not used for the longest time.
    fn drop_oldest(&mut self, of: Option<&Arc<str>>) {
        let oldest =
            self.plans.iter().filter(|(text, _)| of.is_none_or(|of| *of == **text)).filter_map(|(text, plans)| {
                plans
                    .iter()
                    .enumerate()
                    .map(|(at, plan)| (plan.used, at))
                    .min()
                    .map(|(used, at)| (used, text.clone(), at))
            });
        let Some((_, text, at)) = oldest.min_by_key(|o| o.0) else {
            self.count = 0;
            return;
        };
        if let Some(plans) = self.plans.get_mut(&text) {
            plans.remove(at);
            if plans.is_empty() {
                self.plans.remove(&text);
            }
        }
        self.count -= 1;
    }
}

/// A statement's plan of one kind with the values of this run: a kept one, or one that is made now and kept. What cannot be
/// planned without its values is planned with them, and not kept.
pub(crate) fn find_or_plan<P>(
    ctx: &mut ExecContext<'_>,
    mut key: Option<PlanKey<'_>>,
    (as_body, of_body): (fn(Arc<P>) -> Body, fn(Body) -> Option<Arc<P>>),
    plan: impl Fn(&mut ExecContext<'_>, bool) -> Result<(P, Vec<Kept>), SqlError>,
) -> Result<(Arc<P>, Vec<(usize, Value)>), SqlError> {
    if let Some((body, values)) = key.as_mut().and_then(|key| key.find(ctx, false))
        && let Some(plan) = of_body(body)
    {
        ctx.session.plan_from_cache = true;
        return Ok((plan, values));
    }
    if let Some(key) = &mut key
        && let Ok((plan, inputs)) = plan(ctx, true)
    {
        let (plan, values) = (Arc::new(plan), values_of(&inputs, ctx)?);
        key.keep(ctx, inputs, as_body(plan.clone()));
        return Ok((plan, values));
    }
    Ok((Arc::new(plan(ctx, false)?.0), Vec::new()))
}

/// The value of an input and its type.
fn input(ctx: &ExecContext<'_>, source: &Source) -> Result<(Datum, FieldType), SqlError> {
    match source {
        Source::Placeholder(at) => {
            let value = ctx.params.get(*at).ok_or(SqlError::WrongParameters("EXECUTE"))?;
            Ok((value.clone(), parameter_type(value, ctx.session.vars.settings().collation)))
        }
        Source::Variable(name) => match name.strip_prefix("@@") {
            Some(system) => ctx.session.variables().get(ctx.server, &system.to_lowercase()),
            None => {
                let value = ctx.session.user_vars.get(&name[1..].to_lowercase()).cloned().unwrap_or_default();
                let ty = type_of_datum(&value);
                Ok((value, ty))
            }
        },
    }
}

fn takes(inputs: &[Kept], ctx: &ExecContext<'_>) -> bool {
    inputs.iter().all(|i| match &i.source {
        // As [`input`] says it, without a copy of the value.
        Source::Placeholder(at) => ctx
            .params
            .get(*at)
            .is_some_and(|value| i.takes(value, parameter_type(value, ctx.session.vars.settings().collation))),
        source => input(ctx, source).is_ok_and(|(value, ty)| i.takes(&value, ty)),
    })
}

/// The values of a plan's parameters in a run.
pub(crate) fn values_of(inputs: &[Kept], ctx: &ExecContext<'_>) -> Result<Vec<(usize, Value)>, SqlError> {
    inputs.iter().map(|i| Ok((i.id, Value::One(input(ctx, &i.source)?.0)))).collect()
}
