//! Calls between the functions of a model: none may lead back to itself, and inlining them all
//! must not multiply the model.

use std::collections::BTreeMap;

use crate::error::{OnnxError, Result, shortened};
use crate::limits::{MAX_CALL_DEPTH, MAX_INLINED_NODES};
use crate::proto::{FunctionProto, GraphProto, ModelProto, NodeProto};

/// Domain, name and overload: what tells functions apart.
type Identity<'a> = (&'a str, &'a str, &'a str);

/// What one body asks for: nodes of its own, subgraphs included, and calls of each function.
#[derive(Debug, Default)]
struct Body {
    nodes: u64,
    calls: BTreeMap<usize, u64>,
}

/// What a body amounts to once everything in it is inlined.
#[derive(Debug, Clone, Copy)]
struct Inlined {
    nodes: u64,
    depth: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Unseen,
    Open,
    Done(Inlined),
}

/// Checks the functions of a model and the calls to them. Graphs must have been checked for depth.
///
/// # Errors
/// When two functions have one identity, one calls itself through whatever chain, or the model
/// with its functions inlined is over a limit.
pub(crate) fn check(model: &ModelProto) -> Result<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let index = index(&model.functions)?;
    let bodies: Vec<Body> = model
        .functions
        .iter()
        .map(|function| body([function.node.as_slice()], &index))
        .collect();
    let mut states = vec![State::Unseen; bodies.len()];
    for start in 0..bodies.len() {
        settle(start, &bodies, &mut states, &model.functions)?;
    }
    let training = model
        .training_info
        .iter()
        .flat_map(|info| [&info.initialization, &info.algorithm]);
    let graphs = training.chain([&model.graph]).flatten();
    let main = body(graphs.map(|graph| graph.node.as_slice()), &index);
    inline(&main, &states).map(|_| ())
}

fn index(functions: &[FunctionProto]) -> Result<BTreeMap<Identity<'_>, usize>> {
    let mut index = BTreeMap::new();
    for (number, function) in functions.iter().enumerate() {
        let identity = identity(function.domain(), function.name(), function.overload());
        if index.insert(identity, number).is_some() {
            return Err(OnnxError::DuplicateFunction(title(function)));
        }
    }
    Ok(index)
}

fn identity<'a>(domain: &'a str, name: &'a str, overload: &'a str) -> Identity<'a> {
    // The two spellings of ONNX's own domain mean the same.
    let domain = if domain == "ai.onnx" { "" } else { domain };
    (domain, name, overload)
}

fn title(function: &FunctionProto) -> String {
    let parts = [function.domain(), function.name(), function.overload()];
    let parts: Vec<String> = parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| shortened(part))
        .collect();
    format!("{:?}", parts.join("::"))
}

/// Counts the nodes and calls in lists of nodes and the subgraphs of their attributes.
fn body<'a>(
    lists: impl IntoIterator<Item = &'a [NodeProto]>,
    index: &BTreeMap<Identity<'_>, usize>,
) -> Body {
    let mut body = Body::default();
    let mut pending: Vec<&[NodeProto]> = lists.into_iter().collect();
    while let Some(nodes) = pending.pop() {
        body.nodes += nodes.len() as u64;
        for node in nodes {
            let identity = identity(node.domain(), node.op_type(), node.overload());
            if let Some(&callee) = index.get(&identity) {
                *body.calls.entry(callee).or_default() += 1;
            }
            pending.extend(subgraphs(node).map(|graph| graph.node.as_slice()));
        }
    }
    body
}

fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Settles a function after everything that it calls, without recursion of our own.
fn settle(
    start: usize,
    bodies: &[Body],
    states: &mut [State],
    functions: &[FunctionProto],
) -> Result<()> {
    let mut stack = vec![start];
    while let Some(&function) = stack.last() {
        if let State::Done(_) = states[function] {
            stack.pop();
            continue;
        }
        states[function] = State::Open;
        let mut ready = true;
        for &callee in bodies[function].calls.keys() {
            match states[callee] {
                State::Done(_) => {}
                State::Open => {
                    return Err(OnnxError::RecursiveFunction(title(&functions[callee])));
                }
                State::Unseen => {
                    stack.push(callee);
                    ready = false;
                    break;
                }
            }
        }
        if ready {
            states[function] = State::Done(inline(&bodies[function], states)?);
            stack.pop();
        }
    }
    Ok(())
}

/// Size and depth of a body whose callees are settled.
fn inline(body: &Body, states: &[State]) -> Result<Inlined> {
    let mut nodes = body.nodes;
    let mut depth = 1;
    for (&callee, &times) in &body.calls {
        let State::Done(inlined) = states[callee] else {
            unreachable!("callees are settled before their callers")
        };
        nodes = nodes.saturating_add(inlined.nodes.saturating_mul(times));
        depth = depth.max(inlined.depth + 1);
    }
    if nodes > MAX_INLINED_NODES {
        return Err(OnnxError::TooManyNodes {
            max: MAX_INLINED_NODES,
        });
    }
    if depth > MAX_CALL_DEPTH + 1 {
        return Err(OnnxError::TooDeep {
            what: "function calls",
            max: MAX_CALL_DEPTH,
        });
    }
    Ok(Inlined { nodes, depth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::AttributeProto;

    fn call(name: &str) -> NodeProto {
        NodeProto {
            op_type: Some(name.to_owned()),
            domain: Some("local".to_owned()),
            ..Default::default()
        }
    }

    fn function(name: &str, calls: &[&str]) -> FunctionProto {
        FunctionProto {
            name: Some(name.to_owned()),
            domain: Some("local".to_owned()),
            node: calls.iter().map(|name| call(name)).collect(),
            ..Default::default()
        }
    }

    fn check_functions(functions: Vec<FunctionProto>) -> String {
        let model = ModelProto {
            functions,
            ..Default::default()
        };
        match check(&model) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn chain(len: usize, calls: usize) -> Vec<FunctionProto> {
        (0..len)
            .map(|i| {
                let next = format!("f{}", i + 1);
                function(&format!("f{i}"), &vec![next.as_str(); calls])
            })
            .collect()
    }

    #[test]
    fn cycles_are_found_at_any_length() {
        assert_eq!(
            check_functions(vec![function("f", &["f"])]),
            "function \"local::f\" calls itself"
        );
        let mut ring = chain(10, 1);
        assert_eq!(check_functions(ring.clone()), "ok");
        ring.push(function("f10", &["f3"]));
        assert!(check_functions(ring).ends_with("calls itself"));
    }

    #[test]
    fn a_cycle_through_a_subgraph_is_found() {
        let graph = GraphProto {
            node: vec![call("f")],
            ..Default::default()
        };
        let branch = NodeProto {
            op_type: Some("If".to_owned()),
            attribute: vec![AttributeProto {
                g: Some(Box::new(graph)),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut function = function("f", &[]);
        function.node.push(branch);
        assert!(check_functions(vec![function]).ends_with("calls itself"));
    }

    #[test]
    fn a_shared_callee_is_no_cycle() {
        let diamond = vec![
            function("a", &["b", "c"]),
            function("b", &["d"]),
            function("c", &["d"]),
            function("d", &[]),
        ];
        assert_eq!(check_functions(diamond), "ok");
    }

    #[test]
    fn bodies_must_not_multiply() {
        assert!(check_functions(chain(60, 2)).contains("once its functions are inlined"));
        assert_eq!(check_functions(chain(20, 2)), "ok");
    }

    #[test]
    fn chains_have_a_limit() {
        assert_eq!(check_functions(chain(MAX_CALL_DEPTH, 1)), "ok");
        let error = check_functions(chain(MAX_CALL_DEPTH + 2, 1));
        assert_eq!(error, "function calls are nested deeper than 64");
    }

    #[test]
    fn overloads_and_domains_tell_functions_apart() {
        let mut other = function("f", &[]);
        other.overload = Some("double".to_owned());
        assert_eq!(
            check_functions(vec![function("f", &[]), other.clone()]),
            "ok"
        );
        let error = check_functions(vec![other.clone(), other]);
        assert_eq!(error, "two functions are named \"local::f::double\"");
        let mut twins = vec![function("g", &[]), function("g", &[])];
        twins[0].domain = Some("ai.onnx".to_owned());
        twins[1].domain = None;
        assert!(check_functions(twins).starts_with("two functions are named"));
    }
}
