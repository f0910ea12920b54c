use sardonyx_data::{Dataset, View};

use crate::error::Result;

/// The data of a run, in parts that do not overlap.
#[derive(Debug, Clone)]
pub struct Splits {
    /// What is trained on.
    pub train: View,
    /// What the best weights are chosen by, after each epoch.
    pub validation: Option<View>,
    /// What the chosen weights are evaluated on, once, at the end.
    pub test: Option<View>,
}

impl Splits {
    /// Training data and nothing else.
    pub fn new(train: View) -> Splits {
        Splits {
            train,
            validation: None,
            test: None,
        }
    }

    /// The samples of `dataset`, classes in proportion: `validation` and `test` are shares of them,
    /// 0 for none; the rest is trained on. The same seed gives the same parts.
    ///
    /// # Errors
    /// When a share is not a number from 0 to 1, they leave nothing, or a part would be empty.
    pub fn of(dataset: &Dataset, validation: f64, test: f64, seed: u64) -> Result<Splits> {
        let mut fractions = vec![1.0 - validation - test];
        fractions.extend([validation, test].into_iter().filter(|&share| share != 0.0));
        let mut parts = dataset.view().split(&fractions, seed)?.into_iter();
        let train = parts.next().expect("as many parts as fractions");
        let mut part = |share: f64| parts.next().filter(|_| share != 0.0);
        Ok(Splits {
            train,
            validation: if validation == 0.0 {
                None
            } else {
                part(validation)
            },
            test: part(test),
        })
    }

    /// With these validation data.
    pub fn with_validation(mut self, validation: View) -> Splits {
        self.validation = Some(validation);
        self
    }

    /// With these test data.
    pub fn with_test(mut self, test: View) -> Splits {
        self.test = Some(test);
        self
    }
}
