//! What a model file says about the samples it takes, so that a later prediction can read them
//! from a picture or a table.

use sardonyx_data::{Column, ColumnKind, Dataset, InputSpec, Kind, TableSchema};
use sardonyx_ir::{Dim, Graph};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// Key of the model's metadata under which the description is: a JSON object.
pub const INPUT_KEY: &str = "sardonyx.input";

/// The JSON form of an [`InputSpec`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Form {
    Image {
        channels: usize,
        height: usize,
        width: usize,
        pixel_max: f32,
    },
    Table {
        columns: Vec<ColumnForm>,
    },
    Features {
        features: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct ColumnForm {
    name: String,
    /// Values of a categorical column; `None` for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<String>>,
    /// What stands in for a missing number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fill: Option<f32>,
    /// Index of the category that stands in for a missing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fill_category: Option<usize>,
}

/// Writes into the model what the samples of `dataset` are.
pub(crate) fn describe_input(graph: &mut Graph, dataset: &Dataset) -> Result<()> {
    let form = match (dataset.kind(), dataset.schema()) {
        (
            Kind::Image {
                channels,
                height,
                width,
            },
            _,
        ) => Form::Image {
            channels,
            height,
            width,
            pixel_max: dataset.nominal_range().map_or(255.0, |(_, high)| high),
        },
        (Kind::Table { .. }, Some(schema)) => Form::Table {
            columns: schema.columns.iter().map(column_form).collect(),
        },
        (Kind::Table { features }, None) => Form::Features { features },
    };
    let json = serde_json::to_string(&form).map_err(|source| TrainError::Json {
        what: "the description of the model's input",
        source,
    })?;
    graph.metadata.insert(INPUT_KEY.to_owned(), json);
    Ok(())
}

/// What a model takes, for [`sardonyx_data::read_inputs`]: what its file says, else what the shape
/// of its input tells (images of 8 bits, `[N, C, H, W]`, or `[N, H, W, C]` where only the last
/// dimension can be that of channels; rows `[N, F]`).
///
/// # Errors
/// When the description cannot be read, or there is none and the shape is another.
pub fn input_spec(graph: &Graph) -> Result<InputSpec> {
    if let Some(json) = graph.metadata.get(INPUT_KEY) {
        let form: Form = serde_json::from_str(json).map_err(|source| TrainError::Json {
            what: "the description of the model's input",
            source,
        })?;
        return Ok(to_spec(form));
    }
    let mut fed = graph
        .inputs
        .iter()
        .filter(|id| !graph.initializers.contains_key(id));
    let shape = fed.next().and_then(|&id| graph.fact(id)?.shape.as_ref());
    let sample: Option<Vec<usize>> =
        shape.and_then(|shape| shape.iter().skip(1).map(Dim::value).collect());
    match sample.as_deref() {
        Some(&[height, width, channels @ (1 | 3)]) if height != 1 && height != 3 => {
            Ok(InputSpec::Image {
                channels,
                height,
                width,
                pixel_max: 255.0,
            })
        }
        Some(&[channels, height, width]) => Ok(InputSpec::Image {
            channels,
            height,
            width,
            pixel_max: 255.0,
        }),
        Some(&[features]) => Ok(InputSpec::Features(features)),
        _ => Err(TrainError::Model {
            reason: "its input is neither images [N, C, H, W] nor rows [N, F]; hint: samples of \
                     other shapes cannot be read from files"
                .to_owned(),
        }),
    }
}

fn column_form(column: &Column) -> ColumnForm {
    let name = column.name.clone();
    match &column.kind {
        ColumnKind::Numeric { fill } => ColumnForm {
            name,
            categories: None,
            fill: *fill,
            fill_category: None,
        },
        ColumnKind::Categorical { categories, fill } => ColumnForm {
            name,
            categories: Some(categories.clone()),
            fill: None,
            fill_category: *fill,
        },
    }
}

fn to_spec(form: Form) -> InputSpec {
    match form {
        Form::Image {
            channels,
            height,
            width,
            pixel_max,
        } => InputSpec::Image {
            channels,
            height,
            width,
            pixel_max,
        },
        Form::Features { features } => InputSpec::Features(features),
        Form::Table { columns } => {
            let column = |form: ColumnForm| Column {
                name: form.name,
                kind: match form.categories {
                    None => ColumnKind::Numeric { fill: form.fill },
                    Some(categories) => ColumnKind::Categorical {
                        fill: form.fill_category.filter(|&fill| fill < categories.len()),
                        categories,
                    },
                },
            };
            InputSpec::Table(TableSchema {
                columns: columns.into_iter().map(column).collect(),
                target: None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_first_or_last() {
        let check = |shape: &str, expected: (usize, usize, usize)| {
            let source = format!(
                "<ir_version: 8, opset_import: [\"\" : 17]>\n\
                 g (float[{shape}] x) => (float[{shape}] y) {{ y = Relu (x) }}"
            );
            let graph = sardonyx_ir::text::parse(&source).expect("a graph");
            let InputSpec::Image {
                channels,
                height,
                width,
                ..
            } = input_spec(&graph).expect("images")
            else {
                panic!("images");
            };
            assert_eq!((channels, height, width), expected, "{shape}");
        };
        check("N,1,28,20", (1, 28, 20));
        check("N,28,20,1", (1, 28, 20));
        check("N,28,20,3", (3, 28, 20));
        check("N,4,28,20", (4, 28, 20));
        check("N,3,5,3", (3, 5, 3));
        check("N,7,8,9", (7, 8, 9));
    }
}
