//! Every command of the README runs as it stands there, one after the other in one folder.

use image::{Rgb, RgbImage};

use crate::support::Place;

const README: &str = include_str!("../../../../README.md");

/// Commands in the order in which a reader meets them: lines of shell blocks, and code in the text
/// that begins with the program's name.
fn commands() -> Vec<String> {
    let mut found = Vec::new();
    for (index, part) in README.split("```").enumerate() {
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
    for command in commands() {
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
