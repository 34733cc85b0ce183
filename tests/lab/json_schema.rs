//! A JSON value held against a JSON schema.

use serde_json::Value;
use std::collections::BTreeSet;

/// Judges a value by a schema; knows the words that our schema uses and fails on any other. Adds the keys it
/// meets to `met`.
pub fn judge(value: &Value, schema: &Value, root: &Value, met: &mut BTreeSet<String>) -> Result<(), String> {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            root.pointer(reference.trim_start_matches('#')).ok_or(format!("{reference} is nowhere"))?
        }
        None => schema,
    };
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "description" | "title" | "$schema" | "$id" | "$defs" | "pattern" | "$ref" => true,
            "type" => is_of_type(value, rule),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_u64().is_none_or(|number| number >= rule.as_u64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|number| number <= rule.as_u64().unwrap()),
            "minItems" | "maxItems" => {
                Some(value.as_array().unwrap().len())
                    == rule.as_u64().map(|count| usize::try_from(count).unwrap())
            }
            "additionalProperties" => rule == false,
            "required" => rule.as_array().unwrap().iter().all(|k| value.get(k.as_str().unwrap()).is_some()),
            "items" => {
                for item in value.as_array().unwrap() {
                    judge(item, rule, root, met)?;
                }
                true
            }
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|schema| {
                    let mut inner = BTreeSet::new();
                    let fits = judge(value, schema, root, &mut inner).is_ok();
                    met.extend(inner.into_iter().filter(|_| fits));
                    fits
                });
                fitting.count() == 1
            }
            "properties" => {
                for (key, inner) in value.as_object().ok_or("not an object")? {
                    let rule = rule.get(key).ok_or(format!("the schema has no {key}"))?;
                    judge(inner, rule, root, met)?;
                    met.insert(key.clone());
                }
                true
            }
            other => return Err(format!("the schema has the unknown word {other}")),
        };
        if !fits {
            return Err(format!("{value} does not keep to {word} {rule}"));
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, rule: &Value) -> bool {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    rule == name || rule.as_array().is_some_and(|names| names.iter().any(|n| n == name))
}
