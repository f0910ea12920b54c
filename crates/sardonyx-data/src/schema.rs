/// What the columns of a table mean: how the cells of a row become the features of a sample.
///
/// It belongs to a trained model as much as its weights do: [`crate::read_inputs`] needs it to
/// turn a later CSV file into the same features.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableSchema {
    /// Input columns, in the order in which their features follow one another.
    pub columns: Vec<Column>,
    /// Name of the target column.
    pub target: Option<String>,
}

/// One input column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in the header.
    pub name: String,
    /// What its cells are.
    pub kind: ColumnKind,
}

/// What the cells of a column are. `fill` is what stands in for a missing cell, once
/// [`crate::impute`] has fitted it; until then a missing cell is NaN in all its features.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// One feature: the number.
    Numeric {
        /// Mean of the training rows.
        fill: Option<f32>,
    },
    /// One feature for each category: 1 for the cell's own, 0 for the others. A value that is not
    /// among them gives zeros only.
    Categorical {
        /// The values, in ascending order.
        categories: Vec<String>,
        /// Index of the commonest category of the training rows (the first of equals).
        fill: Option<usize>,
    },
}

impl Column {
    /// A numeric column.
    pub fn numeric(name: impl Into<String>) -> Column {
        Column {
            name: name.into(),
            kind: ColumnKind::Numeric { fill: None },
        }
    }

    /// Number of features that the column gives.
    pub fn width(&self) -> usize {
        match &self.kind {
            ColumnKind::Numeric { .. } => 1,
            ColumnKind::Categorical { categories, .. } => categories.len(),
        }
    }
}

impl TableSchema {
    /// Number of features of a sample.
    pub fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }

    /// Name of each feature: the column's, or `column=category`.
    pub fn feature_names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.width());
        for column in &self.columns {
            match &column.kind {
                ColumnKind::Numeric { .. } => names.push(column.name.clone()),
                ColumnKind::Categorical { categories, .. } => {
                    names.extend(categories.iter().map(|c| format!("{}={c}", column.name)));
                }
            }
        }
        names
    }
}
