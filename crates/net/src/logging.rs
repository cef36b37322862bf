//! Logs: `tracing` events as text lines, to stderr or to a file rotated daily, filtered by level or by module.
//!
//! `--log-file dir/pd.log` writes `dir/pd.2026-01-31.log` and keeps `dir/pd.log` a link to the newest file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;

/// Rotated files kept: two weeks of days.
const FILES_KEPT_MAX: usize = 14;

/// The flags about logs that every server takes: `#[command(flatten)]` them.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct LogArgs {
    /// Write logs to this file, rotated daily (the date goes before the extension), instead of stderr.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// What to log: a level (error, warn, info, debug, trace), or module=level pairs joined by commas.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// The same as keys of a configuration file: `log: {file: …, level: …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct LogConfig {
    /// The file to write to; stderr when absent.
    pub file: Option<PathBuf>,
    /// Level or filter; `info` when absent.
    pub level: Option<String>,
}

impl LogConfig {
    /// Flags win over the file.
    pub fn override_with(&mut self, args: &LogArgs) {
        if let Some(file) = &args.log_file {
            self.file = Some(file.clone());
        }
        if let Some(level) = &args.log_level {
            self.level = Some(level.clone());
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level or filter cannot be parsed.
    #[error("log level {0:?} is not understood: use error, warn, info, debug, trace or module=level pairs")]
    Level(String),
    /// The log file cannot be opened.
    #[error("log file {path}: {reason}")]
    File {
        /// The path as given.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another subscriber was installed before.
    #[error("logging is already set up")]
    Twice,
}

/// Keeps the writer's thread alive; dropping it flushes. Hold it until the end of `main`.
#[must_use = "dropping the guard stops the log writer"]
#[derive(Debug)]
pub struct LogGuard(#[allow(dead_code)] tracing_appender::non_blocking::WorkerGuard);

/// Sets up logging for the process. The environment variable `RUST_LOG` adds to the level, for debugging.
pub fn init(config: &LogConfig) -> Result<LogGuard, LogError> {
    let filter = filter(config.level.as_deref().unwrap_or("info"))?;
    let (writer, guard, ansi) = match &config.file {
        None => {
            let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
            (writer, guard, std::io::stderr().is_terminal())
        }
        Some(path) => {
            let (writer, guard) = tracing_appender::non_blocking(rotated(path)?);
            (writer, guard, false)
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(ansi)
        .try_init()
        .map_err(|_| LogError::Twice)?;
    log_panics();
    Ok(LogGuard(guard))
}

/// Writes panics to the log as well, beside what the standard library prints to stderr.
fn log_panics() {
    let printed = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or("unnamed"), "{}", panic.to_string().replace('\n', " "));
        printed(panic);
    }));
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let mut filter = EnvFilter::try_new(level).map_err(|_| LogError::Level(level.to_string()))?;
    if let Ok(more) = std::env::var("RUST_LOG") {
        for directive in more.split(',').filter(|d| !d.is_empty()) {
            filter = filter.add_directive(directive.parse().map_err(|_| LogError::Level(directive.to_string()))?);
        }
    }
    Ok(filter)
}

fn rotated(path: &Path) -> Result<RollingFileAppender, LogError> {
    let error = |reason: String| LogError::File { path: path.to_path_buf(), reason };
    let name = path.file_name().ok_or_else(|| error("names no file".into()))?.to_string_lossy().into_owned();
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(dir).map_err(|e| error(e.to_string()))?;
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem.to_string(), extension.to_string()),
        _ => (name.clone(), "log".to_string()),
    };
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(stem)
        .filename_suffix(extension)
        .latest_symlink(name)
        .max_log_files(FILES_KEPT_MAX)
        .build(dir)
        .map_err(|e| error(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_rotated_file_carries_the_date_and_the_plain_name_links_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/pd.log");
        let mut file = rotated(&path).unwrap();
        writeln!(file, "hello").unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello\n");
        assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 2);
    }

    #[test]
    fn a_wrong_level_is_refused_by_name() {
        assert!(filter("info,raft=debug").is_ok());
        assert!(matches!(filter("loud=very"), Err(LogError::Level(l)) if l == "loud=very"));
    }
}
