//! Small graphs that keep samples apart, each beside one like it that mixes them.

use super::treats_samples_apart;

/// Whether the graph of this signature and body keeps its samples apart.
fn apart(signature: &str, body: &str) -> bool {
    let source =
        format!("<ir_version: 8, opset_import: [\"\" : 17]>\ng {signature}\n{{\n{body}\n}}");
    let mut graph = sardonyx_ir::text::parse(&source).unwrap();
    crate::apply(&mut graph, crate::lift_constants).unwrap();
    sardonyx_ops::infer(&mut graph).unwrap();
    treats_samples_apart(&graph)
}

const ROWS: &str = "(float[N, 4] x) => (float[N, M] y)";
const CUBES: &str = "(float[N, 4, 6] x) => (float[N, K, M] y)";

#[test]
fn elementwise_work_keeps_samples_apart() {
    assert!(apart(ROWS, "a = Relu (x)\ny = Add (a, x)"));
    let bias = "b = Constant <value = float[4] {1, 2, 3, 4}> ()\ny = Add (x, b)";
    assert!(apart(ROWS, bias));
}

#[test]
fn sums_over_the_batch_mix() {
    let sum = |axis: i64| {
        format!(
            "axes = Constant <value_ints = [{axis}]> ()\ns = ReduceSum (x, axes)\ny = Mul (x, s)"
        )
    };
    assert!(apart(ROWS, &sum(1)));
    assert!(!apart(ROWS, &sum(0)));
    assert!(!apart(ROWS, &sum(-2)));
    assert!(!apart(ROWS, "s = ReduceSum (x)\ny = Mul (x, s)"));
}

#[test]
fn softmax_over_the_batch_mixes() {
    assert!(apart(ROWS, "y = Softmax <axis = -1> (x)"));
    assert!(!apart(ROWS, "y = Softmax <axis = 0> (x)"));
    assert!(apart(
        ROWS,
        "y = CumSum (x, a)\na = Constant <value_int = 1> ()"
    ));
    assert!(!apart(
        ROWS,
        "y = CumSum (x, a)\na = Constant <value_int = 0> ()"
    ));
}

#[test]
fn reshapes_keep_the_axis_or_mix() {
    let reshape =
        |shape: &str| format!("s = Constant <value_ints = [{shape}]> ()\ny = Reshape (x, s)");
    let flat = "(float[N, 4, 6] x) => (float[N, M] y)";
    assert!(apart(flat, &reshape("0, -1")));
    assert!(apart(CUBES, &reshape("0, 6, 4")));
    assert!(!apart(CUBES, &reshape("6, 4, -1")));
    assert!(!apart(
        "(float[N, 4, 6] x) => (float[M, 6] y)",
        &reshape("-1, 6")
    ));
}

#[test]
fn the_axis_is_followed_through_transposes() {
    let body =
        "a = Transpose <perm = [1, 0, 2]> (x)\nb = Relu (a)\ny = Transpose <perm = [1, 0, 2]> (b)";
    assert!(apart(CUBES, body));
    let softmax = "a = Transpose <perm = [1, 2, 0]> (x)\nb = Softmax <axis = -1> (a)\n\
                   y = Transpose <perm = [2, 0, 1]> (b)";
    assert!(!apart(CUBES, softmax));
    assert!(!apart(
        "(float[N, N] x) => (float[N, N] y)",
        "y = Transpose (x)"
    ));
}

#[test]
fn products_of_samples_with_weights_and_within_a_sample() {
    let weights = "w = Constant <value = float[4, 2] {1,2,3,4,5,6,7,8}> ()\ny = MatMul (x, w)";
    assert!(apart(ROWS, weights));
    let gemm = "w = Constant <value = float[4, 2] {1,2,3,4,5,6,7,8}> ()\ny = Gemm (x, w)";
    assert!(apart(ROWS, gemm));
    let own = "t = Transpose <perm = [0, 2, 1]> (x)\ny = MatMul (x, t)";
    assert!(apart(CUBES, own));
    assert!(!apart(
        "(float[N, 4] x) => (float[N, N] y)",
        "t = Transpose (x)\ny = MatMul (x, t)"
    ));
}

#[test]
fn the_number_of_samples_must_not_become_a_number_of_the_answer() {
    let body = "s = Shape <start = 0, end = 1> (x)\nn = Cast <to = 1> (s)\ny = Div (x, n)";
    assert!(!apart(ROWS, body));
    let shape_only = "s = Shape (x)\ny = Reshape (x, s)";
    assert!(apart("(float[N, 4] x) => (float[N, 4] y)", shape_only));
}

#[test]
fn a_fixed_batch_cannot_be_shared() {
    assert!(!apart("(float[1, 4] x) => (float[1, 4] y)", "y = Relu (x)"));
    assert!(!apart(
        "(float[N, 4] x, float[M, 4] z) => (float[N, 4] y)",
        "y = Relu (x)"
    ));
}

#[test]
fn gathered_rows_are_apart_where_each_sample_has_its_own_indices() {
    let table = "t = Constant <value = float[3, 2] {1,2,3,4,5,6}> ()\n";
    let ids = "(int64[N, 5] x) => (float[N, K, M] y)";
    assert!(apart(ids, &format!("{table}y = Gather (t, x)")));
    let rows = "i = Constant <value_ints = [0, 0]> ()\ny = Gather <axis = 0> (x, i)";
    assert!(!apart("(float[N, 4] x) => (float[2, 4] y)", rows));
}

#[test]
fn batch_statistics_mix() {
    let norm = |attributes: &str| {
        format!(
            "o = Constant <value = float[4] {{1,1,1,1}}> ()\n\
             y = BatchNormalization {attributes} (x, o, o, o, o)"
        )
    };
    assert!(apart(CUBES, &norm("")));
    let trained = norm("<training_mode = 1>").replace("y = ", "y, m, v = ");
    assert!(!apart(CUBES, &trained));
}
