//! What a link is like in one direction, and a change of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{Bandwidth, Delay, Loss};

/// What one direction of a link is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The round trip, were the other direction the same: this direction takes half of it.
    pub rtt: Delay,
    /// Up to this much longer, each message by chance, in each direction.
    #[serde(default)]
    pub jitter: Delay,
    /// Shared by all connections between the two regions, each direction for itself.
    #[serde(default)]
    pub bandwidth: Bandwidth,
    /// A lost segment holds its own connection up for the time of a retransmission.
    #[serde(default)]
    pub loss: Loss,
}

impl Shape {
    /// A link with this round trip, and perfect otherwise.
    pub fn of_rtt(rtt: Delay) -> Shape {
        Shape { rtt, ..Shape::default() }
    }

    /// This shape with a change made to it.
    pub fn with(self, change: ShapeChange) -> Shape {
        Shape {
            rtt: change.rtt.unwrap_or(self.rtt),
            jitter: change.jitter.unwrap_or(self.jitter),
            bandwidth: change.bandwidth.unwrap_or(self.bandwidth),
            loss: change.loss.unwrap_or(self.loss),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtt {}, jitter {}, bandwidth {}, loss {}", self.rtt, self.jitter, self.bandwidth, self.loss)
    }
}

/// What to change of a link's shape; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeChange {
    /// A new round trip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Delay>,
    /// A new jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Delay>,
    /// A new bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// A new loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

impl From<Shape> for ShapeChange {
    /// The change that makes every link this shape.
    fn from(shape: Shape) -> ShapeChange {
        ShapeChange {
            rtt: Some(shape.rtt),
            jitter: Some(shape.jitter),
            bandwidth: Some(shape.bandwidth),
            loss: Some(shape.loss),
        }
    }
}
