//! Pushed-down work over many regions: one task per region, several at a time, pages streamed as they come.
//!
//! ```text
//!   ranges ─ split at region bounds ─► tasks ─ up to `concurrency` at once ─► pages ─► caller
//!                                        └─ region moved: the rest of the task is split again
//! ```
//!
//! With `keep_order` pages come in key order (descending with `desc`): first pages are fetched ahead, further pages of
//! a task when its turn comes. Without it they come as they arrive.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use prost::Message;
use proto::{coprocessor as pb, tipb};

use crate::backoff::Backoff;
use crate::client::{COPROCESSOR_TIMEOUT, Client};
use crate::error::{Error, Result};
use crate::region::Region;
use crate::snapshot::{Snapshot, clip};

/// The request type of a DAG, as the original numbers it.
const TYPE_DAG: i64 = 103;
/// That of ANALYZE.
const TYPE_ANALYZE: i64 = 104;
/// Ranges in one task: a longer list is sent as several tasks, so that one does not hold a worker for long.
const TASK_RANGES_MAX: usize = 4096;

/// A half-open range of user keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Vec<u8>,
    /// First key after it.
    pub end: Vec<u8>,
}

/// Work to be pushed down.
#[derive(Clone, Debug)]
pub struct CopRequest {
    /// The plan.
    pub dag: tipb::DagRequest,
    /// Where it runs: ascending and disjoint.
    pub ranges: Vec<KeyRange>,
    /// Whether results come in key order.
    pub keep_order: bool,
    /// Whether the plan scans descending.
    pub desc: bool,
    /// Tasks at once.
    pub concurrency: usize,
    /// Rows after which a store ends a page; zero for no paging.
    pub paging_size: u64,
}

impl CopRequest {
    /// Work over ranges with the usual settings: unordered, ascending, 15 tasks at once, no paging.
    pub fn new(dag: tipb::DagRequest, ranges: Vec<KeyRange>) -> Self {
        Self { dag, ranges, keep_order: false, desc: false, concurrency: 15, paging_size: 0 }
    }
}

/// What every task of a request shares.
struct Job {
    snapshot: Snapshot,
    tp: i64,
    data: Vec<u8>,
    desc: bool,
    paging_size: u64,
}

/// A task: ranges that were in one region when they were split.
type Task = Vec<KeyRange>;

impl Snapshot {
    /// Runs pushed-down work; the stream yields one response per page.
    pub fn coprocessor(&self, request: CopRequest) -> BoxStream<'static, Result<tipb::SelectResponse>> {
        let decode = |page: Result<Vec<u8>>| {
            let response = tipb::SelectResponse::decode(page?.as_slice())
                .map_err(|e| Error::Coprocessor(format!("the response cannot be decoded: {e}")))?;
            match response.error {
                Some(error) => match u16::try_from(error.code) {
                    Ok(code) if code > 0 => Err(Error::Evaluation { code, message: error.msg }),
                    _ => Err(Error::Coprocessor(error.msg)),
                },
                None => Ok(response),
            }
        };
        self.coprocessor_raw(request).map(decode).boxed()
    }

    /// The same with the responses as bytes.
    pub fn coprocessor_raw(&self, request: CopRequest) -> BoxStream<'static, Result<Vec<u8>>> {
        let CopRequest { dag, ranges, keep_order, desc, concurrency, paging_size } = request;
        let data = dag.encode_to_vec();
        self.tasks(
            Job { snapshot: self.clone(), tp: TYPE_DAG, data, desc, paging_size },
            ranges,
            keep_order,
            concurrency,
        )
    }

    /// Has rows of ranges counted and sampled; the stream yields one answer per region.
    pub fn analyze(
        &self,
        request: &tipb::AnalyzeReq,
        ranges: Vec<KeyRange>,
        concurrency: usize,
    ) -> BoxStream<'static, Result<tipb::AnalyzeColumnsResp>> {
        let data = request.encode_to_vec();
        let job = Job { snapshot: self.clone(), tp: TYPE_ANALYZE, data, desc: false, paging_size: 0 };
        let decode = |answer: Result<Vec<u8>>| {
            tipb::AnalyzeColumnsResp::decode(answer?.as_slice())
                .map_err(|e| Error::Coprocessor(format!("the response cannot be decoded: {e}")))
        };
        self.tasks(job, ranges, false, concurrency).map(decode).boxed()
    }

    /// Runs a job over ranges, region by region.
    fn tasks(
        &self,
        job: Job,
        ranges: Vec<KeyRange>,
        keep_order: bool,
        concurrency: usize,
    ) -> BoxStream<'static, Result<Vec<u8>>> {
        let job = Arc::new(job);
        let concurrency = concurrency.max(1);
        let split = {
            let job = job.clone();
            async move {
                let mut backoff = job.snapshot.client.backoff();
                job.split(ranges, &mut backoff).await
            }
        };
        stream::once(split)
            .flat_map(move |tasks| {
                let job = job.clone();
                match tasks {
                    Err(e) => stream::once(async { Err(e) }).boxed(),
                    Ok(mut tasks) if tasks.len() == 1 => {
                        let only = tasks.pop_front().unwrap_or_default();
                        pages(job, VecDeque::from([only])).boxed()
                    }
                    Ok(tasks) if keep_order => {
                        let ahead = stream::iter(tasks).map(move |task| {
                            let job = job.clone();
                            async move { job.first_page(task).await.map(|(page, rest)| (job, page, rest)) }
                        });
                        let in_order = ahead.buffered(concurrency).flat_map(|first| match first {
                            Err(e) => stream::once(async { Err(e) }).boxed(),
                            Ok((job, page, rest)) => stream::iter(page.map(Ok)).chain(pages(job, rest)).boxed(),
                        });
                        in_order.boxed()
                    }
                    Ok(tasks) => stream::iter(tasks)
                        .flat_map_unordered(concurrency, move |task| pages(job.clone(), VecDeque::from([task])).boxed())
                        .boxed(),
                }
            })
            .boxed()
    }
}

/// The pages of tasks, one task after the other. Ends after an error.
fn pages(job: Arc<Job>, tasks: VecDeque<Task>) -> impl futures::Stream<Item = Result<Vec<u8>>> + Send + 'static {
    stream::unfold(Some(tasks), move |tasks| {
        let job = job.clone();
        async move {
            let mut tasks = tasks?;
            let mut backoff = job.snapshot.client.backoff();
            loop {
                match job.step(&mut tasks, &mut backoff).await {
                    Ok(Step::Page(page)) => return Some((Ok(page), Some(tasks))),
                    Ok(Step::Again) => {}
                    Ok(Step::Done) => return None,
                    Err(e) => return Some((Err(e), None)),
                }
            }
        }
    })
}

enum Step {
    Page(Vec<u8>),
    Again,
    Done,
}

impl Job {
    /// The first page of a task and what is left of it.
    async fn first_page(&self, task: Task) -> Result<(Option<Vec<u8>>, VecDeque<Task>)> {
        let mut tasks = VecDeque::from([task]);
        let mut backoff = self.snapshot.client.backoff();
        loop {
            match self.step(&mut tasks, &mut backoff).await? {
                Step::Page(page) => return Ok((Some(page), tasks)),
                Step::Again => {}
                Step::Done => return Ok((None, tasks)),
            }
        }
    }

    /// One request for the first task.
    async fn step(&self, tasks: &mut VecDeque<Task>, backoff: &mut Backoff) -> Result<Step> {
        let Some(ranges) = tasks.pop_front() else { return Ok(Step::Done) };
        let client = &self.snapshot.client;
        self.snapshot.check_age()?;
        let Some(first) = ranges.first() else { return Ok(Step::Again) };
        let region = client.locate(&first.start, backoff).await?;
        if ranges.last().is_some_and(|last| !region.contains_before_or_at(&last.end)) {
            // Regions changed since the split.
            for task in self.split(ranges, backoff).await?.into_iter().rev() {
                tasks.push_front(task);
            }
            return Ok(Step::Again);
        }
        let to_pb = |range: &KeyRange| pb::KeyRange { start: range.start.clone(), end: range.end.clone() };
        let request = pb::Request {
            context: Some(self.snapshot.context()),
            tp: self.tp,
            data: self.data.clone(),
            start_ts: self.snapshot.ts().0,
            ranges: ranges.iter().map(to_pb).collect(),
            paging_size: self.paging_size,
            ..Default::default()
        };
        let response = match client.send(&region, request, COPROCESSOR_TIMEOUT).await {
            Ok(response) => response,
            Err(failure) => {
                failure.wait(backoff).await?;
                tasks.push_front(ranges);
                return Ok(Step::Again);
            }
        };
        if let Some(lock) = response.locked {
            self.snapshot.on_locks(vec![lock], backoff).await?;
            tasks.push_front(ranges);
            return Ok(Step::Again);
        }
        if let Some(old) = response.below_safe_point {
            return Err(Error::TooOld { start_ts: old.start_ts, safe_point: old.safe_point });
        }
        if !response.other_error.is_empty() {
            return Err(Error::Coprocessor(response.other_error));
        }
        if self.paging_size > 0
            && let Some(done) = response.range
        {
            let rest = remaining(ranges, &done, self.desc);
            if !rest.is_empty() {
                tasks.push_front(rest);
            }
        }
        Ok(Step::Page(response.data))
    }

    /// Cuts ranges at region bounds; in the order in which they are to be read.
    async fn split(&self, ranges: Vec<KeyRange>, backoff: &mut Backoff) -> Result<VecDeque<Task>> {
        let client = &self.snapshot.client;
        preload(client, &ranges).await?;
        let mut tasks: VecDeque<Task> = VecDeque::new();
        let mut current: Option<Arc<Region>> = None;
        for range in ranges {
            let mut start = range.start;
            while start < range.end || (range.end.is_empty() && tasks.is_empty()) {
                let region = match &current {
                    Some(region) if region.contains(&start) => region.clone(),
                    _ => client.locate(&start, backoff).await?,
                };
                let (low, high) = clip(&region, &start, &range.end);
                let same = current.as_ref().is_some_and(|c| c.id == region.id && c.version == region.version);
                let next = high.clone();
                let piece = KeyRange { start: low, end: high };
                match tasks.back_mut().filter(|task| same && task.len() < TASK_RANGES_MAX) {
                    Some(task) => task.push(piece),
                    None => tasks.push_back(vec![piece]),
                }
                current = Some(region);
                if next.is_empty() {
                    break;
                }
                start = next;
            }
        }
        if self.desc {
            tasks = tasks.into_iter().rev().collect();
        }
        Ok(tasks)
    }
}

/// Loads the regions of a wide request at once, when its bounds are not cached.
async fn preload(client: &Client, ranges: &[KeyRange]) -> Result<()> {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Ok(()) };
    if client.is_cached(&first.start) && client.is_cached(&last.start) {
        return Ok(());
    }
    client.preload(&first.start, &last.end).await
}

/// What is left of ranges after a page that covered `done`.
fn remaining(ranges: Task, done: &pb::KeyRange, desc: bool) -> Task {
    let keep = |range: KeyRange| {
        if desc {
            let end = range.end.min(done.start.clone());
            (range.start < end).then_some(KeyRange { start: range.start, end })
        } else {
            if done.end.is_empty() {
                return None;
            }
            let start = range.start.max(done.end.clone());
            (start < range.end || range.end.is_empty()).then_some(KeyRange { start, end: range.end })
        }
    };
    ranges.into_iter().filter_map(keep).collect()
}

impl Region {
    /// Whether a range that starts inside and ends at `end` (exclusive, empty: no bound) stays inside.
    fn contains_before_or_at(&self, end: &[u8]) -> bool {
        self.end.is_empty() || (!end.is_empty() && end <= self.end.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange { start: start.into(), end: end.into() }
    }

    #[test]
    fn a_page_leaves_what_it_did_not_cover() {
        let check = |done: (&str, &str), desc: bool, expect: &[(&str, &str)]| {
            let ranges = vec![range("a", "c"), range("e", "g"), range("k", "m")];
            let done = pb::KeyRange { start: done.0.into(), end: done.1.into() };
            let expect: Vec<KeyRange> = expect.iter().map(|(s, e)| range(s, e)).collect();
            assert_eq!(remaining(ranges, &done, desc), expect, "{done:?} {desc}");
        };
        check(("a", "f"), false, &[("f", "g"), ("k", "m")]);
        check(("a", "g"), false, &[("k", "m")]);
        check(("a", "m"), false, &[]);
        check(("a", ""), false, &[]);
        check(("f", "m"), true, &[("a", "c"), ("e", "f")]);
        check(("a", "m"), true, &[]);
    }
}
