//! Tables of text: CSV and its relatives.
//!
//! A table is read two or three times, so that no more of it than its features is ever in memory:
//! for what the columns are, for their categories, and for the values.

mod cell;
mod encode;
mod infer;
mod records;

use std::path::{Path, PathBuf};

use sardonyx_tensor::Tensor;

use crate::arrays::{Role, inputs};
use crate::dataset::{Dataset, DatasetParts};
use crate::error::{DataError, Result};
use crate::schema::{Column, ColumnKind, TableSchema};

use super::{Loaded, ReadOptions, ReadReport};
use cell::Missing;
use encode::{Job, Targets, encode};
use infer::{TargetColumn, index_of, learn};
use records::Dialect;

/// Characters of a cell shown in a message.
const SHOWN_CHARS: usize = 40;

/// Reads tables, the training one first: what its columns are holds for the others.
pub(super) fn read(files: &[(Role, PathBuf)], options: &ReadOptions) -> Result<Loaded> {
    let Some((_, first)) = files.first() else {
        unreachable!("the caller found a table");
    };
    let (dialect, names) = Dialect::find(first, &options.csv, &options.limits)?;
    let learned = learn(first, dialect, &names, options)?;
    let missing = Missing::new(&options.csv.missing);
    let mut report = ReadReport::new("CSV");
    let mut parts = Vec::with_capacity(files.len());
    for (index, (role, path)) in files.iter().enumerate() {
        let (dialect, names) = if index == 0 {
            (dialect, names.clone())
        } else {
            Dialect::find(path, &options.csv, &options.limits)?
        };
        let target_name = learned.schema.target.as_deref().unwrap_or_default();
        let target_column = index_of(path, &names, target_name)?;
        let job = Job {
            path,
            dialect,
            missing: &missing,
            limits: &options.limits,
            schema: &learned.schema,
            columns: find_columns(path, &names, &learned.schema)?,
        };
        let mut targets = Targets::new(&job, target_name, target_column, &learned.target);
        let n_rows = if index == 0 { learned.n_rows } else { 0 };
        let encoded = encode(&job, n_rows, |record| targets.push(record))?;
        let target = targets.target;
        for (column, &n) in learned.schema.columns.iter().zip(&encoded.n_missing) {
            match report
                .missing
                .iter_mut()
                .find(|(name, _)| *name == column.name)
            {
                _ if n == 0 => {}
                Some((_, count)) => *count += n,
                None => report.missing.push((column.name.clone(), n)),
            }
        }
        report.n_unknown_categories += encoded.n_unknown;
        let x = Tensor::new([encoded.n_rows, learned.schema.width()], encoded.values)?;
        parts.push((*role, dataset(path, x, target, &learned, options)?));
    }
    Loaded::from_parts(parts, report)
}

fn dataset(
    path: &Path,
    x: Tensor,
    target: crate::dataset::Target,
    learned: &infer::Learned,
    options: &ReadOptions,
) -> Result<Dataset> {
    let source = path.display().to_string();
    let x = inputs(x, options, &source)?;
    let is_table = x.rank() == 2;
    let class_names = match &learned.target {
        TargetColumn::Classes(names) => names.clone(),
        TargetColumn::Values => Vec::new(),
    };
    Dataset::new(DatasetParts {
        x,
        target,
        class_names,
        schema: is_table.then(|| learned.schema.clone()),
        nominal_range: None,
        source,
    })
}

fn find_columns(path: &Path, names: &[String], schema: &TableSchema) -> Result<Vec<usize>> {
    schema
        .columns
        .iter()
        .map(|column| index_of(path, names, &column.name))
        .collect()
}

/// Features of rows that need no target, and the cells that were missing or unknown.
pub(crate) struct Rows {
    pub(crate) x: Tensor,
    pub(crate) n_missing: usize,
    pub(crate) n_unknown_categories: usize,
}

/// Reads a table by a schema that is known. Columns are found by name; by position in a file
/// without a header that has the input columns only. A target column may be there and is not read.
pub(crate) fn read_rows(path: &Path, schema: &TableSchema, options: &ReadOptions) -> Result<Rows> {
    let (dialect, names) = Dialect::find(path, &options.csv, &options.limits)?;
    let columns = if !dialect.has_header && names.len() == schema.columns.len() {
        (0..names.len()).collect()
    } else {
        find_columns(path, &names, schema)?
    };
    encode_rows(path, dialect, columns, schema, options)
}

/// Reads rows of `n_columns` numbers, whatever they are called. The options may name a target
/// column, which is not read.
pub(crate) fn read_numbers(path: &Path, n_columns: usize, options: &ReadOptions) -> Result<Rows> {
    let (dialect, names) = Dialect::find(path, &options.csv, &options.limits)?;
    let target = match &options.csv.target {
        Some(target) => Some(index_of(path, &names, target)?),
        None => None,
    };
    let columns: Vec<usize> = (0..names.len()).filter(|&c| Some(c) != target).collect();
    if columns.len() != n_columns {
        return Err(DataError::corrupt(
            path,
            "line 1",
            format!("{} columns, the model takes {n_columns}", columns.len()),
            "give exactly the model's inputs in their order, or name the target column",
        ));
    }
    let schema = TableSchema {
        columns: columns
            .iter()
            .map(|&c| Column::numeric(&names[c]))
            .collect(),
        target: None,
    };
    encode_rows(path, dialect, columns, &schema, options)
}

fn encode_rows(
    path: &Path,
    dialect: Dialect,
    columns: Vec<usize>,
    schema: &TableSchema,
    options: &ReadOptions,
) -> Result<Rows> {
    let missing = Missing::new(&options.csv.missing);
    let job = Job {
        path,
        dialect,
        missing: &missing,
        limits: &options.limits,
        schema,
        columns,
    };
    let mut encoded = encode(&job, 0, |_| Ok(()))?;
    let width = schema.width();
    if width > 0 {
        for row in encoded.values.chunks_exact_mut(width) {
            crate::impute::fill_row(row, schema);
        }
    }
    // What is still missing has no fill in the schema.
    for (column, &n) in schema.columns.iter().zip(&encoded.n_missing) {
        let has_fill = match &column.kind {
            ColumnKind::Numeric { fill } => fill.is_some(),
            ColumnKind::Categorical { fill, categories } => {
                fill.is_some_and(|index| index < categories.len())
            }
        };
        if n > 0 && !has_fill {
            return Err(DataError::corrupt(
                path,
                format!("column `{}`", column.name),
                format!("{n} cells are missing, and the model knows no value for them"),
                "fill the cells or train with missing values imputed",
            ));
        }
    }
    Ok(Rows {
        n_missing: encoded.n_missing.iter().sum(),
        n_unknown_categories: encoded.n_unknown,
        x: Tensor::new([encoded.n_rows, width], encoded.values)?,
    })
}

/// The start of a cell, for messages.
fn short(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        format!("{start}...")
    } else {
        start
    }
}
