//! The region heartbeat stream, kept open towards whoever leads PD.
//!
//! A new PD leader knows no region's leader until it is told. So the last heartbeat of each region is kept for a while,
//! and all of them are sent first on a new stream; one that is out of date loses by its term against the right one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::pdpb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::RegionHeartbeats;
use super::grpc::{PdCore, check_header};

/// Heartbeats that may wait for the stream; beyond that the sender drops them, the next one says it all again.
const QUEUE_MAX: usize = 4096;
/// A region not reported for this long is led elsewhere: its last heartbeat is not repeated.
const REPEAT_MAX: Duration = Duration::from_secs(30);
/// Pause before the stream is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn start(core: Arc<PdCore>) -> RegionHeartbeats {
    let (sender, heartbeats) = mpsc::channel(QUEUE_MAX);
    let (orders, receiver) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(run(core, heartbeats, orders));
    RegionHeartbeats { sender, receiver }
}

/// The last heartbeat of each region, and when it was given to us.
#[derive(Default)]
struct Latest(HashMap<u64, (Instant, pdpb::RegionHeartbeatRequest)>);

impl Latest {
    fn put(&mut self, heartbeat: &pdpb::RegionHeartbeatRequest) {
        let id = heartbeat.region.as_ref().map_or(0, |region| region.id);
        self.0.insert(id, (Instant::now(), heartbeat.clone()));
    }

    fn recent(&mut self) -> Vec<pdpb::RegionHeartbeatRequest> {
        self.0.retain(|_, (at, _)| at.elapsed() < REPEAT_MAX);
        self.0.values().map(|(_, heartbeat)| heartbeat.clone()).collect()
    }
}

/// Ends when either end of the handle is dropped.
async fn run(
    core: Arc<PdCore>,
    mut heartbeats: mpsc::Receiver<pdpb::RegionHeartbeatRequest>,
    orders: mpsc::Sender<pdpb::RegionHeartbeatResponse>,
) {
    let mut latest = Latest::default();
    loop {
        if latest.recent().is_empty() {
            // A stream is opened for the first heartbeat: a store without leaders needs none.
            let Some(first) = heartbeats.recv().await else { return };
            latest.put(&first);
        }
        match serve(&core, &mut latest, &mut heartbeats, &orders).await {
            Ok(()) => return,
            Err(reason) => tracing::debug!("region heartbeat stream: {reason}"),
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn serve(
    core: &PdCore,
    latest: &mut Latest,
    heartbeats: &mut mpsc::Receiver<pdpb::RegionHeartbeatRequest>,
    orders: &mpsc::Sender<pdpb::RegionHeartbeatResponse>,
) -> Result<(), String> {
    let mut leader = core.leader().await.map_err(|e| e.to_string())?;
    let broken = |leader, reason: String| {
        core.forget(leader);
        Err(reason)
    };
    // What came during the outage is the newest.
    while let Ok(heartbeat) = heartbeats.try_recv() {
        latest.put(&heartbeat);
    }
    let repeated = latest.recent();
    let (requests, outgoing) = mpsc::channel(QUEUE_MAX.max(repeated.len()));
    let with_header = |mut request: pdpb::RegionHeartbeatRequest| {
        request.header = core.header();
        request
    };
    for heartbeat in repeated {
        let _ = requests.try_send(with_header(heartbeat));
    }
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
                latest.put(&heartbeat);
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
