//! The region heartbeat stream, kept open towards whoever leads PD.

use std::sync::Arc;
use std::time::Duration;

use proto::pdpb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::RegionHeartbeats;
use super::grpc::{PdCore, check_header};

/// Heartbeats that may wait for the stream; beyond that the sender drops them, the next one says it all again.
const QUEUE_MAX: usize = 4096;
/// Pause before the stream is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn start(core: Arc<PdCore>) -> RegionHeartbeats {
    let (sender, heartbeats) = mpsc::channel(QUEUE_MAX);
    let (orders, receiver) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(run(core, heartbeats, orders));
    RegionHeartbeats { sender, receiver }
}

/// Ends when either end of the handle is dropped.
async fn run(
    core: Arc<PdCore>,
    mut heartbeats: mpsc::Receiver<pdpb::RegionHeartbeatRequest>,
    orders: mpsc::Sender<pdpb::RegionHeartbeatResponse>,
) {
    loop {
        // A stream is opened for the first heartbeat: a store without leaders needs none.
        let Some(first) = heartbeats.recv().await else { return };
        match serve(&core, first, &mut heartbeats, &orders).await {
            Ok(()) => return,
            Err(reason) => tracing::debug!("region heartbeat stream: {reason}"),
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn serve(
    core: &PdCore,
    first: pdpb::RegionHeartbeatRequest,
    heartbeats: &mut mpsc::Receiver<pdpb::RegionHeartbeatRequest>,
    orders: &mpsc::Sender<pdpb::RegionHeartbeatResponse>,
) -> Result<(), String> {
    let mut leader = core.leader().await.map_err(|e| e.to_string())?;
    let broken = |leader, reason: String| {
        core.forget(leader);
        Err(reason)
    };
    let (requests, outgoing) = mpsc::channel(QUEUE_MAX);
    let with_header = |mut request: pdpb::RegionHeartbeatRequest| {
        request.header = core.header();
        request
    };
    let _ = requests.try_send(with_header(first));
    let attempt = core.options().attempt;
    let opened = tokio::time::timeout(attempt, leader.stub.region_heartbeat(ReceiverStream::new(outgoing))).await;
    let mut responses = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return broken(&leader, status.message().into()),
        Err(_) => return broken(&leader, "no answer in time".into()),
    };
    loop {
        tokio::select! {
            heartbeat = heartbeats.recv() => {
                let Some(heartbeat) = heartbeat else { return Ok(()) };
                if let Err(mpsc::error::TrySendError::Closed(_)) = requests.try_send(with_header(heartbeat)) {
                    return broken(&leader, "closed by PD".into());
                }
            }
            response = responses.message() => match response {
                Ok(Some(response)) => {
                    if let Err(e) = check_header(response.header.as_ref()) {
                        return broken(&leader, e.to_string());
                    }
                    if orders.send(response).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return broken(&leader, "closed by PD".into()),
                Err(status) => return broken(&leader, status.message().into()),
            }
        }
    }
}
