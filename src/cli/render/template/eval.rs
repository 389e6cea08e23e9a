//! [`Node`]s and a value → text.

use serde_json::Value;

use super::call::{call, show, truth};
use super::{Base, Node, Operand, Pipeline, TemplateError};

/// Fills nodes in.
pub(super) fn render(nodes: &[Node], data: &Value) -> Result<String, TemplateError> {
    let mut scope = Scope { variables: vec![("$".to_owned(), data.clone())], out: String::new() };
    scope.nodes(nodes, data)?;
    Ok(scope.out)
}

struct Scope {
    /// Inner ones last; a block drops its own at its end.
    variables: Vec<(String, Value)>,
    out: String,
}

impl Scope {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.sets.is_none() {
                    self.out.push_str(&show(&value));
                }
            }
            Node::Choice { rebind, condition, body, otherwise } => {
                let value = self.pipeline(condition, dot)?;
                match (truth(&value), rebind) {
                    (true, true) => self.nodes(body, &value)?,
                    (true, false) => self.nodes(body, dot)?,
                    (false, _) => self.nodes(otherwise, dot)?,
                }
            }
            Node::Range { names, over, body, otherwise } => {
                let items: Vec<(Value, Value)> = match self.pipeline(over, dot)? {
                    Value::Array(items) => {
                        items.into_iter().enumerate().map(|(at, item)| (Value::from(at), item)).collect()
                    }
                    Value::Object(fields) => {
                        fields.into_iter().map(|(key, value)| (Value::String(key), value)).collect()
                    }
                    Value::Null => Vec::new(),
                    other => return Err(TemplateError::new(format!("range can't iterate over {}", show(&other)))),
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (key, item) in items {
                    let outer = self.variables.len();
                    match names.as_slice() {
                        [] => {}
                        [value] => self.variables.push((value.clone(), item.clone())),
                        [key_name, value, ..] => {
                            self.variables.push((key_name.clone(), key));
                            self.variables.push((value.clone(), item.clone()));
                        }
                    }
                    self.nodes(body, &item)?;
                    self.variables.truncate(outer);
                }
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut piped: Option<Value> = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, dot, piped)?);
        }
        let value = piped.unwrap_or(Value::Null);
        if let Some(name) = &pipeline.sets {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    fn command(&mut self, operands: &[Operand], dot: &Value, piped: Option<Value>) -> Result<Value, TemplateError> {
        let Some((first, rest)) = operands.split_first() else { return Err(TemplateError::new("missing value")) };
        let mut arguments = rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        match first {
            Operand::Function(name) => call(name, &arguments),
            // docker's containers have one method: the value of a label.
            Operand::Path(Base::Dot, fields) if fields == &["Label"] && arguments.len() == 1 => {
                Ok(Value::String(label(dot, &show(&arguments[0]))))
            }
            other if arguments.is_empty() => self.operand(other, dot),
            _ => Err(TemplateError::new("what is no function cannot be called with arguments")),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Function(name) => call(name, &[]),
            Operand::Path(base, fields) => {
                let base = match base {
                    Base::Dot => dot.clone(),
                    Base::Group(pipeline) => self.pipeline(pipeline, dot)?,
                    Base::Variable(name) => {
                        let found = self.variables.iter().rev().find(|(known, _)| known == name);
                        found
                            .map(|(_, value)| value.clone())
                            .ok_or_else(|| TemplateError::new(format!("undefined variable {name:?}")))?
                    }
                };
                descend(base, fields)
            }
        }
    }
}

fn descend(base: Value, fields: &[String]) -> Result<Value, TemplateError> {
    let mut value = base;
    for (depth, field) in fields.iter().enumerate() {
        let path = || fields[..depth].join(".");
        value = match value {
            Value::Object(mut map) => map.remove(field).ok_or_else(|| {
                TemplateError::new(format!("executing at <.{}>: map has no entry for key {field:?}", fields.join(".")))
            })?,
            Value::Null => return Err(TemplateError::new(format!("{} is nil and has no field {field}", path()))),
            _ => return Err(TemplateError::new(format!("{} is no object and has no field {field}", path()))),
        };
    }
    Ok(value)
}

/// A label out of a container's `Labels`, `a=1,b=2`.
fn label(dot: &Value, name: &str) -> String {
    let labels = dot.get("Labels").and_then(Value::as_str).unwrap_or_default();
    let found = labels.split(',').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}
