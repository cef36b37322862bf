//! What expressions of a statement may ask: the session's time zone, SQL mode, clock, and facts of the connection.

use std::sync::Arc;

use query::context::{EvalContext, SessionInfo, TimeZone, UserLocks};

use crate::state::SessionState;
use crate::vars;

/// The session's zone, for expressions.
pub fn time_zone(session: &SessionState) -> TimeZone {
    session.vars.settings().time_zone.clone()
}

/// What the statement's expressions may ask.
pub fn eval_context(session: &SessionState, write: bool) -> EvalContext {
    let now = session.now().timestamp_micros();
    let settings = session.vars.settings();
    let (mode, zone) = (settings.sql_mode, time_zone(session));
    let mut cx = if write { EvalContext::for_write(mode, zone, now) } else { EvalContext::for_select(mode, zone, now) };
    let user = format!("{}@{}", session.identity.user, session.identity.host);
    cx.session = SessionInfo {
        database: session.database.clone(),
        user,
        current_user: format!("{}@%", session.identity.user),
        version: vars::SERVER_VERSION.to_owned(),
        connection_id: session.id,
        last_insert_id: session.last_insert_id,
        found_rows: session.found_rows,
        row_count: session.row_count,
    };
    cx.user_locks = session.user_locks.clone().map(|locks| locks as Arc<dyn UserLocks>);
    cx.system_zone = vars::SYSTEM_ZONE.clone();
    cx.collation = settings.collation;
    cx.div_precision_increment = settings.div_precision_increment;
    cx.random = rand::random();
    cx.max_allowed_packet = settings.max_allowed_packet;
    cx.group_concat_max_len = settings.group_concat_max_len;
    cx.max_warnings = settings.max_error_count;
    cx
}
