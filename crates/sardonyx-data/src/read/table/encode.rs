use std::collections::BTreeMap;
use std::path::Path;

use crate::dataset::Target;
use crate::error::{DataError, Result, nearest_hint};
use crate::limits::Limits;
use crate::read::source::{check, with_room};
use crate::schema::{ColumnKind, TableSchema};

use super::cell::{Cell, Missing, parse};
use super::infer::TargetColumn;
use super::records::{Dialect, Record, Records};
use super::short;

/// The features of a table and what was noticed while encoding them.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) values: Vec<f32>,
    pub(super) n_rows: usize,
    /// Missing cells of each column of the schema.
    pub(super) n_missing: Vec<usize>,
    /// Cells whose category the schema does not have.
    pub(super) n_unknown: usize,
}

/// What to read and how.
pub(super) struct Job<'a> {
    pub(super) path: &'a Path,
    pub(super) dialect: Dialect,
    pub(super) missing: &'a Missing<'a>,
    pub(super) limits: &'a Limits,
    pub(super) schema: &'a TableSchema,
    /// Index in the file of each column of the schema.
    pub(super) columns: Vec<usize>,
}

/// Turns every record into features, NaN where a cell is missing; `each` sees every record.
/// `n_rows` is what to make room for, when it is known.
pub(super) fn encode(
    job: &Job<'_>,
    n_rows: usize,
    mut each: impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<Encoded> {
    let width = job.schema.width();
    let bytes = |rows: usize| (rows as u64).saturating_mul(width as u64).saturating_mul(4);
    let max = job.limits.decoded_bytes;
    check(
        "the size of all features in bytes",
        "decoded_bytes",
        job.path,
        bytes(n_rows),
        max,
    )?;
    let known: Vec<BTreeMap<&str, usize>> = job
        .schema
        .columns
        .iter()
        .map(|column| match &column.kind {
            ColumnKind::Numeric { .. } => BTreeMap::new(),
            ColumnKind::Categorical { categories, .. } => categories
                .iter()
                .enumerate()
                .map(|(i, c)| (c.as_str(), i))
                .collect(),
        })
        .collect();
    let mut out = Encoded {
        values: with_room(n_rows * width, job.path)?,
        n_missing: vec![0; job.schema.columns.len()],
        ..Encoded::default()
    };
    let mut records = Records::open(job.path, job.dialect, job.limits)?;
    while let Some(record) = records.next()? {
        out.n_rows += 1;
        let so_far = bytes(out.n_rows);
        check(
            "the size of all features in bytes",
            "decoded_bytes",
            job.path,
            so_far,
            max,
        )?;
        encode_row(job, &known, &record, &mut out)?;
        each(&record)?;
    }
    Ok(out)
}

fn encode_row(
    job: &Job<'_>,
    known: &[BTreeMap<&str, usize>],
    record: &Record<'_>,
    out: &mut Encoded,
) -> Result<()> {
    for (index, column) in job.schema.columns.iter().enumerate() {
        let text = record.text(job.columns[index])?;
        let start = out.values.len();
        let cell = parse(text, job.missing);
        if cell == Cell::Missing {
            out.n_missing[index] += 1;
            out.values.resize(start + column.width(), f32::NAN);
            continue;
        }
        match (&column.kind, cell) {
            (ColumnKind::Categorical { .. }, cell) => {
                out.values.resize(start + column.width(), 0.0);
                match known[index].get(cell.label(text).as_ref()) {
                    Some(category) => out.values[start + category] = 1.0,
                    None => out.n_unknown += 1,
                }
            }
            (ColumnKind::Numeric { .. }, Cell::Number(value)) => {
                out.values
                    .push(narrow(job.path, record, &column.name, value)?);
            }
            (ColumnKind::Numeric { .. }, _) => {
                return Err(DataError::corrupt(
                    job.path,
                    format!("line {}, column `{}`", record.line(), column.name),
                    format!("`{}` is not a number", short(text)),
                    "mend the cell or add the text to the missing values",
                ));
            }
        }
    }
    Ok(())
}

fn narrow(path: &Path, record: &Record<'_>, column: &str, value: f64) -> Result<f32> {
    let narrow = value as f32;
    if narrow.is_infinite() && value.is_finite() {
        return Err(DataError::corrupt(
            path,
            format!("line {}, column `{column}`", record.line()),
            format!("{value:e} does not fit an f32"),
            "rescale the column",
        ));
    }
    Ok(narrow)
}

/// Collects the targets of the records that it is shown.
pub(super) struct Targets<'a> {
    path: &'a Path,
    name: &'a str,
    column: usize,
    missing: &'a Missing<'a>,
    ids: BTreeMap<&'a str, u32>,
    pub(super) target: Target,
}

impl<'a> Targets<'a> {
    pub(super) fn new(
        job: &Job<'a>,
        name: &'a str,
        column: usize,
        kind: &'a TargetColumn,
    ) -> Targets<'a> {
        let (ids, target) = match kind {
            TargetColumn::Values => (BTreeMap::new(), Target::Values(Vec::new())),
            TargetColumn::Classes(names) => {
                let ids = (0u32..)
                    .zip(names)
                    .map(|(id, name)| (name.as_str(), id))
                    .collect();
                (ids, Target::Classes(Vec::new()))
            }
        };
        Targets {
            path: job.path,
            name,
            column,
            missing: job.missing,
            ids,
            target,
        }
    }

    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<()> {
        let text = record.text(self.column)?;
        let cell = parse(text, self.missing);
        let error = |problem: String, hint: String| {
            let at = format!("line {}, column `{}`", record.line(), self.name);
            DataError::corrupt(self.path, at, problem, hint)
        };
        match (&mut self.target, cell) {
            (_, Cell::Missing) => {
                return Err(error(
                    "the target is missing".into(),
                    "remove the row".into(),
                ));
            }
            (Target::Values(values), Cell::Number(value)) => {
                values.push(narrow(self.path, record, self.name, value)?);
            }
            (Target::Values(_), Cell::Text(text)) => {
                let problem = format!("`{}` is not a number", short(text));
                return Err(error(problem, "mend the cell, or ask for classes".into()));
            }
            (Target::Classes(labels), cell) => {
                let Some(&id) = self.ids.get(cell.label(text).as_ref()) else {
                    let known: Vec<&str> = self.ids.keys().copied().collect();
                    let problem =
                        format!("the training data has no class called `{}`", short(text));
                    return Err(error(problem, nearest_hint(text, &known)));
                };
                labels.push(id);
            }
        }
        Ok(())
    }
}
