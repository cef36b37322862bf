//! The timeline of a region: throughput, latency and errors over the same time, with the fault's marks.
//!
//! The plots' coordinates are 1000 × 100, stretched to what the page gives them; lines keep their width.

use std::fmt::Write;

use super::{escape, seconds};
use crate::report::{EventKind, RegionReport, Report};
use crate::rto::KindReport;

/// Width of the plots' coordinates.
const WIDTH: f64 = 1000.0;
/// Height of the plots' coordinates.
const HEIGHT: f64 = 100.0;
/// Silences shorter than this are not drawn, milliseconds.
const GAP_DRAWN_MS: f64 = 600.0;
/// Where the scale of latencies may begin and end, and where it has lines.
const STEPS_MS: [f64; 16] =
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];
/// How close the numbers of two marks may stand in a row, percent of the width: a phone is narrow.
const MARKS_APART: f64 = 6.0;

/// What is the same for all regions: the stretch of time, and the scales.
pub(super) struct Frame {
    /// The first bucket that is shown, and the one after the last.
    buckets: std::ops::Range<usize>,
    bucket_us: u64,
    fault_us: u64,
    rate_max: f64,
    /// The ends of the logarithmic scale.
    latency_ms: (f64, f64),
    errors_max: f64,
}

impl Frame {
    pub(super) fn of(report: &Report) -> Frame {
        let bucket_us = report.bucket_us;
        let from = (report.phases.calm_us / bucket_us) as usize;
        // The last bucket is left out if it is not full.
        let to = ((report.phases.end_us / bucket_us) as usize).max(from + 1);
        let lengths = report.regions.iter().map(|r| r.series.reads.len());
        let buckets = from..to.min(lengths.min().unwrap_or(to)).max(from + 1);
        let seconds = bucket_us as f64 / 1e6;
        let shown = |series: &[u32]| series.iter().skip(from).copied().max().unwrap_or(0);
        let most = report.regions.iter().map(|r| shown(&r.series.reads).max(shown(&r.series.writes))).max();
        let latencies = report.regions.iter().flat_map(|r| {
            let s = &r.series;
            [&s.read_p50_ms, &s.write_p50_ms, &s.read_p99_ms, &s.write_p99_ms]
                .into_iter()
                .flat_map(|l| l.iter().flatten())
        });
        let (mut low, mut high) = (f32::MAX, 1.0f32);
        for ms in latencies {
            (low, high) = (low.min(*ms), high.max(*ms));
        }
        let steps: Vec<f64> = STEPS_MS.to_vec();
        let high = steps.iter().copied().find(|s| *s >= f64::from(high)).unwrap_or(STEPS_MS[STEPS_MS.len() - 1]);
        // Two steps at least, so that a flat line lies inside.
        let low = steps.into_iter().rev().find(|s| *s <= f64::from(low) && *s <= high / 10.0).unwrap_or(STEPS_MS[0]);
        let errors = report.regions.iter().map(|r| shown(&r.series.errors)).max();
        Frame {
            buckets,
            bucket_us,
            fault_us: report.phases.fault_us,
            rate_max: nice(f64::from(most.unwrap_or(0)) / seconds * 1.1),
            latency_ms: (low, high),
            errors_max: f64::from(errors.unwrap_or(0)).max(4.0),
        }
    }

    fn count(&self) -> usize {
        self.buckets.len()
    }

    fn begin_us(&self) -> u64 {
        self.buckets.start as u64 * self.bucket_us
    }

    fn span_us(&self) -> u64 {
        self.count() as u64 * self.bucket_us
    }

    /// Seconds since the fault.
    pub(super) fn relative_s(&self, at_us: u64) -> f64 {
        (at_us as f64 - self.fault_us as f64) / 1e6
    }

    /// Buckets in which a region did anything.
    pub(super) fn points(&self, region: &RegionReport) -> usize {
        let s = &region.series;
        let any = |i: &usize| [&s.reads, &s.writes, &s.errors].iter().any(|v| v.get(*i).is_some_and(|n| *n > 0));
        self.buckets.clone().filter(any).count()
    }

    fn x(&self, at_us: u64) -> f64 {
        let at = (at_us as f64 - self.begin_us() as f64) / self.span_us() as f64;
        at.clamp(0.0, 1.0) * WIDTH
    }

    fn x_of_bucket(&self, index: usize) -> f64 {
        (index as f64 + 0.5) / self.count() as f64 * WIDTH
    }

    fn y_of_latency(&self, ms: f32) -> f64 {
        let (low, high) = self.latency_ms;
        let at = (f64::from(ms).max(1e-3) / low).ln() / (high / low).ln();
        HEIGHT - at.clamp(0.0, 1.0) * HEIGHT
    }

    /// The data for hovering.
    pub(super) fn data(&self, report: &Report) -> String {
        let cut = |v: &[u32]| self.buckets.clone().map(|i| v.get(i).copied().unwrap_or(0)).collect::<Vec<_>>();
        let cut_ms = |v: &[Option<f32>]| {
            let round = |ms: f32| (f64::from(ms) * 10.0).round() / 10.0;
            self.buckets.clone().map(|i| v.get(i).copied().flatten().map(round)).collect::<Vec<_>>()
        };
        let region = |r: &RegionReport| {
            let s = &r.series;
            serde_json::json!({
                "region": r.region, "reads": cut(&s.reads), "writes": cut(&s.writes), "errors": cut(&s.errors),
                "read_p50_ms": cut_ms(&s.read_p50_ms), "read_p99_ms": cut_ms(&s.read_p99_ms),
                "write_p50_ms": cut_ms(&s.write_p50_ms), "write_p99_ms": cut_ms(&s.write_p99_ms),
            })
        };
        serde_json::json!({
            "bucket_s": self.bucket_us as f64 / 1e6,
            "from_s": self.relative_s(self.begin_us()),
            "regions": report.regions.iter().map(region).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// The whole figure of a region.
    pub(super) fn timeline(&self, out: &mut String, report: &Report, region: &RegionReport) {
        let _ = write!(
            out,
            "<figure class=\"timeline\" data-region=\"{}\" data-points=\"{}\"><div class=\"tip\"></div>",
            escape(&region.region),
            self.points(region)
        );
        self.strip(out, report);
        self.throughput(out, report, region);
        self.latency(out, report, region);
        self.errors(out, report, region);
        self.axis(out);
        *out += "</figure>";
    }

    /// The numbers of the events above the plots, in two rows if they are close to each other.
    fn strip(&self, out: &mut String, report: &Report) {
        // The last place taken in each row, percent of the width.
        let mut taken = [f64::MIN; 2];
        let mut marks = String::new();
        for (i, event) in report.events.iter().enumerate() {
            let class = match event.kind {
                EventKind::Fault => "fault",
                EventKind::Heal => "heal",
                EventKind::Note => "note",
            };
            let at = self.x(event.at_us) / 10.0;
            let free = taken.iter().position(|last| at - last >= MARKS_APART);
            let row = free.unwrap_or(usize::from(taken[1] < taken[0]));
            let at = if free.is_some() { at } else { (taken[row] + MARKS_APART / 2.0).min(100.0) };
            taken[row] = at;
            let _ = write!(
                marks,
                "<span class=\"num {class}\" style=\"left:{at:.2}%;top:{}px\" title=\"{}\">{}</span>",
                3 + 20 * row,
                escape(&event.text),
                i + 1
            );
        }
        let class = if taken[1] > f64::MIN { "strip rows" } else { "strip" };
        let _ = write!(out, "<div class=\"{class}\">{marks}</div>");
    }

    fn open(&self, out: &mut String, report: &Report, class: &str, name: &str, label: &str) {
        let _ = write!(
            out,
            "<div class=\"panel {class}\"><div class=\"name\">{name}</div><div class=\"plot\"><div class=\"hair\"></div>\
             <svg viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">"
        );
        let phases = &report.phases;
        let (fault, healed) = (self.x(phases.fault_us), self.x(phases.healed_us));
        let whole = self.x(phases.whole_us.unwrap_or(phases.end_us));
        for (class, from, to) in [("zone-fault", fault, healed), ("zone-mend", healed, whole)] {
            let width = (to - from).max(0.0);
            let _ =
                write!(out, "<rect class=\"{class}\" x=\"{from:.1}\" y=\"0\" width=\"{width:.1}\" height=\"100\"/>");
        }
    }

    fn close(&self, out: &mut String, report: &Report) {
        for event in &report.events {
            let class = match event.kind {
                EventKind::Fault => "mark-fault",
                EventKind::Heal => "mark-heal",
                EventKind::Note => "mark-note",
            };
            let x = self.x(event.at_us);
            let _ = write!(out, "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"100\"/>");
        }
        *out += "</svg></div></div>";
    }

    fn grid(&self, out: &mut String, y: f64) {
        let class = if y >= HEIGHT { "base" } else { "grid" };
        let _ = write!(out, "<line class=\"{class}\" x1=\"0\" x2=\"1000\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
    }

    fn throughput(&self, out: &mut String, report: &Report, region: &RegionReport) {
        self.open(out, report, "thr", "operations a second", "throughput of reads and writes");
        for part in 0..=2 {
            self.grid(out, HEIGHT * f64::from(part) / 2.0);
        }
        let seconds = self.bucket_us as f64 / 1e6;
        for (class, series) in [("r", &region.series.reads), ("w", &region.series.writes)] {
            let y = |i: usize| {
                let rate = f64::from(series.get(i).copied().unwrap_or(0)) / seconds;
                HEIGHT - (rate / self.rate_max).min(1.0) * HEIGHT
            };
            let points: Vec<(f64, f64)> =
                self.buckets.clone().enumerate().map(|(n, i)| (self.x_of_bucket(n), y(i))).collect();
            let (first, last) = (points[0].0, points[points.len() - 1].0);
            let line = path(&points);
            let _ = write!(out, "<path class=\"{class} area\" d=\"{line}L{last:.1} 100L{first:.1} 100Z\"/>");
            let _ = write!(out, "<path class=\"{class} p50\" d=\"{line}\"/>");
        }
        for (class, name, k, y) in [("r", "reads", &region.reads, 91.0), ("w", "writes", &region.writes, 97.0)] {
            self.gap(out, class, name, k, y);
        }
        // Labels stand beside the SVG, in the same box.
        let mut labels = String::new();
        for part in 0..=2 {
            let value = self.rate_max * f64::from(2 - part) / 2.0;
            let _ = write!(labels, "<span class=\"y\" style=\"top:{}%\">{value:.0}</span>", part * 50);
        }
        self.close_with(out, report, &labels);
    }

    fn gap(&self, out: &mut String, class: &str, name: &str, k: &KindReport, y: f64) {
        if k.rto_ms < GAP_DRAWN_MS {
            return;
        }
        let (from, to) = (self.x(k.gap.from_us), self.x(k.gap.to_us));
        let _ = write!(
            out,
            "<line class=\"{class} gap\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y}\" y2=\"{y}\"><title>no {name} for {}</title></line>",
            seconds(k.rto_ms)
        );
    }

    fn latency(&self, out: &mut String, report: &Report, region: &RegionReport) {
        self.open(out, report, "lat", "latency: p50, p99 dotted", "latency of reads and writes, logarithmic");
        let (low, high) = self.latency_ms;
        let mut labels = String::new();
        let steps: Vec<f64> = STEPS_MS.into_iter().filter(|s| *s >= low && *s <= high).collect();
        // As many lines as can be told apart, counted from the top.
        let every = steps.len().div_ceil(5);
        for ms in steps.iter().rev().step_by(every) {
            let y = self.y_of_latency(*ms as f32);
            self.grid(out, y);
            let text = if *ms >= 1000.0 { format!("{:.0} s", ms / 1000.0) } else { format!("{ms} ms") };
            let _ = write!(labels, "<span class=\"y\" style=\"top:{y:.1}%\">{text}</span>");
        }
        let s = &region.series;
        let lines = [
            ("r p99", &s.read_p99_ms),
            ("w p99", &s.write_p99_ms),
            ("r p50", &s.read_p50_ms),
            ("w p50", &s.write_p50_ms),
        ];
        for (class, series) in lines {
            // A line for each stretch without a silence.
            let mut stretches: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
            for (n, i) in self.buckets.clone().enumerate() {
                match series.get(i).copied().flatten() {
                    Some(ms) => {
                        stretches.last_mut().expect("never empty").push((self.x_of_bucket(n), self.y_of_latency(ms)));
                    }
                    None => stretches.push(Vec::new()),
                }
            }
            let line: String = stretches.iter().filter(|s| !s.is_empty()).map(|s| path(s)).collect();
            let _ = write!(out, "<path class=\"{class}\" d=\"{line}\"/>");
        }
        self.close_with(out, report, &labels);
    }

    fn errors(&self, out: &mut String, report: &Report, region: &RegionReport) {
        self.open(out, report, "err", "errors", "operations that failed");
        self.grid(out, HEIGHT);
        let width = WIDTH / self.count() as f64;
        for (n, i) in self.buckets.clone().enumerate() {
            let errors = f64::from(region.series.errors.get(i).copied().unwrap_or(0));
            if errors > 0.0 {
                let height = errors / self.errors_max * HEIGHT;
                let _ = write!(
                    out,
                    "<rect class=\"e\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    n as f64 * width + width * 0.1,
                    HEIGHT - height,
                    width * 0.8
                );
            }
        }
        let labels = format!(
            "<span class=\"y\" style=\"top:0%\">{:.0}</span><span class=\"y\" style=\"top:100%\">0</span>",
            self.errors_max
        );
        self.close_with(out, report, &labels);
    }

    fn close_with(&self, out: &mut String, report: &Report, labels: &str) {
        self.close(out, report);
        // Into the plot's box, after its SVG.
        let at = out.len() - "</div></div>".len();
        out.insert_str(at, labels);
    }

    fn axis(&self, out: &mut String) {
        let total = self.span_us() as f64 / 1e6;
        let step = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
        let step = step.into_iter().find(|s| total / s <= 8.0).unwrap_or(3600.0);
        let from = self.relative_s(self.begin_us());
        let mut at = (from / step).ceil() * step;
        *out += "<div class=\"x\">";
        while at <= from + total {
            let left = (at - from) / total * 100.0;
            if left < 97.5 {
                let text = if at == 0.0 { "fault".to_owned() } else { format!("{at:+.0} s").replace('-', "−") };
                let _ = write!(out, "<span style=\"left:{left:.2}%\">{text}</span>");
            }
            at += step;
        }
        *out += "</div>";
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut line = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(line, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    if let [(x, y)] = points {
        // A line of one point would not be seen.
        let _ = write!(line, "L{:.1} {y:.1}", x + 1.0);
    }
    line
}

/// The next number up that halves well.
fn nice(value: f64) -> f64 {
    let steps = [10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 800.0, 1000.0];
    steps.into_iter().find(|s| *s >= value).unwrap_or_else(|| (value / 1000.0).ceil() * 1000.0)
}
