use sardonyx_tensor::{DType, Tensor, f16};

use super::*;
use crate::{Attr, Dim, Fact, Node, ONNX};

/// Printing a graph and reading it again gives the same graph.
fn round_trip(text: &str) -> Graph {
    let graph = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let printed = print(&graph, PrintOptions::FULL).expect("it has no cycle");
    let again = parse(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    // Their debug form, so that NaN is equal to itself.
    assert_eq!(format!("{again:?}"), format!("{graph:?}"), "{printed}");
    graph
}

const CLASSIFIER: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
agraph (float[N,128] X) => (float[N,10] C) { C = Softmax<axis=1>(X) }"#;

#[test]
fn the_printed_form_is_canonical() {
    let graph = parse(CLASSIFIER).expect("the syntax of the documentation");
    let expected = "\
<
   ir_version: 8,
   opset_import: [\"\" : 17]
>
agraph (float[N,128] X) => (float[N,10] C) {
   C = Softmax <axis = 1> (X)
}
";
    assert_eq!(
        print(&graph, PrintOptions::default()).expect("no cycle"),
        expected
    );
    round_trip(CLASSIFIER);
}

#[test]
fn every_kind_of_attribute_and_element_round_trips() {
    let graph = round_trip(
        r#"<ir_version: 9, opset_import: ["" : 19, "ai.own" : 2], domain: "a.b", model_version: 7,
            doc_string: "says \"hi\"", metadata_props: ["k": "v", "": "empty"]>
        "a/graph" (float[N, ?, "2*N"] "x/1", double s, int64[] u, bool b) => (float[] y, "x/1")
        <float16[1] h = {15360}, bfloat16[2] bf = {16256, 0}, string[2] t = {"a\\", "b\"c"},
         float[3] f = {nan, -inf, 1e-10}, double[1] d = {1e300}, uint64[1] big = {18446744073709551615},
         int8[2, 1] i = {-128, 127}, float[0] e = {}, uint8 one = {1}, bool[2] flags = {0, 1},
         float["floor(N/2)"] mid, int4s>
        {
            ["node/1"] mid, , "" = ai.own.Thing <i = -3, f = 2.0, nan = nan, s = "a,b", is = [1, -2],
               fs = [1.5, inf], ss = ["x", ""], none: ints = [], nof: floats = [], t = float[2] {1, 2},
               ty = int64[K], "odd name" = [float[1] {1}, int64[1] {2}], nos: strings = []>
               ("x/1", , h, "")
            # a comment
            int4s = Identity (f)
            y = Add (mid, s)
        }"#,
    );
    assert_eq!(graph.metadata["k"], "v");
    assert_eq!(
        (graph.model.version, graph.model.domain.as_str()),
        (7, "a.b")
    );
    let x = graph.find_value("x/1").expect("the input");
    let shape = graph
        .fact(x)
        .and_then(|fact| fact.shape.clone())
        .expect("ranked");
    assert_eq!(shape[1], Dim::unknown("x/1", 1));
    assert_eq!(shape[2].checked_div(&Dim::known(2)), Some(Dim::symbol("N")));
    let h = graph.find_value("h").expect("an initializer");
    assert_eq!(*graph.initializers[&h], Tensor::vector(vec![f16::ONE]));
    let (_, thing) = graph.nodes().next().expect("three nodes");
    assert_eq!((thing.inputs.len(), thing.outputs.len()), (4, 3));
    assert_eq!(
        thing.attributes["fs"],
        Attr::Floats(vec![1.5, f32::INFINITY])
    );
    assert_eq!(thing.attributes["nos"], Attr::Strings(Vec::new()));
    let u = graph.find_value("u").expect("an input");
    assert_eq!(graph.fact(u), Some(&Fact::unranked(DType::I64)));
}

#[test]
fn subgraphs_read_the_names_around_them() {
    let graph = round_trip(
        r#"<ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2] x, float[2] y) => (float[2] z) {
            m = Neg (x)
            z = If (c) <
               else_branch = e () => (float[2] r) {
                  r = If (c) <
                     else_branch = ee () => (q) { q = Add (x, y) },
                     then_branch = et () => (q) { q = Add (m, m) }>
               },
               then_branch = t () => (r) { r = Mul (y, x) }>
        }"#,
    );
    let (_, branch) = graph.nodes().nth(1).expect("two nodes");
    let names = branch
        .inputs
        .iter()
        .flatten()
        .map(|&id| graph.value_name(id));
    // The condition; what the else branch reads; what the then branch reads.
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["c", "c", "x", "y", "m", "y", "x"]
    );
    assert_eq!(branch.capture_count(), 6);
}

#[test]
fn captured_names_follow_the_value_outside() {
    let mut graph = parse(
        r#"<opset_import: ["" : 17]> g (bool c, float x) => (float z) {
            z = If (c) <else_branch = e () => (a) { a = Neg (x) },
                        then_branch = t () => (b) { b = Abs (x) }>
        }"#,
    )
    .expect("well written");
    let x = graph.find_value("x").expect("the input");
    let doubled = graph.add_value("b", None);
    let mut node = Node::new(ONNX, "Add");
    node.inputs = vec![Some(x), Some(x)];
    node.outputs = vec![Some(doubled)];
    graph.replace_uses(x, doubled);
    graph.add_node(node);
    let printed = print(&graph, PrintOptions::FULL).expect("no cycle");
    assert!(printed.contains("a = Neg (b)"), "{printed}");
    assert!(
        printed.contains("b_1 = Abs (b)"),
        "the name is taken outside: {printed}"
    );
    round_trip(&printed);
}

#[test]
fn functions_are_put_in_the_place_of_their_calls() {
    let graph = parse(
        r#"<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[N] x, float[N] k) => (float[N] y, float[N] same, float[N] w) {
            [first] y, same = local.twice <alpha = 0.5> (x, k)
            w, = local.twice (y)
        }
        <domain: "local", opset_import: ["" : 17, "local" : 1]>
        twice <alpha, beta: float = 0.25> (a, b) => (r, a) {
            t = local.leak <slope: float = @alpha, other: float = @beta> (a)
            r = Sum (t, t, b)
        }
        <domain: "local", opset_import: ["" : 17]>
        leak <slope: float = 0.125, other> (a) => (r) {
            h = LeakyRelu <alpha: float = @slope> (a)
            r = Elu <alpha: float = @other> (h)
        }"#,
    )
    .expect("well written");
    let expected = r#"<
   ir_version: 8,
   opset_import: ["" : 17]
>
g (float[N] x, float[N] k) => (float[N] y, float[N] same, float[N] w) {
   ["first/leak"] "first/leak/h" = LeakyRelu <alpha = 0.5> (x)
   ["first/leak"] "first/t" = Elu <alpha = 0.25> ("first/leak/h")
   [first] y = Sum ("first/t", "first/t", k)
   ["first/a"] same = Identity (x)
   ["twice/leak"] "twice/leak/h" = LeakyRelu <alpha = 0.125> (y)
   ["twice/leak"] "twice/t" = Elu <alpha = 0.25> ("twice/leak/h")
   [twice] w = Sum ("twice/t", "twice/t", "")
}
"#;
    assert_eq!(print(&graph, PrintOptions::FULL), Ok(expected.to_owned()));
    round_trip(expected);
}

#[test]
fn large_tensors_are_left_out() {
    let mut graph = parse(CLASSIFIER).expect("well written");
    graph.add_initializer("w", Tensor::vector(vec![0f32; 1000]));
    let printed = print(&graph, PrintOptions::default()).expect("no cycle");
    assert!(printed.contains("<float[1000] w = {...}>"), "{printed}");
    let error = parse(&printed)
        .expect_err("the elements are missing")
        .to_string();
    assert!(
        error.starts_with("line 6, column 21: the elements of this tensor"),
        "{error}"
    );
}

#[test]
fn mistakes_are_shown_with_their_place() {
    let cases = [
        (
            "",
            "line 1, column 1: expected a name, found the end of the text",
        ),
        (
            "g (float[N X) => () {}",
            "line 1, column 12: expected `]`, found `X)`",
        ),
        (
            "g () =>\n (float y) {\n y = Relu (x }",
            "line 3, column 14: expected `)`, found `}`",
        ),
        (
            "g () => () <seq(float) s> {}",
            "line 1, column 13: values of type `seq` are not supported",
        ),
        (
            "g () => () <float[2] w = {1, 2, 3}> {}",
            "line 1, column 26: shape [2] needs 2 elements, the data has 3",
        ),
        (
            "g () => () <int8 w = {200}> {}",
            "line 1, column 23: 200 does not fit into the element type",
        ),
        (
            "g () => () <float[-1] w> {}",
            "line 1, column 19: a dimension is negative",
        ),
        (
            "<oops: 1> g () => () {}",
            "line 1, column 2: `oops` is not a field of a model",
        ),
        (
            "g () => () { = \"x\"",
            "line 1, column 16: expected a name, found `\"x\"`",
        ),
        (
            "g () => () { y = A <a = []> () }",
            "line 1, column 25: an empty list needs its type, as in `axes: ints = []`",
        ),
        (
            "g () => () { y = A <a = [1, \"b\"]> () }",
            "line 1, column 25: the values of a list must be of one kind",
        ),
        (
            "g () => () { y = A <a = \"b> () }",
            "line 1, column 25: the string has no closing quote",
        ),
        (
            "g () => () <float[9999999999999, 9999999999999] w = {1}> {}",
            "line 1, column 53: shape [9999999999999, 9999999999999] has too many elements",
        ),
    ];
    for (text, expected) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn texts_that_are_no_graph_are_refused() {
    let cases = [
        (
            "(float x, float x) => () {}",
            "value `x` is defined more than once",
        ),
        (
            "() => (y) { y = Relu (x) }",
            "value `x` is used by `Relu node ``` but nothing produces it",
        ),
        (
            "() => (y) { y = Relu (z) z = Relu (y) }",
            "the graph has a cycle through node ``",
        ),
        (
            "(x) => (y) { y = Relu (x) y = Abs (x) }",
            "value `y` is defined more than once",
        ),
        (
            "(x) => (y) { x = Relu (x) y = Abs (x) }",
            "value `x` is defined more than once",
        ),
        (
            "(x) => (y) { }",
            "value `y` is used by `the graph's outputs` but nothing produces it",
        ),
        (
            "(x) => (y) { y = A <a = 1, a = 2> (x) }",
            "A node ``: attribute `a` is given twice",
        ),
        (
            "(x) => (y) { y = other.A (x) }",
            "nodes use operator set `other`, but the model imports no version of it; hint: add it to the model's opset_import",
        ),
        (
            "(x) => (y) { y = A:b (x) }",
            "function `.A:b` is called, but the model does not define it",
        ),
        (
            "(x) => (y) { y = F (x) } F (a) => (b) { b = F (a) }",
            "function `.F` calls itself",
        ),
        (
            "(x) => (y) { y = F (x, x) } F (a) => (b) { b = Abs (a) }",
            "function `.F` has 1 inputs and 1 outputs, but is called with 2 and 1",
        ),
        (
            "(x) => (y) { y = F (x) } F (a) => (b) { b = Abs (x) }",
            "value `x` is used by `Abs node ``` but nothing produces it",
        ),
        (
            "(x) => (y) { y = F (x) } <opset_import: [\"\" : 12]> F (a) => (b) { b = Abs (a) }",
            "function `.F` uses version 12 of operator set ``, the model version 17; hint: convert the model with onnx.version_converter",
        ),
        (
            "(x) => (y) { y = If (x) <b = s () => (r) { r = Relu (nowhere) }> }",
            "value `nowhere` is used by `Relu node ``` but nothing produces it",
        ),
    ];
    for (text, expected) in cases {
        let text = format!("<opset_import: [\"\" : 17]> g {text}");
        let error = parse(&text).expect_err(&text).to_string();
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let mut body = "r = Abs (x)".to_owned();
    for _ in 0..100 {
        body = format!("r = If (x) <b = s () => (r) {{ {body} }}>");
    }
    let error = parse(&format!("g (x) => (r) {{ {body} }}"))
        .expect_err("too deep")
        .to_string();
    assert!(
        error.ends_with("graphs are nested deeper than 64"),
        "{error}"
    );
}
