//! Who may log in, and how they prove it.
//!
//! Accounts are this server's own and in memory; [`auth`] is what a client computes and what is kept of a password. It
//! knows no packet.

pub mod auth;

use std::collections::BTreeMap;

use parking_lot::RwLock;

use self::auth::Verifier;

/// Who may log in.
#[derive(Debug)]
pub struct Accounts {
    verifiers: RwLock<BTreeMap<String, Verifier>>,
}

impl Default for Accounts {
    /// `root` without a password, from anywhere.
    fn default() -> Self {
        Accounts { verifiers: RwLock::new(BTreeMap::from([("root".to_owned(), Verifier::Empty)])) }
    }
}

impl Accounts {
    /// What a user's password is checked against; none for an unknown user.
    pub fn verifier(&self, user: &str) -> Option<Verifier> {
        self.verifiers.read().get(user).cloned()
    }

    /// Adds or changes an account of this server.
    pub fn set(&self, user: &str, verifier: Verifier) {
        self.verifiers.write().insert(user.to_owned(), verifier);
    }
}
