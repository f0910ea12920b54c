//! External data: what is read and what is refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sardonyx_onnx::proto::{AttributeProto, GraphProto, ModelProto, SparseTensorProto};
use sardonyx_onnx::{ExternalError, LoadOptions, OnnxError, decode, load, tensor_from_proto};

use crate::support::*;

/// Six numbers in `w.bin`, and the error of a model whose tensor of two refers to it by `keys`.
fn refused(folder: &Path, keys: &[(&str, &str)]) -> ExternalError {
    refused_model(folder, &model_with(external_floats("w", &[2], keys)))
}

fn refused_model(folder: &Path, model: &ModelProto) -> ExternalError {
    fs::write(folder.join("w.bin"), [7; 24]).unwrap();
    match read_in(folder, model).expect_err("accepted").root() {
        OnnxError::External(error) => error.clone(),
        other => panic!("refused for another reason: {other}"),
    }
}

#[test]
fn ranges_must_be_inside_the_file() {
    let folder = playground("ranges");
    let at = |offset: &'static str, length: &'static str| {
        refused(
            &folder,
            &[
                ("location", "w.bin"),
                ("offset", offset),
                ("length", length),
            ],
        )
    };
    assert!(matches!(at("17", "8"), ExternalError::OutOfRange { .. }));
    assert!(matches!(at("24", "8"), ExternalError::OutOfRange { .. }));
    assert!(matches!(
        at("18446744073709551615", "8"),
        ExternalError::OutOfRange { .. }
    ));
    assert!(matches!(at("0", "9"), ExternalError::Length { .. }));
    assert!(matches!(
        at("0", "18446744073709551615"),
        ExternalError::Length { .. }
    ));
    assert!(matches!(at("-8", "8"), ExternalError::BadValue { .. }));
    assert!(matches!(at("0", "-8"), ExternalError::BadValue { .. }));
    let keys = [("location", "w.bin"), ("offset", "16"), ("length", "8")];
    assert!(read_in(&folder, &model_with(external_floats("w", &[2], &keys))).is_ok());
}

#[test]
fn paths_must_stay_in_the_folder() {
    let outside = playground("paths");
    let folder = outside.join("model");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(outside.join("w.bin"), [1; 8]).unwrap();
    fs::write(folder.join("sub/w.bin"), [2; 8]).unwrap();
    let absolute = outside.join("w.bin");
    for location in [
        "../w.bin",
        "sub/../../w.bin",
        "sub/../w.bin",
        "./../w.bin",
        "..",
        "/etc/passwd",
        "/proc/self/environ",
        absolute.to_str().unwrap(),
    ] {
        let error = refused(&folder, &[("location", location)]);
        assert!(
            matches!(error, ExternalError::Escapes(_)),
            "{location}: {error}"
        );
    }
    assert_eq!(
        refused(&folder, &[("location", "")]),
        ExternalError::NoLocation
    );
    assert_eq!(
        refused(&folder, &[("length", "8")]),
        ExternalError::NoLocation
    );
    for location in ["sub/w.bin", "./sub//w.bin"] {
        let loaded = read_in(
            &folder,
            &model_with(external_floats("w", &[2], &[("location", location)])),
        );
        assert_eq!(loaded.unwrap().external_files, ["sub/w.bin"]);
    }
}

#[test]
fn links_are_not_followed() {
    let outside = playground("links");
    let folder = outside.join("model");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(outside.join("secret"), [1; 8]).unwrap();
    fs::write(folder.join("sub/w"), [1; 8]).unwrap();
    symlink("../secret", folder.join("out")).unwrap();
    symlink("sub/w", folder.join("in")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("sub", folder.join("alias")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    for location in [
        "out",
        "in",
        "up/secret",
        "alias/w",
        "loop",
        "up/model/sub/w",
    ] {
        let error = refused(&folder, &[("location", location)]);
        assert!(
            matches!(error, ExternalError::Symlink(_)),
            "{location}: {error}"
        );
    }
}

#[test]
fn only_regular_files_are_read() {
    let folder = playground("kinds");
    fs::create_dir(folder.join("directory")).unwrap();
    let pipe = folder.join("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for (location, kind) in [("directory", "a directory"), ("pipe", "a pipe")] {
        let error = refused(&folder, &[("location", location)]);
        assert!(
            matches!(error, ExternalError::NotAFile { found, .. } if found == kind),
            "{location}: {error}"
        );
    }
    let missing = model_with(external_floats("w", &[2], &[("location", "none")]));
    let error = read_in(&folder, &missing).unwrap_err();
    assert!(
        matches!(error.root(), OnnxError::Io { action: "open", .. }),
        "{error}"
    );
}

#[test]
fn hard_links_need_permission() {
    let outside = playground("hard_links");
    let folder = outside.join("model");
    fs::create_dir(&folder).unwrap();
    fs::write(outside.join("secret"), 3f32.to_le_bytes()).unwrap();
    fs::hard_link(outside.join("secret"), folder.join("w")).unwrap();
    let model = model_with(external_floats("w", &[1], &[("location", "w")]));
    let error = refused_model(&folder, &model);
    assert!(
        matches!(error, ExternalError::HardLink { links: 2, .. }),
        "{error}"
    );
    let options = LoadOptions {
        allow_hardlinks: true,
        ..Default::default()
    };
    let loaded = load(&folder.join("model.onnx"), &options).unwrap();
    let weight = &loaded.model.graph.unwrap().initializer[0];
    assert_eq!(tensor_from_proto(weight).unwrap().to_f64().unwrap(), [3.0]);
}

#[test]
fn a_model_from_memory_reads_files_only_where_it_is_told() {
    let folder = playground("memory");
    fs::write(folder.join("w"), [0; 8]).unwrap();
    let model = model_with(external_floats("w", &[2], &[("location", "w")]));
    let error = reread(&model).unwrap_err();
    assert!(matches!(
        error.root(),
        OnnxError::External(ExternalError::NoFolder)
    ));
    assert!(decode(wire(&model), Some(&folder), &LoadOptions::default()).is_ok());
}

#[test]
fn references_must_not_contradict_themselves() {
    let folder = playground("contradictions");
    let keys = [("location", "w.bin"), ("length", "8")];
    let mut both = external_floats("w", &[2], &keys);
    both.raw_data = Some(vec![0; 8].into());
    let error = refused_model(&folder, &model_with(both));
    assert_eq!(error, ExternalError::Contradiction("raw_data"));
    let mut both = external_floats("w", &[2], &keys);
    both.float_data = vec![0.0; 2];
    let error = refused_model(&folder, &model_with(both));
    assert_eq!(error, ExternalError::Contradiction("float_data"));
    let mut unmarked = external_floats("w", &[2], &keys);
    unmarked.data_location = None;
    let error = refused_model(&folder, &model_with(unmarked));
    assert_eq!(error, ExternalError::Unmarked);
    let mut strange = external_floats("w", &[2], &keys);
    strange.data_location = Some(2);
    assert_eq!(
        refused_model(&folder, &model_with(strange)),
        ExternalError::Location(2)
    );
    let mut strings = external_floats("w", &[2], &keys);
    strings.data_type = Some(8);
    let error = refused_model(&folder, &model_with(strings));
    assert_eq!(error, ExternalError::ElementType("string"));
}

#[test]
fn a_checksum_is_held_to() {
    let folder = playground("checksum");
    fs::write(folder.join("w.bin"), [7; 24]).unwrap();
    // sha1sum of 24 bytes of value 7.
    let right = "db102403163665ec865d1c22913f20cd3beeb581";
    let model = |sum: &str| {
        let keys = [("location", "w.bin"), ("length", "8"), ("checksum", sum)];
        model_with(external_floats("w", &[2], &keys))
    };
    read_in(&folder, &model(right)).unwrap();
    read_in(&folder, &model(&right.to_uppercase())).unwrap();
    let wrong = "0".repeat(40);
    let error = refused_model(&folder, &model(&wrong));
    assert!(matches!(error, ExternalError::Checksum { .. }), "{error}");
}

#[test]
fn shared_ranges_are_read_once_and_not_without_end() {
    let folder = playground("shared");
    let bytes = 1 << 20;
    fs::write(folder.join("w"), vec![0; bytes]).unwrap();
    let model = |times: usize| {
        let dims = [bytes as i64 / 4];
        let tensors = (0..times)
            .map(|i| external_floats(&format!("w{i}"), &dims, &[("location", "w")]))
            .collect();
        model_of(GraphProto {
            initializer: tensors,
            ..Default::default()
        })
    };
    let shared = read_in(&folder, &model(60)).unwrap().model.graph.unwrap();
    let start = |i: usize| shared.initializer[i].raw_data.as_ref().unwrap().as_ptr();
    assert_eq!(start(0), start(59), "one copy in memory");
    let error = read_in(&folder, &model(80)).unwrap_err();
    assert!(
        matches!(
            error.root(),
            OnnxError::External(ExternalError::Claims { .. })
        ),
        "{error}"
    );
}

#[test]
fn the_caller_limits_what_is_read() {
    let folder = playground("limit");
    fs::write(folder.join("w"), vec![0; 4096]).unwrap();
    let model = model_with(external_floats("w", &[1024], &[("location", "w")]));
    let options = LoadOptions {
        max_external_bytes: 4095,
        ..Default::default()
    };
    let error = decode(wire(&model), Some(&folder), &options).unwrap_err();
    let expected = ExternalError::TooLarge {
        bytes: 4096,
        max: 4095,
    };
    assert!(
        matches!(error.root(), OnnxError::External(e) if *e == expected),
        "{error}"
    );
}

/// A reference out of the folder in each place that can hold a tensor.
#[test]
fn no_place_is_forgotten() {
    let folder = playground("places");
    let bad = || external_floats("w", &[2], &[("location", "../w.bin")]);
    let tensor = || AttributeProto {
        t: Some(Box::new(bad())),
        ..Default::default()
    };
    let attributes = [
        tensor(),
        AttributeProto {
            tensors: vec![bad()],
            ..Default::default()
        },
        AttributeProto {
            sparse_tensor: Some(Box::new(sparse_of(bad()))),
            ..Default::default()
        },
        AttributeProto {
            sparse_tensors: vec![sparse_of(bad())],
            ..Default::default()
        },
        AttributeProto {
            g: Some(Box::new(graph_with(bad()))),
            ..Default::default()
        },
        AttributeProto {
            graphs: vec![graph_with(bad())],
            ..Default::default()
        },
    ];
    let mut models = vec![model_with(bad())];
    let mut sparse = GraphProto::default();
    sparse.sparse_initializer.push(sparse_of(bad()));
    models.push(model_of(sparse));
    for attribute in attributes {
        let mut default = model_of(GraphProto::default());
        default.functions.push(Default::default());
        let mut body = default.clone();
        default.functions[0].attribute_proto.push(attribute.clone());
        body.functions[0].node.push(node("Op", attribute.clone()));
        let mut training = model_of(GraphProto::default());
        training.training_info.push(Default::default());
        let mut start = training.clone();
        let graph = GraphProto {
            node: vec![node("Op", attribute)],
            ..Default::default()
        };
        training.training_info[0].algorithm = Some(graph.clone());
        start.training_info[0].initialization = Some(graph.clone());
        models.extend([model_of(graph), default, body, training, start]);
    }
    assert_eq!(models.len(), 32);
    for model in &models {
        let error = refused_model(&folder, model);
        assert!(matches!(error, ExternalError::Escapes(_)), "{error}");
    }
}

fn graph_with(tensor: sardonyx_onnx::proto::TensorProto) -> GraphProto {
    GraphProto {
        initializer: vec![tensor],
        ..Default::default()
    }
}

fn sparse_of(values: sardonyx_onnx::proto::TensorProto) -> SparseTensorProto {
    SparseTensorProto {
        values: Some(values),
        indices: None,
        dims: vec![2],
    }
}
