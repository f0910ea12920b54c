//! From what a configuration says of its data to the parts that a run works with.

use std::path::Path;

use sardonyx_data::{
    Color, CsvOptions, Dataset, Finding, ImageOptions, ImputeReport, Kind, Loaded, ReadOptions,
    ReadReport, Severity, Target, TargetKind, View, digits, impute, read, validate_parts,
};
use sardonyx_train::Splits;

use crate::config::{ColorConfig, DataConfig, Portion, TrainConfig};
use crate::error::{Error, Result};

/// The data of a run: parts without missing cells that agree on classes and columns.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) splits: Splits,
    /// What there is to say of them, the gravest first.
    pub(crate) findings: Vec<Finding>,
    /// What was filled in.
    pub(crate) imputed: ImputeReport,
}

/// Reads what `source` names: a path, or the embedded digits.
pub(crate) fn load(source: &str, options: &ReadOptions) -> Result<Loaded> {
    if source == TrainConfig::DIGITS && !Path::new(source).exists() {
        return Ok(Loaded {
            train: digits(),
            validation: None,
            test: None,
            report: ReadReport::default(),
        });
    }
    Ok(read(Path::new(source), options)?)
}

/// How the configuration wants its data read.
pub(crate) fn read_options(config: &DataConfig) -> ReadOptions {
    let size = config.image.size.map(|size| (size.height, size.width));
    let classes = Some(config.classes.clone()).filter(|classes| !classes.is_empty());
    ReadOptions {
        image: ImageOptions {
            size,
            color: match config.image.color {
                ColorConfig::Auto => Color::Auto,
                ColorConfig::Gray => Color::Gray,
                ColorConfig::Rgb => Color::Rgb,
            },
        },
        csv: CsvOptions {
            target: config.target.clone(),
            drop: config.drop.clone(),
            categorical: config.categorical.clone(),
            ..CsvOptions::default()
        },
        target_kind: TargetKind::Classes,
        class_names: classes,
        ..ReadOptions::default()
    }
}

/// Reads, splits, completes and checks the data of a configuration.
///
/// # Errors
/// When a source cannot be read, parts do not fit each other, a part would be empty, or the data
/// is such that training on it cannot work.
pub(crate) fn open(config: &DataConfig, seed: u64) -> Result<Parts> {
    let options = read_options(config);
    let Loaded {
        train,
        validation: own_validation,
        test: own_test,
        ..
    } = load(&config.train, &options)?;
    let separate = |path: &str| read_separate(path, &options, &train);
    let (validation, validation_share) = match (&config.val, own_validation) {
        (Portion::Path(path), _) => (Some(separate(path)?), 0.0),
        (Portion::Share(_), Some(own)) => (Some(own.view()), 0.0),
        (Portion::Share(share), None) => (None, *share),
    };
    let (test, test_share) = match (&config.test, own_test) {
        (Some(Portion::Path(path)), _) => (Some(separate(path)?), 0.0),
        (Some(Portion::Share(share)), _) => (None, *share),
        (None, own) => (own.map(|own| own.view()), 0.0),
    };
    let split = Splits::of(&train, validation_share, test_share, seed)?;
    let splits = Splits {
        train: split.train,
        validation: validation.or(split.validation),
        test: test.or(split.test),
    };
    let (splits, imputed) = complete(splits)?;
    let findings = validate_parts(&named(&splits)).findings;
    if let Some(finding) = findings.iter().find(|f| f.severity == Severity::Error) {
        let Finding {
            part,
            message,
            hint,
            ..
        } = finding;
        let place = format!("data ({part})");
        return Err(Error::config(place, format!("{message}; hint: {hint}")));
    }
    Ok(Parts {
        splits,
        findings,
        imputed,
    })
}

/// Names of the parts that there are, and the parts.
pub(crate) fn named(splits: &Splits) -> Vec<(&'static str, &View)> {
    let others = [("validation", &splits.validation), ("test", &splits.test)];
    let others = others
        .into_iter()
        .filter_map(|(name, part)| Some((name, part.as_ref()?)));
    std::iter::once(("train", &splits.train))
        .chain(others)
        .collect()
}

/// Fills missing cells from the training part.
fn complete(splits: Splits) -> Result<(Splits, ImputeReport)> {
    let parts = named(&splits);
    let (completed, imputed) = impute(
        &parts
            .into_iter()
            .map(|(_, view)| view.clone())
            .collect::<Vec<_>>(),
    )?;
    let mut completed = completed.into_iter();
    let train = completed.next().expect("as many parts as before");
    let mut next = |part: Option<View>| part.and_then(|_| completed.next());
    let validation = next(splits.validation);
    let splits = Splits {
        train,
        validation,
        test: next(splits.test),
    };
    Ok((splits, imputed))
}

/// Reads data that lies apart from the training data, with the classes, the size and the columns
/// of those.
fn read_separate(path: &str, options: &ReadOptions, train: &Dataset) -> Result<View> {
    let mut options = options.clone();
    if let Kind::Image {
        channels,
        height,
        width,
    } = train.kind()
    {
        options.image = image_options(channels, height, width);
    }
    let dataset = load(path, &options)?.train;
    if dataset.feature_names() != train.feature_names() {
        return Err(Error::config(
            path,
            "its columns or categories are others than those of the training data; \
             hint: name the files train.csv and test.csv and give their folder as data.train",
        ));
    }
    Ok(renumbered(&dataset, train.class_names())?.view())
}

/// Images of a model's size. Models of other than one or three channels take no image files.
pub(crate) fn image_options(channels: usize, height: usize, width: usize) -> ImageOptions {
    ImageOptions {
        size: Some((height, width)),
        color: match channels {
            1 => Color::Gray,
            3 => Color::Rgb,
            _ => Color::Auto,
        },
    }
}

/// The data set with its classes numbered as in `names`.
///
/// # Errors
/// When it has a class that is not among them.
fn renumbered(dataset: &Dataset, names: &[String]) -> Result<Dataset> {
    if dataset.class_names() == names {
        return Ok(dataset.clone());
    }
    let Some(labels) = dataset.labels() else {
        return Err(Error::config(
            dataset.source(),
            "its targets are numbers, not classes; hint: name the column of the classes",
        ));
    };
    let number = |name: &String| {
        let number = names.iter().position(|known| known == name);
        number.map(|number| number as u32).ok_or_else(|| {
            let some: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
            let problem = format!(
                "class `{name}` is unknown; hint: known are {}",
                some.join(", ")
            );
            Error::config(dataset.source(), problem)
        })
    };
    let numbers = dataset
        .class_names()
        .iter()
        .map(number)
        .collect::<Result<Vec<u32>>>()?;
    let mut parts = dataset.to_parts();
    parts.target = Target::Classes(
        labels
            .iter()
            .map(|&label| numbers[label as usize])
            .collect(),
    );
    parts.class_names = names.to_vec();
    Ok(Dataset::new(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(overrides: &[&str]) -> DataConfig {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        TrainConfig::load(None, &overrides).expect("valid").data
    }

    #[test]
    fn shares_are_taken_by_class_and_seed() {
        let parts = open(&config(&["data=digits", "test=0.2"]), 0).expect("split");
        let lens = named(&parts.splits)
            .into_iter()
            .map(|(name, view)| (name, view.len()));
        let lens: Vec<(&str, usize)> = lens.collect();
        assert_eq!(lens, [("train", 1258), ("validation", 180), ("test", 359)]);
        let test = |seed| {
            let parts = open(&config(&["data=digits", "test=0.2"]), seed).expect("split");
            parts.splits.test.expect("a test part").rows().to_vec()
        };
        assert_eq!(test(0), test(0));
        assert_ne!(test(0), test(1));
        let whole = open(&config(&["data=digits", "val=0"]), 0).expect("whole");
        assert_eq!(
            (whole.splits.train.len(), named(&whole.splits).len()),
            (1797, 1)
        );
    }

    #[test]
    fn parts_of_their_own_take_the_classes_of_the_training_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let rows = "1,cat\n2,dog\n3,cow\n4,cat\n5,dog\n6,cow\n".repeat(5);
        let train = write("train.csv", &format!("x,y\n{rows}"));
        let test = write("other.csv", "x,y\n1,dog\n2,cat\n7,dog\n");
        let odd = write("odd.csv", "x,y\n1,dog\n2,bird\n");
        let wide = write("wide.csv", "x,z,y\n1,2,dog\n2,3,cat\n");
        let open_with = |test: &str| {
            let arguments = [
                format!("data={train}"),
                "val=0".to_owned(),
                format!("test={test}"),
            ];
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            open(&config(&arguments), 0)
        };
        let parts = open_with(&test).expect("fits");
        assert_eq!(
            parts.splits.train.dataset().class_names(),
            ["cat", "cow", "dog"]
        );
        let found = parts.splits.test.expect("a test part");
        assert_eq!(found.dataset().labels(), Some(&[2, 0, 2][..]));
        let error = open_with(&odd).expect_err("an unknown class").to_string();
        assert!(
            error.contains("class `bird` is unknown; hint: known are cat, cow, dog"),
            "{error}"
        );
        let error = open_with(&wide).expect_err("another column").to_string();
        assert!(
            error.contains("its columns or categories are others"),
            "{error}"
        );
    }
}
