//! Where the catalogue is in the key space, and typed access to it within a transaction.
//!
//! Keys start with `m`, ahead of every table's `t`, in the layout of TiDB: a name, what kind of structure it is, and for
//! a hash the field. Names and fields are memcomparable, so the fields of one hash are one range.
//!
//! ```text
//!   m | bytes(name) | u64 's'                    a string            NextGlobalID, SchemaVersionKey, Diff:<version>
//!   m | bytes(name) | u64 'h' | bytes(field)     a field of a hash   DBs/DB:<id>, DB:<id>/Table:<id>, Policies/Policy:<id>
//!
//!   DB:<id> / Table:<id>   JSON of the table            DB:<id> / TID:<table>   last row id given out
//!                                                       DB:<id> / IID:<table>   last AUTO_INCREMENT value given out
//!   DDLJobQueue / <job>    JSON of a job not finished   DDLJobHistory / <job>   JSON of a finished one
//!   GlobalVariables / <name>   what SET GLOBAL set, as text; GlobalVariablesVersion counts the changes
//!   DeleteRange / <id>     JSON of a key range whose table or index is gone
//!   Stats, Stats:<table>, AnalyzeJobs   what is known of tables' values (see [`super::statistics`])
//! ```
//!
//! Numbers are stored as decimal text. Everything here runs inside the caller's transaction: what a step of a schema
//! change reads and writes commits as one, and two owners that act on one state conflict at the schema version.

use codec::{bytes, key::prefix_next};
use kv_client::Transaction;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sql_base::SqlError;

use super::model::{DatabaseInfo, PolicyInfo, TableInfo};

/// Entries that one scan of a hash brings: a bound for the answer's size, not for the hash.
const SCAN_BATCH: usize = 512;

/// A change of the catalogue, kept under its version so that servers load what changed and not everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDiff {
    /// The version that this change made.
    pub version: i64,
    /// What to load again.
    pub changed: Vec<Changed>,
}

/// An object whose stored value changed, appeared or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// A database and all its tables.
    Database(i64),
    /// A table: (database it is in now or was in, table).
    Table(i64, i64),
    /// A placement policy.
    Policy(i64),
}

/// A key range whose table or index is gone, to be emptied once no reader can need it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteRange {
    /// Unique.
    pub id: i64,
    /// First key, in hexadecimal.
    pub start: String,
    /// The key after the last, in hexadecimal.
    pub end: String,
    /// Ranges that are gone with it: those of a table's other partitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(String, String)>,
    /// When it was dropped: readers older than this still see it.
    pub ts: u64,
    /// The table that the rows are of, for as long as it can come back; `None` for an index.
    pub table: Option<Box<DroppedTable>>,
    /// Rows are being removed: what is not gone will be.
    pub emptying: bool,
}

/// A table that was dropped, as it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DroppedTable {
    /// The name of its database.
    pub database: String,
    /// The table.
    pub info: TableInfo,
    /// How far its counters were.
    pub counters: [i64; 2],
    /// The job that dropped it.
    pub job: i64,
}

fn string_key(name: &str) -> Vec<u8> {
    codec::meta::string_key(name.as_bytes())
}

fn hash_prefix(name: &str) -> Vec<u8> {
    codec::meta::hash_prefix(name.as_bytes())
}

fn hash_key(name: &str, field: &[u8]) -> Vec<u8> {
    codec::meta::hash_key(name.as_bytes(), field)
}

/// The key that counts the ids that a table has given out.
pub fn auto_id_key(schema_id: i64, table_id: i64, kind: AutoIdKind) -> Vec<u8> {
    hash_key(&format!("DB:{schema_id}"), format!("{}:{table_id}", kind.prefix()).as_bytes())
}

/// Which of a table's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AutoIdKind {
    /// The hidden row number of a table whose rows are not keyed by its primary key.
    RowId,
    /// The AUTO_INCREMENT column.
    AutoIncrement,
}

impl AutoIdKind {
    /// Both.
    pub const ALL: [AutoIdKind; 2] = [AutoIdKind::RowId, AutoIdKind::AutoIncrement];

    fn prefix(self) -> &'static str {
        match self {
            AutoIdKind::RowId => "TID",
            AutoIdKind::AutoIncrement => "IID",
        }
    }
}

const NEXT_GLOBAL_ID: &str = "NextGlobalID";
const SCHEMA_VERSION: &str = "SchemaVersionKey";
const DDL_OWNER: &str = "DDLOwner";
const BOOTSTRAP: &str = "BootstrapKey";
const DATABASES: &str = "DBs";
const POLICIES: &str = "Policies";
const JOB_QUEUE: &str = "DDLJobQueue";
const JOB_HISTORY: &str = "DDLJobHistory";
const DELETE_RANGES: &str = "DeleteRange";
const GC_STATE: &str = "GcState";
const RANGE_POLICIES: &str = "RangePolicies";
const GLOBAL_VARIABLES: &str = "GlobalVariables";
const GLOBAL_VARIABLES_VERSION: &str = "GlobalVariablesVersion";

/// The catalogue as one transaction sees and changes it.
pub struct Meta<'a> {
    txn: &'a mut Transaction,
}

impl<'a> Meta<'a> {
    /// Over a transaction that the caller commits.
    pub fn new(txn: &'a mut Transaction) -> Self {
        Meta { txn }
    }

    /// The transaction's start.
    pub fn start_ts(&self) -> u64 {
        self.txn.start_ts().0
    }

    // ---- Numbers ----

    async fn number(&mut self, key: &[u8]) -> Result<i64, SqlError> {
        match self.txn.get(key).await? {
            None => Ok(0),
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| SqlError::internal("read a counter of the catalogue", "not a number")),
        }
    }

    async fn add(&mut self, key: Vec<u8>, by: i64) -> Result<i64, SqlError> {
        let next = self
            .number(&key)
            .await?
            .checked_add(by)
            .ok_or_else(|| SqlError::internal("count in the catalogue", "number overflow"))?;
        self.txn.put(key, next.to_string().into_bytes())?;
        Ok(next)
    }

    /// Takes `count` new ids for databases, tables and jobs: the first of them.
    pub async fn take_ids(&mut self, count: i64) -> Result<i64, SqlError> {
        Ok(self.add(string_key(NEXT_GLOBAL_ID), count).await? - count + 1)
    }

    /// The schema version as of this transaction.
    pub async fn schema_version(&mut self) -> Result<i64, SqlError> {
        self.number(&string_key(SCHEMA_VERSION)).await
    }

    /// A new schema version.
    pub async fn next_schema_version(&mut self) -> Result<i64, SqlError> {
        self.add(string_key(SCHEMA_VERSION), 1).await
    }

    /// A table's counter.
    pub async fn auto_id(&mut self, schema_id: i64, table_id: i64, kind: AutoIdKind) -> Result<i64, SqlError> {
        self.number(&auto_id_key(schema_id, table_id, kind)).await
    }

    /// Sets a table's counter.
    pub async fn put_auto_id(
        &mut self,
        schema_id: i64,
        table_id: i64,
        kind: AutoIdKind,
        value: i64,
    ) -> Result<(), SqlError> {
        Ok(self.txn.put(auto_id_key(schema_id, table_id, kind), value.to_string().into_bytes())?)
    }

    /// Both counters of a table, in the order of [`AutoIdKind::ALL`].
    pub async fn auto_ids(&mut self, schema_id: i64, table_id: i64) -> Result<[i64; 2], SqlError> {
        let mut counters = [0; 2];
        for (counter, kind) in counters.iter_mut().zip(AutoIdKind::ALL) {
            *counter = self.auto_id(schema_id, table_id, kind).await?;
        }
        Ok(counters)
    }

    /// Forgets a table's counters.
    pub async fn delete_auto_ids(&mut self, schema_id: i64, table_id: i64) -> Result<(), SqlError> {
        for kind in AutoIdKind::ALL {
            self.txn.delete(auto_id_key(schema_id, table_id, kind))?;
        }
        Ok(())
    }

    // ---- Who may change, and whether there is anything at all ----

    /// The server that changes the catalogue. Each of its steps writes this, so that a successor's first write makes
    /// a step still under way fail.
    pub async fn owner(&mut self) -> Result<Option<String>, SqlError> {
        Ok(self.txn.get(&string_key(DDL_OWNER)).await?.map(|id| String::from_utf8_lossy(&id).into_owned()))
    }

    /// Names the server that changes the catalogue.
    pub async fn put_owner(&mut self, id: &str) -> Result<(), SqlError> {
        Ok(self.txn.put(string_key(DDL_OWNER), id.as_bytes().to_vec())?)
    }

    /// The version of the contents that every cluster starts with; 0 before there are any.
    pub async fn bootstrap_version(&mut self) -> Result<i64, SqlError> {
        self.number(&string_key(BOOTSTRAP)).await
    }

    /// Records that the initial contents are there.
    pub async fn put_bootstrap_version(&mut self, version: i64) -> Result<(), SqlError> {
        Ok(self.txn.put(string_key(BOOTSTRAP), version.to_string().into_bytes())?)
    }

    // ---- JSON values ----

    async fn json<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, SqlError> {
        self.txn.get(key).await?.map(|value| decode(&value)).transpose()
    }

    async fn put_json(&mut self, key: Vec<u8>, value: &impl Serialize) -> Result<(), SqlError> {
        let value = serde_json::to_vec(value).map_err(|e| SqlError::internal("write the catalogue", e))?;
        Ok(self.txn.put(key, value)?)
    }

    // ---- Hashes of others ----

    /// A field of a hash.
    pub(crate) async fn hash_get(&mut self, hash: &str, field: &[u8]) -> Result<Option<Vec<u8>>, SqlError> {
        Ok(self.txn.get(&hash_key(hash, field)).await?)
    }

    /// Sets a field of a hash.
    pub(crate) fn hash_put(&mut self, hash: &str, field: &[u8], value: Vec<u8>) -> Result<(), SqlError> {
        Ok(self.txn.put(hash_key(hash, field), value)?)
    }

    /// Removes a field of a hash.
    pub(crate) fn hash_delete(&mut self, hash: &str, field: &[u8]) -> Result<(), SqlError> {
        Ok(self.txn.delete(hash_key(hash, field))?)
    }

    /// All fields of a hash that start with `prefix`: (field, value).
    pub(crate) async fn hash_fields(&mut self, hash: &str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, SqlError> {
        self.fields(hash, prefix).await
    }

    /// All fields of a hash that start with `prefix`: (field, value).
    async fn fields(&mut self, hash: &str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, SqlError> {
        let hash = hash_prefix(hash);
        // The range starts at the first memcomparable group that can hold the prefix, and ends with the hash.
        let mut start = hash.clone();
        start.extend_from_slice(&prefix[..prefix.len().min(8)]);
        let end = prefix_next(&hash);
        let mut found = Vec::new();
        loop {
            let batch = self.txn.scan(&start, &end, SCAN_BATCH).await?;
            let full = batch.len() == SCAN_BATCH;
            if let Some((last, _)) = batch.last() {
                start = last.clone();
                start.push(0);
            }
            for (key, value) in batch {
                let mut rest = key.get(hash.len()..).unwrap_or_default();
                let field =
                    bytes::decode_bytes(&mut rest).map_err(|e| SqlError::internal("read a catalogue key", e))?;
                if field.starts_with(prefix) {
                    found.push((field, value));
                } else if field.as_slice() > prefix {
                    return Ok(found);
                }
            }
            if !full {
                return Ok(found);
            }
        }
    }

    async fn json_fields<T: DeserializeOwned>(&mut self, hash: &str, prefix: &str) -> Result<Vec<T>, SqlError> {
        self.fields(hash, prefix.as_bytes()).await?.iter().map(|(_, value)| decode(value)).collect()
    }

    // ---- Databases ----

    /// A database.
    pub async fn database(&mut self, id: i64) -> Result<Option<DatabaseInfo>, SqlError> {
        self.json(&hash_key(DATABASES, format!("DB:{id}").as_bytes())).await
    }

    /// All databases, by id.
    pub async fn databases(&mut self) -> Result<Vec<DatabaseInfo>, SqlError> {
        self.json_fields(DATABASES, "DB:").await
    }

    /// Writes a database.
    pub async fn put_database(&mut self, info: &DatabaseInfo) -> Result<(), SqlError> {
        self.put_json(hash_key(DATABASES, format!("DB:{}", info.id).as_bytes()), info).await
    }

    /// Removes a database with all that is under its key.
    pub async fn delete_database(&mut self, id: i64) -> Result<(), SqlError> {
        self.txn.delete(hash_key(DATABASES, format!("DB:{id}").as_bytes()))?;
        let hash = format!("DB:{id}");
        for (field, _) in self.fields(&hash, b"").await? {
            self.txn.delete(hash_key(&hash, &field))?;
        }
        Ok(())
    }

    // ---- Tables ----

    /// A table.
    pub async fn table(&mut self, database_id: i64, id: i64) -> Result<Option<TableInfo>, SqlError> {
        self.json(&table_key(database_id, id)).await
    }

    /// All tables of a database.
    pub async fn tables(&mut self, database_id: i64) -> Result<Vec<TableInfo>, SqlError> {
        self.json_fields(&format!("DB:{database_id}"), "Table:").await
    }

    /// Writes a table.
    pub async fn put_table(&mut self, database_id: i64, info: &TableInfo) -> Result<(), SqlError> {
        self.put_json(table_key(database_id, info.id), info).await
    }

    /// Removes a table. Its counters stay until [`Meta::delete_auto_ids`].
    pub async fn delete_table(&mut self, database_id: i64, id: i64) -> Result<(), SqlError> {
        Ok(self.txn.delete(table_key(database_id, id))?)
    }

    // ---- Policies ----

    /// All placement policies.
    pub async fn policies(&mut self) -> Result<Vec<PolicyInfo>, SqlError> {
        self.json_fields(POLICIES, "Policy:").await
    }

    /// A placement policy.
    pub async fn policy(&mut self, id: i64) -> Result<Option<PolicyInfo>, SqlError> {
        self.json(&hash_key(POLICIES, format!("Policy:{id}").as_bytes())).await
    }

    /// Writes a policy.
    pub async fn put_policy(&mut self, info: &PolicyInfo) -> Result<(), SqlError> {
        self.put_json(hash_key(POLICIES, format!("Policy:{}", info.id).as_bytes()), info).await
    }

    /// Removes a policy.
    pub async fn delete_policy(&mut self, id: i64) -> Result<(), SqlError> {
        Ok(self.txn.delete(hash_key(POLICIES, format!("Policy:{id}").as_bytes()))?)
    }

    /// The policies of the key ranges `global` and `meta`: (range, policy id).
    pub async fn range_policies(&mut self) -> Result<Vec<(String, i64)>, SqlError> {
        let fields = self.fields(RANGE_POLICIES, b"").await?;
        fields
            .into_iter()
            .map(|(field, value)| Ok((String::from_utf8_lossy(&field).into_owned(), decode(&value)?)))
            .collect()
    }

    /// Attaches a policy to a key range, `None` detaches.
    pub async fn put_range_policy(&mut self, range: &str, policy: Option<i64>) -> Result<(), SqlError> {
        let key = hash_key(RANGE_POLICIES, range.as_bytes());
        match policy {
            Some(id) => self.put_json(key, &id).await,
            None => Ok(self.txn.delete(key)?),
        }
    }

    // ---- Variables ----

    /// Counts the changes of global variables.
    pub async fn global_variables_version(&mut self) -> Result<i64, SqlError> {
        self.number(&string_key(GLOBAL_VARIABLES_VERSION)).await
    }

    /// What `SET GLOBAL` set: (name, value).
    pub async fn global_variables(&mut self) -> Result<Vec<(String, String)>, SqlError> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields = self.fields(GLOBAL_VARIABLES, b"").await?;
        Ok(fields.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// Sets global variables; `None` is the default.
    pub async fn put_global_variables(&mut self, changes: &[(&str, Option<String>)]) -> Result<(), SqlError> {
        for (name, value) in changes {
            let key = hash_key(GLOBAL_VARIABLES, name.as_bytes());
            match value {
                Some(value) => self.txn.put(key, value.clone().into_bytes())?,
                None => self.txn.delete(key)?,
            }
        }
        self.add(string_key(GLOBAL_VARIABLES_VERSION), 1).await.map(drop)
    }

    // ---- Versions ----

    /// What the version changed.
    pub async fn diff(&mut self, version: i64) -> Result<Option<SchemaDiff>, SqlError> {
        self.json(&string_key(&format!("Diff:{version}"))).await
    }

    /// Records what a version changed.
    pub async fn put_diff(&mut self, diff: &SchemaDiff) -> Result<(), SqlError> {
        self.put_json(string_key(&format!("Diff:{}", diff.version)), diff).await
    }

    // ---- Jobs ----

    /// The jobs that are not finished, oldest first.
    pub async fn queued_jobs<J: DeserializeOwned>(&mut self) -> Result<Vec<J>, SqlError> {
        self.json_fields(JOB_QUEUE, "").await
    }

    /// A job that is not finished.
    pub async fn queued_job<J: DeserializeOwned>(&mut self, id: i64) -> Result<Option<J>, SqlError> {
        self.json(&hash_key(JOB_QUEUE, &id.to_be_bytes())).await
    }

    /// Writes a job that is not finished.
    pub async fn put_queued_job(&mut self, id: i64, job: &impl Serialize) -> Result<(), SqlError> {
        self.put_json(hash_key(JOB_QUEUE, &id.to_be_bytes()), job).await
    }

    /// Moves a job to the history.
    pub async fn finish_job(&mut self, id: i64, job: &impl Serialize) -> Result<(), SqlError> {
        self.txn.delete(hash_key(JOB_QUEUE, &id.to_be_bytes()))?;
        self.put_json(hash_key(JOB_HISTORY, &id.to_be_bytes()), job).await
    }

    /// A finished job.
    pub async fn finished_job<J: DeserializeOwned>(&mut self, id: i64) -> Result<Option<J>, SqlError> {
        self.json(&hash_key(JOB_HISTORY, &id.to_be_bytes())).await
    }

    /// All finished jobs, oldest first.
    pub async fn finished_jobs<J: DeserializeOwned>(&mut self) -> Result<Vec<J>, SqlError> {
        self.json_fields(JOB_HISTORY, "").await
    }

    // ---- Garbage collection ----

    /// How far garbage collection has come.
    pub async fn gc_state<S: DeserializeOwned>(&mut self) -> Result<Option<S>, SqlError> {
        self.json(&string_key(GC_STATE)).await
    }

    /// Records how far garbage collection has come.
    pub async fn put_gc_state(&mut self, state: &impl Serialize) -> Result<(), SqlError> {
        self.put_json(string_key(GC_STATE), state).await
    }

    // ---- Ranges to be emptied ----

    /// Records a key range that is no longer used.
    pub async fn put_delete_range(&mut self, range: &DeleteRange) -> Result<(), SqlError> {
        self.put_json(hash_key(DELETE_RANGES, &range.id.to_be_bytes()), range).await
    }

    /// A key range that is no longer used.
    pub async fn delete_range(&mut self, id: i64) -> Result<Option<DeleteRange>, SqlError> {
        self.json(&hash_key(DELETE_RANGES, &id.to_be_bytes())).await
    }

    /// The key ranges that are no longer used.
    pub async fn delete_ranges(&mut self) -> Result<Vec<DeleteRange>, SqlError> {
        self.json_fields(DELETE_RANGES, "").await
    }

    /// Forgets a key range: it is empty.
    pub async fn forget_delete_range(&mut self, id: i64) -> Result<(), SqlError> {
        Ok(self.txn.delete(hash_key(DELETE_RANGES, &id.to_be_bytes()))?)
    }
}

fn table_key(database_id: i64, id: i64) -> Vec<u8> {
    hash_key(&format!("DB:{database_id}"), format!("Table:{id}").as_bytes())
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, SqlError> {
    serde_json::from_slice(value).map_err(|e| SqlError::internal("read the catalogue", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_laid_out_to_the_byte_as_documented() {
        let key = string_key("NextGlobalID");
        let mut expect = vec![b'm'];
        expect.extend_from_slice(b"NextGlob\xffalID\0\0\0\0\xfb");
        expect.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, b's']);
        assert_eq!(key, expect);

        let key = hash_key("DBs", b"DB:2");
        let mut expect = vec![b'm'];
        expect.extend_from_slice(b"DBs\0\0\0\0\0\xfa");
        expect.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, b'h']);
        expect.extend_from_slice(b"DB:2\0\0\0\0\xfb");
        assert_eq!(key, expect);
    }

    #[test]
    fn fields_of_a_hash_are_one_range_ahead_of_all_tables() {
        let prefix = hash_prefix("DB:1");
        let end = prefix_next(&prefix);
        assert!(hash_key("DB:1", b"Table:9") > prefix);
        assert!(hash_key("DB:1", b"Table:9") < end);
        assert!(!(prefix.clone()..end).contains(&hash_key("DB:10", b"Table:9")));
        assert!(prefix < vec![b't']);
    }

    #[test]
    fn jobs_sort_by_number() {
        assert!(hash_key(JOB_QUEUE, &9_i64.to_be_bytes()) < hash_key(JOB_QUEUE, &10_i64.to_be_bytes()));
    }
}
