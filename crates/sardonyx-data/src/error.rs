use std::path::{Path, PathBuf};

use sardonyx_tensor::TensorError;

/// What can go wrong between a path and a batch. Every message that concerns a file names the
/// file, the place in it, the problem and a way to mend it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: {error}; hint: {hint}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        error: std::io::Error,
        /// What to look at.
        hint: &'static str,
    },
    /// Nothing in the path looks like a data set.
    #[error("{}: {problem}; hint: {hint}", .path.display())]
    Unrecognized {
        /// The file or folder.
        path: PathBuf,
        /// What was found there instead.
        problem: String,
        /// What would be accepted.
        hint: String,
    },
    /// The contents contradict the format or themselves.
    #[error("{}: {at}: {problem}; hint: {hint}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file: a byte, a line and column, an array's name.
        at: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// A number in a file, or the file itself, passes a limit.
    #[error(
        "{}: {what} is {found}, over the limit of {max}; \
         hint: raise `limits.{name}` if the file is to be trusted",
        .path.display()
    )]
    Limit {
        /// The file or folder.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// The field of [`crate::Limits`].
        name: &'static str,
        /// The number found or claimed.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Inputs and targets differ in number.
    #[error(
        "{source_name}: {n_inputs} inputs but {n_targets} targets; \
         hint: both must have one entry for each sample, in the same order"
    )]
    Count {
        /// Where the data came from.
        source_name: String,
        /// Number of inputs.
        n_inputs: usize,
        /// Number of targets.
        n_targets: usize,
    },
    /// A class id that no class name belongs to.
    #[error(
        "{source_name}: sample {row} has class id {label}, but there are {n_classes} classes; \
         hint: class ids start at 0 and each needs a name"
    )]
    Label {
        /// Where the data came from.
        source_name: String,
        /// Index of the sample.
        row: usize,
        /// Its class id.
        label: u32,
        /// Number of classes.
        n_classes: usize,
    },
    /// A data set, view or tensor of another form was needed.
    #[error("{source_name}: {problem}; hint: {hint}")]
    Shape {
        /// Where the data came from.
        source_name: String,
        /// What does not fit.
        problem: String,
        /// What would.
        hint: String,
    },
    /// A name that is not there.
    #[error("{}: no column is called `{name}`; hint: {hint}", .path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The nearest name, or those that there are.
        hint: String,
    },
    /// A split that cannot be made.
    #[error("cannot split: {problem}; hint: {hint}")]
    Split {
        /// Why not.
        problem: String,
        /// What to change.
        hint: &'static str,
    },
    /// A value that scaling or imputation cannot work with.
    #[error("{source_name}: {problem}; hint: {hint}")]
    Values {
        /// Where the data came from.
        source_name: String,
        /// Which value, where.
        problem: String,
        /// What to change.
        hint: String,
    },
    /// A setting that does not exist or is out of its range.
    #[error("{setting} `{value}`: {problem}; hint: {hint}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What would be accepted.
        hint: String,
    },
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Result of a function of this crate.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

impl DataError {
    pub(crate) fn io(path: &Path, error: std::io::Error) -> DataError {
        use std::io::ErrorKind;
        let hint = match error.kind() {
            ErrorKind::NotFound => "check the spelling of the path",
            ErrorKind::PermissionDenied => "check the permissions of the file and its folders",
            _ => "check the disk and the file",
        };
        DataError::Io {
            path: path.to_owned(),
            error,
            hint,
        }
    }

    pub(crate) fn corrupt(
        path: &Path,
        at: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> DataError {
        DataError::Corrupt {
            path: path.to_owned(),
            at: at.into(),
            // Messages of decoders may have several lines; ours have one.
            problem: problem
                .into()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            hint: hint.into(),
        }
    }

    pub(crate) fn unrecognized(
        path: &Path,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> DataError {
        DataError::Unrecognized {
            path: path.to_owned(),
            problem: problem.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn shape(
        source: &str,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> DataError {
        DataError::Shape {
            source_name: source.to_owned(),
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}

/// The words of a hint for a name that is not among `known`: the nearest one when it is close,
/// else all of them (the first twenty).
pub(crate) fn nearest_hint(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&name.to_lowercase(), known),
                known,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 1 + known.len() / 3);
    if let Some((_, known)) = near {
        return format!("did you mean `{known}`?");
    }
    let shown = &known[..known.len().min(20)];
    let more = if known.len() > shown.len() {
        ", ..."
    } else {
        ""
    };
    format!("there are: {}{more}", shown.join(", "))
}
