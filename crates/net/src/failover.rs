//! One gRPC service over several servers of which any will do: the same one as long as it answers, else the next.
//!
//! It does not repeat a call, since it may have had an effect: its caller does, and gets the next server. A call that
//! its caller gave up counts as unanswered, too; that is how a server is left behind that accepts and says nothing.
//! Unlike with a balancer, one server out of reach costs one call and not every third.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

/// What [`crate::grpc::Channels::any`] gives; clones share which server is the present one.
pub type AnyChannel = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// See the header.
#[derive(Clone)]
pub(crate) struct Failover {
    /// At least one.
    channels: Arc<[Channel]>,
    turn: Arc<AtomicUsize>,
}

impl Failover {
    /// `channels` must not be empty.
    pub(crate) fn new(channels: Vec<Channel>) -> Self {
        Failover { channels: channels.into(), turn: Arc::default() }
    }
}

/// A call on the server whose turn it is. Dropped before it has an answer, it ends that turn.
struct Attempt {
    turn: Arc<AtomicUsize>,
    at: usize,
    answered: bool,
}

impl Attempt {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.answered {
            // Of many calls that fail on one server, the first moves the turn on.
            let next = self.at.wrapping_add(1);
            let _ = self.turn.compare_exchange(self.at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Whether the server says itself that others may do better.
fn is_out_of_order(response: &Response<Body>) -> bool {
    Status::from_header_map(response.headers())
        .is_some_and(|status| matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded))
}

impl Service<Request<Body>> for Failover {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each call waits for the server whose turn it is then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let at = self.turn.load(Ordering::Relaxed);
        let mut channel = self.channels[at % self.channels.len()].clone();
        let attempt = Attempt { turn: self.turn.clone(), at, answered: false };
        Box::pin(async move {
            poll_fn(|cx| channel.poll_ready(cx)).await?;
            let response = channel.call(request).await?;
            if !is_out_of_order(&response) {
                attempt.answered();
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;
    use crate::grpc::{ChannelOptions, Channels};

    /// A gRPC server that answers every call with one status.
    async fn server(status: Code) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = axum::Router::new().fallback(move || async move { Status::new(status, "").into_http::<Body>() });
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    async fn call(any: &AnyChannel) -> Result<Code, BoxError> {
        let request = Request::builder().method("POST").uri("/a.B/c").body(Body::empty()).unwrap();
        let response = any.clone().oneshot(request).await?;
        Ok(Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()))
    }

    fn any(servers: &[&str]) -> AnyChannel {
        let options = ChannelOptions { connect_timeout: Duration::from_millis(300), ..ChannelOptions::default() };
        Channels::new(options).any(&servers.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap()
    }

    #[tokio::test]
    async fn a_server_that_is_out_of_order_or_out_of_reach_costs_one_call() {
        let (ready, waiting) = (server(Code::NotFound).await, server(Code::Unavailable).await);
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_address = silent.local_addr().unwrap().to_string();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let any = any(&[&waiting, &closed, &silent_address, &ready]);
        assert_eq!(call(&any).await.unwrap(), Code::Unavailable);
        assert!(call(&any).await.is_err(), "closed");
        assert!(call(&any).await.is_err(), "silent");
        for _ in 0..10 {
            // An error of the call itself is an answer.
            assert_eq!(call(&any).await.unwrap(), Code::NotFound);
        }
    }

    #[tokio::test]
    async fn a_call_that_its_caller_gave_up_is_no_answer() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ready = server(Code::NotFound).await;
        let any = any(&[&silent.local_addr().unwrap().to_string(), &ready]);
        assert!(tokio::time::timeout(Duration::from_millis(50), call(&any)).await.is_err());
        assert_eq!(call(&any).await.unwrap(), Code::NotFound);
    }

    #[test]
    fn of_no_servers_none_will_do() {
        assert!(Channels::default().any(&[]).is_err());
    }
}
