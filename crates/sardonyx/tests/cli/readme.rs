//! Every command of the README runs as it stands there, one after the other in one folder.

use image::{Rgb, RgbImage};

use crate::support::Place;

const README: &str = include_str!("../../../../README.md");

/// Commands in the order in which a reader meets them: lines of shell blocks, and code in the text
/// that begins with the program's name.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            let flowing = part.replace('\n', " ");
            let code = flowing.split('`').skip(1).step_by(2);
            found.extend(
                code.filter(|code| code.starts_with("sardonyx "))
                    .map(str::to_owned),
            );
        } else if let Some(shell) = part.strip_prefix("sh\n") {
            let lines = shell
                .lines()
                .map(|line| line.split(" #").next().unwrap_or(line).trim());
            found.extend(lines.map(str::to_owned));
        }
    }
    found
}

/// The arguments of a command that runs the program.
fn arguments(command: &str) -> Option<Vec<&str>> {
    let rest = command
        .strip_prefix("sardonyx ")
        .or_else(|| command.strip_prefix("cargo run --release -- "))?;
    Some(rest.split_whitespace().collect())
}

/// Two classes of pictures that differ in colour.
fn photos(place: &Place) {
    for (class, colour) in [("cat", [200, 80, 40]), ("dog", [40, 80, 200])] {
        let folder = place.path("photos").join(class);
        std::fs::create_dir_all(&folder).expect("a folder");
        for index in 0..10u8 {
            let picture = RgbImage::from_fn(36, 36, |x, y| {
                let shade = (x * 7 + y * 3) as u8 % 32 + index;
                Rgb(colour.map(|value: u8| value.saturating_add(shade)))
            });
            picture
                .save(folder.join(format!("{index}.png")))
                .expect("saved");
        }
    }
    let copy = |from: &str, to: &str| {
        let picture = image::open(place.path(from)).expect("a picture");
        picture.save(place.path(to)).expect("saved");
    };
    copy("photos/cat/0.png", "cat.jpg");
    copy("photos/dog/0.png", "dog.png");
}

#[test]
fn every_command_of_the_readme_runs() {
    let place = Place::new();
    photos(&place);
    let config = place.stdout(&[
        "config",
        "render",
        "data=digits",
        "model=mlp-small",
        "epochs=1",
    ]);
    place.write("sardonyx.toml", config);
    let mut n_run = 0;
    for command in commands(README) {
        let Some(mut arguments) = arguments(&command) else {
            // What `curl` asks is asked by real clients in the tests of the server.
            let tests = command == "cargo test --workspace" || command.starts_with("curl ");
            assert!(tests, "README: `{command}` is not a command that is tested");
            continue;
        };
        if arguments[0] == "serve" && !arguments.contains(&"--check") {
            arguments.push("--check");
        }
        if arguments[0] == "bench" {
            arguments.extend(["--runs", "1", "--no-peak"]);
        }
        let outcome = place.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{command}: {}", outcome.stderr);
        if arguments[0] == "inspect" {
            std::fs::copy(
                place.path("runs/photos-resnet8/model.onnx"),
                place.path("model.onnx"),
            )
            .expect("the run's model");
        }
        n_run += 1;
    }
    assert!(n_run > 10, "the README has more than {n_run} commands");
}

const SERVING: &str = include_str!("../../../../docs/serving.md");

#[test]
fn every_command_of_the_serving_guide_runs() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("models/digits/1")).expect("a folder");
    let new = ["new", "seed-cnn", "--output"];
    for file in ["model.onnx", "models/digits/1/model.onnx"] {
        place.stdout(&[&new[..], &[file]].concat());
    }
    std::fs::copy(
        place.path("models/digits/1/model.onnx"),
        place.path("digits.onnx"),
    )
    .expect("copied");
    std::fs::create_dir_all(place.path("models/digits/2")).expect("a folder");
    place.stdout(&[&new[..], &["models/digits/2/model.onnx", "--seed", "1"]].concat());
    let config = SERVING
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    place.write("serve.toml", config.expect("a configuration"));
    place.write("batching.config", "max_batch_size { value: 16 }");
    place.write("monitoring.config", "prometheus_config { enable: true }");
    let mut n_run = 0;
    for command in commands(SERVING) {
        let Some(mut arguments) = arguments(&command) else {
            assert!(command.starts_with("curl "), "`{command}` is not tested");
            continue;
        };
        if !arguments.contains(&"--check") {
            arguments.push("--check");
        }
        let outcome = place.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{command}: {}", outcome.stderr);
        n_run += 1;
    }
    assert!(n_run > 4, "{n_run}");
}
