//! The faults of a node as the control file has them: `struct settings` of the library, and the arithmetic of clocks.

use std::time::Duration;

use super::disk::DiskFault;

/// `struct settings` of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) wall_offset_ns: i64,
    pub(super) monotonic_skew_ns: i64,
    pub(super) drift_base_ns: i64,
    pub(super) drift_before_ppm: i32,
    pub(super) drift_ppm: i32,
    pub(super) disk: DiskFault,
}

impl Settings {
    pub(super) const SIZE: usize = 48;

    pub(super) fn drifts(&self) -> bool {
        self.drift_before_ppm != 0 || self.drift_ppm != 0
    }

    /// Goes on with another drift from `base_ns` on, and until then with the present one, which begins before.
    pub(super) fn bend(&mut self, base_ns: i64, ppm: i32) {
        let gained = i128::from(base_ns - self.drift_base_ns) * i128::from(self.drift_ppm) / 1_000_000;
        let gained_ns = i64::try_from(gained).unwrap_or(0); // no machine runs for 2,900 years
        self.wall_offset_ns += gained_ns;
        self.monotonic_skew_ns += gained_ns;
        self.drift_base_ns = base_ns;
        self.drift_before_ppm = self.drift_ppm;
        self.drift_ppm = ppm;
    }

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let (disk, slow_ns) = match self.disk {
            DiskFault::None => (0u32, 0),
            DiskFault::Slow(by) => (1, by.as_nanos() as i64),
            DiskFault::Fail => (2, 0),
            DiskFault::Full => (3, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.wall_offset_ns.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.monotonic_skew_ns.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.drift_base_ns.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.drift_before_ppm.to_ne_bytes());
        bytes[28..32].copy_from_slice(&self.drift_ppm.to_ne_bytes());
        bytes[32..36].copy_from_slice(&disk.to_ne_bytes());
        bytes[40..48].copy_from_slice(&slow_ns.to_ne_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Settings {
        fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
            let mut part = [0; N];
            part.copy_from_slice(&bytes[at..at + N]);
            part
        }
        let slow = Duration::from_nanos(i64::from_ne_bytes(part(bytes, 40)).unsigned_abs());
        Settings {
            wall_offset_ns: i64::from_ne_bytes(part(bytes, 0)),
            monotonic_skew_ns: i64::from_ne_bytes(part(bytes, 8)),
            drift_base_ns: i64::from_ne_bytes(part(bytes, 16)),
            drift_before_ppm: i32::from_ne_bytes(part(bytes, 24)),
            drift_ppm: i32::from_ne_bytes(part(bytes, 28)),
            disk: match u32::from_ne_bytes(part(bytes, 32)) {
                1 => DiskFault::Slow(slow),
                2 => DiskFault::Fail,
                3 => DiskFault::Full,
                _ => DiskFault::None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_as_written() {
        for disk in [DiskFault::None, DiskFault::Slow(Duration::from_millis(3)), DiskFault::Fail, DiskFault::Full] {
            let settings = Settings {
                wall_offset_ns: -1,
                monotonic_skew_ns: 2,
                drift_base_ns: 3,
                drift_before_ppm: -4,
                drift_ppm: 5,
                disk,
            };
            assert_eq!(Settings::from_bytes(&settings.to_bytes()), settings);
        }
    }
}
