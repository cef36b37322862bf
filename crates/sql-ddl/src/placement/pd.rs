//! PD's HTTP interface, as far as placement needs it.
//!
//! Calls go to whichever PD answers; any of them serves or passes on. A refusal of PD (a rule that no store can meet)
//! is the user's error 8243 and final; anything else is tried again until the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use net::http::{self, Response};
use sql_base::SqlError;

use super::rules::Bundle;

/// How long one PD may take before the next is asked: some round trips to it, from it to the leader, and to a majority.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a question is asked of one PD after the other.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a change keeps trying while no PD answers, before the schema change that it belongs to fails.
const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// How far PD is with placing a key range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchedulingState {
    /// Every region of it is as its rules say.
    Scheduled,
    /// Some region is not, and PD works on it.
    InProgress,
    /// Some region waits: PD cannot move it yet.
    Pending,
}

impl SchedulingState {
    /// As SHOW PLACEMENT prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            SchedulingState::Scheduled => "SCHEDULED",
            SchedulingState::InProgress => "INPROGRESS",
            SchedulingState::Pending => "PENDING",
        }
    }
}

/// The PDs.
#[derive(Debug, Clone)]
pub struct PdHttp {
    endpoints: Vec<String>,
    /// The PD that answered last is asked first. Clones share which.
    first: Arc<AtomicUsize>,
    http: http::Client,
}

impl PdHttp {
    /// With the client addresses of the PDs, with or without `http://`.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>, http: http::Client) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| {
            let endpoint = endpoint.into();
            let endpoint = endpoint.trim_end_matches('/');
            if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
        });
        PdHttp { endpoints: endpoints.collect(), first: Arc::default(), http }
    }

    /// The same with one PD only.
    pub fn only(&self, endpoint: &str) -> Self {
        PdHttp::new([endpoint], self.http)
    }

    /// Replaces a group of rules.
    pub async fn put_bundle(&self, bundle: &Bundle) -> Result<(), SqlError> {
        let body = serde_json::to_vec(bundle).map_err(|e| SqlError::internal("write placement rules", e))?;
        self.change("POST", &format!("/pd/api/v1/config/placement-rule/{}", bundle.id), body).await
    }

    /// Removes a group of rules.
    pub async fn delete_bundle(&self, group: &str) -> Result<(), SqlError> {
        self.change("DELETE", &format!("/pd/api/v1/config/placement-rule/{group}"), Vec::new()).await
    }

    /// How far PD is with a key range (memcomparable keys in hexadecimal).
    pub async fn replicated(&self, start: &str, end: &str) -> Result<SchedulingState, SqlError> {
        let text = self.get(&format!("/pd/api/v1/regions/replicated?startKey={start}&endKey={end}")).await?;
        Ok(match text.trim().trim_matches('"') {
            "REPLICATED" => SchedulingState::Scheduled,
            "INPROGRESS" => SchedulingState::InProgress,
            "PENDING" => SchedulingState::Pending,
            other => return Err(SqlError::internal("ask PD for the scheduling state", other)),
        })
    }

    /// The body of a GET that succeeded.
    pub async fn get(&self, path: &str) -> Result<String, SqlError> {
        let response = self.call("GET", path, &[], Instant::now() + CALL_TIMEOUT).await?;
        if response.status.is_success() { Ok(response.text()) } else { Err(refusal(&response)) }
    }

    async fn change(&self, method: &str, path: &str, body: Vec<u8>) -> Result<(), SqlError> {
        let response = self.call(method, path, &body, Instant::now() + DEADLINE).await?;
        match response.status.as_u16() {
            200..=299 => Ok(()),
            404 if method == "DELETE" => Ok(()),
            _ => Err(refusal(&response)),
        }
    }

    /// Asks one PD after the other. An answer that is neither a success nor a refusal (no leader yet) counts as none.
    async fn call(&self, method: &str, path: &str, body: &[u8], deadline: Instant) -> Result<Response, SqlError> {
        let method = http_method(method);
        let mut last = String::from("no PD address is known");
        loop {
            let first = self.first.load(Ordering::Relaxed);
            for at in (0..self.endpoints.len()).map(|n| (first + n) % self.endpoints.len()) {
                let endpoint = &self.endpoints[at];
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(SqlError::PdTimeout(last));
                }
                let url = format!("{endpoint}{path}");
                let body = body.to_vec().into();
                match self.http.request(method.clone(), &url, body, left.min(ATTEMPT_TIMEOUT)).await {
                    Ok(response) if response.status.is_server_error() && !is_refusal(&response.text()) => {
                        last = format!("{url}: {} {}", response.status, response.text());
                    }
                    Ok(response) => {
                        self.first.store(at, Ordering::Relaxed);
                        return Ok(response);
                    }
                    Err(error) => last = error.to_string(),
                }
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(SqlError::PdTimeout(last));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn http_method(method: &str) -> http::Method {
    match method {
        "POST" => http::Method::POST,
        "DELETE" => http::Method::DELETE,
        _ => http::Method::GET,
    }
}

fn is_refusal(text: &str) -> bool {
    text.contains("[PD:placement")
}

fn refusal(response: &Response) -> SqlError {
    let text = response.text();
    let text = text.trim();
    SqlError::Placement(serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_pd_that_accepts_and_says_nothing_is_passed_over_and_no_longer_asked_first() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoints = [&silent, &serving].map(|l| l.local_addr().unwrap().to_string());
        let app = axum::Router::new().route("/page", axum::routing::get(|| async { "text" }));
        tokio::spawn(async move { axum::serve(serving, app).await });
        let pd = PdHttp::new(endpoints, http::Client::default());
        let started = Instant::now();
        assert_eq!(pd.get("/page").await.unwrap(), "text");
        assert!(started.elapsed() < ATTEMPT_TIMEOUT + Duration::from_secs(2), "{:?}", started.elapsed());
        let started = Instant::now();
        assert_eq!(pd.clone().get("/page").await.unwrap(), "text");
        assert!(started.elapsed() < ATTEMPT_TIMEOUT, "{:?}", started.elapsed());
    }
}
