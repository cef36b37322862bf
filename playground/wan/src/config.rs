//! What a relay is started with: a JSON file, written by the playground.
//!
//! ```json
//! { "regions": ["us-east-1", "eu-west-1"],
//!   "listeners": [
//!     { "listen": "127.0.1.3:4000", "target": "127.0.1.3:14000", "region": "us-east-1", "tier": "sql", "node": "sql-1" },
//!     { "listen": "127.0.0.1:4001", "target": "127.0.1.3:14000", "region": "us-east-1", "tier": "sql", "node": "sql-1",
//!       "caller": "eu-west-1" } ],
//!   "links": [ { "from": "us-east-1", "to": "eu-west-1", "shape": { "rtt": "85ms" } }, … every ordered pair … ] }
//! ```

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// So many regions have a network of their own below `127.0.0.0/16`, beside that of callers without a region.
pub const REGIONS_MAX: usize = 254;

/// All that a relay needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster's regions. The first has the network `127.0.1.0/24`, and so on.
    pub regions: Vec<String>,
    /// What stands in front of the servers' ports.
    pub listeners: Vec<ListenerConfig>,
    /// Every ordered pair of regions, also each with itself. [`crate::profile`] makes them.
    pub links: Vec<LinkSpec>,
}

/// One direction between two regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Where bytes come from.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// What happens to them.
    pub shape: Shape,
}

/// What stands in front of one port of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Where callers connect to. Port 0 is a free one; [`crate::relay::Relay::listening`] tells which.
    pub listen: SocketAddrV4,
    /// Where the server listens.
    pub target: SocketAddrV4,
    /// The server's region.
    pub region: String,
    /// What its traffic is counted under.
    pub tier: Tier,
    /// The server's name, for messages.
    pub node: String,
    /// A door: whoever calls here is in this region, whatever the address. Otherwise the address tells, and a caller
    /// whose address is in no region's network is in the server's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// The kind of server whose traffic it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Placement driver.
    Pd,
    /// Storage node.
    Kv,
    /// SQL server.
    Sql,
    /// What measures the network itself.
    Probe,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Tier; 4] = [Tier::Pd, Tier::Kv, Tier::Sql, Tier::Probe];
}

/// A configuration that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// None, or more than there are networks for.
    #[error("{0} regions: a relay serves 1 to {REGIONS_MAX}")]
    RegionCount(usize),
    /// Two regions of the same name.
    #[error("region `{0}` is there twice")]
    RegionTwice(String),
    /// A name that is not among the regions.
    #[error("{place}: {error}")]
    UnknownRegion {
        /// Which listener or link names it.
        place: String,
        /// What it names.
        error: UnknownRegion,
    },
    /// Two listeners at one address.
    #[error("{0} is listened on twice")]
    ListenTwice(SocketAddrV4),
    /// A direction with two shapes.
    #[error("the link from {0} to {1} is there twice")]
    LinkTwice(String, String),
    /// A direction without a shape.
    #[error("the link from {0} to {1} is missing")]
    LinkMissing(String, String),
}

/// A name that no region of the cluster has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no region `{name}`; this cluster has {}", .known.join(", "))]
pub struct UnknownRegion {
    /// The name.
    pub name: String,
    /// The names that there are.
    pub known: Vec<String>,
}

/// The cluster's regions, by name and by number from zero.
#[derive(Clone, Debug)]
pub struct Regions(Vec<String>);

impl Regions {
    /// The number of the region with this name.
    pub fn find(&self, name: &str) -> Result<usize, UnknownRegion> {
        let found = self.0.iter().position(|region| region == name);
        found.ok_or_else(|| UnknownRegion { name: name.to_owned(), known: self.0.clone() })
    }

    /// The region whose network this address is in.
    pub fn of_address(&self, address: Ipv4Addr) -> Option<usize> {
        let [127, 0, number, _] = address.octets() else { return None };
        usize::from(number).checked_sub(1).filter(|index| *index < self.0.len())
    }

    /// The name of a region.
    pub fn name(&self, index: usize) -> &str {
        &self.0[index]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The address `host` in the network of region number `index`, counted from zero.
pub fn address_in_region(index: usize, host: u8) -> Ipv4Addr {
    let number = u8::try_from(index + 1).expect("no cluster has more regions than REGIONS_MAX");
    Ipv4Addr::new(127, 0, number, host)
}

impl Config {
    /// The regions, and the shape of every direction: from `a` to `b` at `a * regions + b`.
    pub fn check(&self) -> Result<(Regions, Vec<Shape>), ConfigError> {
        let count = self.regions.len();
        if !(1..=REGIONS_MAX).contains(&count) {
            return Err(ConfigError::RegionCount(count));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.regions.iter().find(|region| !seen.insert(*region)) {
            return Err(ConfigError::RegionTwice(twice.clone()));
        }
        let regions = Regions(self.regions.clone());
        self.check_listeners(&regions)?;

        let mut shapes = vec![None; count * count];
        for link in &self.links {
            let find =
                |name| regions.find(name).map_err(|error| unknown(format!("link {} – {}", link.from, link.to), error));
            let place = &mut shapes[find(&link.from)? * count + find(&link.to)?];
            if place.replace(link.shape).is_some() {
                return Err(ConfigError::LinkTwice(link.from.clone(), link.to.clone()));
            }
        }
        let missing =
            |at: usize| ConfigError::LinkMissing(self.regions[at / count].clone(), self.regions[at % count].clone());
        let shapes = shapes.into_iter().enumerate().map(|(at, shape)| shape.ok_or_else(|| missing(at)));
        Ok((regions, shapes.collect::<Result<_, _>>()?))
    }

    fn check_listeners(&self, regions: &Regions) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for listener in &self.listeners {
            for name in [Some(&listener.region), listener.caller.as_ref()].into_iter().flatten() {
                regions.find(name).map_err(|error| unknown(format!("listener {}", listener.listen), error))?;
            }
            if listener.listen.port() != 0 && !seen.insert(listener.listen) {
                return Err(ConfigError::ListenTwice(listener.listen));
            }
        }
        Ok(())
    }
}

fn unknown(place: String, error: UnknownRegion) -> ConfigError {
    ConfigError::UnknownRegion { place, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn config() -> Config {
        let regions = ["us-east-1", "eu-west-1"].map(str::to_owned).to_vec();
        let listener = ListenerConfig {
            listen: "127.0.1.3:4000".parse().expect("an address"),
            target: "127.0.1.3:14000".parse().expect("an address"),
            region: "us-east-1".to_owned(),
            tier: Tier::Sql,
            node: "sql-1".to_owned(),
            caller: None,
        };
        Config { links: profile::well_known(&regions).expect("well known"), regions, listeners: vec![listener] }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Config), expect: &str) {
        let mut config = config();
        change(&mut config);
        let error = config.check().expect_err("refused").to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn a_configuration_reads_back() {
        let config = config();
        let json = serde_json::to_string(&config).expect("JSON");
        assert_eq!(serde_json::from_str::<Config>(&json).expect("reads back"), config);
        let (regions, shapes) = config.check().expect("a good configuration");
        assert_eq!((regions.count(), shapes.len()), (2, 4));
        assert_eq!(shapes[1], config.links[1].shape);
    }

    #[test]
    fn an_impossible_configuration_is_refused() {
        refused(|config| config.regions.clear(), "0 regions");
        refused(|config| config.regions.push("us-east-1".to_owned()), "`us-east-1` is there twice");
        refused(
            |config| config.listeners[0].region = "mars".to_owned(),
            "no region `mars`; this cluster has us-east-1, eu",
        );
        refused(
            |config| config.listeners[0].caller = Some("mars".to_owned()),
            "listener 127.0.1.3:4000: there is no region",
        );
        refused(|config| config.listeners.push(config.listeners[0].clone()), "127.0.1.3:4000 is listened on twice");
        refused(|config| config.links.push(config.links[1].clone()), "from us-east-1 to eu-west-1 is there twice");
        refused(|config| drop(config.links.pop()), "from eu-west-1 to eu-west-1 is missing");
    }

    #[test]
    fn addresses_tell_regions() {
        let (regions, _) = config().check().expect("a good configuration");
        assert_eq!(regions.of_address(Ipv4Addr::new(127, 0, 2, 9)), Some(1));
        assert_eq!(regions.of_address(Ipv4Addr::LOCALHOST), None);
        assert_eq!(regions.of_address(Ipv4Addr::new(127, 0, 3, 9)), None);
        assert_eq!(regions.of_address(Ipv4Addr::new(10, 0, 1, 9)), None);
        assert_eq!(regions.of_address(address_in_region(0, 250)), Some(0));
    }
}
