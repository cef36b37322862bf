//! Garbage collection from the client's side: before old versions may go, no lock of an old transaction may be left.

use codec::timestamp::Timestamp;

use crate::client::Client;
use crate::error::Result;

/// The name under which this client's safe point is registered at PD.
const SERVICE: &str = "gc_worker";
/// How long PD keeps the service's entry: for ever.
const TTL_SECONDS: i64 = i64::MAX;

impl Client {
    /// Moves the safe point up to `wanted`, or as far as other services allow; returns the one in force. Stores drop
    /// versions that no snapshot at or after the safe point can see, when they next compact.
    pub async fn gc(&self, wanted: Timestamp) -> Result<Timestamp> {
        let pd = self.pd();
        let allowed = pd.update_service_gc_safe_point(SERVICE, TTL_SECONDS, wanted).await?.min(wanted);
        self.resolve_all_locks(allowed).await?;
        Ok(pd.update_gc_safe_point(allowed).await?)
    }
}
