//! What a run said and did, as one number: two runs of one seed are the same run exactly if their numbers agree.
//!
//! Every message between stores, every command and its answer, every word to PD and every fault goes in with its time
//! and all of its content. `SIM_TRACE=FILE` also writes them down, a line each with the number so far: the first line
//! in which two runs of a seed differ tells where something came from outside of the seed.

use std::fmt::Display;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufWriter, Write};
use std::time::Duration;

use prost::Message as _;
use proto::tikvpb::{batch_commands_request, batch_commands_response};
use storage_node::raftstore::msg::Msg;

use super::{Delivery, World};

/// Bytes of an event that are written down.
const SHOWN_BYTES_MAX: usize = 2_000;

/// The events of a run.
pub struct Trace {
    // Made by `new`, this hasher has no key: its numbers are the same in every process.
    hasher: DefaultHasher,
    file: Option<BufWriter<File>>,
}

impl Trace {
    pub(super) fn new() -> Trace {
        let file = std::env::var_os("SIM_TRACE").map(|path| {
            let file = File::options().create(true).append(true).open(&path);
            BufWriter::new(file.unwrap_or_else(|e| panic!("SIM_TRACE={}: {e}", path.display())))
        });
        Trace { hasher: DefaultHasher::new(), file }
    }

    /// The number of the run so far.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// Adds an event.
    pub(super) fn add(&mut self, at: u64, place: impl Display, content: &[u8]) {
        let place = place.to_string();
        self.hasher.write_u64(at);
        self.hasher.write(place.as_bytes());
        self.hasher.write_usize(content.len());
        self.hasher.write(content);
        if let Some(file) = &mut self.file {
            let at = Duration::from_nanos(at);
            let shown = content[..content.len().min(SHOWN_BYTES_MAX)].escape_ascii();
            writeln!(file, "{:016x} {at:?} {place}: {shown}", self.hasher.finish()).expect("SIM_TRACE can be written");
        }
    }

    pub(super) fn add_delivery(&mut self, at: u64, to: u64, what: &Delivery) {
        match what {
            Delivery::Message(Msg::Raft(message)) => {
                self.add(at, format_args!("raft to store {to}"), &message.encode_to_vec());
            }
            Delivery::Message(Msg::Snapshot { message, chunks }) => {
                let mut bytes = message.encode_to_vec();
                chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
                self.add(at, format_args!("snapshot to store {to}"), &bytes);
            }
            Delivery::Message(message) => {
                self.add(at, format_args!("message to store {to}"), format!("{message:?}").as_bytes());
            }
            Delivery::SafePoint(ts) => self.add(at, format_args!("safe point to store {to}"), &ts.0.to_be_bytes()),
            Delivery::Collect(ts) => self.add(at, format_args!("garbage of store {to}"), &ts.0.to_be_bytes()),
            Delivery::Job { life, .. } => self.add(at, format_args!("job of store {to}"), &life.to_be_bytes()),
        }
    }
}

impl World {
    pub(super) fn trace_command(&mut self, store: u64, cmd: &batch_commands_request::request::Cmd) {
        let mut bytes = Vec::new();
        cmd.encode(&mut bytes);
        self.trace.add(self.now(), format_args!("command to store {store}"), &bytes);
    }

    pub(super) fn trace_answer(&mut self, store: u64, cmd: &batch_commands_response::response::Cmd) {
        let mut bytes = Vec::new();
        cmd.encode(&mut bytes);
        self.trace.add(self.now(), format_args!("answer of store {store}"), &bytes);
    }
}
