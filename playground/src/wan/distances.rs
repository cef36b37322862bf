//! Round trips between the regions: what is asked of the links, and what bytes take to an echo and back.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wan::config::address_in_region;

use super::Wan;
use super::relay::Cost;
use crate::table;

/// The host numbers in a region's network: what measures round trips, the relay in front of the echo, and the echo.
const PROBE_HOST: u8 = 252;
pub(super) const ECHO_DOOR_HOST: u8 = 253;
pub(super) const ECHO_HOST: u8 = 254;
/// Round trips of which the least is shown: more than one, for the machine's own noise.
const PROBE_ROUNDS: usize = 3;
/// One measurement may take this long; a link that is cut takes for ever.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The round trips between the regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distances {
    /// The regions, in the cluster's order.
    pub(crate) regions: Vec<String>,
    /// From each region (row) to each (column), microseconds; `None` while the link is cut in a direction.
    pub(crate) asked_us: Vec<Vec<Option<u64>>>,
    /// The same, measured; `None` where nothing came back in time. Empty if not measured.
    pub(crate) measured_us: Vec<Vec<Option<u64>>>,
    /// From each region (row) to each (column): whether nothing passes in that direction.
    pub(crate) cut: Vec<Vec<bool>>,
    /// The relay's cost.
    pub(crate) relay: Cost,
}

impl Distances {
    /// The round trip that is asked of a link.
    pub(crate) fn asked_us(&self, a: &str, b: &str) -> Option<u64> {
        let at = |region: &str| self.regions.iter().position(|r| r == region);
        self.asked_us[at(a)?][at(b)?]
    }

    /// For a person: measured, and asked in brackets.
    pub(crate) fn table(&self) -> String {
        let header: Vec<&str> = std::iter::once("FROM \\ TO").chain(self.regions.iter().map(String::as_str)).collect();
        let ms = |us: u64| format!("{:.1} ms", us as f64 / 1000.0);
        // A round trip needs both directions, so that a cut of either shows in both cells.
        let cut = |from: usize, to: usize| match (self.cut[from][to], self.cut[to][from]) {
            (true, false) => format!("cut {} → {}", self.regions[from], self.regions[to]),
            (false, true) => format!("cut {} → {}", self.regions[to], self.regions[from]),
            _ => "cut".to_owned(),
        };
        let row = |from: usize| {
            let cell = |to: usize| match (self.measured_us[from][to], self.asked_us[from][to]) {
                (Some(measured), Some(asked)) => format!("{} ({})", ms(measured), ms(asked)),
                (None, Some(asked)) => format!("no answer ({})", ms(asked)),
                (Some(measured), None) => format!("{} ({})", ms(measured), cut(from, to)),
                (None, None) => cut(from, to),
            };
            std::iter::once(self.regions[from].clone()).chain((0..self.regions.len()).map(cell)).collect()
        };
        let mut text = "Round trips, measured (and asked)\n".to_owned();
        text.push_str(&table::lined_up(&header, (0..self.regions.len()).map(row)));
        text.push_str(&format!("{}\n", self.relay));
        text
    }
}

impl Wan {
    /// The round trips that are asked of the links; with `measure`, also how long bytes take.
    pub(crate) async fn distances(&self, measure: bool) -> anyhow::Result<Distances> {
        let states = self.link_states().await?;
        let one_way = |from: &str, to: &str| {
            let state = states.iter().find(|l| l.from == from && l.to == to)?;
            (!state.cut).then(|| state.shape.rtt.nanos() / 2)
        };
        let round_trip = |a: &String, b: &String| Some((one_way(a, b)? + one_way(b, a)?) / 1000);
        let matrix = |of: &dyn Fn(&String, &String) -> Option<u64>| -> Vec<Vec<Option<u64>>> {
            self.regions.iter().map(|a| self.regions.iter().map(|b| of(a, b)).collect()).collect()
        };
        let asked_us = matrix(&round_trip);
        let mut measured_us = Vec::new();
        if measure {
            for from in 0..self.regions.len() {
                let probes = self.echoes.iter().map(|echo| probe(address_in_region(from, PROBE_HOST), *echo));
                measured_us.push(futures::future::join_all(probes).await);
            }
        }
        let is_cut = |from: &String, to: &String| states.iter().any(|l| l.from == *from && l.to == *to && l.cut);
        let cut = self.regions.iter().map(|a| self.regions.iter().map(|b| is_cut(a, b)).collect()).collect();
        Ok(Distances { regions: self.regions.clone(), asked_us, measured_us, cut, relay: self.cost().await? })
    }
}

/// Sends back what it is sent, on every connection.
pub(super) async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
    }
}

/// The least round trip of a few from an address to an echo, in microseconds; `None` if none comes back in time.
async fn probe(from: Ipv4Addr, echo: SocketAddrV4) -> Option<u64> {
    let rounds = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let mut stream: TcpStream = socket.connect(echo.into()).await?;
        stream.set_nodelay(true)?;
        let mut least = Duration::MAX;
        // The first pays for the handshake.
        for round in 0..=PROBE_ROUNDS {
            let begin = Instant::now();
            stream.write_all(b"?").await?;
            stream.read_exact(&mut [0]).await?;
            if round > 0 {
                least = least.min(begin.elapsed());
            }
        }
        Ok::<_, std::io::Error>(least.as_micros() as u64)
    };
    tokio::time::timeout(PROBE_TIMEOUT, rounds).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_one_way_shows_its_direction_in_both_cells() {
        let relay = Cost {
            connections: 0,
            cpu_percent_of_a_core: 0.0,
            cpu_us_per_message: 0.0,
            messages: 0,
            buffered_bytes: 0,
        };
        let of = |cut: [[bool; 2]; 2], asked, measured| {
            let matrix = |far: Option<u64>| vec![vec![Some(500), far], vec![far, Some(500)]];
            let (asked_us, measured_us) = (matrix(asked), matrix(measured));
            let cut = cut.map(|row| row.to_vec()).to_vec();
            Distances { regions: vec!["us".into(), "eu".into()], asked_us, measured_us, cut, relay: relay.clone() }
                .table()
        };
        let open = [[false; 2]; 2];
        assert!(of(open, Some(85_000), Some(86_000)).contains("us         0.5 ms (0.5 ms)    86.0 ms (85.0 ms)\n"));
        assert!(of(open, Some(85_000), None).contains("no answer (85.0 ms)"));
        let one_way = of([[false, true], [false, false]], None, None);
        assert_eq!(one_way.matches("cut us → eu").count(), 2, "{one_way}");
        let other_way = of([[false, false], [true, false]], None, None);
        assert_eq!(other_way.matches("cut eu → us").count(), 2, "{other_way}");
        let both = of([[false, true], [true, false]], None, None);
        assert!(both.matches("cut").count() == 2 && !both.contains('→'), "{both}");
    }
}
