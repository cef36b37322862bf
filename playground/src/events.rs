//! The log of what was done to a cluster: one line of JSON for each fault, each heal, and each server that ended by
//! itself, with its time and who did it. A drill's report marks what others did while it ran, and a drill whose fault
//! somebody else healed finds here who.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The log's name in the cluster's directory.
const FILE: &str = "events.jsonl";

/// Who did something to a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// A command of the user.
    #[default]
    Command,
    /// The drill that runs.
    Drill,
    /// The playground, or nobody: a server ended by itself.
    Playground,
}

/// Something that was done to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// When, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// Who did it.
    pub(crate) by: Origin,
    /// What, as the command is called: `kill`, `link`, `heal`.
    pub(crate) what: String,
    /// To what: a node, a region, a zone, a link. Empty for the whole cluster.
    pub(crate) target: String,
    /// In what way, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// The log of one cluster.
pub(crate) struct EventLog {
    path: PathBuf,
}

impl EventLog {
    /// The log in the directory of a cluster. It is made with the first event.
    pub(crate) fn in_dir(dir: &Path) -> EventLog {
        EventLog { path: dir.join(FILE) }
    }

    /// Adds an event that happens now. A log that cannot be written keeps no fault from being undone.
    pub(crate) fn record(&self, by: Origin, what: &str, target: &str, detail: &str) {
        let event = Event { time_ms: now_ms(), by, what: what.into(), target: target.into(), detail: detail.into() };
        let Ok(mut line) = serde_json::to_vec(&event) else { return };
        line.push(b'\n');
        let _ = OpenOptions::new().create(true).append(true).open(&self.path).and_then(|mut f| f.write_all(&line));
    }

    /// What happened from `since_ms` on, in order. A line that is none is passed over: the last may be torn.
    pub(crate) fn since(&self, since_ms: u64) -> Vec<Event> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
        events.filter(|e| e.time_ms >= since_ms).collect()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_by_their_time_and_a_torn_line_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let log = EventLog::in_dir(dir.path());
        assert_eq!(log.since(0), []);
        let begin = now_ms();
        log.record(Origin::Drill, "kill", "eu-west-1", "pd-3, kv-3");
        std::fs::OpenOptions::new().append(true).open(&log.path).unwrap().write_all(b"{\"time_ms\":1,\"wh\n").unwrap();
        log.record(Origin::Command, "start", "eu-west-1", "");
        let what: Vec<(Origin, String)> = log.since(begin).into_iter().map(|e| (e.by, e.what)).collect();
        assert_eq!(what, [(Origin::Drill, "kill".to_owned()), (Origin::Command, "start".to_owned())]);
        assert_eq!(log.since(now_ms() + 1), []);
    }
}
