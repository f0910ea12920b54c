use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use crate::error::{DataError, Result};
use crate::limits::Limits;
use crate::read::CsvOptions;
use crate::read::source::{Source, check, read_error};

/// Bytes of the first line that are looked at to find the delimiter.
const FIRST_LINE_BYTES: u64 = 1 << 16;

/// The delimiter of a table and whether its first record has names: found once, then fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    delimiter: u8,
    pub(super) has_header: bool,
}

/// The records of a table, each bounded in size, one at a time.
pub(super) struct Records {
    path: PathBuf,
    reader: csv::Reader<Metered>,
    record: ByteRecord,
    max_bytes: u64,
}

impl Dialect {
    /// Finds what the options leave open. Also gives the columns' names.
    pub(super) fn find(
        path: &Path,
        csv: &CsvOptions,
        limits: &Limits,
    ) -> Result<(Dialect, Vec<String>)> {
        let delimiter = match csv.delimiter {
            Some(delimiter) => delimiter,
            None => find_delimiter(path, limits)?,
        };
        let guess = Dialect {
            delimiter,
            has_header: false,
        };
        let mut records = Records::open(path, guess, limits)?;
        let Some(first) = records.next()? else {
            return Err(DataError::corrupt(
                path,
                "line 1",
                "there is no record",
                "a table has a line of column names and one line for each sample",
            ));
        };
        let cells: Vec<String> = (0..first.len())
            .map(|column| first.text(column).map(str::to_owned))
            .collect::<Result<_>>()?;
        check(
            "the number of columns",
            "features",
            path,
            cells.len() as u64,
            limits.features as u64,
        )?;
        let all_numbers = cells.iter().all(|cell| cell.parse::<f64>().is_ok());
        let has_header = csv.header.unwrap_or(!all_numbers);
        let names = if has_header {
            names_of(path, cells)?
        } else {
            (0..cells.len())
                .map(|column| format!("x{column}"))
                .collect()
        };
        Ok((
            Dialect {
                delimiter,
                has_header,
            },
            names,
        ))
    }
}

fn find_delimiter(path: &Path, limits: &Limits) -> Result<u8> {
    let mut line = Vec::new();
    Source::open(path, limits)?
        .reader
        .take(FIRST_LINE_BYTES)
        .read_until(b'\n', &mut line)
        .map_err(|error| read_error(path, "line 1", error))?;
    let mut in_quotes = false;
    let mut counts = [(b',', 0usize), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in line {
        in_quotes ^= byte == b'"';
        if let (false, Some(count)) = (
            in_quotes,
            counts.iter_mut().find(|(delimiter, _)| *delimiter == byte),
        ) {
            count.1 += 1;
        }
    }
    // Reversed, because `max_by_key` keeps the last of equals and the comma is to win.
    let best = counts.iter().rev().max_by_key(|(_, count)| *count);
    Ok(best.expect("there are candidates").0)
}

/// Names for all columns, none twice.
fn names_of(path: &Path, cells: Vec<String>) -> Result<Vec<String>> {
    let mut names = Vec::with_capacity(cells.len());
    for (column, cell) in cells.into_iter().enumerate() {
        names.push(if cell.is_empty() {
            format!("x{column}")
        } else {
            cell
        });
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(names),
        Some(pair) => Err(DataError::corrupt(
            path,
            "line 1",
            format!("two columns are called `{}`", pair[0]),
            "give each column a name of its own; \
             if the first line is not names, say that there is no header",
        )),
    }
}

impl Records {
    pub(super) fn open(path: &Path, dialect: Dialect, limits: &Limits) -> Result<Records> {
        let source = Source::open(path, limits)?;
        let metered = Metered {
            inner: source.reader,
            since_record: 0,
            max_record: limits.record_bytes,
            total: 0,
            max_total: limits.decoded_bytes,
        };
        Ok(Records {
            path: path.to_owned(),
            reader: ReaderBuilder::new()
                .delimiter(dialect.delimiter)
                .has_headers(dialect.has_header)
                .from_reader(metered),
            record: ByteRecord::new(),
            max_bytes: limits.record_bytes,
        })
    }

    /// The next record; `None` at the end. Every record has as many cells as the first.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>> {
        self.reader.get_mut().since_record = 0;
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => Ok(Some(Record {
                path: &self.path,
                cells: &self.record,
            })),
            Ok(false) => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    fn error(&self, error: csv::Error) -> DataError {
        let line = self.reader.position().line();
        let meter = self.reader.get_ref();
        if meter.total > meter.max_total || meter.since_record > meter.max_record {
            let (what, name, found, max) = if meter.total > meter.max_total {
                (
                    "the size in bytes",
                    "decoded_bytes",
                    meter.total,
                    meter.max_total,
                )
            } else {
                (
                    "the size of a record in bytes",
                    "record_bytes",
                    meter.since_record,
                    self.max_bytes,
                )
            };
            return DataError::Limit {
                path: self.path.clone(),
                what,
                name,
                found,
                max,
            };
        }
        match error.into_kind() {
            ErrorKind::Io(error) => read_error(&self.path, &format!("after line {line}"), error),
            ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => DataError::corrupt(
                &self.path,
                format!("line {}", pos.map_or(line, |position| position.line())),
                format!("{len} cells, the lines before have {expected_len}"),
                "quote cells that contain the delimiter, and look for a missing cell",
            ),
            other => DataError::corrupt(
                &self.path,
                format!("line {line}"),
                format!("{other:?}"),
                "save the table as CSV in UTF-8",
            ),
        }
    }
}

/// One record.
pub(super) struct Record<'a> {
    path: &'a Path,
    cells: &'a ByteRecord,
}

impl<'a> Record<'a> {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn line(&self) -> u64 {
        self.cells.position().map_or(0, csv::Position::line)
    }

    /// Text of a cell, without white space around it; empty for a cell that is not there.
    pub(super) fn text(&self, column: usize) -> Result<&'a str> {
        let bytes = self.cells.get(column).unwrap_or_default();
        std::str::from_utf8(bytes).map(str::trim).map_err(|_| {
            DataError::corrupt(
                self.path,
                format!("line {}, column {}", self.line(), column + 1),
                "the cell is not UTF-8",
                "save the table in the encoding UTF-8",
            )
        })
    }
}

/// Counts what is read, as a whole and since the last record, and stops at a limit.
struct Metered {
    inner: Box<dyn BufRead>,
    since_record: u64,
    max_record: u64,
    total: u64,
    max_total: u64,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buffer)?;
        self.since_record += n_read as u64;
        self.total += n_read as u64;
        if self.total > self.max_total || self.since_record > self.max_record {
            return Err(io::Error::other("over a limit"));
        }
        Ok(n_read)
    }
}
