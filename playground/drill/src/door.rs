//! Which SQL server the clients of a region talk to: what a load balancer in front of an application would do.
//!
//! Clients go to the servers of their own region as long as these answer, and else to the next. A server that cannot be
//! connected to is down at once; one that lets statements time out, or says that it cannot reach the cluster, is down
//! after [`STRIKES_MAX`] of these within [`STRIKES_WITHIN`]. A prober asks the ones that are down for a row twice a
//! second, and those that answer twice in a row are up again; clients then go home with their next operation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::cluster::Door;
use crate::mysql::{self, Trouble};

/// Bad answers after which a server counts as down.
const STRIKES_MAX: usize = 3;
/// The time within which they must come.
const STRIKES_WITHIN: Duration = Duration::from_secs(2);
/// How often the prober asks.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long it waits for an answer.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Good answers after which a server is up again.
const PROBES_WANTED: u32 = 2;

/// The doors of one region, shared by its clients.
#[derive(Debug)]
pub(crate) struct Doors {
    doors: Vec<Door>,
    /// Doors of the clients' own region; they come first.
    own: usize,
    states: Mutex<Vec<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    down: bool,
    strikes: Vec<Instant>,
    probes: u32,
}

impl Doors {
    /// The doors of a region's clients.
    pub(crate) fn new(region: &str, mut doors: Vec<Door>) -> Doors {
        // Stable: the others stay in the order in which the cluster named them.
        doors.sort_by_key(|d| d.region != region);
        let own = doors.iter().filter(|d| d.region == region).count();
        let states = Mutex::new(vec![State::default(); doors.len()]);
        Doors { doors, own, states }
    }

    /// A door.
    pub(crate) fn door(&self, index: usize) -> &Door {
        &self.doors[index]
    }

    /// The order in which a client tries the doors: those that are up first. Clients spread over the own region's.
    pub(crate) fn order(&self, process: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.doors.len()).collect();
        if self.own > 0 {
            order[..self.own].rotate_left(process as usize % self.own);
        }
        let states = self.states.lock();
        order.sort_by_key(|i| states[*i].down);
        order
    }

    /// Reports what became of an attempt.
    pub(crate) fn report(&self, index: usize, trouble: &Trouble, connecting: bool) {
        if !trouble.unreachable {
            return;
        }
        let mut states = self.states.lock();
        let state = &mut states[index];
        let now = Instant::now();
        state.strikes.retain(|at| now - *at < STRIKES_WITHIN);
        state.strikes.push(now);
        if connecting || state.strikes.len() >= STRIKES_MAX {
            state.down = true;
            state.probes = 0;
            state.strikes.clear();
        }
    }

    /// Asks the doors that are down, for ever.
    pub(crate) async fn probe(self: Arc<Self>, database: String) {
        let mut asking = tokio::task::JoinSet::new();
        let mut busy = vec![false; self.doors.len()];
        loop {
            let down: Vec<usize> =
                self.states.lock().iter().enumerate().filter(|(_, s)| s.down).map(|(i, _)| i).collect();
            for index in down.into_iter().filter(|i| !busy[*i]).collect::<Vec<_>>() {
                busy[index] = true;
                let (door, database) = (self.doors[index].clone(), database.clone());
                asking.spawn(async move { (index, answers(&door, &database).await) });
            }
            tokio::time::sleep(PROBE_EVERY).await;
            while let Some(Ok((index, answered))) = asking.try_join_next() {
                busy[index] = false;
                let mut states = self.states.lock();
                let state = &mut states[index];
                state.probes = if answered { state.probes + 1 } else { 0 };
                if state.probes >= PROBES_WANTED {
                    *state = State::default();
                }
            }
        }
    }
}

/// Whether a server answers with a row of a table, soon.
async fn answers(door: &Door, database: &str) -> bool {
    let ask = async {
        let mut conn: Conn = mysql::connect(door, Some(database)).await?;
        mysql::statement(&mut conn, "SELECT n FROM probe WHERE id = 1").await?;
        conn.disconnect().await.map_err(|_| Trouble::failed("goodbye"))
    };
    matches!(timeout(PROBE_TIMEOUT, ask).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(server: &str, region: &str) -> Door {
        Door { server: server.into(), region: region.into(), host: "127.0.0.1".into(), port: 1 }
    }

    #[test]
    fn clients_go_home_first_and_elsewhere_when_home_is_down() {
        let doors =
            Doors::new("eu", vec![door("sql-1", "us"), door("sql-2", "eu"), door("sql-3", "ap"), door("sql-4", "eu")]);
        let order = |process| doors.order(process).iter().map(|i| doors.door(*i).server.as_str()).collect::<Vec<_>>();
        assert_eq!(order(0), ["sql-2", "sql-4", "sql-1", "sql-3"]);
        assert_eq!(order(1), ["sql-4", "sql-2", "sql-1", "sql-3"]);
        let gone = Trouble { unreachable: true, ..Trouble::failed("no server") };
        doors.report(0, &gone, true);
        assert_eq!(order(0), ["sql-4", "sql-1", "sql-3", "sql-2"]);
        // A conflict says nothing about the server; silence does after a few times.
        doors.report(1, &Trouble::failed("9007"), false);
        doors.report(1, &gone, false);
        doors.report(1, &gone, false);
        assert_eq!(order(0)[0], "sql-4");
        doors.report(1, &gone, false);
        assert_eq!(order(0), ["sql-1", "sql-3", "sql-2", "sql-4"]);
    }
}
