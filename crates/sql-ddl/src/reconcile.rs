//! PD's placement rules, compared with the catalogue: rules go to PD over HTTP, outside of the transaction of the step that
//! needs them, so that an owner that was stopped in between may leave others than the catalogue says, and one that is late
//! may bring back old ones. Every owner makes them what they should be when it takes over, and now and then.
//!
//! Groups that the catalogue does not name are left: they say something about key ranges that nobody uses.

use std::collections::BTreeMap;

use kv_client::TxnOptions;
use sql_base::SqlError;
use sql_catalog::{Meta, PolicyInfo};

use super::domain::Domain;
use crate::placement::{self, Bundle};

/// Has PD's rules say what the catalogue says. Returns how many groups did not.
pub(super) async fn rules(domain: &Domain) -> Result<usize, SqlError> {
    let expected = expected(domain).await?;
    if expected.is_empty() {
        return Ok(0);
    }
    let held: Vec<Bundle> = {
        let text = domain.pd.get("/pd/api/v1/config/placement-rule").await?;
        serde_json::from_str(&text).map_err(|e| SqlError::internal("read PD's placement rules", e))?
    };
    let mut differing = 0;
    for bundle in expected {
        if held.contains(&bundle) {
            continue;
        }
        differing += 1;
        tracing::warn!(group = bundle.id, "PD's placement rules are not what the catalogue says, and are set again");
        domain.pd.put_bundle(&bundle).await?;
    }
    Ok(differing)
}

/// The groups that the catalogue names.
async fn expected(domain: &Domain) -> Result<Vec<Bundle>, SqlError> {
    let mut txn = domain.kv.begin(TxnOptions::optimistic()).await?;
    let mut meta = Meta::new(&mut txn);
    let policies: BTreeMap<i64, PolicyInfo> =
        meta.policies().await?.into_iter().map(|policy| (policy.id, policy)).collect();
    let mut bundles = Vec::new();
    for database in meta.databases().await? {
        for table in meta.tables(database.id).await? {
            bundles.extend(placement::rules::bundles(&table, |id| policies.get(&id))?);
        }
    }
    for (range, policy) in meta.range_policies().await? {
        if let Some(policy) = policies.get(&policy) {
            bundles.extend(placement::range_bundle(&range, policy).transpose()?);
        }
    }
    Ok(bundles)
}
