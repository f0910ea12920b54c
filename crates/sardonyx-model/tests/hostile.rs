//! Damaged models and texts get an error or are read; nothing panics and nothing hangs.

use std::fs;
use std::path::{Path, PathBuf};

use sardonyx_ir::text::{PrintOptions, parse, print};
use sardonyx_model::{load_bytes, to_bytes};
use sardonyx_ops::infer;
use sardonyx_tensor::Philox;

/// Damaged copies of each file.
const ROUNDS: u64 = 400;

fn models() -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folders = [
        "conformance_subset/node",
        "conformance_subset/simple",
        "golden/exports",
    ];
    let mut models = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(tests.join(folder)).expect("committed") {
            models.push(entry.expect("it can be listed").path().join("model.onnx"));
        }
    }
    for made in ["functions.onnx", "subgraphs.onnx"] {
        models.push(tests.join("golden/text").join(made));
    }
    models.sort();
    models
}

/// Flips bits, overwrites, cuts out or doubles a few stretches.
fn damage(bytes: &[u8], rng: &mut Philox) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..1 + rng.below(2) {
        let at = rng.below(damaged.len().max(1) as u64) as usize;
        let end = (at + 1 + rng.below(3) as usize).min(damaged.len());
        match rng.below(5) {
            0 => damaged.truncate(at),
            1 => drop(damaged.drain(at..end)),
            2 => {
                let stretch = damaged[at..end].to_vec();
                damaged.splice(at..at, stretch);
            }
            3 => damaged[at..end].fill(rng.next_u32() as u8),
            _ => damaged[at..end]
                .iter_mut()
                .for_each(|byte| *byte ^= 1 << rng.below(8)),
        }
        if damaged.is_empty() {
            break;
        }
    }
    damaged
}

#[test]
fn damaged_files_are_refused_or_read() {
    let mut rng = Philox::new(11, 0);
    let (mut n_read, mut n_refused) = (0, 0);
    for path in models() {
        let bytes = fs::read(&path).unwrap();
        for _ in 0..ROUNDS {
            match load_bytes(damage(&bytes, &mut rng)) {
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    n_refused += 1;
                }
                Ok(mut graph) => {
                    to_bytes(&graph).unwrap();
                    // An error is as good as a result here.
                    let _ = infer(&mut graph);
                    n_read += 1;
                }
            }
        }
    }
    assert!(
        n_read > 100 && n_refused > 100,
        "{n_read} read, {n_refused} refused"
    );
}

#[test]
fn damaged_texts_are_refused_or_read() {
    let mut rng = Philox::new(12, 0);
    let (mut n_read, mut n_refused) = (0, 0);
    for path in models() {
        let graph = load_bytes(fs::read(&path).unwrap()).unwrap();
        let text = print(&graph, PrintOptions::FULL).unwrap();
        for _ in 0..ROUNDS {
            let damaged = damage(text.as_bytes(), &mut rng);
            match parse(&String::from_utf8_lossy(&damaged)) {
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    n_refused += 1;
                }
                Ok(graph) => {
                    print(&graph, PrintOptions::FULL).unwrap();
                    n_read += 1;
                }
            }
        }
    }
    assert!(
        n_read > 100 && n_refused > 100,
        "{n_read} read, {n_refused} refused"
    );
}
