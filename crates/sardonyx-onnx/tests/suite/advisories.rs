//! One test for each published attack on ONNX loaders that this crate must be immune to. The
//! attacks themselves are spread over the other tests in all their variants.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use sardonyx_onnx::proto::{AttributeProto, FunctionProto, GraphProto, SparseTensorProto};
use sardonyx_onnx::{ExternalData, ExternalError, OnnxError, SaveOptions, save};

use crate::support::*;

/// A folder `model` beside a secret file of eight bytes.
fn victim(name: &str) -> PathBuf {
    let root = playground(name);
    fs::create_dir(root.join("model")).unwrap();
    fs::write(root.join("secret"), b"8 secret").unwrap();
    root.join("model")
}

fn external_error(name: &str, prepare: fn(&PathBuf), keys: &[(&str, &str)]) -> ExternalError {
    let folder = victim(name);
    prepare(&folder);
    let model = model_with(external_floats("w", &[2], keys));
    match read_in(&folder, &model).expect_err("accepted").root() {
        OnnxError::External(error) => error.clone(),
        other => panic!("refused for another reason: {other}"),
    }
}

#[test]
fn cve_2022_25882_parent_folder() {
    let error = external_error("cve_2022_25882", |_| (), &[("location", "../secret")]);
    assert!(matches!(error, ExternalError::Escapes(_)), "{error}");
}

#[test]
fn cve_2024_27318_parent_folder_behind_a_folder() {
    let prepare = |folder: &PathBuf| fs::create_dir(folder.join("a")).unwrap();
    let error = external_error("cve_2024_27318", prepare, &[("location", "a/../../secret")]);
    assert!(matches!(error, ExternalError::Escapes(_)), "{error}");
}

#[test]
fn cve_2026_27489_symbolic_link() {
    let prepare = |folder: &PathBuf| symlink("../secret", folder.join("w")).unwrap();
    let error = external_error("cve_2026_27489", prepare, &[("location", "w")]);
    assert!(matches!(error, ExternalError::Symlink(_)), "{error}");
}

#[test]
fn cve_2026_34447_symbolic_link_to_a_folder() {
    let prepare = |folder: &PathBuf| symlink("..", folder.join("up")).unwrap();
    let error = external_error("cve_2026_34447", prepare, &[("location", "up/secret")]);
    assert!(matches!(error, ExternalError::Symlink(_)), "{error}");
}

#[test]
fn cve_2026_34446_hard_link() {
    let prepare =
        |folder: &PathBuf| fs::hard_link(folder.join("../secret"), folder.join("w")).unwrap();
    let error = external_error("cve_2026_34446", prepare, &[("location", "w")]);
    assert!(matches!(error, ExternalError::HardLink { .. }), "{error}");
}

#[test]
fn cve_2026_34445_unknown_keys_and_claimed_lengths() {
    let prepare = |folder: &PathBuf| fs::write(folder.join("w"), [0; 8]).unwrap();
    for key in ["__class__", "basepath", "Location", ""] {
        let keys = [("location", "w"), (key, "x")];
        let error = external_error("cve_2026_34445", prepare, &keys);
        assert_eq!(error, ExternalError::UnknownKey(key.to_owned()));
    }
    let keys = [("location", "w"), ("length", "9223372036854775807")];
    let error = external_error("cve_2026_34445", prepare, &keys);
    assert!(matches!(error, ExternalError::Length { .. }), "{error}");
}

/// A model's own reference must never say where a writer writes (also CVE-2024-5187 and
/// CVE-2024-7776, where an archive said it; this crate opens no archives).
#[test]
fn cve_2025_51480_writing_where_the_model_says() {
    let folder = victim("cve_2025_51480");
    let model = model_with(external_floats("w", &[2], &[("location", "../secret")]));
    let options = SaveOptions {
        external_data: ExternalData::Always,
        min_external_bytes: 0,
    };
    assert!(save(&folder.join("model.onnx"), &model, &options).is_err());
    assert_eq!(names_in(&folder), [""; 0]);
    assert_eq!(fs::read(folder.join("../secret")).unwrap(), b"8 secret");
}

/// Also CVE-2022-23591 and CVE-2022-23594 of another framework, the same idea.
#[test]
fn ghsa_7w46_vvrh_m8q5_recursive_function() {
    let mut model = model_of(GraphProto::default());
    let call = node("F", AttributeProto::default());
    let branch = AttributeProto {
        g: Some(Box::new(GraphProto {
            node: vec![call],
            ..Default::default()
        })),
        ..Default::default()
    };
    model.functions.push(FunctionProto {
        name: Some("F".to_owned()),
        node: vec![node("If", branch)],
        ..Default::default()
    });
    assert_eq!(problem(reread(&model)), "function \"F\" calls itself");
}

#[test]
fn onnx_8109_raw_data_of_a_length_that_is_no_multiple() {
    for len in [1, 3, 5, 7, 9, 11] {
        let mut tensor = floats("w", &[2]);
        tensor.raw_data = Some(vec![0; len].into());
        assert!(problem(reread(&model_with(tensor))).contains("the shape needs 8"));
    }
}

/// Shape arithmetic that overflows (onnx 8031, 8277, 7879) starts with dimensions like these.
#[test]
fn onnx_8277_dimensions_whose_product_overflows() {
    for dims in [[1 << 32, 1 << 32], [i64::MAX, 2], [1 << 62, 4], [-1, -1]] {
        assert!(reread(&model_with(raw_floats("w", &dims, &[0.0, 0.0]))).is_err());
    }
}

#[test]
fn onnxruntime_28408_sparse_tensors_go_through_the_same_resolver() {
    let folder = victim("onnxruntime_28408");
    let outside = || external_floats("s", &[2], &[("location", "../secret")]);
    let mut indices = external_floats("", &[1], &[("location", "../secret")]);
    indices.data_type = Some(7);
    let in_values = SparseTensorProto {
        values: Some(outside()),
        indices: None,
        dims: vec![2],
    };
    let in_indices = SparseTensorProto {
        values: Some(raw_floats("s", &[1], &[1.0])),
        indices: Some(indices),
        dims: vec![2],
    };
    for sparse in [in_values, in_indices] {
        let graph = GraphProto {
            sparse_initializer: vec![sparse],
            ..Default::default()
        };
        let error = read_in(&folder, &model_of(graph)).unwrap_err();
        let root = error.root();
        assert!(
            matches!(root, OnnxError::External(ExternalError::Escapes(_))),
            "{error}"
        );
    }
}

#[test]
fn onnxruntime_28617_addresses_in_memory() {
    for marker in [
        "*/_ORT_MEM_ADDR_/*",
        "*/_ORT_LE_MEM_ADDR_/*",
        "__ORT_MEM_ADDR__",
    ] {
        let keys = [
            ("location", marker),
            ("offset", "140737488355328"),
            ("length", "8"),
        ];
        let error = external_error("onnxruntime_28617", |_| (), &keys);
        assert_eq!(error, ExternalError::MemoryAddress(marker.to_owned()));
    }
}

#[test]
fn onnxruntime_29011_a_model_from_memory_reads_no_file() {
    let keys = [("location", "/etc/passwd"), ("length", "8")];
    let error = reread(&model_with(external_floats("w", &[2], &keys))).unwrap_err();
    let root = error.root();
    assert!(
        matches!(root, OnnxError::External(ExternalError::NoFolder)),
        "{error}"
    );
}
