use std::fs;

use sardonyx_data::{InputSpec, ReadOptions, digits, impute, read, read_inputs};

use super::{folder, golden};

#[test]
fn rows_are_encoded_as_in_training() {
    let train = golden("sklearn/train.csv");
    let table = read(&train, &ReadOptions::default())
        .expect("a table")
        .train;
    let (filled, _) = impute(&[table.view()]).expect("values to fit");
    let dataset = filled[0].dataset();
    let schema = dataset.schema().expect("a table").clone();
    let inputs = read_inputs(
        &train,
        &InputSpec::Table(schema.clone()),
        &ReadOptions::default(),
    )
    .expect("the same columns");
    assert_eq!(inputs.x.values::<f32>(), dataset.x().values::<f32>());
    assert!(inputs.n_missing > 0);
    assert_eq!(inputs.names[1], "train.csv[1]");

    // Without the target, in another order, with a category that is new.
    let data = folder(&[("p.csv", b"size,length,color,weight\nM,50,violet,3\n")]);
    let path = data.path().join("p.csv");
    let inputs =
        read_inputs(&path, &InputSpec::Table(schema), &ReadOptions::default()).expect("columns");
    assert_eq!(inputs.n_unknown_categories, 1);
    assert_eq!(inputs.names, ["p.csv"]);
    assert_eq!(
        inputs.x.values::<f32>().expect("f32")[..5],
        [3.0, 0.0, 0.0, 0.0, 50.0]
    );
}

#[test]
fn a_missing_cell_without_a_fill_is_an_error() {
    let table = read(&golden("sklearn/train.csv"), &ReadOptions::default())
        .expect("a table")
        .train;
    let spec = InputSpec::Table(table.schema().expect("a table").clone());
    let data = folder(&[("p.csv", b"size,length,color,weight\nM,,red,3\n")]);
    let error = read_inputs(&data.path().join("p.csv"), &spec, &ReadOptions::default())
        .expect_err("no fill is known")
        .to_string();
    assert!(
        error.contains("column `length`: 1 cells are missing"),
        "{error}"
    );
}

#[test]
fn pixels_come_from_csv_with_or_without_names_and_target() {
    let spec = InputSpec::Image {
        channels: 1,
        height: 8,
        width: 8,
        pixel_max: 16.0,
    };
    let digits = digits();
    let pixels = &digits.x().values::<u8>().expect("u8")[..64];
    let row: Vec<String> = pixels.iter().map(u8::to_string).collect();
    let names: Vec<String> = (0..64).map(|i| format!("pixel{i}")).collect();
    let plain = row.join(",");
    let named = format!("{}\n{plain}\n", names.join(","));
    let labelled = format!("label,{}\n0,{plain}\n", names.join(","));
    let data = folder(&[
        ("plain.csv", plain.as_bytes()),
        ("named.csv", named.as_bytes()),
        ("labelled.csv", labelled.as_bytes()),
    ]);
    let expected: Vec<f32> = pixels.iter().map(|&p| f32::from(p)).collect();
    let mut options = ReadOptions::default();
    for name in ["plain.csv", "named.csv"] {
        let inputs = read_inputs(&data.path().join(name), &spec, &options).expect(name);
        assert_eq!(inputs.x.shape(), [1, 1, 8, 8]);
        assert_eq!(inputs.x.values::<f32>(), Ok(&expected[..]));
    }
    let labelled = data.path().join("labelled.csv");
    let error = read_inputs(&labelled, &spec, &options)
        .expect_err("65 columns")
        .to_string();
    assert!(error.contains("65 columns, the model takes 64"), "{error}");
    options.csv.target = Some("label".into());
    let inputs = read_inputs(&labelled, &spec, &options).expect("the target is named");
    assert_eq!(inputs.x.values::<f32>(), Ok(&expected[..]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let options = ReadOptions::default();
    let image = golden("images/gray.png");
    let missing = golden("images/none.png");
    let data = folder(&[("empty.csv", b""), ("two.csv", b"1,2\n")]);
    let folder_path = data.path().to_owned();
    for (path, spec, part) in [
        (
            image.clone(),
            InputSpec::Features(600),
            "the model takes [600]",
        ),
        (missing, InputSpec::Features(1), "none.png: No such file"),
        (
            folder_path.clone(),
            InputSpec::Features(1),
            "expected a file, found a folder",
        ),
        (
            folder_path.join("empty.csv"),
            InputSpec::Features(1),
            "there is no record",
        ),
        (
            folder_path.join("two.csv"),
            InputSpec::Features(1),
            "2 columns, the model takes 1",
        ),
        (image, InputSpec::Features(0), "no dimension may be zero"),
    ] {
        let error = read_inputs(&path, &spec, &options)
            .expect_err(part)
            .to_string();
        assert!(
            error.contains(part) && error.contains("; hint: "),
            "{error}"
        );
    }
    fs::write(folder_path.join("x.csv"), "1,abc\n").expect("a file");
    let error = read_inputs(
        &folder_path.join("x.csv"),
        &InputSpec::Features(2),
        &options,
    )
    .expect_err("a line of text and no rows")
    .to_string();
    assert!(error.contains("there is no row to predict for"), "{error}");
}
