//! Model files: reading them whole, writing them so that nothing is ever half there.

use std::fs;
use std::path::Path;

use sardonyx_onnx::proto::{GraphProto, ModelProto};
use sardonyx_onnx::{
    ExternalData, LoadOptions, OnnxError, SaveOptions, encode, load, save, write_atomic,
};

use crate::support::*;

#[test]
fn what_is_not_a_model_file_is_told_apart() {
    let folder = playground("not_models");
    let told = |name: &str| read(&folder.join(name)).unwrap_err().to_string();
    assert!(
        told("none.onnx").contains("cannot open"),
        "{}",
        told("none.onnx")
    );
    assert!(told("no/folder.onnx").contains("no/folder.onnx"));
    fs::create_dir(folder.join("directory.onnx")).unwrap();
    assert!(told("directory.onnx").ends_with("is a directory, not a file"));
    let pipe = folder.join("pipe.onnx");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(told("pipe.onnx").ends_with("is a pipe, not a file"));
    fs::write(folder.join("empty.onnx"), []).unwrap();
    assert!(told("empty.onnx").contains("is empty"));
    fs::write(folder.join("text.onnx"), "This is not a model.\n").unwrap();
    assert!(
        told("text.onnx").contains("hint: not an ONNX file"),
        "{}",
        told("text.onnx")
    );
    assert!(
        read(Path::new("/"))
            .unwrap_err()
            .to_string()
            .contains("a directory")
    );
    assert!(
        read(Path::new(".."))
            .unwrap_err()
            .to_string()
            .contains("a directory")
    );
    // A message of the right form without a graph.
    fs::write(folder.join("other.onnx"), [0x08, 0x08]).unwrap();
    assert!(told("other.onnx").contains("the model has no graph"));
    assert!(
        read(Path::new("/dev/zero"))
            .unwrap_err()
            .to_string()
            .contains("a device")
    );
}

#[test]
fn the_limit_of_a_file_is_held() {
    let path = golden_path("types.onnx");
    let bytes = fs::metadata(&path).unwrap().len();
    let options = |max_file_bytes| LoadOptions {
        max_file_bytes,
        ..Default::default()
    };
    assert!(load(&path, &options(bytes)).is_ok());
    let error = load(&path, &options(bytes - 1)).unwrap_err();
    assert!(matches!(error, OnnxError::TooLarge { .. }), "{error}");
    // A sparse file that claims a terabyte costs nothing.
    let folder = playground("sparse_file");
    let huge = folder.join("huge.onnx");
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let error = read(&huge).unwrap_err();
    assert!(matches!(error, OnnxError::TooLarge { .. }), "{error}");
}

#[test]
fn a_symbolic_link_to_the_model_itself_is_the_users_choice() {
    let folder = playground("link_to_model");
    let link = folder.join("model.onnx");
    std::os::unix::fs::symlink(golden_path("types.onnx"), &link).unwrap();
    assert!(read(&link).is_ok());
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = playground("atomic");
    let path = folder.join("file");
    write_atomic(&path, b"old").unwrap();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names_in(&folder), ["file"]);
    assert!(write_atomic(&folder.join("none/file"), b"").is_err());
    assert!(write_atomic(&folder, b"").is_err());
    assert_eq!(names_in(&folder), ["file"]);
}

#[test]
fn large_files_are_read_whole() {
    let folder = playground("large");
    let values: Vec<f32> = (0..1_700_003).map(|index| index as f32).collect();
    let model = model_with(raw_floats("w", &[1_700_003], &values));
    let loaded = read_in(&folder, &model).unwrap();
    assert!(loaded.file_bytes > 6 << 20);
    assert_eq!(loaded.model, model);
    let options = LoadOptions {
        max_file_bytes: loaded.file_bytes - 1,
        ..LoadOptions::default()
    };
    let error = load(&folder.join("model.onnx"), &options).unwrap_err();
    assert!(
        matches!(error.root(), OnnxError::TooLarge { .. }),
        "{error}"
    );
}

#[test]
fn a_failed_write_leaves_nothing() {
    let folder = playground("failed");
    fs::create_dir_all(folder.join("model.onnx/inside")).unwrap();
    let model = weights(100);
    for external_data in [ExternalData::Always, ExternalData::Never] {
        let options = SaveOptions {
            external_data,
            min_external_bytes: 0,
        };
        assert!(save(&folder.join("model.onnx"), &model, &options).is_err());
        assert_eq!(names_in(&folder), ["model.onnx"]);
    }
    let path = folder.join("good.onnx");
    save(&path, &model, &SaveOptions::default()).unwrap();
    let old = fs::read(&path).unwrap();
    let bad = model_with(floats("w", &[3]));
    let error = save(&path, &bad, &SaveOptions::default()).unwrap_err();
    assert!(
        matches!(error.root(), OnnxError::DataLength { .. }),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), old);
    assert_eq!(names_in(&folder), ["good.onnx", "model.onnx"]);
}

/// A large tensor, one typed, one small, one in a subgraph.
fn weights(count: usize) -> ModelProto {
    let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
    let dims = [count as i64];
    let mut typed = floats("typed", &dims);
    typed.float_data = values.clone();
    let inner = GraphProto {
        initializer: vec![raw_floats("inner", &dims, &values)],
        ..Default::default()
    };
    let branch = sardonyx_onnx::proto::AttributeProto {
        g: Some(Box::new(inner)),
        ..Default::default()
    };
    model_of(GraphProto {
        initializer: vec![
            raw_floats("raw", &dims, &values),
            typed,
            raw_floats("small", &[1], &[1.0]),
        ],
        node: vec![node("If", branch)],
        ..Default::default()
    })
}

#[test]
fn weights_go_to_a_second_file_and_come_back() {
    let folder = playground("second_file");
    let path = folder.join("model.onnx");
    let options = SaveOptions {
        external_data: ExternalData::Always,
        ..Default::default()
    };
    let model = weights(1500);
    let saved = save(&path, &model, &options).unwrap();
    let weights_path = saved.external_file.unwrap();
    assert_eq!(saved.external_bytes, 8192 * 2 + 6000);
    assert_eq!(
        fs::metadata(&weights_path).unwrap().len(),
        saved.external_bytes
    );
    assert_eq!(fs::metadata(&path).unwrap().len(), saved.file_bytes);
    let loaded = read(&path).unwrap();
    let name = weights_path.file_name().unwrap().to_str().unwrap();
    assert_eq!(loaded.external_files, [name]);
    let mut expected = model.clone();
    let graph = expected.graph.as_mut().unwrap();
    let (raw, typed) = (
        graph.initializer[0].raw_data.clone(),
        &mut graph.initializer[1],
    );
    typed.float_data.clear();
    typed.raw_data = raw;
    assert_eq!(loaded.model, expected);
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    for offset in ["0", "8192", "16384"] {
        assert!(text.contains(offset), "data starts at pages");
    }
    // The same again gives the same names and bytes.
    let before = (fs::read(&path).unwrap(), names_in(&folder));
    save(&path, &loaded.model, &options).unwrap();
    assert_eq!((fs::read(&path).unwrap(), names_in(&folder)), before);
    // Another model takes its place, and the old weights are gone.
    save(&path, &weights(1501), &options).unwrap();
    assert_eq!(names_in(&folder).len(), 2);
    assert!(!weights_path.exists());
    assert!(read(&path).is_ok());
    save(&path, &model, &SaveOptions::default()).unwrap();
    assert_eq!(names_in(&folder), ["model.onnx"]);
}

#[test]
fn a_small_model_needs_no_second_file() {
    let folder = playground("small");
    let options = SaveOptions {
        external_data: ExternalData::Always,
        ..Default::default()
    };
    let saved = save(&folder.join("model.onnx"), &weights(2), &options).unwrap();
    assert_eq!((saved.external_file, saved.external_bytes), (None, 0));
    assert_eq!(names_in(&folder), ["model.onnx"]);
}

#[test]
fn references_are_never_written_on() {
    let model = model_with(external_floats(
        "w",
        &[2],
        &[("location", "../../etc/cron.d/x")],
    ));
    assert!(encode(&model).is_err());
    let folder = playground("references");
    for external_data in [ExternalData::Always, ExternalData::Never] {
        let options = SaveOptions {
            external_data,
            min_external_bytes: 0,
        };
        assert!(save(&folder.join("model.onnx"), &model, &options).is_err());
    }
    assert_eq!(names_in(&folder), [""; 0]);
}

#[test]
fn more_than_one_message_holds_needs_a_second_file() {
    // Zeros that no one touches: the pages are never there.
    let bytes = vec![0u8; (1usize << 31) + 4];
    let mut tensor = floats("w", &[(1 << 29) + 1]);
    tensor.raw_data = Some(bytes.into());
    let model = model_with(tensor);
    let error = encode(&model).unwrap_err();
    assert!(
        error.to_string().contains("hint: save with external data"),
        "{error}"
    );
}
