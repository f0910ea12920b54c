use sardonyx_tensor::Tensor;

use super::*;
use crate::dataset::{DatasetParts, Target};
use crate::{Column, TableSchema, digits};

fn table(rows: &[[f32; 2]], labels: &[u32]) -> Dataset {
    Dataset::new(DatasetParts {
        x: Tensor::new([rows.len(), 2], rows.concat()).expect("small"),
        target: Target::Classes(labels.to_vec()),
        class_names: ["cat", "dog", "owl"].map(String::from).to_vec(),
        schema: None,
        nominal_range: None,
        source: "test".into(),
    })
    .expect("consistent parts")
}

fn codes(report: &ValidationReport) -> Vec<(Severity, &'static str)> {
    report
        .findings
        .iter()
        .map(|f| (f.severity, f.code))
        .collect()
}

#[test]
fn the_digits_are_in_order() {
    let report = validate(&digits());
    assert_eq!(report.parts[0].range, Some((0.0, 16.0)));
    assert_eq!(report.parts[0].constant_features, [0, 32, 39]);
    assert_eq!(report.parts[0].n_duplicates, 0);
    assert_eq!(codes(&report), [(Severity::Note, "constant")]);
    assert_eq!(
        report.findings[0].to_string(),
        "note: data: 3 of 64 features have one value only (channel 0, row 0, column 0; \
         channel 0, row 4, column 0; channel 0, row 4, column 7); \
         hint: they carry no information; a table is smaller without them"
    );
}

#[test]
fn every_fault_is_counted_and_named() {
    let nan = f32::NAN;
    let data = table(
        &[
            [1.0, 5.0],
            [1.0, 5.0],
            [1.0, 5.0],
            [2.0, nan],
            [3.0, 5.0],
            [f32::INFINITY, 5.0],
        ],
        &[0, 0, 1, 0, 0, 0],
    );
    let report = validate(&data);
    let part = &report.parts[0];
    assert_eq!(part.class_counts, [5, 1, 0]);
    assert_eq!(part.imbalance, Some(5.0));
    assert_eq!((part.n_nan, part.n_infinite), (1, 1));
    assert_eq!((part.n_duplicates, part.n_conflicts), (2, 1));
    assert_eq!(part.constant_features, [1]);
    assert_eq!(part.range, Some((1.0, 5.0)));
    let first = part.first_not_finite.as_ref().expect("there is one");
    assert_eq!(
        (first.row, first.feature, first.name.as_str()),
        (3, 1, "column `x1`")
    );
    use Severity::{Error, Note, Warning};
    assert_eq!(
        codes(&report),
        [
            (Error, "nan"),
            (Error, "infinite"),
            (Warning, "empty-class"),
            (Warning, "constant"),
            (Warning, "duplicates"),
            (Warning, "conflict"),
            (Note, "imbalance"),
        ]
    );
    assert_eq!(report.worst(), Some(Error));
    assert_eq!(report.with(Note).count(), 1);
}

#[test]
fn minus_zero_is_zero_for_a_duplicate() {
    let report = validate(&table(&[[0.0, 1.0], [-0.0, 1.0]], &[0, 1]));
    assert_eq!(report.parts[0].n_duplicates, 1);
}

#[test]
fn leaks_between_parts_are_found() {
    let train = table(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &[0, 1, 2]).view();
    let test = table(&[[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], &[1, 0, 2]).view();
    let report = validate_parts(&[("train", &train), ("test", &test)]);
    let pair = &report.pairs[0];
    assert_eq!((pair.n_shared, pair.n_conflicts), (2, 1));
    assert!(matches!(pair.example, Some((1, 0) | (2, 1))));
    assert!(codes(&report).contains(&(Severity::Warning, "leak")));

    let parts = digits()
        .view()
        .split(&[0.4, 0.3, 0.3], 0)
        .expect("enough rows");
    let parts: Vec<(&str, &View)> = ["a", "b", "c"].into_iter().zip(&parts).collect();
    let report = validate_parts(&parts);
    assert_eq!(report.pairs.len(), 3);
    assert!(report.pairs.iter().all(|pair| pair.n_shared == 0));
}

#[test]
fn parts_must_be_of_one_kind() {
    let train = digits().view();
    let test = table(&[[1.0, 2.0], [3.0, 4.0]], &[0, 1]).view();
    let report = validate_parts(&[("train", &train), ("test", &test)]);
    for code in ["kind", "class-names"] {
        assert!(codes(&report).contains(&(Severity::Error, code)), "{code}");
    }
}

#[test]
fn a_part_without_samples_or_with_one_class_is_an_error() {
    let data = table(&[[1.0, 2.0], [3.0, 4.0]], &[1, 1]);
    let none = View::new(&data, Vec::new()).expect("no row is out of range");
    let report = validate_parts(&[("train", &data.view()), ("test", &none)]);
    assert_eq!(
        codes(&report),
        [
            (Severity::Error, "one-class"),
            (Severity::Error, "no-samples")
        ]
    );
}

#[test]
fn missing_cells_of_a_table_are_a_warning() {
    let data = table(
        &[[1.0, f32::NAN], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]],
        &[0, 1, 2, 0],
    );
    let data = Dataset::new(DatasetParts {
        schema: Some(TableSchema {
            columns: vec![Column::numeric("a"), Column::numeric("b")],
            target: None,
        }),
        ..data.to_parts()
    })
    .expect("consistent parts");
    let report = validate(&data);
    assert_eq!(codes(&report), [(Severity::Warning, "nan")]);
    assert!(report.findings[0].message.ends_with("sample 0, column `b`"));
}

#[test]
fn a_part_scaled_otherwise_is_noticed() {
    let image = |scale: f32| {
        Dataset::new(DatasetParts {
            x: Tensor::from_fn([4, 1, 2, 2], |i| (i as f32 + 1.0) * scale).expect("small"),
            target: Target::Classes(vec![0, 1, 0, 1]),
            class_names: vec!["a".into(), "b".into()],
            schema: None,
            nominal_range: None,
            source: "test".into(),
        })
        .expect("consistent parts")
        .view()
    };
    let report = validate_parts(&[("train", &image(1.0)), ("test", &image(1.0 / 255.0))]);
    assert_eq!(codes(&report), [(Severity::Warning, "scale")]);
}
