//! The same configuration gives the same bytes, whatever the number of threads and however often
//! the program is killed on the way.

use std::process::Stdio;
use std::time::Duration;

use sardonyx::tensor::Philox;

use crate::support::Place;

const SETTINGS: [&str; 8] = [
    "train",
    "data=digits",
    "model=seed-cnn",
    "epochs=6",
    "batch=32",
    "checkpoint_every=4",
    "augment=[\"crop:1\"]",
    "test=0.2",
];
/// What does not tell the time.
const FILES: [&str; 2] = ["model.onnx", "evaluation.json"];

fn train(place: &Place, name: &str, threads: &str) {
    let own = [format!("name={name}"), format!("threads={threads}")];
    let arguments = [&SETTINGS[..], &[&own[0], &own[1]]].concat();
    place.json(name, &arguments);
}

fn assert_same(place: &Place, name: &str, expected: &str) {
    for file in FILES {
        let found = place.read(&format!("runs/{name}/{file}"));
        let expected = place.read(&format!("runs/{expected}/{file}"));
        assert!(found == expected, "{file} of {name} is another");
    }
}

#[test]
fn the_number_of_threads_and_kills_change_no_bit() {
    let place = Place::new();
    train(&place, "one", "1");
    train(&place, "three", "3");
    assert_same(&place, "three", "one");

    let mut rng = Philox::new(5, 0);
    let mut n_kills = 0;
    let killed = [&SETTINGS[..], &["name=killed", "threads=2"]].concat();
    let mut arguments = killed;
    while n_kills < 3 {
        n_kills += u32::from(start_and_kill(&place, &arguments, &mut rng));
        arguments = vec!["resume", "runs/killed"];
        if place.path("runs/killed/report.html").exists() {
            break;
        }
    }
    assert!(n_kills > 0, "no kill came before the end");
    place.json("killed", &["resume", "runs/killed", "--threads", "1"]);
    assert_same(&place, "killed", "one");
}

/// Starts sardonyx and kills it at a moment after it wrote its first checkpoint. Gives whether it
/// was still running.
fn start_and_kill(place: &Place, arguments: &[&str], rng: &mut Philox) -> bool {
    let checkpoint = place.path("runs/killed/last.safetensors");
    let mut command = place.command(arguments);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = quiet.spawn().expect("sardonyx runs");
    while !checkpoint.exists() && process.try_wait().expect("a state").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(rng.below(150)));
    process.kill().expect("it can be killed, or has ended");
    let status = process.wait().expect("an end");
    assert!(
        status.success() || status.code().is_none(),
        "{arguments:?}: {status}"
    );
    status.code().is_none()
}
