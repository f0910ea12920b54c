use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{DataError, Result, nearest_hint};
use crate::limits::Limits;
use crate::read::source::check;
use crate::read::{CsvOptions, ReadOptions, TargetKind};
use crate::schema::{Column, ColumnKind, TableSchema};

use super::cell::{Cell, Missing, parse};
use super::records::{Dialect, Records};

/// What the training table taught about the columns of all tables.
pub(super) struct Learned {
    pub(super) schema: TableSchema,
    pub(super) target: TargetColumn,
    pub(super) n_rows: usize,
}

/// What the cells of the target column are.
pub(super) enum TargetColumn {
    /// Classes, by the text of their cells.
    Classes(Vec<String>),
    /// Numbers.
    Values,
}

/// What was seen in one column.
#[derive(Debug, Clone, Default)]
struct Profile {
    n_numbers: usize,
    n_texts: usize,
    has_fractions: bool,
    /// Line and text of the first cell that is no number.
    first_text: Option<(u64, String)>,
}

/// Reads the whole table to find out what its columns are.
pub(super) fn learn(
    path: &Path,
    dialect: Dialect,
    names: &[String],
    options: &ReadOptions,
) -> Result<Learned> {
    let csv = &options.csv;
    let target = target_index(path, names, csv)?;
    let inputs = input_indices(path, names, target, csv)?;
    let mut classes = Distinct::new(options.limits.classes);
    let (profiles, n_rows) = {
        let column = (options.target_kind != TargetKind::Values).then_some(target);
        profile(path, dialect, names.len(), options, (column, &mut classes))?
    };
    if n_rows == 0 {
        return Err(DataError::corrupt(
            path,
            "the whole file",
            "there are names of columns, but no rows",
            "add one line for each sample",
        ));
    }
    let mut is_text = Vec::with_capacity(inputs.len());
    for &column in &inputs {
        is_text.push(is_categorical(
            path,
            &names[column],
            &profiles[column],
            csv,
        )?);
    }
    let seen = &profiles[target];
    let all_whole = seen.n_texts > 0 || !seen.has_fractions;
    let as_classes = match options.target_kind {
        TargetKind::Auto => all_whole,
        TargetKind::Classes => true,
        TargetKind::Values => false,
    };
    let wanted: Vec<usize> = std::iter::zip(&inputs, &is_text)
        .filter_map(|(&column, &is_text)| is_text.then_some(column))
        .collect();
    let mut distinct = distinct(path, dialect, names, &wanted, options)?;
    let target_column = if as_classes {
        TargetColumn::Classes(class_names(classes.finish(path, &names[target])?))
    } else {
        TargetColumn::Values
    };
    let columns = inputs
        .iter()
        .zip(is_text)
        .map(|(&column, is_text)| Column {
            name: names[column].clone(),
            kind: if is_text {
                ColumnKind::Categorical {
                    categories: std::mem::take(&mut distinct[column]).into_iter().collect(),
                    fill: None,
                }
            } else {
                ColumnKind::Numeric { fill: None }
            },
        })
        .collect();
    let schema = TableSchema {
        columns,
        target: Some(names[target].clone()),
    };
    check_width(path, &schema, &options.limits)?;
    Ok(Learned {
        schema,
        target: target_column,
        n_rows,
    })
}

fn check_width(path: &Path, schema: &TableSchema, limits: &Limits) -> Result<()> {
    if schema.width() == 0 {
        return Err(DataError::corrupt(
            path,
            "the columns",
            "no input column with a value is left besides the target",
            "a table needs at least two columns",
        ));
    }
    let max = limits.features as u64;
    check(
        "the number of features",
        "features",
        path,
        schema.width() as u64,
        max,
    )
}

/// Index of the column called `name`.
pub(super) fn index_of(path: &Path, names: &[String], name: &str) -> Result<usize> {
    names.iter().position(|known| known == name).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        DataError::Column {
            path: path.to_owned(),
            name: name.to_owned(),
            hint: nearest_hint(name, &known),
        }
    })
}

fn target_index(path: &Path, names: &[String], csv: &CsvOptions) -> Result<usize> {
    match &csv.target {
        Some(name) => index_of(path, names, name),
        None => Ok(names.len() - 1),
    }
}

fn input_indices(
    path: &Path,
    names: &[String],
    target: usize,
    csv: &CsvOptions,
) -> Result<Vec<usize>> {
    let mut is_input = vec![true; names.len()];
    is_input[target] = false;
    for name in &csv.drop {
        is_input[index_of(path, names, name)?] = false;
    }
    for name in &csv.categorical {
        index_of(path, names, name)?;
    }
    Ok((0..names.len())
        .filter(|&column| is_input[column])
        .collect())
}

fn profile(
    path: &Path,
    dialect: Dialect,
    n_columns: usize,
    options: &ReadOptions,
    (target, classes): (Option<usize>, &mut Distinct),
) -> Result<(Vec<Profile>, usize)> {
    let missing = Missing::new(&options.csv.missing);
    let mut profiles = vec![Profile::default(); n_columns];
    let mut n_rows = 0;
    let mut records = Records::open(path, dialect, &options.limits)?;
    while let Some(record) = records.next()? {
        n_rows += 1;
        for (column, profile) in profiles.iter_mut().enumerate() {
            let text = record.text(column)?;
            let cell = parse(text, &missing);
            if target == Some(column) {
                classes.insert(cell, text, record.line());
            }
            match cell {
                Cell::Missing => {}
                Cell::Number(value) => {
                    profile.n_numbers += 1;
                    profile.has_fractions |= value.fract() != 0.0;
                }
                Cell::Text(text) => {
                    profile.n_texts += 1;
                    profile
                        .first_text
                        .get_or_insert_with(|| (record.line(), text.to_owned()));
                }
            }
        }
    }
    Ok((profiles, n_rows))
}

/// A column is categorical when most of its cells are text or the options say so. Single texts
/// among numbers are taken for mistakes.
fn is_categorical(path: &Path, name: &str, seen: &Profile, csv: &CsvOptions) -> Result<bool> {
    if csv.categorical.iter().any(|column| column == name) {
        return Ok(true);
    }
    match &seen.first_text {
        Some((line, text)) if seen.n_numbers > seen.n_texts => Err(DataError::corrupt(
            path,
            format!("line {line}, column `{name}`"),
            format!(
                "`{}` is not a number, most cells of the column are",
                super::short(text)
            ),
            "mend the cell, or add the text to the missing values, or the column to the \
             categorical ones",
        )),
        seen => Ok(seen.is_some()),
    }
}

/// The different values of a column, up to a number of them.
#[derive(Debug, Clone)]
struct Distinct {
    labels: BTreeSet<String>,
    max: usize,
    /// Line of the first value over that number.
    overflow: Option<u64>,
}

impl Distinct {
    fn new(max: usize) -> Distinct {
        Distinct {
            labels: BTreeSet::new(),
            max,
            overflow: None,
        }
    }

    fn insert(&mut self, cell: Cell<'_>, text: &str, line: u64) {
        let label = cell.label(text);
        if cell == Cell::Missing || self.overflow.is_some() || self.labels.contains(&*label) {
            return;
        }
        if self.labels.len() == self.max {
            self.overflow = Some(line);
        } else {
            self.labels.insert(label.into_owned());
        }
    }

    fn finish(self, path: &Path, column: &str) -> Result<BTreeSet<String>> {
        let Some(line) = self.overflow else {
            return Ok(self.labels);
        };
        Err(DataError::corrupt(
            path,
            format!("line {line}, column `{column}`"),
            format!("more than {} different values", self.max),
            "drop the column if it is a name or an identifier; \
             for regression ask for targets that are values; or raise the limit",
        ))
    }
}

/// The different values of the columns that are `wanted`.
fn distinct(
    path: &Path,
    dialect: Dialect,
    names: &[String],
    wanted: &[usize],
    options: &ReadOptions,
) -> Result<Vec<BTreeSet<String>>> {
    let missing = Missing::new(&options.csv.missing);
    let mut found = vec![Distinct::new(options.limits.categories); names.len()];
    if !wanted.is_empty() {
        let mut records = Records::open(path, dialect, &options.limits)?;
        while let Some(record) = records.next()? {
            for &column in wanted {
                let text = record.text(column)?;
                found[column].insert(parse(text, &missing), text, record.line());
            }
        }
    }
    found
        .into_iter()
        .zip(names)
        .map(|(found, name)| found.finish(path, name))
        .collect()
}

/// Numbers in their own order, before texts in theirs.
fn class_names(distinct: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = distinct.into_iter().collect();
    names.sort_by(|a, b| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    });
    names
}
