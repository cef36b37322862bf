//! The format of what lies on disks and in logs, as one number, and how a cluster goes from one to the next.
//!
//! ```text
//!   a server reads OLDEST..=its newest; it writes the cluster's format, which is the least that every store can read
//!   a store is replaced ─► it registers with its newest ─► PD: the least of all ─► heartbeat answers ─► stores write it
//! ```
//!
//! Invariants: nobody writes what a member of the cluster cannot read; a directory says which format it may hold before anything
//! of that format is written to it; what is newer or older than a server knows is refused, before anything is changed, with
//! what to do. A cluster's format never falls: PD refuses a store that reads less than what the others write.
//!
//! Each change of a message that is kept (a new command, a new field that readers must not pass over) takes a new number.
//! Readers never skip what they do not know: prost does so silently, and so entries carry the number.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// The newest format that this version knows.
pub const NEWEST: u32 = 1;
/// The oldest that it still reads.
pub const OLDEST: u32 = 1;

/// The file in a directory that says what the directory holds: `meridian <kind> format <number>`.
const FILE: &str = "FORMAT";

/// Why a directory is not opened.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It was written by a version that kept no format, or an older one than this version reads.
    #[error(
        "{dir} was written in an older format ({found}) than this version reads ({OLDEST}): open it with the version that \
         wrote it, copy what you need out of it (mysqldump), and begin with a new directory"
    )]
    Older {
        /// The directory.
        dir: String,
        /// What it holds.
        found: String,
    },
    /// It was written by a newer version.
    #[error(
        "{dir} is of format {found}, and this version reads up to {newest}: start it with the newer version that wrote it"
    )]
    Newer {
        /// The directory.
        dir: String,
        /// Its format.
        found: u32,
        /// What this server reads.
        newest: u32,
    },
    /// It belongs to a server of another kind, or to another program.
    #[error("{dir} holds '{found}', not the data of a {kind}: name another directory")]
    Foreign {
        /// The directory.
        dir: String,
        /// What its file says.
        found: String,
        /// What was looked for.
        kind: &'static str,
    },
    /// The disk refuses.
    #[error("format of {dir}: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// Why.
        source: io::Error,
    },
}

/// The format of a directory of `kind`, for a server that reads up to `newest`. An unused one (`used` is false) is of the oldest,
/// and says so from now on.
pub fn of_directory(dir: &Path, kind: &'static str, newest: u32, used: bool) -> Result<u32, FormatError> {
    let name = || dir.display().to_string();
    let text = match std::fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && used => {
            return Err(FormatError::Older { dir: name(), found: "0".into() });
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            write(dir, kind, OLDEST)?;
            return Ok(OLDEST);
        }
        Err(source) => return Err(FormatError::Io { dir: name(), source }),
    };
    let foreign = || FormatError::Foreign { dir: name(), found: text.trim().chars().take(80).collect(), kind };
    let number = text.trim().strip_prefix(&format!("meridian {kind} format ")).ok_or_else(foreign)?;
    match number.parse::<u32>().map_err(|_| foreign())? {
        found if found > newest => Err(FormatError::Newer { dir: name(), found, newest }),
        found if found < OLDEST => Err(FormatError::Older { dir: name(), found: found.to_string() }),
        found => Ok(found),
    }
}

/// Says, durably, that the directory may hold this format from now on.
pub fn write(dir: &Path, kind: &str, format: u32) -> Result<(), FormatError> {
    let done = || {
        std::fs::create_dir_all(dir)?;
        let new = dir.join("FORMAT.new");
        let mut file = File::create(&new)?;
        writeln!(file, "meridian {kind} format {format}")?;
        file.sync_all()?;
        std::fs::rename(&new, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    };
    done().map_err(|source| FormatError::Io { dir: dir.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_other_formats_and_servers_are_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let look = |kind, newest, used| of_directory(dir.path(), kind, newest, used).map_err(|e| e.to_string());
        // Data without a word of its format.
        assert!(look("storage node", 1, true).unwrap_err().contains("older format (0)"));
        assert_eq!(look("storage node", 1, false), Ok(OLDEST));
        assert_eq!(look("storage node", 1, true), Ok(OLDEST));
        assert!(
            look("placement driver", 1, true).unwrap_err().contains("'meridian storage node format 1', not the data")
        );
        write(dir.path(), "storage node", 2).unwrap();
        assert_eq!(look("storage node", 2, true), Ok(2));
        assert!(look("storage node", 1, true).unwrap_err().contains("is of format 2, and this version reads up to 1"));
        for damaged in ["", "meridian storage node format ", "meridian storage node format x", "\u{0}\u{0}"] {
            std::fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(look("storage node", 1, true).unwrap_err().contains("name another directory"), "{damaged:?}");
        }
        write(dir.path(), "storage node", 0).unwrap();
        assert!(look("storage node", 1, true).unwrap_err().contains("older format (0)"));
    }
}
