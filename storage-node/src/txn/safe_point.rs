//! The safe point as this node knows it: versions before it may be gone, so that nothing is read or written there.
//!
//! Whoever removes versions raises it first, and whoever reads looks at it *after* taking the view that it reads: a view
//! that lacks a version is then never taken for whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use codec::timestamp::Timestamp;

use super::TxnError;

/// The newest safe point known here; it only rises. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SafePoint(Arc<AtomicU64>);

impl SafePoint {
    /// The safe point; zero when none is known.
    pub fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    /// Takes a newer one. An older one changes nothing.
    pub fn raise(&self, safe_point: Timestamp) {
        self.0.fetch_max(safe_point.0, Ordering::SeqCst);
    }

    /// Refuses what would read or write at a time before it.
    pub fn check(&self, ts: Timestamp) -> Result<(), TxnError> {
        let safe_point = self.get();
        match ts < safe_point {
            true => Err(TxnError::BelowSafePoint { ts, safe_point }),
            false => Ok(()),
        }
    }
}
