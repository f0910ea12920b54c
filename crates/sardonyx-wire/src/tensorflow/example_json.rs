//! The bodies of `:classify` and `:regress`.

use prost::bytes::Bytes;

use super::columns::type_name;
use super::predict::signature_name;
use crate::json::debug::excerpt;
use crate::json::fill::{decode_base64, is_base64_object};
use crate::json::scan::{self, Number, Scanner};
use crate::proto::serving::{ExampleList, ExampleListWithContext, Input, InputKind};
use crate::proto::tensorflow::{BytesList, Example, Feature, Features, FloatList, Int64List, Kind};
use crate::{Result, WireError};

/// A decoded body of `:classify` or `:regress`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExamplesBody {
    /// Name of the signature; empty when the body has none.
    pub signature_name: String,
    /// The examples.
    pub input: Input,
}

/// Decodes the body of `:classify` or `:regress`. Numbers with a point or an exponent are floats,
/// others and truth values are integers; the values of a feature are of one kind.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] with TensorFlow Serving's message.
pub fn decode_examples(body: &[u8]) -> Result<ExamplesBody> {
    let members = scan::members(body, ["signature_name", "context", "examples"])?;
    let wrong =
        |problem: &str| WireError::invalid(format!("JSON Value: {} {problem}", excerpt(body)));
    let [signature, context, examples] = members.ok_or_else(|| wrong("Is not object"))?;
    let signature_name = signature_name(signature).ok_or_else(|| {
        wrong("not formatted correctly. 'signature_name' key must be a string value.")
    })?;
    let context = context
        .map(|text| example(&mut Scanner::new(text)))
        .transpose()?;
    let examples = examples.ok_or_else(|| {
        wrong("When method is classify, key 'examples' is expected and was not found")
    })?;
    let mut scanner = Scanner::new(examples);
    if !scanner.eat(b'[') {
        return Err(wrong("Expecting 'examples' value to be an list/array"));
    }
    if scanner.eat(b']') {
        return Err(wrong("'examples' value is an empty array"));
    }
    let mut found = Vec::new();
    loop {
        found.push(example(&mut scanner)?);
        if !scanner.another_element()? {
            break;
        }
    }
    let kind = match context {
        None => InputKind::ExampleList(ExampleList { examples: found }),
        Some(context) => InputKind::ExampleListWithContext(ExampleListWithContext {
            examples: found,
            context: Some(context),
        }),
    };
    Ok(ExamplesBody {
        signature_name,
        input: Input { kind: Some(kind) },
    })
}

fn example(scanner: &mut Scanner<'_>) -> Result<Example> {
    let first = scanner.peek();
    if first != Some(b'{') {
        return Err(WireError::invalid(format!(
            "Example must be JSON object but got JSON {}",
            type_name(first.as_ref())
        )));
    }
    scanner.at += 1;
    let mut features = Features::default();
    let mut more = !scanner.eat(b'}');
    while more {
        let name = scanner.name()?;
        let name = String::from_utf8(name.into_owned())
            .map_err(|_| WireError::invalid("the name of a feature is not UTF-8 text"))?;
        let feature = feature(scanner, &name)?;
        features.feature.insert(name, feature);
        more = scanner.another_member()?;
    }
    Ok(Example {
        features: Some(features),
    })
}

fn feature(scanner: &mut Scanner<'_>, name: &str) -> Result<Feature> {
    let mut feature = Feature::default();
    if !scanner.eat(b'[') {
        add_value(scanner, name, &mut feature.kind)?;
        return Ok(feature);
    }
    let mut more = !scanner.eat(b']');
    while more {
        add_value(scanner, name, &mut feature.kind)?;
        more = scanner.another_element()?;
    }
    Ok(feature)
}

/// A value of a feature.
enum FeatureValue {
    Bytes(Bytes),
    Float(f32),
    Integer(i64),
}

fn add_value(scanner: &mut Scanner<'_>, name: &str, kind: &mut Option<Kind>) -> Result<()> {
    let value = value(scanner, name)?;
    let kind = kind.get_or_insert_with(|| match &value {
        FeatureValue::Bytes(_) => Kind::BytesList(BytesList::default()),
        FeatureValue::Float(_) => Kind::FloatList(FloatList::default()),
        FeatureValue::Integer(_) => Kind::Int64List(Int64List::default()),
    });
    let expected = match (kind, value) {
        (Kind::BytesList(list), FeatureValue::Bytes(value)) => {
            list.value.push(value);
            return Ok(());
        }
        (Kind::FloatList(list), FeatureValue::Float(value)) => {
            list.value.push(value);
            return Ok(());
        }
        (Kind::Int64List(list), FeatureValue::Integer(value)) => {
            list.value.push(value);
            return Ok(());
        }
        (Kind::BytesList(_), _) => "bytes",
        (Kind::FloatList(_), _) => "float",
        (Kind::Int64List(_), _) => "int64",
    };
    Err(WireError::invalid(format!(
        "Unexpected element type in feature: {name} expecting type: {expected}"
    )))
}

fn value(scanner: &mut Scanner<'_>, name: &str) -> Result<FeatureValue> {
    let first = scanner.peek();
    match first {
        Some(b't' | b'f') => {
            let value = i64::from(first == Some(b't'));
            scanner.pass_value()?;
            Ok(FeatureValue::Integer(value))
        }
        Some(b'"') => {
            let text = scanner.string()?.into_owned();
            Ok(FeatureValue::Bytes(text.into()))
        }
        Some(b'{') if is_base64_object(scanner.clone()) => {
            scanner.eat(b'{');
            scanner.name()?;
            scanner.peek();
            let text = scanner.string()?;
            scanner.eat(b'}');
            let bytes = decode_base64(&text);
            let bytes = bytes.ok_or_else(|| WireError::invalid("Unable to base64 decode"))?;
            Ok(FeatureValue::Bytes(bytes))
        }
        Some(b'-' | b'0'..=b'9' | b'N' | b'I') => number(scanner, name),
        _ => Err(WireError::invalid(format!(
            "Feature: {name} has element with unexpected JSON type: {}",
            type_name(first.as_ref())
        ))),
    }
}

fn number(scanner: &mut Scanner<'_>, name: &str) -> Result<FeatureValue> {
    let start = scanner.at;
    let decimal = match scanner.number()? {
        Number::Special(value) => return Ok(FeatureValue::Float(value as f32)),
        Number::Decimal(decimal) => decimal,
    };
    let text = &scanner.bytes[start..scanner.at];
    let Some(integer) = decimal.to_integer(text) else {
        let value = decimal.to_f32(text).unwrap_or(f32::INFINITY);
        return Ok(FeatureValue::Float(value));
    };
    match (i64::try_from(integer), u64::try_from(integer)) {
        (Ok(value), _) => Ok(FeatureValue::Integer(value)),
        (_, Ok(_)) => Err(WireError::invalid(format!(
            "Feature: {name} has uint64_t element. Only int64_t is supported."
        ))),
        // Past 64 bits an integer is a number like any other.
        _ => Ok(FeatureValue::Float(integer as f32)),
    }
}
