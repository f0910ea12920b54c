//! The table of all keys.

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Dotted path in the TOML file.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The alternatives (values of `name` beside it) that have it; empty when all do.
    pub only: &'static [&'static str],
    /// One line on what it does, for the rendered file.
    pub doc: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, zero or more.
    Count,
    /// Whole numbers, zero or more.
    Counts,
    /// `true` or `false`.
    Flag,
    /// A number, or two in a list.
    ImageSize,
    /// A number.
    Number,
    /// Numbers.
    Numbers,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A share (number) or a path (text).
    Portion,
    /// Any text.
    Text,
    /// Texts.
    Texts,
}

/// Tables whose keys depend on the value of their `name`; the text alone stands for
/// `{ name = text }`.
pub(super) const ALTERNATIVES: [&str; 3] = ["train.loss", "train.optimizer", "train.schedule"];

const ADAMS: &[&str] = &["adam", "adamw"];
const DECAYS: &[&str] = &["cosine", "linear", "polynomial"];
const FLOORS: &[&str] = &[
    "cosine",
    "linear",
    "polynomial",
    "cosine_restarts",
    "plateau",
];
const LOSSES: &[&str] = &["cross_entropy"];
const OPTIMIZERS: &[&str] = &["adam", "adamw", "sgd"];
const SCHEDULES: &[&str] = &[
    "constant",
    "step",
    "exponential",
    "piecewise",
    "cosine",
    "linear",
    "polynomial",
    "cosine_restarts",
    "one_cycle",
    "plateau",
];

const fn key(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        only: &[],
        doc,
    }
}

const fn only(only: &'static [&'static str], key: Key) -> Key {
    Key { only, ..key }
}

const fn one_cycle(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    only(&["one_cycle"], key(name, kind, doc))
}

const fn plateau(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    only(&["plateau"], key(name, kind, doc))
}

/// Every key, in the order of the rendered file.
#[rustfmt::skip] // One key, one line: the table is read far more often than it is written.
pub const KEYS: &[Key] = &[
    key("data.train", Kind::Text, "folder or file: images by class, IDX, NPY, NPZ, CSV; or digits"),
    key("data.target", Kind::Text, "column of the classes, of a table; the last when not set"),
    key("data.val", Kind::Portion, "validation data: share of the training data, or a path"),
    key("data.test", Kind::Portion, "test data, likewise; the source's own test part when not set"),
    key("data.drop", Kind::Texts, "columns to leave out, of a table"),
    key("data.categorical", Kind::Texts, "columns of numbers that are categories, of a table"),
    key("data.classes", Kind::Texts, "names of the classes 0, 1, ... when the data has numbers only"),
    key("data.image.size", Kind::ImageSize, "side, or [height, width]; files are resized to it"),
    key("data.image.color", Kind::OneOf(&["auto", "gray", "rgb"]), "channels of image files"),
    key("preprocess.scale", Kind::OneOf(&["none", "unit", "symmetric", "standardize"]), "of raw values; symmetric ([-1,1]) when not set, or what the model has"),
    key("preprocess.augment", Kind::Texts, "changes of training images: crop:2, flip, rotate:10, translate:2"),
    key("model.arch", Kind::Text, "network of the zoo, or an ONNX file to train on; seed-cnn or mlp when not set"),
    key("train.epochs", Kind::Count, "passes over the training data"),
    key("train.batch", Kind::Count, "samples of a step"),
    key("train.seed", Kind::Count, "seed of everything random"),
    key("train.threads", Kind::Count, "0 takes every core; the result is the same for any number"),
    key("train.checkpoint_every", Kind::Count, "steps between checkpoints besides those of epochs; 0 makes none"),
    key("train.clip_norm", Kind::Number, "largest norm of all gradients together, to which larger ones are scaled down; none when not set"),
    key("train.loss.name", Kind::OneOf(LOSSES), "what is minimised"),
    key("train.loss.label_smoothing", Kind::Number, "share of the probability that is spread over all classes"),
    key("train.optimizer.name", Kind::OneOf(OPTIMIZERS), "how weights move"),
    key("train.optimizer.lr", Kind::Number, "learning rate, before the schedule"),
    only(ADAMS, key("train.optimizer.beta1", Kind::Number, "decay of the gradient's mean")),
    only(ADAMS, key("train.optimizer.beta2", Kind::Number, "decay of the mean of its square")),
    only(ADAMS, key("train.optimizer.eps", Kind::Number, "added to the root of that mean")),
    only(&["sgd"], key("train.optimizer.momentum", Kind::Number, "share of the velocity that is kept")),
    only(&["sgd"], key("train.optimizer.dampening", Kind::Number, "share of the gradient that does not enter the velocity")),
    only(&["sgd"], key("train.optimizer.nesterov", Kind::Flag, "Nesterov's momentum")),
    key("train.optimizer.weight_decay", Kind::Number, "L2 regularisation; decoupled from the gradient in adamw"),
    key("train.schedule.name", Kind::OneOf(SCHEDULES), "how the learning rate moves"),
    only(&["step", "exponential"], key("train.schedule.rate", Kind::Number, "factor per stage, or per epoch")),
    only(&["step"], key("train.schedule.every", Kind::Count, "epochs of a stage")),
    only(&["piecewise"], key("train.schedule.milestones", Kind::Counts, "rising epochs at which the factor changes")),
    only(&["piecewise"], key("train.schedule.factors", Kind::Numbers, "factor from each milestone on")),
    only(&["polynomial"], key("train.schedule.power", Kind::Number, "exponent")),
    only(&["cosine_restarts"], key("train.schedule.period", Kind::Count, "epochs of the first cycle")),
    only(&["cosine_restarts"], key("train.schedule.multiplier", Kind::Count, "each cycle is this many times as long as the last")),
    only(FLOORS, key("train.schedule.floor", Kind::Number, "lowest learning rate")),
    only(DECAYS, key("train.schedule.warmup_steps", Kind::Count, "steps of linear warm-up")),
    only(DECAYS, key("train.schedule.warmup_epochs", Kind::Count, "the same in epochs; one of the two at most")),
    one_cycle("train.schedule.rise", Kind::Number, "share of the run in which the learning rate rises"),
    one_cycle("train.schedule.start_divisor", Kind::Number, "the start is lr divided by this"),
    one_cycle("train.schedule.end_divisor", Kind::Number, "the end is the start divided by this"),
    one_cycle("train.schedule.linear", Kind::Flag, "straight lines instead of cosines"),
    plateau("train.schedule.metric", Kind::Text, "metric that is watched"),
    plateau("train.schedule.mode", Kind::OneOf(&["min", "max"]), "which way it gets better; by its name when not set"),
    plateau("train.schedule.factor", Kind::Number, "factor of each lowering"),
    plateau("train.schedule.patience", Kind::Count, "epochs without improvement that are borne"),
    plateau("train.schedule.threshold", Kind::Number, "share of the best value that counts as improvement"),
    plateau("train.schedule.cooldown", Kind::Count, "epochs after a lowering that are not counted"),
    key("train.early_stop.metric", Kind::Text, "metric that is watched; the best weights are kept"),
    key("train.early_stop.mode", Kind::OneOf(&["min", "max"]), "which way it gets better; by its name when not set"),
    key("train.early_stop.patience", Kind::Count, "epochs without improvement after which training stops"),
    key("train.early_stop.min_delta", Kind::Number, "change that counts as improvement"),
    key("run.name", Kind::Text, "folder of the run, which must be free; made from data and model when not set"),
    key("run.dir", Kind::Text, "folder of the runs"),
];

/// Names for the command line that the paths alone do not give.
const SHORT_NAMES: [(&str, &str); 2] = [("data", "data.train"), ("model", "model.arch")];

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether a path is that of a table of the configuration.
pub(super) fn is_table(path: &str) -> bool {
    KEYS.iter().any(|key| is_under(key.path, path))
}

fn is_under(path: &str, table: &str) -> bool {
    let rest = path.strip_prefix(table);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// The full path behind a name of the command line, and other full paths that it might mean.
/// A name is a full path, a path from a part of it on whose first word is in use only once
/// (`epochs`, `optimizer.lr`), or one of the short names.
pub(super) fn resolve(name: &str) -> Vec<String> {
    if let Some((_, path)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
        return vec![(*path).to_owned()];
    }
    if find(name).is_some() || is_table(name) {
        return vec![name.to_owned()];
    }
    let (first, rest) = name.split_at(name.find('.').unwrap_or(name.len()));
    let mut found: Vec<String> = Vec::new();
    for path in paths() {
        let last = path.rsplit('.').next().unwrap_or(path);
        let is_tag = path
            .strip_suffix(".name")
            .is_some_and(|table| ALTERNATIVES.contains(&table));
        // A table at the top is its own full path.
        if last == first && !is_tag && path.contains('.') {
            let full = format!("{path}{rest}");
            if (rest.is_empty() || find(&full).is_some()) && !found.contains(&full) {
                found.push(full);
            }
        }
    }
    found
}

/// Every path, of keys and of the tables that they lie in.
fn paths() -> impl Iterator<Item = &'static str> {
    KEYS.iter().flat_map(|key| {
        let tables = key.path.match_indices('.').map(|(end, _)| &key.path[..end]);
        tables.chain([key.path])
    })
}

/// Names that a mistyped name of the command line may have meant: full and short ones.
pub(super) fn names() -> Vec<&'static str> {
    let short = SHORT_NAMES.iter().map(|(short, _)| *short);
    let last = paths().filter_map(|path| path.rsplit('.').next());
    let mut names: Vec<&str> = paths().chain(short).chain(last).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_lead_to_one_key() {
        let check = |name: &str, expect: &[&str]| assert_eq!(resolve(name), expect, "{name}");
        check("epochs", &["train.epochs"]);
        check("train.epochs", &["train.epochs"]);
        check("lr", &["train.optimizer.lr"]);
        check("optimizer", &["train.optimizer"]);
        check("optimizer.lr", &["train.optimizer.lr"]);
        check("schedule.every", &["train.schedule.every"]);
        check("data", &["data.train"]);
        check("model", &["model.arch"]);
        check("name", &["run.name"]);
        check("size", &["data.image.size"]);
        check(
            "patience",
            &["train.schedule.patience", "train.early_stop.patience"],
        );
        check("epoch", &[]);
        check("optimizer.lrr", &[]);
    }

    #[test]
    fn no_key_is_there_twice() {
        let mut paths: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        let n_paths = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), n_paths);
    }
}
