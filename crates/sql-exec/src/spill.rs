//! Rows on disk: what operators write when there is no memory for it, and read again later.
//!
//! ```text
//!   Spill ── file() ──▶ SpillFile ── append(batch)* ── read() ──▶ SpillReader ── next()*
//!     └───── parts() ─▶ Parts: rows split by a hash of their key into files that are then worked on one by one
//! ```
//!
//! A file holds batches in Arrow's stream format, which is what they are in memory. It has no name: the system takes it back
//! when it is closed, so nothing is left when a statement ends in any way, or the process does. Reading and writing happen
//! on the runtime's threads for such work.
//!
//! Not here: who writes what, and when ([`crate::sort`], [`crate::join`], [`crate::aggregate`], [`crate::distinct`]).

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};
use codec::types::FieldType;
use query::batch::Batch;
use query::types::Physical;
use sql_base::memory::StatementMemory;
use sql_base::{FileWork, SqlError};

/// Rows and bytes that a batch on disk has at most, about: what is read of many files at once is in memory.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 64 << 10;

/// Into how many files rows are split at once.
pub(crate) const PARTS: usize = 8;

/// How often what was split is split again. Beyond it, rows that are still too many have the same key, or nearly.
pub(crate) const DEPTH_MAX: u32 = 6;

/// Where an operator's files are, and who counts their bytes.
#[derive(Clone)]
pub(crate) struct Spill {
    directory: Arc<Path>,
    memory: Arc<StatementMemory>,
    /// Bytes of the operator, for who asked.
    written: Option<Arc<AtomicU64>>,
}

impl Spill {
    pub(crate) fn new(directory: Arc<Path>, memory: Arc<StatementMemory>, written: Option<Arc<AtomicU64>>) -> Spill {
        Spill { directory, memory, written }
    }

    /// A new file for rows of these types.
    pub(crate) async fn file(&self, types: &Arc<[FieldType]>) -> Result<SpillFile, SqlError> {
        let fields: Vec<Field> = types.iter().map(|ty| Field::new("", Physical::of(ty).data_type(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let place = self.directory.clone();
        let (of_file, path) = (schema.clone(), place.to_path_buf());
        let writer = blocking(move || {
            let made = std::fs::create_dir_all(&path).and_then(|()| tempfile::tempfile_in(&path));
            let file = made.map_err(|e| failed(FileWork::Create, &path, &e))?;
            let counted = Counted { file: BufWriter::new(file), bytes: 0 };
            StreamWriter::try_new(counted, &of_file).map_err(|e| of_arrow(FileWork::Write, &path, e))
        })
        .await?;
        Ok(SpillFile { writer: Some(writer), schema, types: types.clone(), counted: 0, rows: 0, spill: self.clone() })
    }

    /// Files for rows of these types by a hash of their keys, which is another one at each depth.
    pub(crate) fn parts(&self, types: &Arc<[FieldType]>, depth: u32) -> Parts {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Parts { parts, types: types.clone(), depth, spill: self.clone() }
    }

    fn count(&self, bytes: u64) {
        self.memory.count_spilled(bytes);
        if let Some(written) = &self.written {
            written.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| SqlError::internal("work on a file", e))?
}

fn failed(doing: FileWork, path: &Path, e: &std::io::Error) -> SqlError {
    SqlError::TemporaryFile {
        doing,
        path: path.display().to_string(),
        number: e.raw_os_error().unwrap_or(0),
        reason: e.kind().to_string(),
    }
}

fn of_arrow(doing: FileWork, path: &Path, e: ArrowError) -> SqlError {
    match e {
        ArrowError::IoError(_, e) => failed(doing, path, &e),
        e => SqlError::internal("rows on disk", e),
    }
}

/// Counts what is written.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(data)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A file that is being written.
pub(crate) struct SpillFile {
    /// None while a thread works with it, and after an error.
    writer: Option<StreamWriter<Counted>>,
    schema: Arc<Schema>,
    types: Arc<[FieldType]>,
    /// Bytes that were counted.
    counted: u64,
    rows: usize,
    spill: Spill,
}

impl SpillFile {
    fn path(&self) -> PathBuf {
        self.spill.directory.to_path_buf()
    }

    /// Adds rows.
    pub(crate) async fn append(&mut self, batch: &Batch) -> Result<(), SqlError> {
        if batch.is_empty() {
            return Ok(());
        }
        let gone = || SqlError::internal("rows on disk", "a file after its failure");
        let mut writer = self.writer.take().ok_or_else(gone)?;
        let (schema, path) = (self.schema.clone(), self.path());
        let (columns, rows) = (batch.columns().to_vec(), batch.num_rows());
        let per_row = (batch.data_bytes() / rows).max(1);
        let writer = blocking(move || {
            let write = |e| of_arrow(FileWork::Write, &path, e);
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let all = RecordBatch::try_new_with_options(schema, columns, &options).map_err(write)?;
            let step = (BATCH_BYTES / per_row).clamp(1, BATCH_ROWS);
            let mut start = 0;
            while start < rows {
                let n = step.min(rows - start);
                writer.write(&all.slice(start, n)).map_err(write)?;
                start += n;
            }
            Ok(writer)
        })
        .await?;
        self.rows += rows;
        let written = writer.get_ref().bytes;
        self.spill.count(written - self.counted);
        self.counted = written;
        self.writer = Some(writer);
        Ok(())
    }

    /// Nothing is added any more.
    pub(crate) async fn finish(mut self) -> Result<Spilled, SqlError> {
        let gone = || SqlError::internal("rows on disk", "a file after its failure");
        let mut writer = self.writer.take().ok_or_else(gone)?;
        let path = self.path();
        let of_file = path.clone();
        let file = blocking(move || {
            writer.finish().map_err(|e| of_arrow(FileWork::Write, &of_file, e))?;
            let counted = writer.into_inner().map_err(|e| of_arrow(FileWork::Write, &of_file, e))?;
            counted.file.into_inner().map_err(|e| failed(FileWork::Write, &of_file, e.error()))
        })
        .await?;
        Ok(Spilled { file, types: self.types, rows: self.rows, path })
    }
}

/// A file that was written.
pub(crate) struct Spilled {
    file: File,
    types: Arc<[FieldType]>,
    rows: usize,
    path: PathBuf,
}

impl Spilled {
    /// Its rows from the first on. Any number of readers: each has a place of its own.
    pub(crate) async fn read(&self) -> Result<SpillReader, SqlError> {
        let (file, path) = (self.file.try_clone(), self.path.clone());
        let reader = blocking(move || {
            let fail = |e: std::io::Error| failed(FileWork::Read, &path, &e);
            let place = Place { file: file.map_err(fail)?, at: 0 };
            StreamReader::try_new(BufReader::new(place), None).map_err(|e| of_arrow(FileWork::Read, &path, e))
        })
        .await?;
        Ok(SpillReader { reader: Some(reader), types: self.types.clone(), path: self.path.clone() })
    }

    /// Rows that it has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }
}

/// A place in a file. The system's own is the same for all who have the file.
struct Place {
    file: File,
    at: u64,
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads a file from the first row on.
pub(crate) struct SpillReader {
    /// None at the end, and after an error.
    reader: Option<StreamReader<BufReader<Place>>>,
    types: Arc<[FieldType]>,
    path: PathBuf,
}

impl SpillReader {
    /// The next rows.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let path = self.path.clone();
        let (reader, batch) = blocking(move || match reader.next() {
            Some(batch) => Ok((reader, Some(batch.map_err(|e| of_arrow(FileWork::Read, &path, e))?))),
            None => Ok((reader, None)),
        })
        .await?;
        let Some(batch) = batch else { return Ok(None) };
        self.reader = Some(reader);
        let rows = batch.num_rows();
        Ok(Some(Batch::new(self.types.clone(), batch.columns().to_vec(), rows)))
    }
}

/// Rows on their way into one file.
#[derive(Default)]
struct Part {
    waiting: Vec<Batch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    file: Option<SpillFile>,
}

/// Rows split by their keys: equal keys are in one file.
pub(crate) struct Parts {
    parts: Vec<Part>,
    types: Arc<[FieldType]>,
    depth: u32,
    spill: Spill,
}

impl Parts {
    /// The file that rows of a key go to.
    pub(crate) fn of(&self, key: &[u8]) -> usize {
        let mut hasher = DefaultHasher::new();
        (self.depth, key).hash(&mut hasher);
        (hasher.finish() % PARTS as u64) as usize
    }

    /// Adds rows of a batch, each to the file that it is said to go to.
    pub(crate) async fn add(&mut self, batch: &Batch, rows: &[(u32, usize)]) -> Result<(), SqlError> {
        for at in 0..PARTS {
            let own: Vec<u32> = rows.iter().filter(|(_, part)| *part == at).map(|(row, _)| *row).collect();
            if own.is_empty() {
                continue;
            }
            let own = batch.take(&UInt32Array::from(own))?;
            let part = &mut self.parts[at];
            part.waiting_rows += own.num_rows();
            part.waiting_bytes += own.data_bytes();
            part.waiting.push(own);
            if part.waiting_rows >= BATCH_ROWS || part.waiting_bytes >= BATCH_BYTES {
                self.write(at).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, at: usize) -> Result<(), SqlError> {
        let part = &mut self.parts[at];
        let waiting = std::mem::take(&mut part.waiting);
        (part.waiting_rows, part.waiting_bytes) = (0, 0);
        let batch = Batch::concat(&self.types, &waiting)?;
        let file = match &mut part.file {
            Some(file) => file,
            file => file.insert(self.spill.file(&self.types).await?),
        };
        file.append(&batch).await
    }

    /// The files; none where no row went.
    pub(crate) async fn finish(mut self) -> Result<Vec<Option<Spilled>>, SqlError> {
        let mut files = Vec::with_capacity(PARTS);
        for at in 0..PARTS {
            if !self.parts[at].waiting.is_empty() {
                self.write(at).await?;
            }
            files.push(match self.parts[at].file.take() {
                Some(file) => Some(file.finish().await?),
                None => None,
            });
        }
        Ok(files)
    }
}
