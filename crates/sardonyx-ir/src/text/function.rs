//! Functions after a model's graph.

use super::cursor::Result;
use super::parse::{Parser, domain};
use crate::named::{NamedAttr, NamedFunction, NamedGraph};

impl Parser<'_> {
    /// A function.
    pub(super) fn function(&mut self) -> Result<NamedFunction> {
        let mut function = NamedFunction::default();
        if self.at.eat("<") {
            loop {
                let start = self.at.clone();
                let key = self.at.identifier()?;
                self.at.expect(":")?;
                match key {
                    "opset_import" => function.opsets = self.opsets()?,
                    "domain" => function.domain = domain(&self.at.quoted()?),
                    "overload" => function.overload = self.at.quoted()?,
                    "doc_string" => drop(self.at.quoted()?),
                    other => {
                        let problem = format!("`{other}` is not a field of a function");
                        return Err(start.error(problem));
                    }
                }
                if !self.at.eat(",") {
                    break;
                }
            }
            self.at.expect(">")?;
        }
        function.name = self.at.name()?;
        if self.at.eat("<") {
            function.defaults = self.parameters()?;
        }
        function.inputs = self.signature()?;
        self.at.expect("=>")?;
        function.outputs = self.signature()?;
        if self.at.eat("<") {
            // What is known of values of the body; inference finds it again.
            self.values(">", &mut NamedGraph::default(), |_, _, _| ())?;
        }
        function.nodes = self.nodes()?;
        Ok(function)
    }

    /// A function's attributes: those with a default are kept, the others need no mention.
    fn parameters(&mut self) -> Result<Vec<(String, NamedAttr)>> {
        let mut defaults = Vec::new();
        loop {
            let name = self.at.name()?;
            if matches!(self.at.peek(), Some(':' | '=')) {
                defaults.push((name, self.attribute()?));
            }
            if !self.at.eat(",") {
                self.at.expect(">")?;
                return Ok(defaults);
            }
        }
    }

    /// Names of a function's inputs or outputs, whose types are not needed.
    fn signature(&mut self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.at.expect("(")?;
        if self.at.eat(")") {
            return Ok(names);
        }
        loop {
            self.optional_type()?;
            names.push(self.at.name()?);
            if !self.at.eat(",") {
                self.at.expect(")")?;
                return Ok(names);
            }
        }
    }
}
