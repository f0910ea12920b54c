//! The report's structure, and that nothing from outside gets into its markup.

use sardonyx_train::Environment;
use sardonyx_train::metrics::{ClassificationReport, ReportInput, Scores};
use sardonyx_train::report::{
    EpochRecord, LayerRow, Mistake, ModelSummary, Picture, Report, worst_misses,
};

const HOSTILE: &str = "</pre><script>alert(\"x\")</script><img src=x onerror='y'>&\u{0}";

/// Labels and probabilities of a model that is mostly right.
fn predictions(n_classes: usize) -> (Vec<usize>, Vec<f64>) {
    let n = 400;
    let labels: Vec<usize> = (0..n).map(|i| i * i % n_classes).collect();
    let mut values = Vec::new();
    for (i, &label) in labels.iter().enumerate() {
        let other = (label + 1 + i % 3) % n_classes;
        let sure = 0.35 + 0.64 * ((i * 37 % 101) as f64 / 101.0);
        let rest = (1.0 - sure) * 0.3 / n_classes as f64;
        let row = (0..n_classes).map(|class| match class {
            _ if class == label => sure,
            _ if class == other => (1.0 - sure) - rest * (n_classes - 2) as f64,
            _ => rest,
        });
        values.extend(row);
    }
    (labels, values)
}

/// A report with every part, and with `text` wherever a text can come from outside.
fn report(text: &str, n_classes: usize, n_epochs: u64) -> Report {
    let (labels, values) = predictions(n_classes);
    let names: Vec<String> = (0..n_classes)
        .map(|class| format!("{text} {class}"))
        .collect();
    let evaluation = ClassificationReport::new(&ReportInput {
        labels: &labels,
        probabilities: &values,
        n_classes,
        class_names: &names,
        epsilon: f64::EPSILON,
    })
    .expect("valid");
    let scores = Scores::new(&labels, &values, n_classes, None).expect("valid");
    let misses = worst_misses(&scores.probabilities().expect("probabilities"), 24);
    let picture = |sample: usize| Picture {
        width: 8,
        height: 8,
        channels: 1,
        pixels: (0..64).map(|i| ((i * sample) % 256) as u8).collect(),
    };
    let mistake = |miss: sardonyx_train::report::Miss| Mistake {
        picture: picture(miss.sample),
        miss,
    };
    let epoch = |epoch: u64| EpochRecord {
        epoch,
        train_loss: Some(1.0 / epoch as f64),
        train_accuracy: Some(1.0 - 0.5 / epoch as f64),
        validation_loss: (epoch != 3).then(|| 1.1 / epoch as f64),
        validation_accuracy: Some(0.98 - 0.5 / epoch as f64),
        learning_rate: Some(1e-3 / epoch as f64),
        seconds: 1.25,
    };
    Report {
        title: text.to_owned(),
        subtitle: text.to_owned(),
        evaluated_on: text.to_owned(),
        evaluation: Some(evaluation),
        history: (1..=n_epochs).map(epoch).collect(),
        best_epoch: Some(n_epochs / 2),
        mistakes: misses.into_iter().map(mistake).collect(),
        model: Some(ModelSummary {
            description: text.to_owned(),
            layers: vec![LayerRow {
                name: text.to_owned(),
                operator: text.to_owned(),
                output: text.to_owned(),
                n_parameters: 1234,
                n_multiply_adds: 5678,
            }],
        }),
        configuration: text.to_owned(),
        environment: Environment {
            version: text.to_owned(),
            os: text.to_owned(),
            cpu: text.to_owned(),
            command: vec![text.to_owned()],
            ..Environment::default()
        },
    }
}

/// Names of the elements in the order of their start, after a check that each is closed rightly.
fn elements(html: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "img"];
    let body = html.strip_prefix("<!DOCTYPE html>\n").expect("a document");
    let (mut open, mut names): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
            continue;
        }
        let name = tag.split([' ', '/']).next().expect("a name").to_owned();
        if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        names.push(name);
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    names
}

#[test]
fn text_from_outside_stays_text() {
    for n_classes in [3, 10, 80] {
        let harmless = elements(&report("name", n_classes, 12).to_html().expect("rendered"));
        let html = report(HOSTILE, n_classes, 12).to_html().expect("rendered");
        assert_eq!(
            elements(&html),
            harmless,
            "the same elements whatever the texts"
        );
        assert!(
            !html.contains("<script") && !html.contains("onerror='"),
            "markup got through"
        );
        assert!(!html.contains('\0'));
        assert!(html.contains("&lt;/pre&gt;&lt;script&gt;alert(&quot;x&quot;)"));
    }
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let html = report("name", 10, 12).to_html().expect("rendered");
    for outside in ["http:", "https:", "//", "<link", "<script", "@import"] {
        assert!(!html.contains(outside), "found {outside}");
    }
    let urls = html.matches("url(").count();
    assert_eq!(
        urls,
        html.matches("url(#").count(),
        "only what is in the page"
    );
    let sources = html.matches("src=\"").count();
    assert_eq!(
        sources,
        html.matches("src=\"data:image/png;base64,").count()
    );
    assert!(sources > 0 && html.contains("default-src 'none'"));
}

#[test]
fn every_part_is_there() {
    let report = report("digit", 10, 12);
    let html = report.to_html().expect("rendered");
    for part in [
        "Training<span>12 epochs, best 6",
        "Loss",
        "Accuracy",
        "Learning rate",
        "Confusion matrix",
        "Most confused",
        "ROC, each class",
        "Calibration",
        "Worst mistakes",
        "Model",
        "Configuration",
        "Environment",
        "parameters",
    ] {
        assert!(html.contains(part), "{part} is missing");
    }
    assert_eq!(html.matches("class=\"cell\"").count(), 100);
    assert_eq!(html.matches("<img ").count(), report.mistakes.len());
    assert_eq!(
        html,
        report.to_html().expect("rendered"),
        "the same report, the same bytes"
    );
    assert!(
        !html.contains("NaN") && !html.contains("inf"),
        "a number that is none"
    );
}

#[test]
fn a_part_that_is_empty_is_left_out() {
    let html = Report {
        title: "empty".to_owned(),
        ..Report::default()
    }
    .to_html();
    let names = elements(&html.expect("rendered"));
    assert!(
        !names.iter().any(|name| name == "section" || name == "svg"),
        "{names:?}"
    );
    let mut broken = report("name", 3, 1);
    broken.history[0].validation_loss = Some(f64::NAN);
    broken.history[0].train_loss = Some(f64::INFINITY);
    elements(&broken.to_html().expect("rendered"));
    broken.mistakes[0].picture.pixels.pop();
    let error = broken
        .to_html()
        .expect_err("a picture with a byte too few")
        .to_string();
    assert_eq!(error, "picture 0: 63 bytes where 64 belong");
}
