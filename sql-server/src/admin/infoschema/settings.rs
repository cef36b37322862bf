//! `performance_schema`: what the session and the server know of themselves. These are there before there is a cluster.

use sql_context::SessionState;
use sql_context::vars::{self, VARIABLES};

use super::{Rows, s};
use crate::cluster::Server;

/// Global variables.
pub(crate) fn global_variables(server: &Server) -> Rows {
    let visible = VARIABLES.iter().filter(|v| v.scope != vars::Scope::Session);
    visible.map(|v| vec![s(v.name), s(server.globals().get(v))]).collect()
}

/// All variables as the session has them.
pub(crate) fn session_variables(server: &Server, session: &SessionState) -> Rows {
    let own = session.variables();
    VARIABLES.iter().map(|v| vec![s(v.name), s(own.value(server, v))]).collect()
}

/// Counters of the server.
pub(crate) fn status(server: &Server) -> Rows {
    server.status().into_iter().map(|(name, value)| vec![s(name), s(value)]).collect()
}
