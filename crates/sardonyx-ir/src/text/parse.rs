//! Text to a model by names, by recursive descent.

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_tensor::{DType, Tensor};

use super::cursor::{Cursor, Literal, Result};
use super::tensor;
use super::types::{begins_type, dtype, is_float_word, is_unsupported};
use crate::named::{
    MAX_DEPTH, NamedAttr, NamedGraph, NamedModel, NamedNode, NamedTensor, NamedValue,
};
use crate::{Attr, Dim, Fact};

pub(super) struct Parser<'t> {
    pub(super) at: Cursor<'t>,
    depth: usize,
}

pub(super) fn model(text: &str) -> Result<NamedModel> {
    let mut parser = Parser {
        at: Cursor::new(text),
        depth: 0,
    };
    let mut model = NamedModel::default();
    if parser.at.eat("<") {
        parser.header(&mut model)?;
    }
    let name = parser.at.name()?;
    model.graph = parser.graph(name)?;
    while !parser.at.at_end() {
        model.functions.push(parser.function()?);
    }
    Ok(model)
}

impl Parser<'_> {
    fn header(&mut self, model: &mut NamedModel) -> Result<()> {
        loop {
            let start = self.at.clone();
            let key = self.at.identifier()?;
            self.at.expect(":")?;
            match key {
                "ir_version" => model.info.ir_version = Some(self.at.int()?),
                "opset_import" => model.opsets = self.opsets()?,
                "producer_name" | "producer_version" => drop(self.at.quoted()?),
                "domain" => model.info.domain = self.at.quoted()?,
                "model_version" => model.info.version = self.at.int()?,
                "doc_string" => model.info.doc = self.at.quoted()?,
                "metadata_props" => model.metadata = self.pairs(|at| at.quoted())?,
                other => return Err(start.error(format!("`{other}` is not a field of a model"))),
            }
            if !self.at.eat(",") {
                return self.at.expect(">");
            }
        }
    }

    pub(super) fn opsets(&mut self) -> Result<BTreeMap<String, i64>> {
        let opsets = self.pairs(|at| at.int())?;
        let renamed = |(domain, version)| match domain {
            domain if domain == "ai.onnx" => (String::new(), version),
            domain => (domain, version),
        };
        Ok(opsets.into_iter().map(renamed).collect())
    }

    /// `["key" : value, ...]`.
    fn pairs<T>(
        &mut self,
        value: impl Fn(&mut Cursor<'_>) -> Result<T>,
    ) -> Result<BTreeMap<String, T>> {
        let mut pairs = BTreeMap::new();
        self.at.expect("[")?;
        if self.at.eat("]") {
            return Ok(pairs);
        }
        loop {
            let start = self.at.clone();
            let key = self.at.quoted()?;
            self.at.expect(":")?;
            if pairs.insert(key.clone(), value(&mut self.at)?).is_some() {
                return Err(start.error(format!("`{key}` is given twice")));
            }
            if !self.at.eat(",") {
                self.at.expect("]")?;
                return Ok(pairs);
            }
        }
    }

    /// The rest of a graph whose name is read.
    fn graph(&mut self, name: String) -> Result<NamedGraph> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let problem = format!("graphs are nested deeper than {MAX_DEPTH}");
            return Err(self.at.error(problem));
        }
        let mut graph = NamedGraph {
            name,
            ..NamedGraph::default()
        };
        self.at.expect("(")?;
        self.values(")", &mut graph, |graph, value, tensor| {
            graph.inputs.push(value);
            graph.initializers.extend(tensor);
        })?;
        self.at.expect("=>")?;
        self.at.expect("(")?;
        self.values(")", &mut graph, |graph, value, _| graph.outputs.push(value))?;
        if self.at.eat("<") {
            self.values(">", &mut graph, |graph, value, tensor| match tensor {
                Some(tensor) => graph.initializers.push(tensor),
                None => graph.values.push(value),
            })?;
        }
        graph.nodes = self.nodes()?;
        self.depth -= 1;
        Ok(graph)
    }

    /// Values, some with a constant, up to `close`.
    pub(super) fn values(
        &mut self,
        close: &str,
        graph: &mut NamedGraph,
        mut put: impl FnMut(&mut NamedGraph, NamedValue, Option<NamedTensor>),
    ) -> Result<()> {
        if self.at.eat(close) {
            return Ok(());
        }
        loop {
            let start = self.at.clone();
            let fact = self.optional_type()?;
            let name = self.at.name()?;
            let fact = fact.map(|fact| fact.named(&name));
            let mut tensor = None;
            if self.at.eat("=") {
                let Some(fact) = &fact else {
                    return Err(start.error("a constant needs a type"));
                };
                tensor = Some(NamedTensor {
                    name: name.clone(),
                    tensor: Arc::new(self.elements(&start, fact)?),
                    doc: String::new(),
                    metadata: BTreeMap::new(),
                });
            }
            let value = NamedValue {
                name,
                fact,
                ..NamedValue::default()
            };
            put(graph, value, tensor);
            if !self.at.eat(",") {
                return self.at.expect(close);
            }
        }
    }

    /// The elements of a tensor of type `fact`; `start` is where that is written.
    fn elements(&mut self, start: &Cursor<'_>, fact: &Fact) -> Result<Tensor> {
        let Some(shape) = fact.fixed_shape() else {
            return Err(start.error("the shape of a constant must be numbers"));
        };
        if self.at.peek() == Some('[') {
            return Err(start.error("a constant in another file cannot be read from text"));
        }
        tensor::parse(&mut self.at, fact.dtype, shape)
    }

    /// A type, when the next word begins one.
    pub(super) fn optional_type(&mut self) -> Result<Option<Type>> {
        let start = self.at.clone();
        let word = self.at.peek_identifier();
        if is_unsupported(word) {
            return Err(start.error(format!("values of type `{word}` are not supported")));
        }
        let Some(dtype) = dtype(word) else {
            return Ok(None);
        };
        self.at.identifier()?;
        let mut shape = Some(Vec::new());
        if self.at.eat("[") {
            shape = self.dims()?;
        }
        Ok(Some(Type { dtype, shape }))
    }

    /// Dimensions up to `]`; `None` when there is none, which is how an unknown rank is written.
    fn dims(&mut self) -> Result<Option<Vec<Option<Dim>>>> {
        if self.at.eat("]") {
            return Ok(None);
        }
        let mut dims = Vec::new();
        loop {
            let start = self.at.clone();
            dims.push(if self.at.eat("?") {
                None
            } else if let Some(name) = self.at.optional_name()? {
                (!name.is_empty()).then(|| Dim::from_text(&name))
            } else {
                let number = usize::try_from(self.at.int()?);
                Some(
                    number
                        .map_err(|_| start.error("a dimension is negative"))?
                        .into(),
                )
            });
            if !self.at.eat(",") {
                self.at.expect("]")?;
                return Ok(Some(dims));
            }
        }
    }

    pub(super) fn nodes(&mut self) -> Result<Vec<NamedNode>> {
        let mut nodes = Vec::new();
        self.at.expect("{")?;
        while !self.at.eat("}") {
            nodes.push(self.node()?);
        }
        Ok(nodes)
    }

    fn node(&mut self) -> Result<NamedNode> {
        let mut node = NamedNode::default();
        if self.at.eat("[") {
            node.name = self.at.optional_name()?.unwrap_or_default();
            self.at.expect("]")?;
        }
        node.outputs = self.names("=")?;
        let mut path = vec![self.at.identifier()?];
        while self.at.eat(".") {
            path.push(self.at.identifier()?);
        }
        node.op_type = path.pop().unwrap_or_default().to_owned();
        node.domain = domain(&path.join("."));
        if self.at.eat(":") {
            node.overload = self.at.identifier()?.to_owned();
        }
        if self.at.eat("<") {
            node.attributes = self.attributes()?;
        }
        self.at.expect("(")?;
        node.inputs = self.names(")")?;
        if node.attributes.is_empty() && self.at.eat("<") {
            node.attributes = self.attributes()?;
        }
        Ok(node)
    }

    /// Names up to `close`, where nothing between two commas is an empty name.
    fn names(&mut self, close: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        if self.at.eat(close) {
            return Ok(names);
        }
        loop {
            let name = self.at.optional_name()?;
            if name.is_none() && self.at.eat(close) {
                return Ok(names);
            }
            names.push(name.unwrap_or_default());
            if !self.at.eat(",") {
                self.at.expect(close)?;
                return Ok(names);
            }
        }
    }

    fn attributes(&mut self) -> Result<Vec<(String, NamedAttr)>> {
        let mut attributes = Vec::new();
        loop {
            let name = self.at.name()?;
            attributes.push((name, self.attribute()?));
            if !self.at.eat(",") {
                self.at.expect(">")?;
                return Ok(attributes);
            }
        }
    }

    /// The rest of an attribute whose name is read.
    pub(super) fn attribute(&mut self) -> Result<NamedAttr> {
        let mut kind = "";
        if self.at.eat(":") {
            kind = self.at.identifier()?;
        }
        self.at.expect("=")?;
        let start = self.at.clone();
        if !self.at.eat("[") {
            let value = self.single()?;
            return match (kind, value) {
                ("float", NamedAttr::Plain(Attr::Int(value))) => {
                    Ok(NamedAttr::Plain(Attr::Float(value as f32)))
                }
                (_, value) => Ok(value),
            };
        }
        let mut values = Vec::new();
        if !self.at.eat("]") {
            loop {
                values.push(self.single()?);
                if !self.at.eat(",") {
                    break;
                }
            }
            self.at.expect("]")?;
        }
        list(values, kind).map_err(|problem| start.error(problem))
    }

    fn single(&mut self) -> Result<NamedAttr> {
        if self.at.eat("@") {
            return Ok(NamedAttr::Reference(self.at.name()?));
        }
        let start = self.at.clone();
        let word = self.at.peek_identifier();
        if begins_type(word) {
            return self.tensor_or_type(&start);
        }
        if !word.is_empty() && !is_float_word(word) {
            let name = self.at.name()?;
            return self.graph(name).map(NamedAttr::Graph);
        }
        Ok(NamedAttr::Plain(match self.at.literal()? {
            Literal::Int(digits) => Attr::Int(
                digits
                    .parse()
                    .map_err(|_| start.error(format!("{digits} does not fit into 64 bits")))?,
            ),
            Literal::Float(_, value) => Attr::Float(value),
            Literal::Text(name) if self.at.peek() == Some('(') => {
                return self.graph(name).map(NamedAttr::Graph);
            }
            Literal::Text(text) => Attr::String(text.into_bytes()),
        }))
    }

    /// `float[2] {1,2}` or `float[2]`.
    fn tensor_or_type(&mut self, start: &Cursor<'_>) -> Result<NamedAttr> {
        let Some(fact) = self.optional_type()? else {
            return Err(start.error("expected a type"));
        };
        let fact = fact.named("");
        let named = self.at.optional_name()?.is_some();
        if self.at.eat("=") || named || self.at.peek() == Some('{') {
            let tensor = self.elements(start, &fact)?;
            return Ok(NamedAttr::Plain(tensor.into()));
        }
        Ok(NamedAttr::Plain(Attr::Type(fact)))
    }
}

/// A type before it is known whose it is: unknown dimensions are named after their owner.
pub(super) struct Type {
    dtype: DType,
    shape: Option<Vec<Option<Dim>>>,
}

impl Type {
    fn named(self, owner: &str) -> Fact {
        let dims = self.shape.map(|dims| {
            let numbered = dims.into_iter().enumerate();
            numbered
                .map(|(axis, dim)| dim.unwrap_or_else(|| Dim::unknown(owner, axis)))
                .collect()
        });
        Fact {
            dtype: self.dtype,
            shape: dims,
        }
    }
}

/// The standard domain has two names.
pub(super) fn domain(name: &str) -> String {
    if name == "ai.onnx" {
        String::new()
    } else {
        name.to_owned()
    }
}

/// Values of one kind as a list; `kind` decides when there is none.
fn list(values: Vec<NamedAttr>, kind: &str) -> std::result::Result<NamedAttr, String> {
    let mixed = || "the values of a list must be of one kind".to_owned();
    macro_rules! collect {
        ($list:ident, $single:ident) => {{
            let values = values.into_iter().map(|value| match value {
                NamedAttr::Plain(Attr::$single(value)) => Ok(value),
                _ => Err(mixed()),
            });
            Ok(NamedAttr::Plain(Attr::$list(
                values.collect::<Result<_, _>>()?,
            )))
        }};
    }
    use std::result::Result;
    match (values.first(), kind) {
        (Some(NamedAttr::Plain(Attr::Int(_))), "floats")
        | (Some(NamedAttr::Plain(Attr::Float(_))), _) => {
            let values = values.into_iter().map(|value| match value {
                NamedAttr::Plain(Attr::Float(value)) => Ok(value),
                NamedAttr::Plain(Attr::Int(value)) => Ok(value as f32),
                _ => Err(mixed()),
            });
            let values = values.collect::<Result<_, _>>()?;
            Ok(NamedAttr::Plain(Attr::Floats(values)))
        }
        (None, "floats") => Ok(NamedAttr::Plain(Attr::Floats(Vec::new()))),
        (Some(NamedAttr::Plain(Attr::Int(_))), _) | (None, "ints") => collect!(Ints, Int),
        (Some(NamedAttr::Plain(Attr::String(_))), _) | (None, "strings") => {
            collect!(Strings, String)
        }
        (Some(NamedAttr::Plain(Attr::Tensor(_))), _) | (None, "tensors") => {
            collect!(Tensors, Tensor)
        }
        (Some(NamedAttr::Graph(_)), _) | (None, "graphs") => {
            let graphs = values.into_iter().map(|value| match value {
                NamedAttr::Graph(graph) => Ok(graph),
                _ => Err(mixed()),
            });
            Ok(NamedAttr::Graphs(graphs.collect::<Result<_, _>>()?))
        }
        (None, "") => Err("an empty list needs its type, as in `axes: ints = []`".to_owned()),
        _ => Err("a list of such values is not supported".to_owned()),
    }
}
