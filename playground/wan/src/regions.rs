//! Well-known cloud regions and the round trips between them, for clusters that are started without a profile.
//!
//! Three pairs are fixed, as every document about this cluster uses them. All others are reckoned from where the
//! regions are: light in glass goes 100 km there and back in a millisecond, cables take a way about 1.4 times as long
//! as the great circle, and the ends add two milliseconds. That is within some 20 % of what clouds publish, which is
//! what an emulation needs; a profile says it exactly.

use crate::units::Delay;

/// The round trip inside a region.
pub const RTT_INSIDE: Delay = Delay::from_micros(500);

/// Round trips in milliseconds that are not reckoned.
const FIXED: [(&str, &str, u64); 3] =
    [("us-east-1", "us-west-2", 65), ("us-east-1", "eu-west-1", 85), ("us-west-2", "eu-west-1", 140)];

const DETOUR: f64 = 1.4;
const ENDS_MS: f64 = 2.0;
const EARTH_RADIUS_KM: f64 = 6371.0;

/// The round trip between two different regions; `None` if either is not in the table.
pub fn round_trip(a: &str, b: &str) -> Option<Delay> {
    let fixed = FIXED.iter().find(|(x, y, _)| (*x, *y) == (a, b) || (*x, *y) == (b, a));
    if let Some((_, _, ms)) = fixed {
        return Some(Delay::from_millis(*ms));
    }
    let km = distance_km(place(a)?, place(b)?);
    Some(Delay::from_millis((km / 100.0 * DETOUR + ENDS_MS).round() as u64))
}

/// Whether the table has this region.
pub fn is_known(region: &str) -> bool {
    place(region).is_some()
}

/// All names in the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    PLACES.iter().map(|(name, _, _)| *name)
}

/// Latitude and longitude in degrees. Linear search: the table is short and read at start only.
fn place(region: &str) -> Option<(f64, f64)> {
    PLACES.iter().find(|(name, _, _)| *name == region).map(|(_, latitude, longitude)| (*latitude, *longitude))
}

/// Along the great circle (haversine).
fn distance_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (a_lat, b_lat) = (a.0.to_radians(), b.0.to_radians());
    let (d_lat, d_lon) = (b_lat - a_lat, (b.1 - a.1).to_radians());
    let h = (d_lat / 2.0).sin().powi(2) + a_lat.cos() * b_lat.cos() * (d_lon / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
}

#[rustfmt::skip]
const PLACES: &[(&str, f64, f64)] = &[
    // AWS
    ("us-east-1", 38.9, -77.4), ("us-east-2", 40.0, -83.0), ("us-west-1", 37.4, -121.9), ("us-west-2", 45.8, -119.7),
    ("ca-central-1", 45.5, -73.6), ("ca-west-1", 51.0, -114.1), ("mx-central-1", 20.6, -100.4),
    ("sa-east-1", -23.5, -46.6),
    ("eu-west-1", 53.3, -6.3), ("eu-west-2", 51.5, -0.1), ("eu-west-3", 48.9, 2.4), ("eu-central-1", 50.1, 8.7),
    ("eu-central-2", 47.4, 8.5), ("eu-north-1", 59.3, 18.1), ("eu-south-1", 45.5, 9.2), ("eu-south-2", 41.6, -0.9),
    ("af-south-1", -33.9, 18.4), ("me-south-1", 26.1, 50.6), ("me-central-1", 24.5, 54.4), ("il-central-1", 32.1, 34.8),
    ("ap-south-1", 19.1, 72.9), ("ap-south-2", 17.4, 78.5), ("ap-southeast-1", 1.3, 103.8),
    ("ap-southeast-2", -33.9, 151.2), ("ap-southeast-3", -6.2, 106.8), ("ap-southeast-4", -37.8, 145.0),
    ("ap-southeast-5", 3.1, 101.7), ("ap-southeast-7", 13.8, 100.5), ("ap-northeast-1", 35.7, 139.7),
    ("ap-northeast-2", 37.6, 127.0), ("ap-northeast-3", 34.7, 135.5), ("ap-east-1", 22.3, 114.2),
    ("cn-north-1", 39.9, 116.4), ("cn-northwest-1", 37.5, 105.2),
    // Google Cloud
    ("us-central1", 41.3, -95.9), ("us-east1", 33.2, -80.0), ("us-east4", 39.0, -77.5), ("us-east5", 40.0, -83.0),
    ("us-south1", 32.8, -96.8), ("us-west1", 45.6, -121.2), ("us-west2", 34.1, -118.2), ("us-west3", 40.8, -111.9),
    ("us-west4", 36.2, -115.1), ("northamerica-northeast1", 45.5, -73.6), ("northamerica-northeast2", 43.7, -79.4),
    ("southamerica-east1", -23.5, -46.6), ("southamerica-west1", -33.4, -70.7),
    ("europe-west1", 50.4, 3.8), ("europe-west2", 51.5, -0.1), ("europe-west3", 50.1, 8.7), ("europe-west4", 53.4, 6.8),
    ("europe-west6", 47.4, 8.5), ("europe-west8", 45.5, 9.2), ("europe-west9", 48.9, 2.4), ("europe-west12", 45.1, 7.7),
    ("europe-central2", 52.2, 21.0), ("europe-north1", 60.6, 27.2), ("europe-southwest1", 40.4, -3.7),
    ("asia-east1", 24.1, 120.5), ("asia-east2", 22.3, 114.2), ("asia-northeast1", 35.7, 139.7),
    ("asia-northeast2", 34.7, 135.5), ("asia-northeast3", 37.6, 127.0), ("asia-south1", 19.1, 72.9),
    ("asia-south2", 28.6, 77.2), ("asia-southeast1", 1.3, 103.8), ("asia-southeast2", -6.2, 106.8),
    ("australia-southeast1", -33.9, 151.2), ("australia-southeast2", -37.8, 145.0),
    ("me-west1", 32.1, 34.8), ("me-central1", 25.3, 51.5), ("africa-south1", -26.2, 28.0),
    // Azure
    ("eastus", 37.4, -79.8), ("eastus2", 36.7, -78.4), ("centralus", 41.6, -93.6), ("northcentralus", 41.9, -87.6),
    ("southcentralus", 29.4, -98.5), ("westus", 37.8, -122.4), ("westus2", 47.2, -119.9), ("westus3", 33.4, -112.1),
    ("westcentralus", 40.9, -110.2), ("canadacentral", 43.7, -79.4), ("canadaeast", 46.8, -71.2),
    ("brazilsouth", -23.5, -46.6), ("northeurope", 53.3, -6.3), ("westeurope", 52.4, 4.9), ("uksouth", 51.5, -0.1),
    ("ukwest", 51.5, -3.2), ("francecentral", 48.9, 2.4), ("germanywestcentral", 50.1, 8.7),
    ("swedencentral", 60.7, 17.1), ("switzerlandnorth", 47.4, 8.5), ("norwayeast", 59.9, 10.8),
    ("polandcentral", 52.2, 21.0), ("italynorth", 45.5, 9.2), ("spaincentral", 40.4, -3.7), ("uaenorth", 25.3, 55.3),
    ("qatarcentral", 25.3, 51.5), ("israelcentral", 32.1, 34.8), ("southafricanorth", -25.7, 28.2),
    ("centralindia", 18.6, 73.9), ("southindia", 13.0, 80.2), ("southeastasia", 1.3, 103.8), ("eastasia", 22.3, 114.2),
    ("japaneast", 35.7, 139.8), ("japanwest", 34.7, 135.5), ("koreacentral", 37.6, 127.0),
    ("australiaeast", -33.9, 151.2), ("australiasoutheast", -37.8, 145.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &str, b: &str, expect_ms: std::ops::RangeInclusive<u64>) {
        for (a, b) in [(a, b), (b, a)] {
            let ms = round_trip(a, b).expect("both are well known").nanos() / 1_000_000;
            assert!(expect_ms.contains(&ms), "{a} – {b}: {ms} ms, not {expect_ms:?}");
        }
    }

    #[test]
    fn the_pairs_of_the_documents_are_exact() {
        check("us-east-1", "us-west-2", 65..=65);
        check("us-east-1", "eu-west-1", 85..=85);
        check("us-west-2", "eu-west-1", 140..=140);
    }

    #[test]
    fn others_are_about_what_clouds_publish() {
        check("us-east-1", "us-east-2", 7..=15);
        check("eu-west-1", "eu-central-1", 15..=30);
        check("us-east-1", "ap-northeast-1", 130..=175);
        check("eu-central-1", "ap-southeast-1", 130..=175);
        check("us-east-1", "sa-east-1", 95..=125);
        check("us-west-2", "ap-southeast-2", 130..=190);
        check("us-east1", "europe-west4", 80..=110);
        check("eastus", "westeurope", 75..=100);
    }

    #[test]
    fn names_are_unique_and_others_unknown() {
        let mut names: Vec<_> = names().collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(round_trip("us-east-1", "atlantis-1").is_none());
        assert!(is_known("eu-north-1") && !is_known("atlantis-1"));
    }
}
