//! `report.html`: one file that shows a report, without anything from elsewhere.
//!
//! The plots are SVG that is stretched to the page's width; whatever is text stands beside them as HTML, so that it is as
//! large on a phone as on a desk. The script only adds what hovering shows.

mod plot;

use std::fmt::Write;

use crate::history::Kind;
use crate::report::{EventKind, RegionReport, Report};
use crate::rto::Latency;
use crate::verdict::Status;

/// The page.
pub fn render(report: &Report) -> String {
    let frame = plot::Frame::of(report);
    let mut body = String::new();
    hero(&mut body, report);
    cards(&mut body, report);
    for warning in &report.warnings {
        let _ = write!(body, "<div class=\"card warn\">{}</div>", escape(warning));
    }
    story(&mut body, report, &frame);
    let points: usize = report.regions.iter().map(|r| frame.points(r)).sum();
    let _ = write!(
        body,
        "<h2>Timeline by region</h2><section id=\"timeline\" data-points=\"{points}\">\
         <div class=\"legend\"><button id=\"show-r\" aria-pressed=\"true\"><i class=\"reads-bg\"></i>reads</button>\
         <button id=\"show-w\" aria-pressed=\"true\"><i class=\"writes-bg\"></i>writes</button>\
         <span><i class=\"errors-bg\"></i>errors</span>\
         <span><i style=\"background:var(--fault);outline:1px solid var(--line)\"></i>fault</span>\
         <span><i style=\"background:var(--mend);outline:1px solid var(--line)\"></i>mending</span></div>"
    );
    for region in &report.regions {
        region_card(&mut body, report, region, &frame);
    }
    body += "</section>";
    table(&mut body, report);
    checks(&mut body, report);
    let _ = write!(
        body,
        "<footer>The figures of this page are in <a href=\"report.json\">report.json</a>, every operation in \
         <a href=\"history.jsonl\">history.jsonl</a>. Cluster {}, seed {}.</footer>",
        escape(&report.tag),
        report.seed
    );
    let title = escape(&format!("{} · {}", report.drill, word(report.verdict.status)));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{}</style></head><body><main>{body}</main>\
         <script type=\"application/json\" id=\"data\">{}</script><script>{}</script></body></html>\n",
        include_str!("style.css"),
        frame.data(report).replace("</", "<\\/"),
        include_str!("script.js"),
    )
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "Passed",
        Status::Missed => "Target missed",
        Status::Broken => "Promise broken",
    }
}

/// `1 234 567` with thin spaces.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// `0.43 s`, `12.3 s`.
fn seconds(ms: f64) -> String {
    if ms < 9_995.0 { format!("{:.2} s", ms / 1000.0) } else { format!("{:.1} s", ms / 1000.0) }
}

fn hero(out: &mut String, report: &Report) {
    let class = match report.verdict.status {
        Status::Pass => "pass",
        Status::Missed => "missed",
        Status::Broken => "broken",
    };
    let summary = report.title.split_once(": ").map_or(report.title.as_str(), |(_, rest)| rest);
    let _ = write!(
        out,
        "<section class=\"hero {class}\"><div class=\"drill\">drill <b>{}</b></div><h1>{}</h1><div class=\"title\">{}</div>",
        report.drill,
        word(report.verdict.status),
        escape(&capital(summary))
    );
    let reasons: Vec<&String> = report.verdict.broken.iter().chain(&report.verdict.missed).collect();
    if !reasons.is_empty() {
        *out += "<ul>";
        for reason in reasons {
            let _ = write!(out, "<li>{}</li>", escape(reason));
        }
        *out += "</ul>";
    }
    let time = chrono::DateTime::from_timestamp(report.started_unix, 0).unwrap_or_default();
    let _ = write!(
        out,
        "<div class=\"meta\"><span>{}</span><span>cluster {}</span><span>workload {}</span><span>measured {} s</span></div></section>",
        time.format("%-d %B %Y, %H:%M UTC"),
        escape(&report.tag),
        report.workload,
        (report.phases.end_us - report.phases.calm_us) / 1_000_000
    );
}

fn capital(text: &str) -> String {
    // A name of a process or region stays as it is typed.
    let first = text.split(' ').next().unwrap_or_default();
    if first.contains('-') {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().collect::<String>() + chars.as_str())
}

fn cards(out: &mut String, report: &Report) {
    let c = report.commits;
    *out += "<section class=\"cards\">";
    let mut card = |label: &str, value: String, note: String| {
        let _ = write!(
            out,
            "<div class=\"card\"><div class=\"label\">{label}</div><div class=\"value\">{value}</div><div class=\"note\">{note}</div></div>"
        );
    };
    card_worst(&mut card, report);
    card("Commits acknowledged", number(c.acknowledged), format!("{} failed definitely", number(c.failed)));
    let lost_class = if c.lost == 0 { "good" } else { "bad" };
    card(
        "Lost",
        format!("<span class=\"{lost_class}\">{}</span>", number(c.lost)),
        "acknowledged, and not there".to_owned(),
    );
    card("Unknown outcome", number(c.unknown), "the client cannot know".to_owned());
    match report.phases.whole_us {
        Some(at) => {
            let ms = (at - report.phases.healed_us) as f64 / 1000.0;
            card(
                "Whole after healing",
                seconds(ms).replace(" s", " <small>s</small>"),
                "and as fast as before".to_owned(),
            );
        }
        None => card("Whole after healing", "<span class=\"bad\">not in time</span>".to_owned(), String::new()),
    }
    *out += "</section>";
}

fn card_worst(card: &mut dyn FnMut(&str, String, String), report: &Report) {
    let target = report.rto_target_ms as f64 / 1000.0;
    match report.worst_rto() {
        Some((ms, region, kind)) => {
            let class = if ms > report.rto_target_ms as f64 { "bad" } else { "" };
            let kind = if kind == Kind::Read { "reads" } else { "writes" };
            card(
                "Longest silence (RTO)",
                format!("<span class=\"{class}\">{}</span>", seconds(ms).replace(" s", " <small>s</small>")),
                format!("{kind} in {}; the target is {target} s", escape(region)),
            );
        }
        None => card("Longest silence (RTO)", "–".to_owned(), "no region is judged".to_owned()),
    }
}

/// What was expected, and what happened.
fn story(out: &mut String, report: &Report, frame: &plot::Frame) {
    *out += "<h2>The drill</h2><div class=\"two\"><div class=\"card\"><h2>What was expected</h2><ul class=\"expect\">";
    for sentence in &report.expectation {
        let _ = write!(out, "<li><span>{}</span></li>", escape(sentence));
    }
    *out += "</ul></div><div class=\"card\"><h2>What happened</h2><ol class=\"events\">";
    for (i, event) in report.events.iter().enumerate() {
        let class = match event.kind {
            EventKind::Fault => "fault",
            EventKind::Heal => "heal",
            EventKind::Note => "note",
        };
        let at = frame.relative_s(event.at_us);
        let sign = if at < 0.0 { "−" } else { "+" };
        let _ = write!(
            out,
            "<li><span class=\"at\">{sign}{:.1} s</span><span class=\"num {class}\">{}</span><span>{}</span></li>",
            at.abs(),
            i + 1,
            escape(&event.text)
        );
    }
    *out += "</ol></div></div>";
}

fn region_card(out: &mut String, report: &Report, region: &RegionReport, frame: &plot::Frame) {
    let tag = if region.judged { "judged" } else { "the fault may silence it: not judged" };
    let _ = write!(
        out,
        "<article class=\"card region\"><header><h3>{}</h3><span class=\"tag\">{tag}</span><span class=\"rto\">",
        escape(&region.region)
    );
    for (name, k) in [("reads", &region.reads), ("writes", &region.writes)] {
        let over = if region.judged && k.rto_ms > report.rto_target_ms as f64 { " class=\"over\"" } else { "" };
        let silence = seconds(k.rto_ms);
        let _ =
            write!(out, "<span><i class=\"dot {name}-bg\"></i>longest gap of {name} <b{over}>{silence}</b></span> ");
    }
    *out += "</span></header>";
    frame.timeline(out, report, region);
    if !region.errors.is_empty() || !region.servers.is_empty() {
        *out += "<div class=\"chips\">";
        for (code, n) in &region.errors {
            let name = if code.chars().all(|c| c.is_ascii_digit()) { format!("error {code}") } else { code.clone() };
            let _ = write!(out, "<span class=\"bad\">{} × {}</span>", escape(&name), number(*n));
        }
        for (server, n) in &region.servers {
            let _ = write!(out, "<span>{} answered {}</span>", escape(server), number(*n));
        }
        *out += "</div>";
    }
    *out += "</article>";
}

fn table(out: &mut String, report: &Report) {
    let heads = [
        "Region",
        "",
        "RTO",
        "Own server after healing",
        "Before p50 / p99",
        "During p50 / p99",
        "After p50 / p99",
        "Acked / failed / unknown",
        "Calm rate",
    ];
    *out += "<h2>Figures</h2><div class=\"card scroll\"><table><thead><tr>";
    for head in heads {
        let _ = write!(out, "<th>{head}</th>");
    }
    *out += "</tr></thead><tbody>";
    let latency = |l: &Option<Latency>| match l {
        Some(l) => format!("{:.0} / {:.0} ms", l.p50_ms, l.p99_ms),
        None => "–".to_owned(),
    };
    for region in &report.regions {
        for (name, k) in [("reads", &region.reads), ("writes", &region.writes)] {
            let mark = if region.judged { "" } else { " *" };
            let away = if region.home.is_empty() { " †" } else { "" };
            let cells = [
                format!("{}{}", seconds(k.rto_ms), mark),
                k.first_after_heal_ms.map_or("never".to_owned(), seconds) + away,
                latency(&k.before),
                latency(&k.during),
                latency(&k.after),
                format!("{} / {} / {}", number(k.acknowledged), number(k.failed), number(k.unknown)),
                format!("{:.0}/s", k.calm_per_second),
            ];
            let _ = write!(
                out,
                "<tr><td class=\"region-name\">{}</td><td data-label=\"Kind\"><span><i class=\"dot {name}-bg\" style=\"margin-left:0\"></i>{name}</span></td>",
                escape(&region.region)
            );
            for (head, cell) in heads[2..].iter().zip(cells) {
                let _ = write!(out, "<td data-label=\"{head}\">{cell}</td>");
            }
            *out += "</tr>";
        }
    }
    *out += "</tbody></table></div>";
    if !report.silenced.is_empty() {
        *out += "<div class=\"note\">* Not judged: the fault itself may silence this region. The time from healing until its \
                 own SQL servers answer is judged.</div>";
    }
    if report.regions.iter().any(|r| r.home.is_empty()) {
        *out += "<div class=\"note\">† No SQL server stands in this region: another region's answered.</div>";
    }
}

fn checks(out: &mut String, report: &Report) {
    *out += "<h2>The judges</h2><div class=\"card checks\">";
    for check in &report.checks {
        let (class, sign) = if check.passed { ("good", "✓") } else { ("bad", "✗") };
        let _ = write!(
            out,
            "<div class=\"check\"><span class=\"sign {class}\">{sign}</span><div><div>{}</div>",
            escape(&capital(&check.name))
        );
        for detail in &check.details {
            let _ = write!(out, "<div class=\"detail\">{}</div>", escape(detail));
        }
        *out += "</div></div>";
    }
    *out += "</div>";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_stands_alone_and_its_timeline_has_points() {
        let report = crate::model::sample(crate::Name::RegionFailure, 1);
        let page = render(&report);
        let points =
            page.split("id=\"timeline\" data-points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(points.parse::<u64>().unwrap() > 100, "{points}");
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside} in the page");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "a number is missing");
        assert_eq!(page.matches("class=\"timeline\"").count(), report.regions.len());
        assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
    }

    #[test]
    fn text_from_the_cluster_cannot_become_markup() {
        let mut report = crate::model::sample(crate::Name::PdLeader, 1);
        report.regions[0].region = "</script><b>".into();
        report.tag = "<i>".into();
        let page = render(&report);
        assert!(!page.contains("</script><b>") && !page.contains("<i>"));
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((seconds(430.0), seconds(12_340.0)), ("0.43 s".to_owned(), "12.3 s".to_owned()));
    }
}
