use sardonyx_tensor::Tensor;

use crate::dataset::{Dataset, DatasetParts};
use crate::error::{DataError, Result};
use crate::schema::{ColumnKind, TableSchema};
use crate::view::View;

/// What [`impute`] filled in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImputeReport {
    /// The columns that had missing cells, in order.
    pub columns: Vec<ImputedColumn>,
}

/// What was filled in one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ImputedColumn {
    /// Name of the column.
    pub name: String,
    /// What stands in for a missing cell now: a number or a category.
    pub fill: String,
    /// Missing cells in the rows of each view.
    pub n_missing: Vec<usize>,
}

/// Replaces the missing cells of tables: numbers by their mean, categories by the commonest one,
/// both over the rows of the first view and no others. The other views may be of the same data set
/// or of another with the same columns (a test file).
///
/// Gives the views over the completed data and the counts of what was filled; the `fill`s are in
/// the schema of the new data sets, so that [`crate::read_inputs`] uses the same. Images and tables
/// without a schema come back unchanged.
///
/// # Errors
/// When the views' columns differ, or a column with missing cells has no value at all, or an
/// infinite one, in the first view's rows.
pub fn impute(views: &[View]) -> Result<(Vec<View>, ImputeReport)> {
    let Some(first) = views.first() else {
        return Ok((Vec::new(), ImputeReport::default()));
    };
    let Some(schema) = first.dataset().schema() else {
        return Ok((views.to_vec(), ImputeReport::default()));
    };
    let missing = views
        .iter()
        .map(|view| count_missing(view, schema))
        .collect::<Result<Vec<_>>>()?;
    let (fitted, is_empty) = fit(first, schema)?;
    let mut report = ImputeReport::default();
    for (index, column) in fitted.columns.iter().enumerate() {
        let n_missing: Vec<usize> = missing.iter().map(|counts| counts[index]).collect();
        if n_missing.iter().all(|&n| n == 0) {
            continue;
        }
        let problem = match column.kind {
            _ if is_empty[index] => "no value",
            ColumnKind::Numeric { fill: Some(mean) } if !mean.is_finite() => "no finite mean",
            _ => "",
        };
        if !problem.is_empty() {
            return Err(DataError::Values {
                source_name: first.dataset().source().to_owned(),
                problem: format!(
                    "column `{}` has {problem} in the training rows",
                    column.name
                ),
                hint: "leave the column out or mend its values".into(),
            });
        }
        let fill = match &column.kind {
            ColumnKind::Numeric { fill } => fill.map(|value| value.to_string()),
            ColumnKind::Categorical { categories, fill } => {
                fill.map(|index| categories[index].clone())
            }
        };
        report.columns.push(ImputedColumn {
            name: column.name.clone(),
            fill: fill.unwrap_or_default(),
            n_missing,
        });
    }
    let mut done: Vec<(Dataset, Dataset)> = Vec::new();
    let mut out = Vec::with_capacity(views.len());
    for view in views {
        let known = done.iter().find(|(old, _)| old.is_same(view.dataset()));
        let filled = match known {
            Some((_, filled)) => filled.clone(),
            None => {
                let filled = apply(view.dataset(), &fitted)?;
                done.push((view.dataset().clone(), filled.clone()));
                filled
            }
        };
        out.push(view.rebase(&filled)?);
    }
    Ok((out, report))
}

/// Writes the fill of each missing column of one sample over its NaNs; gives the number of cells
/// that were filled. A column without a fill stays as it is.
pub(crate) fn fill_row(row: &mut [f32], schema: &TableSchema) -> usize {
    let (mut offset, mut n_filled) = (0, 0);
    for column in &schema.columns {
        let cell = &mut row[offset..offset + column.width()];
        offset += column.width();
        if !cell.first().is_some_and(|value| value.is_nan()) {
            continue;
        }
        match column.kind {
            ColumnKind::Numeric { fill: Some(value) } => cell[0] = value,
            // A schema may come from a file: an index that is no category fills nothing.
            ColumnKind::Categorical {
                fill: Some(index), ..
            } if index < cell.len() => {
                cell.fill(0.0);
                cell[index] = 1.0;
            }
            _ => continue,
        }
        n_filled += 1;
    }
    n_filled
}

fn values(dataset: &Dataset) -> Result<&[f32]> {
    Ok(dataset.x().values::<f32>()?)
}

fn count_missing(view: &View, schema: &TableSchema) -> Result<Vec<usize>> {
    let dataset = view.dataset();
    if !dataset
        .schema()
        .is_some_and(|other| same_columns(other, schema))
    {
        return Err(DataError::shape(
            dataset.source(),
            "the columns are not those of the training data",
            "give every part the same columns in the same order",
        ));
    }
    let (values, width) = (values(dataset)?, schema.width());
    let mut counts = vec![0; schema.columns.len()];
    for &row in view.rows() {
        let mut offset = row * width;
        for (count, column) in counts.iter_mut().zip(&schema.columns) {
            *count += usize::from(column.width() > 0 && values[offset].is_nan());
            offset += column.width();
        }
    }
    Ok(counts)
}

fn same_columns(left: &TableSchema, right: &TableSchema) -> bool {
    left.columns.len() == right.columns.len()
        && left.feature_names() == right.feature_names()
        && std::iter::zip(&left.columns, &right.columns).all(|(l, r)| l.name == r.name)
}

/// The schema with every `fill` set, and which columns had no value to set it from.
fn fit(train: &View, schema: &TableSchema) -> Result<(TableSchema, Vec<bool>)> {
    let (values, width) = (values(train.dataset())?, schema.width());
    let mut fitted = schema.clone();
    let mut is_empty = Vec::with_capacity(schema.columns.len());
    let mut offset = 0;
    for column in &mut fitted.columns {
        let column_width = column.width();
        let mut sums = vec![0f64; column_width];
        let mut n_present = 0usize;
        for &row in train.rows() {
            let cell = &values[row * width + offset..][..column_width];
            if cell.first().is_none_or(|value| value.is_nan()) {
                continue;
            }
            n_present += 1;
            for (sum, &value) in sums.iter_mut().zip(cell) {
                *sum += f64::from(value);
            }
        }
        is_empty.push(n_present == 0);
        offset += column_width;
        if n_present == 0 {
            continue;
        }
        match &mut column.kind {
            ColumnKind::Numeric { fill } => *fill = Some((sums[0] / n_present as f64) as f32),
            ColumnKind::Categorical { fill, .. } => {
                *fill = (0..sums.len())
                    .rev()
                    .max_by(|&a, &b| sums[a].total_cmp(&sums[b]));
            }
        }
    }
    Ok((fitted, is_empty))
}

fn apply(dataset: &Dataset, schema: &TableSchema) -> Result<Dataset> {
    let mut filled = values(dataset)?.to_vec();
    for row in filled.chunks_exact_mut(schema.width()) {
        fill_row(row, schema);
    }
    let mut own = schema.clone();
    own.target = dataset.schema().and_then(|schema| schema.target.clone());
    Dataset::new(DatasetParts {
        x: Tensor::new(dataset.x().shape(), filled)?,
        schema: Some(own),
        ..dataset.parts_without_x()
    })
}
