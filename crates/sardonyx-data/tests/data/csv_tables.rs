use sardonyx_data::{
    ColumnKind, Kind, ReadOptions, Target, TargetKind, View, impute, read, validate,
};

use super::{array, folder, golden, gzip, refused};

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= 1e-6 * expected.abs().max(1.0),
            "{what}, {i}: {found}, {expected}"
        );
    }
}

/// Mean and mode imputation and one-hot encoding, fitted on the training table, are scikit-learn's.
#[test]
fn encoding_and_imputation_are_those_of_scikit_learn() {
    let files = ["train.csv", "test.csv"].map(|name| {
        (
            name,
            std::fs::read(golden(&format!("sklearn/{name}"))).expect("a golden file"),
        )
    });
    let data = folder(&[(files[0].0, &files[0].1), (files[1].0, &files[1].1)]);
    let loaded = read(data.path(), &ReadOptions::default()).expect("two tables");
    let test = loaded.test.expect("a test table");
    let names = loaded.train.feature_names();
    assert_eq!(
        names[..4],
        ["weight", "color=blue", "color=green", "color=red"]
    );
    assert_eq!(loaded.train.class_names(), ["cat", "dog", "owl"]);
    assert!(
        loaded.report.n_unknown_categories > 0,
        "the test table has a colour of its own"
    );
    assert!(
        loaded.report.missing.len() == 4,
        "{:?}",
        loaded.report.missing
    );

    let views = [loaded.train.view(), test.view()];
    let (filled, report) = impute(&views).expect("every column has values");
    let n_filled: usize = report
        .columns
        .iter()
        .flat_map(|column| &column.n_missing)
        .sum();
    assert_eq!(
        n_filled,
        loaded.report.missing.iter().map(|(_, n)| n).sum::<usize>()
    );
    for (view, name) in filled.iter().zip(["train", "test"]) {
        let expected = array(&format!("sklearn/{name}_x.npy"))
            .to_f64()
            .expect("numbers");
        assert_close(
            view.dataset().x().values::<f32>().expect("f32"),
            &expected,
            name,
        );
        let labels = array(&format!("sklearn/{name}_y.npy"))
            .to_i64()
            .expect("integers");
        let found = view.dataset().labels().expect("classes");
        assert!(found.iter().map(|&l| i64::from(l)).eq(labels), "{name}");
    }
    assert!(validate(filled[0].dataset()).parts[0].n_nan == 0);
}

#[test]
fn imputation_looks_at_the_training_rows_only() {
    let data = folder(&[(
        "t.csv",
        b"a,b,y\n1,u,0\n3,u,1\n,v,0\n100,,1\n100,v,0\n100,v,1\n",
    )]);
    let table = read(data.path(), &ReadOptions::default())
        .expect("a table")
        .train;
    let views = [vec![0, 1, 2], vec![3, 4, 5]].map(|rows| View::new(&table, rows).expect("rows"));
    let (filled, report) = impute(&views).expect("values to fit");
    let x = filled[0]
        .dataset()
        .x()
        .values::<f32>()
        .expect("f32")
        .to_vec();
    assert_eq!(x[2 * 3], 2.0, "the mean of 1 and 3");
    assert_eq!(
        x[3 * 3..4 * 3],
        [100.0, 1.0, 0.0],
        "u is the commonest of the training rows"
    );
    assert_eq!(report.columns.len(), 2);
    assert_eq!(
        (
            report.columns[1].fill.as_str(),
            &report.columns[1].n_missing
        ),
        ("u", &vec![0, 1])
    );
    let schema = filled[1].dataset().schema().expect("a table");
    assert_eq!(
        schema.columns[0].kind,
        ColumnKind::Numeric { fill: Some(2.0) }
    );
    assert_eq!(schema.target.as_deref(), Some("y"));
    let empty = [View::new(&table, vec![2]).expect("rows"), table.view()];
    let error = impute(&empty).expect_err("no value to fit").to_string();
    assert!(
        error.contains("column `a` has no value in the training rows"),
        "{error}"
    );
}

fn table(text: &str) -> tempfile::TempDir {
    folder(&[("t.csv", text.as_bytes())])
}

#[test]
fn dialects_are_found() {
    for text in [
        "a,b,y\n1,2,p\n3,4,q\n",
        "\u{feff}a;b;y\r\n1;2;p\r\n3;4;q\r\n",
        "a\tb\ty\n 1\t2 \tp\n3\t4\tq",
        "\"a\"|\"b\"|\"y\"\n1|2|\"p\"\n3|4|q\n\n",
    ] {
        let data = table(text);
        let loaded = read(data.path(), &ReadOptions::default()).expect(text);
        assert_eq!(loaded.train.feature_names(), ["a", "b"], "{text}");
        assert_eq!(loaded.train.class_names(), ["p", "q"]);
        assert_eq!(
            loaded.train.x().values::<f32>(),
            Ok(&[1.0, 2.0, 3.0, 4.0][..])
        );
    }
    let zipped = folder(&[("t.csv.gz", &gzip(b"1,2,0\n3,4,1\n"))]);
    let loaded = read(&zipped.path().join("t.csv.gz"), &ReadOptions::default()).expect("numbers");
    assert_eq!(
        loaded.train.feature_names(),
        ["x0", "x1"],
        "no header is needed"
    );
    assert_eq!(loaded.train.labels(), Some(&[0, 1][..]));
}

#[test]
fn columns_are_chosen_by_name() {
    let data = table("id,y,zip,size\n7,3,100,1.5\n8,10,200,2.5\n9,3,100,3.5\n");
    let mut options = ReadOptions::default();
    options.csv.target = Some("y".into());
    options.csv.drop = vec!["id".into()];
    options.csv.categorical = vec!["zip".into()];
    let loaded = read(data.path(), &options).expect("a table").train;
    assert_eq!(loaded.feature_names(), ["zip=100", "zip=200", "size"]);
    assert_eq!(
        loaded.class_names(),
        ["3", "10"],
        "numbers in their own order"
    );
    assert_eq!(loaded.labels(), Some(&[0, 1, 0][..]));
    options.csv.target = Some("zipp".into());
    refused(
        data.path(),
        &options,
        &["no column is called `zipp`", "did you mean `zip`?"],
    );
    options.csv.target = Some("size".into());
    let values = read(data.path(), &options).expect("fractions").train;
    assert_eq!(values.target(), &Target::Values(vec![1.5, 2.5, 3.5]));
    options.csv.target = Some("y".into());
    options.target_kind = TargetKind::Values;
    let values = read(data.path(), &options).expect("numbers").train;
    assert_eq!(values.target(), &Target::Values(vec![3.0, 10.0, 3.0]));
}

#[test]
fn rows_of_pixels_are_images() {
    let data = table("label,p0,p1,p2,p3\n1,0,10,20,30\n0,40,50,60,70\n");
    let mut options = ReadOptions::default();
    options.csv.target = Some("label".into());
    options.image.size = Some((2, 2));
    let loaded = read(data.path(), &options).expect("images").train;
    let kind = Kind::Image {
        channels: 1,
        height: 2,
        width: 2,
    };
    assert_eq!((loaded.kind(), loaded.labels()), (kind, Some(&[1, 0][..])));
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    let ids: String = (0..1200).map(|i| format!("name{i},{i},0\n")).collect();
    let classes: String = (0..70_000).map(|i| format!("1,{i}\n")).collect();
    let cases: [(&str, &[&str]); 16] = [
        ("", &["the file is empty"]),
        ("a,y\n", &["there are names of columns, but no rows"]),
        ("y\n1\n2\n", &["no input column"]),
        (
            "a,b,y\n1,2,0\n1,2\n",
            &["line 3", "2 cells, the lines before have 3"],
        ),
        (
            "a,y\n1,0\nx1,1\n3,0\n4,1\n",
            &["line 3, column `a`", "`x1` is not a number"],
        ),
        (
            "a,y\n1,0\n2,\n",
            &["line 3, column `y`", "the target is missing"],
        ),
        ("a,a,y\n1,2,0\n", &["line 1", "two columns are called `a`"]),
        (
            "a,y\n1e39,0\n2,1\n",
            &["line 2, column `a`", "1e39 does not fit an f32"],
        ),
        (
            &format!("n,a,y\n{ids}"),
            &["line 1002, column `n`", "more than 1000 different"],
        ),
        (
            &format!("a,y\n{classes}"),
            &["column `y`", "more than 65536 different"],
        ),
        ("a,y\n\"open,0\n2,1\n", &["t.csv"]),
        ("a,y\n1,0.5\n2,x\n", &["class"]),
        ("a,b,y\n,,1\n,,0\n", &[""]),
        ("a,y\n1,0\n2,1\n3", &["line 4"]),
        ("a,y\n1,inf\n", &[""]),
        ("\n\n\n", &["there is no record"]),
    ];
    for (text, parts) in cases {
        let data = table(text);
        let path = data.path().join("t.csv");
        match parts {
            // Odd, but legal: what matters is that nothing panics.
            [""] | ["class"] => drop(read(&path, &ReadOptions::default())),
            parts => refused(&path, &ReadOptions::default(), parts),
        }
    }
    let bytes = folder(&[("t.csv", b"a,y\n1,caf\xe9\n2,x\n")]);
    refused(
        bytes.path(),
        &ReadOptions::default(),
        &["line 2, column 2", "not UTF-8"],
    );
}

#[test]
fn parts_of_a_table_must_agree() {
    let options = ReadOptions::default();
    let train: &[u8] = b"a,b,y\n1,2,cat\n3,4,dog\n";
    for (test, parts) in [
        (
            &b"a,c,y\n1,2,cat\n"[..],
            &["test.csv", "no column is called `b`"][..],
        ),
        (
            b"a,b,y\n1,2,cow\n",
            &["line 2, column `y`", "no class called `cow`"],
        ),
        (
            b"a,b,y\n1,x,cat\n",
            &["line 2, column `b`", "`x` is not a number"],
        ),
    ] {
        let data = folder(&[("train.csv", train), ("test.csv", test)]);
        refused(data.path(), &options, parts);
    }
    // Columns are found by name, whatever their order.
    let data = folder(&[("train.csv", train), ("test.csv", b"y,b,a\ndog,2,1\n")]);
    let test = read(data.path(), &options)
        .expect("two tables")
        .test
        .expect("a test part");
    assert_eq!(test.x().values::<f32>(), Ok(&[1.0, 2.0][..]));
    assert_eq!(test.labels(), Some(&[1][..]));
    let data = folder(&[("one.csv", train), ("two.csv", train)]);
    refused(
        data.path(),
        &options,
        &["2 tables, and none is called train.csv"],
    );
}

#[test]
fn bombs_are_bounded() {
    let mut options = ReadOptions::default();
    options.limits.record_bytes = 100_000;
    let mut long = b"a,y\n1,".to_vec();
    long.resize(10_000_000, b'x');
    let data = folder(&[("t.csv.gz", &gzip(&long))]);
    refused(
        &data.path().join("t.csv.gz"),
        &options,
        &["the size of a record", "limits.record_bytes"],
    );
    let mut rows = b"a,y\n".to_vec();
    rows.extend(b"1,0\n".repeat(1_000_000));
    options.limits.decoded_bytes = 1_000_000;
    let data = folder(&[("t.csv.gz", &gzip(&rows))]);
    refused(
        &data.path().join("t.csv.gz"),
        &options,
        &["limits.decoded_bytes"],
    );
    options.limits.features = 10;
    let data = table(&"1,".repeat(20));
    refused(
        data.path(),
        &options,
        &["the number of columns is 21, over the limit of 10"],
    );
}
