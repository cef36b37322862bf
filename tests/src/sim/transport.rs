//! The client's way to the stores: production commands over simulated links.

use std::time::Duration;

use kv_client::{Call, Dial};
use tokio::sync::mpsc;

use super::{CLIENT, SharedWorld};

/// How long a connection takes to notice that nothing comes through.
const BROKEN_AFTER: Duration = Duration::from_secs(3);

/// Connections to simulated stores.
pub struct SimDial(pub SharedWorld);

impl Dial for SimDial {
    fn dial(&self, address: &str, mut calls: mpsc::UnboundedReceiver<Call>) -> Result<(), &'static str> {
        let id: u64 = address.strip_prefix("store-").and_then(|id| id.parse().ok()).ok_or("the address is invalid")?;
        let world = SharedWorld::clone(&self.0);
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                tokio::spawn(serve(SharedWorld::clone(&world), id, call));
            }
        });
        Ok(())
    }
}

/// One command's way to the store and its answer's way back. Dropping the call tells the client that the connection
/// broke.
async fn serve(world: SharedWorld, id: u64, call: Call) {
    let there = world.lock().delay(CLIENT, id);
    let Some(there) = there else { return tokio::time::sleep(BROKEN_AFTER).await };
    tokio::time::sleep(there).await;
    let Call { cmd, reply } = call;
    let answer = {
        let mut world = world.lock();
        world.trace_command(id, &cmd);
        world.nodes.get_mut(&id).and_then(|node| node.execute(|service| async move { service.execute(cmd).await }))
    };
    let Some(answer) = answer else { return }; // the store is down
    let Ok(answer) = answer.await else { return }; // it went down meanwhile
    let back = {
        let mut world = world.lock();
        world.trace_answer(id, &answer);
        world.delay(id, CLIENT)
    };
    let Some(back) = back else { return tokio::time::sleep(BROKEN_AFTER).await };
    tokio::time::sleep(back).await;
    let _ = reply.send(answer);
}
