//! Changes of a JSON document that stay JSON.

use serde_json::Value;

/// Changes values of a document: four bytes choose the value and what becomes of it.
pub fn change(document: &mut Value, changes: &[u8]) {
    for [low, high, kind, data] in changes.as_chunks::<4>().0 {
        let count = count(document);
        let target = usize::from(u16::from_le_bytes([*low, *high])) % count.max(1);
        let donor = nth(document, usize::from(*data) * 7 % count.max(1)).map(|value| value.clone());
        let Some(value) = nth(document, target) else { continue };
        change_one(value, *kind, *data, donor);
    }
}

fn change_one(value: &mut Value, kind: u8, data: u8, donor: Option<Value>) {
    let number = value.as_u64();
    match kind % 12 {
        0 => *value = Value::Null,
        1 => *value = u64::from(data).into(),
        2 => *value = (1u64 << (data % 64)).into(),
        3 => *value = (1u64 << (data % 64)).wrapping_sub(1).into(),
        4 => *value = donor.unwrap_or_default(),
        5 => *value = number.unwrap_or(0).wrapping_add_signed(i64::from(data.cast_signed())).into(),
        6 => *value = u64::MAX.wrapping_sub(data.into()).into(),
        7 => *value = (-1 - i64::from(data)).into(),
        8 => change_text(value, data),
        9 => match value {
            Value::Array(items) if !items.is_empty() => {
                let item = items[usize::from(data) % items.len()].clone();
                items.push(item);
            }
            _ => *value = Value::Array(vec![]),
        },
        10 => match value {
            Value::Array(items) if !items.is_empty() => drop(items.remove(usize::from(data) % items.len())),
            Value::Object(fields) => {
                if let Some(name) = fields.keys().nth(usize::from(data) % fields.len().max(1)).cloned() {
                    fields.remove(&name);
                }
            }
            _ => *value = Value::Bool(data & 1 == 1),
        },
        _ => match value {
            Value::Object(fields) => {
                drop(fields.insert(format!("field{}", data % 4), donor.unwrap_or_default()))
            }
            _ => *value = f64::from(data).into(),
        },
    }
}

fn change_text(value: &mut Value, data: u8) {
    let Value::String(text) = value else {
        *value = "text".into();
        return;
    };
    match data % 6 {
        0 => text.clear(),
        1 => text.push_str("/../é"),
        2 => text.push(char::from(data)),
        3 => drop(text.pop()),
        4 => *text = text.repeat(2),
        _ => *text = text.to_uppercase(),
    }
}

fn children(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.iter_mut().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at a position in document order.
fn nth(value: &mut Value, position: usize) -> Option<&mut Value> {
    if position == 0 {
        return Some(value);
    }
    let mut left = position - 1;
    for child in children(value) {
        let size = count(child);
        if left < size {
            return nth(child, left);
        }
        left -= size;
    }
    None
}
