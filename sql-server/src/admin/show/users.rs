//! SHOW GRANTS and SHOW CREATE USER.

use sql_base::SqlError;
use sql_context::SessionState;
use sql_parser::canonical::quoted;

use crate::accounts::auth::Verifier;
use crate::admin::infoschema::{Rows, s};
use crate::cluster::Server;

/// `user@%`: the account that a statement names, or the session's own. `text` is as written.
pub(super) fn named(session: &SessionState, text: Option<&str>) -> String {
    format!("{}@%", name_of(session, text))
}

fn name_of<'a>(session: &'a SessionState, text: Option<&'a str>) -> &'a str {
    let text = text.map_or("", str::trim);
    let current = ["", "current_user", "current_user()"].iter().any(|own| text.eq_ignore_ascii_case(own));
    match current {
        true => &session.identity.user,
        false => text.split('@').next().unwrap_or("").trim().trim_matches(['\'', '"', '`']),
    }
}

/// What the session's user may do: everything.
pub(super) fn grants(session: &SessionState, user: Option<&str>) -> Result<Rows, SqlError> {
    let name = name_of(session, user);
    if name != session.identity.user {
        return Err(SqlError::NotSupported("SHOW GRANTS for another user".into()));
    }
    Ok(vec![vec![s(format!("GRANT ALL PRIVILEGES ON *.* TO '{name}'@'%' WITH GRANT OPTION"))]])
}

/// CREATE USER.
pub(super) fn create(server: &Server, session: &SessionState, user: &str) -> Result<Rows, SqlError> {
    let name = name_of(session, Some(user));
    let failed = || SqlError::CannotUser { operation: "SHOW CREATE USER", user: format!("'{name}'@'%'") };
    let password = match server.accounts().verifier(name).ok_or_else(failed)? {
        Verifier::Empty => String::new(),
        Verifier::Native(hash) => format!("*{}", sql_base::hex(&hash)),
        // What is kept of the password proves one, but is not what CREATE USER takes.
        Verifier::CachingSha2(_) => {
            return Err(SqlError::NotSupported("SHOW CREATE USER of an account with caching_sha2_password".into()));
        }
    };
    Ok(vec![vec![s(format!(
        "CREATE USER {}@{} IDENTIFIED WITH 'mysql_native_password' AS '{password}' REQUIRE NONE PASSWORD EXPIRE DEFAULT \
         ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
        quoted(name),
        quoted("%"),
    ))]])
}
