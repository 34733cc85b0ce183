//! docs/openapi.json, and exchanges held against it.

use crate::lab::json_schema::judge;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

/// The description.
pub fn description() -> &'static Value {
    static TEXT: OnceLock<Value> = OnceLock::new();
    TEXT.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    })
}

/// The part of the description for a path, where there is one.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        let (a, b): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| *a == b || a.starts_with('{'))
    };
    let paths = description()["paths"].as_object().unwrap();
    // A name that is written out comes before one that stands for any.
    let found =
        paths.iter().filter(|(template, _)| fits(template)).min_by_key(|(t, _)| t.matches('{').count());
    found.and_then(|(_, methods)| methods.get(method.as_str().to_lowercase()))
}

fn fits(what: &str, value: &Value, schema: &Value) {
    if let Err(wrong) = judge(value, schema, description(), &mut BTreeSet::new()) {
        panic!("{what} is not as docs/openapi.json has it: {wrong}\n{value:#}");
    }
}

/// Holds one exchange against the description. A body that is refused may be anything.
pub fn hold(
    method: &Method,
    path: &str,
    said: Option<&Value>,
    status: u16,
    content_type: &str,
    answer: &Value,
) {
    let Some(operation) = operation(method, path) else {
        assert!(matches!(status, 404 | 405), "{method} {path} is not described");
        return;
    };
    if status < 300 {
        match (said, operation.pointer("/requestBody/content/application~1json/schema")) {
            (Some(said), Some(schema)) => fits(&format!("{method} {path}"), said, schema),
            (None, None) => {}
            _ => panic!("{method} {path}: a body where none is described, or none where one is"),
        }
    }
    let exact = status.to_string();
    let described = &operation["responses"];
    let response = described.get(&exact).or_else(|| described.get("default"));
    let response = response.unwrap_or_else(|| panic!("{method} {path} is not described to answer {status}"));
    let response = match response.get("$ref").and_then(Value::as_str) {
        Some(reference) => description().pointer(reference.trim_start_matches('#')).unwrap(),
        None => response,
    };
    let expected =
        response.get("content").and_then(Value::as_object).and_then(|content| content.iter().next());
    match expected {
        Some((kind, _)) if !content_type.starts_with(kind) => {
            panic!("{method} {path} answers {status} with {content_type}, not {kind}")
        }
        Some((kind, content)) if kind.contains("json") => {
            fits(&format!("{method} {path} -> {status}"), answer, &content["schema"]);
        }
        _ => {}
    }
}
