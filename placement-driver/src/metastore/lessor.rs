//! When leases end: deadlines kept in memory by the Raft leader alone.
//!
//! Renewals are not replicated (they would be most of the log). Instead a new Raft leader gives every lease its full
//! time again, so a lease may live longer than asked over a change of leader, never shorter. The end of a lease is
//! replicated: the leader proposes to revoke it, and until that is applied the lease refuses to be renewed.
//!
//! Time is milliseconds of the caller's monotonic clock.

use std::collections::BTreeMap;

/// How long a proposed revocation may take before it is proposed again.
const REVOKE_RETRY_MS: u64 = 3_000;

/// The deadlines of all leases. See the module header.
#[derive(Debug, Default)]
pub struct Lessor {
    leases: BTreeMap<i64, Deadline>,
}

#[derive(Debug)]
struct Deadline {
    ttl_s: i64,
    at_ms: u64,
    /// When its revocation was last proposed.
    revoking_ms: Option<u64>,
}

impl Lessor {
    /// Starts over as the new leader: every lease lives its full time from now.
    pub fn promote(&mut self, leases: impl Iterator<Item = (i64, i64)>, now_ms: u64) {
        self.leases.clear();
        for (id, ttl_s) in leases {
            self.granted(id, ttl_s, now_ms);
        }
    }

    /// Forgets everything: another member leads.
    pub fn demote(&mut self) {
        self.leases.clear();
    }

    /// A lease was granted.
    pub fn granted(&mut self, id: i64, ttl_s: i64, now_ms: u64) {
        let at_ms = now_ms.saturating_add((ttl_s as u64).saturating_mul(1000));
        self.leases.insert(id, Deadline { ttl_s, at_ms, revoking_ms: None });
    }

    /// A lease was revoked.
    pub fn revoked(&mut self, id: i64) {
        self.leases.remove(&id);
    }

    /// Extends a lease by its full time and returns that time in seconds, or nothing if it is over.
    pub fn renew(&mut self, id: i64, now_ms: u64) -> Option<i64> {
        let lease = self.leases.get_mut(&id).filter(|lease| lease.at_ms > now_ms)?;
        lease.at_ms = now_ms.saturating_add((lease.ttl_s as u64).saturating_mul(1000));
        Some(lease.ttl_s)
    }

    /// The granted and the remaining time in seconds.
    pub fn remaining(&self, id: i64, now_ms: u64) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id)?;
        Some((lease.ttl_s, (lease.at_ms.saturating_sub(now_ms) / 1000) as i64))
    }

    /// The leases whose revocation is to be proposed now.
    pub fn expired(&mut self, now_ms: u64) -> Vec<i64> {
        let mut expired = Vec::new();
        for (id, lease) in &mut self.leases {
            let due = lease.revoking_ms.is_none_or(|since| now_ms >= since + REVOKE_RETRY_MS);
            if lease.at_ms <= now_ms && due {
                lease.revoking_ms = Some(now_ms);
                expired.push(*id);
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lives_while_renewed_and_ends_once() {
        let mut lessor = Lessor::default();
        lessor.granted(7, 3, 1_000);
        assert_eq!(lessor.expired(3_999), Vec::<i64>::new());
        assert_eq!(lessor.renew(7, 3_500), Some(3));
        assert_eq!(lessor.remaining(7, 4_500), Some((3, 2)));
        assert_eq!(lessor.expired(6_499), Vec::<i64>::new());
        assert_eq!(lessor.expired(6_500), vec![7]);
        assert_eq!(lessor.expired(6_600), Vec::<i64>::new(), "proposed already");
        assert_eq!(lessor.renew(7, 6_600), None, "an expired lease can't be renewed");
        assert_eq!(lessor.expired(9_500), vec![7], "a lost proposal is repeated");
        lessor.revoked(7);
        assert_eq!(lessor.expired(20_000), Vec::<i64>::new());
    }

    #[test]
    fn a_new_leader_gives_each_lease_its_full_time() {
        let mut lessor = Lessor::default();
        lessor.promote([(1, 5)].into_iter(), 100_000);
        assert_eq!(lessor.expired(104_999), Vec::<i64>::new());
        assert_eq!(lessor.expired(105_000), vec![1]);
    }
}
