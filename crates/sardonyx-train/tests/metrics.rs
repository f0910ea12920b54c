//! Every metric against scikit-learn, on random and fixed cases (`golden/metrics.py`).

use sardonyx_train::metrics::*;
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

struct SplitMix64(u64);

impl SplitMix64 {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

struct Case {
    labels: Vec<usize>,
    rows: Vec<f64>,
    n_classes: usize,
    weights: Option<Vec<f64>>,
}

/// The same draws as `draw` in the script.
fn draw(number: u64) -> Case {
    let mut rng = SplitMix64(number);
    let n = 1 + rng.below(60);
    let c = 2 + rng.below(5);
    let levels = [1, 2, 5, 100, 1 << 20][rng.below(5)];
    let occurring = 1 + rng.below(c);
    let weighted = rng.below(3) == 0;
    let labels: Vec<usize> = (0..n).map(|_| rng.below(occurring)).collect();
    let mut rows = Vec::new();
    for &label in &labels {
        let mut parts: Vec<usize> = (0..c).map(|_| 1 + rng.below(levels)).collect();
        if rng.below(2) == 0 {
            parts[label] += levels;
        }
        if rng.below(8) == 0 {
            parts = vec![0; c];
            parts[rng.below(c)] = 1;
        }
        let total = parts.iter().sum::<usize>() as f64;
        rows.extend(parts.iter().map(|&part| part as f64 / total));
    }
    let weights = weighted.then(|| {
        let mut weights: Vec<f64> = (0..n).map(|_| rng.below(4) as f64).collect();
        if weights.iter().sum::<f64>() == 0.0 {
            weights[0] = 1.0;
        }
        weights
    });
    Case {
        labels,
        rows,
        n_classes: c,
        weights,
    }
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/metrics.json")).expect("the golden file is JSON")
}

/// Expected and found must agree one by one; null stands for a value that is not a number.
fn check(what: &str, expected: &Value, found: &[f64]) {
    let expected = expected.as_array().expect("a list");
    assert_eq!(expected.len(), found.len(), "{what}: number of values");
    for (index, (expected, &found)) in expected.iter().zip(found).enumerate() {
        match expected.as_f64() {
            None => assert!(
                found.is_nan(),
                "{what}[{index}]: {found} is undefined there"
            ),
            Some(expected) => assert!(
                (expected - found).abs() <= TOLERANCE * expected.abs().max(1.0),
                "{what}[{index}]: expected {expected}, found {found}"
            ),
        }
    }
}

fn numbers(number: u64, scores: &Scores<'_>, matrix: &ConfusionMatrix) -> Vec<f64> {
    let probabilities = scores.probabilities().expect("probabilities");
    let kappa = |weights| cohen_kappa(matrix, weights, LabelSet::All).unwrap_or(f64::NAN);
    let calibration = calibration(&probabilities, 1 + number as usize % 15).expect("bins");
    let mut numbers = vec![
        accuracy(matrix),
        balanced_accuracy(matrix),
        matthews_correlation(matrix),
        kappa(KappaWeights::Equal),
        kappa(KappaWeights::Linear),
        kappa(KappaWeights::Quadratic),
        log_loss(&probabilities, f64::EPSILON),
        brier_score(&probabilities),
        calibration.ece,
        calibration.mce,
    ];
    if scores.n_classes() > 2 {
        numbers.extend((1..=3).map(|k| top_k_accuracy(scores, k)));
    }
    numbers
}

fn averages(number: u64, matrix: &ConfusionMatrix) -> Vec<f64> {
    let zero_division = [
        ZeroDivision::Zero,
        ZeroDivision::One,
        ZeroDivision::Undefined,
    ][number as usize % 3];
    let beta = match number % 5 {
        0 => [1.0, 0.5, 2.0][number as usize % 3],
        _ => 1.0,
    };
    let mut found = Vec::new();
    for labels in [LabelSet::Present, LabelSet::All] {
        let options = PrecisionRecallOptions {
            labels,
            zero_division,
            beta,
        };
        let summary = precision_recall(matrix, &options);
        for scores in [summary.micro, summary.macro_average, summary.weighted] {
            found.extend([scores.precision, scores.recall, scores.f1]);
        }
    }
    found
}

fn weigh(values: &[f64]) -> f64 {
    let factors = (1..=values.len()).map(|i| (i as f64).sqrt());
    values
        .iter()
        .zip(factors)
        .map(|(value, factor)| value * factor)
        .sum()
}

fn curves(scores: &Scores<'_>) -> Vec<f64> {
    let mut found = Vec::new();
    for class in 0..scores.n_classes() {
        let binary = scores.one_vs_rest(class);
        for drop_intermediate in [true, false] {
            let roc = roc_curve(&binary, drop_intermediate);
            found.push(roc.thresholds.len() as f64);
            found.push(weigh(&roc.false_positive_rate));
            found.push(weigh(&roc.true_positive_rate));
            found.push(weigh(&roc.thresholds[1..]));
            let curve = precision_recall_curve(&binary, drop_intermediate);
            found.push(curve.precision.len() as f64);
            found.push(weigh(&curve.precision));
            found.push(weigh(&curve.recall));
            found.push(weigh(&curve.thresholds));
        }
    }
    found
}

#[test]
fn random_cases_equal_scikit_learn() {
    let golden = golden();
    let cases = golden["random"].as_array().expect("a list");
    assert!(cases.len() >= 300, "the golden file holds every case");
    for (number, expected) in (0u64..).zip(cases) {
        let case = draw(number);
        let weights = case.weights.as_deref();
        let scores = Scores::new(&case.labels, &case.rows, case.n_classes, weights)
            .expect("the case is valid");
        let matrix = ConfusionMatrix::from_scores(&scores);
        let name = |what: &str| format!("case {number}, {what}");
        check(
            &name("numbers"),
            &expected["numbers"],
            &numbers(number, &scores, &matrix),
        );
        check(
            &name("averages"),
            &expected["averages"],
            &averages(number, &matrix),
        );
        let auc = roc_auc_one_vs_rest(&scores);
        let (macro_average, weighted) = match case.n_classes {
            2 => (None, None),
            _ => (auc.macro_average, auc.weighted),
        };
        let areas: Vec<f64> = auc
            .per_class
            .iter()
            .chain([&macro_average, &weighted])
            .map(|area| area.unwrap_or(f64::NAN))
            .collect();
        check(&name("auc"), &expected["auc"], &areas);
        let precisions: Vec<f64> = (0..case.n_classes)
            .map(|class| average_precision(&scores.one_vs_rest(class)).unwrap_or(f64::NAN))
            .collect();
        check(&name("ap"), &expected["ap"], &precisions);
        if let Some(expected) = expected.get("curves") {
            check(&name("curves"), expected, &curves(&scores));
        }
    }
}

#[test]
fn batches_give_the_same_as_the_whole() {
    for number in 0..50 {
        let case = draw(number);
        let scores = Scores::new(&case.labels, &case.rows, case.n_classes, None).expect("valid");
        let whole = ConfusionMatrix::from_scores(&scores);
        let predicted = scores.predictions();
        for batch in [1, 7, 128] {
            let mut parts = ConfusionMatrix::new(case.n_classes);
            for (labels, predicted) in case.labels.chunks(batch).zip(predicted.chunks(batch)) {
                parts.add(labels, predicted, None).expect("valid");
            }
            assert_eq!(parts, whole);
        }
    }
}

#[test]
fn fixed_cases_equal_scikit_learn() {
    let golden = golden();
    for case in golden["fixed"].as_array().expect("a list") {
        let name = case["name"].as_str().expect("a name");
        let classes = |key: &str| -> Vec<usize> {
            let values = case[key].as_array().expect("a list");
            values
                .iter()
                .map(|v| v.as_u64().expect("a class") as usize)
                .collect()
        };
        let n_classes = case["n_classes"].as_u64().expect("a count") as usize;
        let matrix = ConfusionMatrix::from_classes(
            &classes("labels"),
            &classes("predicted"),
            n_classes,
            None,
        )
        .expect("valid");
        check(name, &case["confusion"], matrix.cells());
        for (key, zero_division) in [("0", ZeroDivision::Zero), ("1", ZeroDivision::One)] {
            let labels = LabelSet::All;
            let options = PrecisionRecallOptions {
                labels,
                zero_division,
                ..Default::default()
            };
            let rows = precision_recall(&matrix, &options).per_class;
            for (row, expected) in rows.iter().zip(case["rows"][key].as_array().expect("rows")) {
                let PrecisionRecall {
                    precision,
                    recall,
                    f1,
                } = row.scores;
                check(name, expected, &[precision, recall, f1, row.support]);
            }
        }
        for (key, labels) in [
            ("macro_f1", LabelSet::Present),
            ("macro_f1_all", LabelSet::All),
        ] {
            let options = PrecisionRecallOptions {
                labels,
                ..Default::default()
            };
            let found = precision_recall(&matrix, &options).macro_average.f1;
            let expected = case[key].as_f64().expect("a number");
            assert!(
                (found - expected).abs() < TOLERANCE,
                "{name}, {key}: {found} {expected}"
            );
        }
    }
}
