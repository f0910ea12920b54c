use std::fs::File;

use expect_test::{expect, expect_file};

use crate::eval::LARGEST;
use crate::support::{Place, check_help};

/// Bright pictures are of the second class: the mean of the pixels, less 100, is the logit.
const BRIGHT: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
bright (float[N,1,4,4] x) => (float[N,1] y)
   <float[1] threshold = {100}>
{
   mean = GlobalAveragePool (x)
   flat = Flatten (mean)
   y = Sub (flat, threshold)
}
"#;

fn place() -> Place {
    let place = Place::new();
    place.model("largest.onnx", LARGEST, &["red", "green", "blue"]);
    place.write("rows.csv", "9,0,0\n0,0,9\n1,1,1\n");
    place
}

/// Writes a grey picture of one shade, twice as large as the model takes.
fn picture(place: &Place, name: &str, shade: u8) {
    let file = File::create(place.path(name)).expect("created");
    let mut encoder = png::Encoder::new(file, 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&[shade; 64]).expect("pixels");
}

#[test]
fn help() {
    check_help(&["predict"], expect_file!["snapshots/predict.txt"]);
}

#[test]
fn rows_are_told() {
    let place = place();
    expect![[r#"
        input        class  probability  others
        rows.csv[0]  red        100.0 %  green 0.0 %, blue 0.0 %
        rows.csv[1]  blue       100.0 %  red 0.0 %, green 0.0 %
        rows.csv[2]  red         33.3 %  green 33.3 %, blue 33.3 %
    "#]]
    .assert_eq(&place.stdout(&["predict", "largest.onnx", "rows.csv"]));
    let report = place.json(&["predict", "largest.onnx", "rows.csv", "--top", "2"]);
    let classes = report["predictions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| &p["class"]);
    assert_eq!(
        classes.collect::<Vec<_>>(),
        ["red", "blue", "red"],
        "of equals the first"
    );
    assert_eq!(
        report["predictions"][1]["top"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(report["predictions"][1]["top"][0]["index"], 2);
}

#[test]
fn pictures_are_told() {
    let place = Place::new();
    place.model("bright.onnx", BRIGHT, &["dark", "bright"]);
    picture(&place, "night.png", 10);
    picture(&place, "day.png", 200);
    expect![[r#"
        input      class   probability  others
        night.png  dark        100.0 %  bright 0.0 %
        day.png    bright      100.0 %  dark 0.0 %
    "#]]
    .assert_eq(&place.stdout(&["predict", "bright.onnx", "night.png", "day.png"]));
}

#[test]
fn inputs_that_do_not_fit_are_mistakes() {
    let place = place();
    place.write("wide.csv", "1,2,3,4\n");
    place.write("words.csv", "1,two,3\n");
    expect![[r#"
        error: wide.csv: line 1: 4 columns, the model takes 3
         hint: give exactly the model's inputs in their order, or name the target column
    "#]]
    .assert_eq(&place.mistake(&["predict", "largest.onnx", "wide.csv"]));
    expect![[r#"
        error: words.csv: there is no row to predict for
         hint: give one row for each sample; a first line of text is taken for names
    "#]]
    .assert_eq(&place.mistake(&["predict", "largest.onnx", "words.csv"]));
    expect![[r#"
        error: none.png: No such file or directory (os error 2)
         hint: check the spelling of the path
    "#]]
    .assert_eq(&place.mistake(&["predict", "largest.onnx", "none.png"]));
    expect![[r#"
        error: top: 0 will not do, it must be 1 or more
    "#]]
    .assert_eq(&place.mistake(&["predict", "largest.onnx", "rows.csv", "--top", "0"]));
}
