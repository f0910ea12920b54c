//! A name for a run whose configuration gives none: what it is made of.

use std::path::Path;

use crate::config::TrainConfig;

/// Longest part of a name, in characters.
const MAX_PART: usize = 40;

/// `digits-seed-cnn`: the data's file or folder and the model's, with characters that a folder's
/// name can have everywhere.
pub(super) fn of(config: &TrainConfig) -> String {
    let parts = [
        part(&config.data.train),
        part(config.model.arch.as_deref().unwrap_or_default()),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    match parts.is_empty() {
        true => "run".to_owned(),
        false => parts.join("-"),
    }
}

fn part(path: &str) -> String {
    let stem = Path::new(path).file_stem().unwrap_or_default();
    let plain = |char: char| match char {
        'a'..='z' | '0'..='9' => char,
        'A'..='Z' => char.to_ascii_lowercase(),
        _ => '-',
    };
    let text: String = stem
        .to_string_lossy()
        .chars()
        .take(MAX_PART)
        .map(plain)
        .collect();
    let words: Vec<&str> = text.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let check = |data: &str, model: &str, expect: &str| {
            let mut config = TrainConfig::default();
            config.data.train = data.to_owned();
            config.model.arch = Some(model.to_owned());
            assert_eq!(of(&config), expect);
        };
        check("digits", "seed-cnn", "digits-seed-cnn");
        check(
            "/data/Fashion MNIST/",
            "nets/My_Net.v2.onnx",
            "fashion-mnist-my-net-v2",
        );
        check("..", "é", "run");
    }
}
