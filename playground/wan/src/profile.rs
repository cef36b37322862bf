//! Where a cluster's links come from: the table of well-known regions, or a profile that somebody wrote.
//!
//! ```yaml
//! links:
//!   - between: [us-east-1, eu-west-1]
//!     rtt: 85ms             # there and back; the only one that has to be given
//!     jitter: 2ms           # up to this much more, each message by chance, in each direction
//!     bandwidth: 1gbit      # in each direction, shared by all connections between the two
//!     loss: 0.1%            # a lost segment comes late, by a retransmission, and so does what follows it
//! inside: { rtt: 0.5ms }    # within a region; this is what holds without the line
//! ```
//!
//! A profile names every pair of the cluster's regions, once, and no other region: a pair that was forgotten would be
//! a network that nobody asked for.

use serde::Deserialize;

use crate::config::LinkSpec;
use crate::regions::{self, RTT_INSIDE};
use crate::shape::Shape;
use crate::units::{Scalar, UnitError};

/// What is wrong with a profile, or that one is needed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not YAML, or a field that no profile has.
    #[error("the profile cannot be read: {0}; a profile looks like this:\n{EXAMPLE}")]
    Yaml(String),
    /// A value of a link.
    #[error("{link}: {field}: {error}")]
    Value {
        /// Which link, as `link us-east-1 – eu-west-1`.
        link: String,
        /// Which of its fields.
        field: &'static str,
        /// What is wrong with it.
        error: UnitError,
    },
    /// A link without a round trip.
    #[error("{link}: `rtt` is missing: say how long there and back takes, such as `rtt: 85ms`")]
    NoRoundTrip {
        /// Which link.
        link: String,
    },
    /// A region that the cluster does not have.
    #[error(
        "{link}: region `{region}` is not one of this cluster's, which are {} (those of --regions in which nodes stand): \
         correct the name, or remove the link, or start more nodes",
        .known.join(", ")
    )]
    UnknownRegion {
        /// Which link.
        link: String,
        /// The name that was read.
        region: String,
        /// The cluster's regions.
        known: Vec<String>,
    },
    /// A link between a region and itself.
    #[error("{link}: a link goes between two regions; what is inside all of them stands under `inside:`")]
    Inside {
        /// Which link.
        link: String,
    },
    /// The same pair again.
    #[error("{link} is there twice: remove one of the two (one link holds for both directions)")]
    Twice {
        /// Which link.
        link: String,
    },
    /// A pair without a link.
    #[error(
        "the links between {} are missing: a profile names every pair of the cluster's regions, so add{}",
        .pairs.iter().map(|(a, b)| format!("{a} and {b}")).collect::<Vec<_>>().join(", "),
        skeleton(.pairs)
    )]
    Missing {
        /// The pairs.
        pairs: Vec<(String, String)>,
    },
    /// No profile, and a region that is nowhere known.
    #[error(
        "how far region `{region}` is from the others is not known: name a cloud's region (AWS, Google Cloud and Azure \
         are known, such as us-east-1 or europe-west4), or write a profile:\nlinks:{}\ninside: {{ rtt: 0.5ms }}",
        skeleton(.pairs)
    )]
    NotWellKnown {
        /// The first such region.
        region: String,
        /// The pairs that a profile would have to name.
        pairs: Vec<(String, String)>,
    },
}

const EXAMPLE: &str = "\
links:
  - between: [us-east-1, eu-west-1]
    rtt: 85ms
    jitter: 2ms
    bandwidth: 1gbit
    loss: 0.1%
inside: { rtt: 0.5ms }";

/// The links of a cluster whose regions are all well known; also of one with a single region, whatever its name.
pub fn well_known(regions: &[String]) -> Result<Vec<LinkSpec>, ProfileError> {
    if regions.len() > 1
        && let Some(region) = regions.iter().find(|region| !regions::is_known(region))
    {
        return Err(ProfileError::NotWellKnown { region: region.clone(), pairs: pairs(regions).collect() });
    }
    let shape = |a: &str, b: &str| Shape::of_rtt(regions::round_trip(a, b).expect("both are well known"));
    Ok(matrix(regions, Shape::of_rtt(RTT_INSIDE), shape))
}

/// The links of a cluster with these regions as the YAML text `profile` has them.
pub fn read(profile: &str, regions: &[String]) -> Result<Vec<LinkSpec>, ProfileError> {
    // As text: of a source, whoever prints the chain would print it after the example once more.
    let profile: ProfileFile = serde_yaml::from_str(profile).map_err(|error| ProfileError::Yaml(error.to_string()))?;
    let inside = match &profile.inside {
        Some(entry) => entry.shape("inside")?,
        None => Shape::of_rtt(RTT_INSIDE),
    };
    let mut links: Vec<(&str, &str, Shape)> = Vec::new();
    for entry in &profile.links {
        let [a, b] = &entry.between;
        let link = format!("link {a} – {b}");
        if let Some(region) = [a, b].into_iter().find(|region| !regions.contains(region)) {
            return Err(ProfileError::UnknownRegion { link, region: region.clone(), known: regions.to_vec() });
        }
        if a == b {
            return Err(ProfileError::Inside { link });
        }
        if find(&links, a, b).is_some() {
            return Err(ProfileError::Twice { link });
        }
        links.push((a, b, entry.shape(&link)?));
    }
    let missing: Vec<_> = pairs(regions).filter(|(a, b)| find(&links, a, b).is_none()).collect();
    if !missing.is_empty() {
        return Err(ProfileError::Missing { pairs: missing });
    }
    Ok(matrix(regions, inside, |a, b| find(&links, a, b).expect("no pair is missing")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "links between regions")]
struct ProfileFile {
    #[serde(default)]
    links: Vec<LinkEntry>,
    inside: Option<InsideEntry>,
}

/// Quantities are read as they stand and parsed later: an error then names the link and not only a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkEntry {
    between: [String; 2],
    rtt: Option<Scalar>,
    jitter: Option<Scalar>,
    bandwidth: Option<Scalar>,
    loss: Option<Scalar>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InsideEntry {
    rtt: Option<Scalar>,
    jitter: Option<Scalar>,
    bandwidth: Option<Scalar>,
    loss: Option<Scalar>,
}

impl LinkEntry {
    fn shape(&self, link: &str) -> Result<Shape, ProfileError> {
        shape(link, &self.rtt, &self.jitter, &self.bandwidth, &self.loss)
    }
}

impl InsideEntry {
    fn shape(&self, link: &str) -> Result<Shape, ProfileError> {
        shape(link, &self.rtt, &self.jitter, &self.bandwidth, &self.loss)
    }
}

fn shape(
    link: &str,
    rtt: &Option<Scalar>,
    jitter: &Option<Scalar>,
    bandwidth: &Option<Scalar>,
    loss: &Option<Scalar>,
) -> Result<Shape, ProfileError> {
    fn field<T>(link: &str, field: &'static str, value: &Option<Scalar>) -> Result<Option<T>, ProfileError>
    where
        T: std::str::FromStr<Err = UnitError>,
    {
        let parsed = value.as_ref().map(|scalar| scalar.to_string().parse()).transpose();
        parsed.map_err(|error| ProfileError::Value { link: link.to_owned(), field, error })
    }
    Ok(Shape {
        rtt: field(link, "rtt", rtt)?.ok_or_else(|| ProfileError::NoRoundTrip { link: link.to_owned() })?,
        jitter: field(link, "jitter", jitter)?.unwrap_or_default(),
        bandwidth: field(link, "bandwidth", bandwidth)?.unwrap_or_default(),
        loss: field(link, "loss", loss)?.unwrap_or_default(),
    })
}

/// Linear search: a cluster has a handful of regions.
fn find(links: &[(&str, &str, Shape)], a: &str, b: &str) -> Option<Shape> {
    links.iter().find(|(x, y, _)| (*x, *y) == (a, b) || (*x, *y) == (b, a)).map(|(_, _, shape)| *shape)
}

/// Every two different regions, once.
fn pairs(regions: &[String]) -> impl Iterator<Item = (String, String)> {
    regions.iter().enumerate().flat_map(|(i, a)| regions[i + 1..].iter().map(move |b| (a.clone(), b.clone())))
}

fn matrix(regions: &[String], inside: Shape, between: impl Fn(&str, &str) -> Shape) -> Vec<LinkSpec> {
    let of = |from: &String, to: &String| {
        let shape = if from == to { inside } else { between(from, to) };
        LinkSpec { from: from.clone(), to: to.clone(), shape }
    };
    regions.iter().flat_map(|from| regions.iter().map(move |to| of(from, to))).collect()
}

/// Lines to be filled in.
fn skeleton(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(a, b)| format!("\n  - between: [{a}, {b}]\n    rtt: 85ms")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bandwidth, Delay};

    fn regions() -> Vec<String> {
        ["us-east-1", "us-west-2", "eu-west-1"].map(str::to_owned).to_vec()
    }

    const THREE: &str = "
links:
  - { between: [us-east-1, us-west-2], rtt: 65ms }
  - { between: [eu-west-1, us-west-2], rtt: 140ms, jitter: 3ms }
  - { between: [us-east-1, eu-west-1], rtt: 85ms, bandwidth: 1gbit, loss: 0.1% }
inside: { rtt: 0.3ms, bandwidth: 10gbit }
";

    fn of<'a>(links: &'a [LinkSpec], from: &str, to: &str) -> &'a Shape {
        &links.iter().find(|link| link.from == from && link.to == to).expect("a link").shape
    }

    #[track_caller]
    fn refused(profile: &str, expect: &[&str]) {
        let error = read(profile, &regions()).expect_err("refused").to_string();
        for expect in expect {
            assert!(error.contains(expect), "not `{expect}` in: {error}");
        }
    }

    #[test]
    fn a_profile_gives_both_directions_of_every_pair() {
        let links = read(THREE, &regions()).expect("a good profile");
        assert_eq!(links.len(), 9);
        assert_eq!(of(&links, "us-west-2", "eu-west-1"), of(&links, "eu-west-1", "us-west-2"));
        assert_eq!(of(&links, "us-west-2", "eu-west-1").jitter, Delay::from_millis(3));
        assert_eq!(of(&links, "us-east-1", "eu-west-1").bandwidth, Bandwidth::Bits(1_000_000_000));
        assert_eq!(of(&links, "us-east-1", "eu-west-1").loss.probability(), 0.001);
        assert_eq!(of(&links, "us-east-1", "us-east-1").rtt, Delay::from_micros(300));
        let example = read(EXAMPLE, &["us-east-1".to_owned(), "eu-west-1".to_owned()]).expect("the example is good");
        assert_eq!(of(&example, "eu-west-1", "us-east-1").rtt, Delay::from_millis(85));
    }

    #[test]
    fn what_stands_inside_may_be_left_out() {
        let one = ["here".to_owned()];
        assert_eq!(read("links: []", &one).expect("nothing to say"), well_known(&one).expect("one region"));
    }

    #[test]
    fn without_a_profile_well_known_regions_are_as_far_as_they_are() {
        let links = well_known(&regions()).expect("well known");
        assert_eq!(of(&links, "us-east-1", "us-west-2"), &Shape::of_rtt(Delay::from_millis(65)));
        assert_eq!(of(&links, "eu-west-1", "us-west-2"), &Shape::of_rtt(Delay::from_millis(140)));
        assert_eq!(of(&links, "eu-west-1", "eu-west-1"), &Shape::of_rtt(Delay::from_micros(500)));
    }

    #[test]
    fn an_unknown_region_shows_how_to_write_a_profile() {
        let regions = ["us-east-1", "atlantis", "eu-west-1"].map(str::to_owned);
        let error = well_known(&regions).expect_err("no such region").to_string();
        assert!(error.contains("`atlantis`") && error.contains("between: [atlantis, eu-west-1]"), "{error}");
        let yaml = error.split_once("profile:\n").expect("an example").1;
        read(yaml, &regions).expect("the example is a profile");
    }

    #[test]
    fn bad_profiles_are_refused_by_name() {
        let with = |old: &str, new: &str| {
            assert!(THREE.contains(old));
            THREE.replace(old, new)
        };
        let missing = with("  - { between: [us-east-1, us-west-2], rtt: 65ms }\n", "");
        refused(&missing, &["us-east-1 and us-west-2", "missing", "- between: [us-east-1, us-west-2]"]);
        refused(&with("[us-east-1, us-west-2]", "[us-east-1, us-wst-2]"), &["`us-wst-2`", "us-east-1, us-west-2, eu"]);
        refused(&with("[us-east-1, us-west-2]", "[us-east-1, us-east-1]"), &["`inside:`"]);
        refused(
            &with("[us-east-1, us-west-2]", "[us-east-1]"),
            &["links[0].between", "between: [us-east-1, eu-west-1]"],
        );
        let link = "link us-east-1 – us-west-2";
        refused(&with("rtt: 65ms", "rtt: -65ms"), &[link, "rtt: `-65ms`", "between 0ms and 10s"]);
        refused(&with("rtt: 65ms", "rtt: 11s"), &[link, "rtt: `11s`", "between 0ms and 10s"]);
        refused(&with("rtt: 65ms", "rtt: 1e300s"), &[link, "rtt: `1e300s`"]);
        refused(&with("rtt: 65ms", "rtt: .nan"), &[link, "rtt: `NaN`", "such as 65ms"]);
        refused(&with("rtt: 65ms", "rtt: [65ms]"), &["line 3", "rtt: 85ms"]);
        refused(&with("rtt: 65ms", "rtt: 65ms, rtt: 70ms"), &["rtt", "line 3"]);
        refused(&with("rtt: 65ms", "rtt: 65"), &[link, "rtt: `65`", "such as 65ms"]);
        refused(&with("rtt: 65ms", "jitter: 1ms"), &[link, "`rtt` is missing"]);
        refused(&with("jitter: 3ms", "jitter: soon"), &["link eu-west-1 – us-west-2", "jitter: `soon`"]);
        refused(&with("loss: 0.1%", "loss: 101%"), &["link us-east-1 – eu-west-1", "loss: `101%`", "less than 50%"]);
        refused(&with("loss: 0.1%", "loss: -0.1%"), &["loss: `-0.1%`", "0% or more"]);
        refused(&with("bandwidth: 1gbit", "bandwidth: 0"), &["bandwidth: `0`", "cut the link"]);
        refused(&with("rtt: 0.3ms", "rtt: 1m"), &["inside: rtt: `1m`"]);
        refused(&with("rtt: 65ms", "rtt: 65ms, delay: 3ms"), &["unknown field `delay`", "line 3"]);
        refused(&with("inside:", "within:"), &["unknown field `within`"]);
        refused(&with("[eu-west-1, us-west-2]", "[us-west-2, us-east-1]"), &["us-west-2 – us-east-1", "twice"]);
        refused("links: {", &["cannot be read", "rtt: 85ms"]);
        refused("hello", &["cannot be read", "expected links between regions", "rtt: 85ms"]);
        let error = read("hello", &regions()).expect_err("refused");
        assert!(std::error::Error::source(&error).is_none(), "it would be printed twice");
        refused("", &["missing"]);
    }
}
