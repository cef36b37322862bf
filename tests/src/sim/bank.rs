//! Transfers between accounts, and what must be true of them whatever goes wrong.
//!
//! Each transfer moves money between two accounts and writes a receipt in the same transaction. The sum of all accounts
//! never changes in any snapshot; a receipt of an acknowledged transfer is there for good; a receipt of a transfer that
//! was refused never appears. A transfer whose outcome the client could not learn may be either.

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_client::{Client, Error, LockOptions, TxnOptions};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Accounts.
pub const ACCOUNTS: u32 = 12;
/// What each account begins with.
const BALANCE: i64 = 1_000;

/// The key of an account.
pub fn account_key(account: u32) -> Vec<u8> {
    format!("account/{account:04}").into_bytes()
}

fn receipt_key(client: u32, transfer: u32) -> Vec<u8> {
    format!("receipt/{client:02}/{transfer:06}").into_bytes()
}

/// What a client was told about a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is committed.
    Committed,
    /// It is not, and never will be.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What all clients were told, by receipt key.
pub type Ledger = Arc<Mutex<BTreeMap<Vec<u8>, Told>>>;

fn balance(value: &[u8]) -> i64 {
    i64::from_be_bytes(value.try_into().expect("a balance has eight bytes"))
}

/// Opens the accounts.
pub async fn open_accounts(client: &Client) -> Result<(), Error> {
    let mut txn = client.begin(TxnOptions::default()).await?;
    for account in 0..ACCOUNTS {
        txn.put(account_key(account), BALANCE.to_be_bytes().to_vec())?;
    }
    txn.commit().await.map(drop)
}

/// Transfers until `stop` says so.
pub async fn transfer_forever(client: Client, number: u32, seed: u64, ledger: Ledger, stop: impl Fn() -> bool) {
    let mut rng = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    let mut transfer = 0;
    while !stop() {
        transfer += 1;
        let receipt = receipt_key(number, transfer);
        let told = match transfer_once(&client, &mut rng, &receipt).await {
            Ok(()) => Told::Committed,
            Err(Error::Undetermined(_)) => Told::Unknown,
            Err(_) => Told::Refused,
        };
        ledger.lock().insert(receipt, told);
        tokio::time::sleep(std::time::Duration::from_millis(rng.random_range(0..20))).await;
    }
}

async fn transfer_once(client: &Client, rng: &mut StdRng, receipt: &[u8]) -> Result<(), Error> {
    let from = rng.random_range(0..ACCOUNTS);
    let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
    let amount = rng.random_range(1..50);
    let pessimistic = rng.random_bool(0.5);
    let mut txn = client.begin(TxnOptions { pessimistic, ..TxnOptions::default() }).await?;
    let result = async {
        let keys = [account_key(from), account_key(to)];
        let balances = if pessimistic {
            let options = LockOptions { return_values: true, ..LockOptions::default() };
            txn.lock_keys(keys.to_vec(), options).await?.values
        } else {
            txn.batch_get(&keys).await?
        };
        let balances: Vec<Option<i64>> = balances.into_iter().map(|value| value.as_deref().map(balance)).collect();
        let (Some(a), Some(b)) = (balances[0], balances[1]) else { panic!("an account is missing: {balances:?}") };
        txn.put(keys[0].clone(), (a - amount).to_be_bytes().to_vec())?;
        txn.put(keys[1].clone(), (b + amount).to_be_bytes().to_vec())?;
        txn.put(receipt.to_vec(), amount.to_be_bytes().to_vec())?;
        Ok(())
    }
    .await;
    match result {
        Ok(()) => txn.commit().await.map(drop),
        Err(error) => {
            let _ = txn.rollback().await;
            Err(error)
        }
    }
}

/// Reads all accounts in one snapshot; the sum must be what it always was.
pub async fn check_sum(client: &Client) -> Result<(), Error> {
    let ts = client.timestamp().await?;
    let rows = client.snapshot(ts).scan(b"account/", b"account0", 1_000, false, false).await?;
    let sum: i64 = rows.iter().map(|(_, value)| balance(value)).sum();
    assert_eq!(rows.len(), ACCOUNTS as usize, "accounts are missing in the snapshot at {ts}");
    assert_eq!(sum, BALANCE * i64::from(ACCOUNTS), "the sum changed in the snapshot at {ts}: {rows:?}");
    Ok(())
}

/// Reads what each client was last told to be committed, without a timestamp as a point read does, and in a new snapshot:
/// neither may be older than what was told before.
pub async fn check_newest(client: &Client, ledger: &Ledger) -> Result<(), Error> {
    let mut newest: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (receipt, _) in ledger.lock().iter().filter(|(_, told)| **told == Told::Committed) {
        newest.insert(receipt[..b"receipt/00".len()].to_vec(), receipt.clone());
    }
    for receipt in newest.into_values() {
        let show = String::from_utf8_lossy(&receipt).into_owned();
        let point = client.snapshot(codec::timestamp::Timestamp::MAX).get(&receipt).await?;
        assert!(point.is_some(), "{show} was acknowledged, and a point read after that does not see it");
        let ts = client.timestamp().await?;
        let value = client.snapshot(ts).get(&receipt).await?;
        assert!(value.is_some(), "{show} was acknowledged before {ts}, and the snapshot at {ts} does not show it");
    }
    Ok(())
}

/// Compares what is stored with what the clients were told. Returns how many transfers were committed.
pub async fn check_ledger(client: &Client, ledger: &Ledger) -> Result<usize, Error> {
    let ts = client.timestamp().await?;
    let rows = client.snapshot(ts).scan(b"receipt/", b"receipt0", 1_000_000, false, true).await?;
    let stored: std::collections::BTreeSet<Vec<u8>> = rows.into_iter().map(|(key, _)| key).collect();
    let show = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    for (receipt, told) in ledger.lock().iter() {
        match told {
            Told::Committed => assert!(stored.contains(receipt), "{} was acknowledged and is lost", show(receipt)),
            Told::Refused => assert!(!stored.contains(receipt), "{} was refused and is there", show(receipt)),
            Told::Unknown => {}
        }
    }
    Ok(stored.len())
}
