use sardonyx_data::{Dataset, DatasetParts, Scaling, Target, View, digits};
use sardonyx_tensor::Tensor;

use super::array;

fn dataset(x: Tensor, nominal_range: Option<(f32, f32)>) -> Dataset {
    let n = x.shape()[0];
    Dataset::new(DatasetParts {
        x,
        target: Target::Values(vec![0.0; n]),
        class_names: Vec::new(),
        schema: None,
        nominal_range,
        source: "golden".into(),
    })
    .expect("consistent parts")
}

fn assert_equal(found: &[f32], expected: &[f64]) {
    let expected: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 2.0 * f32::EPSILON * expected.abs(),
            "{found} {expected}"
        );
    }
}

/// `StandardScaler` and `MinMaxScaler` fitted to every third row.
#[test]
fn tables_are_scaled_as_by_scikit_learn() {
    let golden = |name: &str| array(&format!("sklearn/scaling_{name}.npy"));
    let data = dataset(golden("x"), None);
    let train = View::new(&data, (0..40).step_by(3).collect()).expect("rows");
    let numbers = |name: &str| golden(name).to_f64().expect("numbers");
    let affine = Scaling::Standardize.fit(&train).expect("finite");
    assert_equal(&affine.mean, &numbers("mean"));
    assert_equal(&affine.std, &numbers("std"));
    assert_eq!(affine.std[3], 1.0, "a constant column");
    let affine = Scaling::Unit.fit(&train).expect("finite");
    assert_equal(&affine.mean, &numbers("min"));
    assert_equal(&affine.std, &numbers("range"));
    let affine = Scaling::SymmetricUnit.fit(&train).expect("finite");
    for (column, (low, range)) in numbers("min").into_iter().zip(numbers("range")).enumerate() {
        let (mean, std) = (
            f64::from(affine.mean[column]),
            f64::from(affine.std[column]),
        );
        let scaled = |raw: f64| (raw - mean) / std;
        // A mean that is large against the spread is itself rounded to f32.
        let tolerance = f64::from(f32::EPSILON) * (1.0 + mean.abs() / std);
        let is_close = |found: f64, expected: f64| (found - expected).abs() <= tolerance;
        if column != 3 {
            assert!(is_close(scaled(low), -1.0) && is_close(scaled(low + range), 1.0));
        }
    }
    let all = Scaling::Standardize.fit(&data.view()).expect("finite");
    assert_ne!(
        all.mean,
        Scaling::Standardize.fit(&train).expect("finite").mean
    );
}

#[test]
fn images_are_standardised_by_channel() {
    let numbers = |name: &str| {
        array(&format!("sklearn/images_{name}.npy"))
            .to_f64()
            .expect("numbers")
    };
    let bytes = array("sklearn/images_x.npy");
    let floats: Vec<f32> = bytes
        .to_f64()
        .expect("numbers")
        .iter()
        .map(|&v| v as f32)
        .collect();
    let floats = Tensor::new(bytes.shape(), floats).expect("the same shape");
    for x in [bytes, floats] {
        let affine = Scaling::Standardize
            .fit(&dataset(x, None).view())
            .expect("finite");
        assert_equal(&affine.mean, &numbers("mean"));
        assert_equal(&affine.std, &numbers("std"));
    }
}

#[test]
fn ranges_are_the_formats_where_it_has_one() {
    let digits = digits().view();
    let unit = Scaling::Unit.fit(&digits).expect("finite");
    assert_eq!((unit.mean, unit.std), (vec![0.0], vec![16.0]));
    let symmetric = Scaling::SymmetricUnit.fit(&digits).expect("finite");
    assert_eq!((symmetric.mean, symmetric.std), (vec![8.0], vec![8.0]));
    let none = Scaling::None.fit(&digits).expect("finite");
    assert_eq!((none.mean, none.std), (vec![0.0], vec![1.0]));
}

#[test]
fn what_cannot_be_scaled_is_refused() {
    let x = |values: [f32; 4]| dataset(Tensor::new([4, 1], values.to_vec()).expect("small"), None);
    let nan = x([1.0, f32::NAN, 2.0, 3.0]);
    for scaling in [Scaling::Standardize, Scaling::Unit] {
        let error = scaling.fit(&nan.view()).expect_err("NaN").to_string();
        assert!(
            error.contains("sample 1 has the value NaN in column `x0`"),
            "{error}"
        );
    }
    let rest = View::new(&nan, vec![0, 2, 3]).expect("rows");
    assert!(
        Scaling::Standardize.fit(&rest).is_ok(),
        "the row with NaN is not looked at"
    );
    let wide = x([f32::MAX, f32::MIN, f32::MAX, f32::MIN]);
    assert!(
        Scaling::Unit.fit(&wide.view()).is_err(),
        "the range does not fit"
    );
    let none = View::new(&nan, Vec::new()).expect("no rows");
    assert!(Scaling::Standardize.fit(&none).is_err());
    let constant = Scaling::Unit.fit(&x([5.0; 4]).view()).expect("finite");
    assert_eq!((constant.mean, constant.std), (vec![5.0], vec![1.0]));
    assert_eq!(
        "[-1, 1]".parse::<Scaling>().expect("known"),
        Scaling::SymmetricUnit
    );
    let error = "standardise"
        .parse::<Scaling>()
        .expect_err("unknown")
        .to_string();
    assert!(error.ends_with("did you mean `standardize`?"), "{error}");
}
