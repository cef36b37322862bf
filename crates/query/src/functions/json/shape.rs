//! How deep and how large a document is, and how it looks on several lines.

use codec::json::Json;

/// 1 for a scalar and for what is empty.
pub(super) fn depth(j: &Json) -> i64 {
    match j {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.iter().map(|(_, j)| depth(j)).max().unwrap_or(0),
        _ => 1,
    }
}

/// One element on a line, two spaces deeper than its container.
pub(super) fn pretty(j: &Json) -> String {
    let mut out = String::new();
    write_pretty(j, 0, &mut out);
    out
}

fn write_pretty(j: &Json, indent: usize, out: &mut String) {
    let line = |out: &mut String, indent: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(indent));
    };
    match j {
        Json::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, j) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(out, indent + 1);
                write_pretty(j, indent + 1, out);
            }
            line(out, indent);
            out.push(']');
        }
        Json::Object(members) if !members.is_empty() => {
            out.push('{');
            for (i, (name, j)) in members.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(out, indent + 1);
                out.push_str(&Json::String(name.clone()).to_string());
                out.push_str(": ");
                write_pretty(j, indent + 1, out);
            }
            line(out, indent);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Bytes of MySQL's binary form: a type byte and the value.
pub(super) fn storage_size(j: &Json) -> usize {
    1 + match j {
        Json::Null | Json::Bool(_) => 1,
        Json::Int(n) if i16::try_from(*n).is_ok() => 2,
        Json::UInt(n) if u16::try_from(*n).is_ok() => 2,
        other => body_size(other),
    }
}

/// Of a value that is not kept in its entry.
fn body_size(j: &Json) -> usize {
    match j {
        Json::Null | Json::Bool(_) => 0,
        Json::Int(n) if i32::try_from(*n).is_ok() => 4,
        Json::UInt(n) if u32::try_from(*n).is_ok() => 4,
        Json::Int(_) | Json::UInt(_) | Json::Float(_) => 8,
        Json::String(s) => {
            // The length in groups of seven bits.
            let bits = usize::BITS - s.len().max(1).leading_zeros();
            bits.div_ceil(7) as usize + s.len()
        }
        Json::Array(items) => container_size(items.len(), 0, &mut items.iter()),
        Json::Object(members) => {
            let names = members.iter().map(|(name, _)| name.len()).sum::<usize>();
            container_size(members.len(), members.len().max(1) + names, &mut members.iter().map(|(_, j)| j))
        }
    }
}

/// `keys` is 0 for arrays, else the bytes of all names and one for each. Offsets take two bytes while all fits in 64 KiB, else four.
fn container_size(count: usize, keys: usize, values: &mut dyn Iterator<Item = &Json>) -> usize {
    let values: Vec<&Json> = values.collect();
    let (is_object, names) = (keys > 0, keys.saturating_sub(count.max(1)));
    let size = |wide: bool| {
        let (header, key, entry) = if wide { (8, 6, 5) } else { (4, 4, 3) };
        let inline = |j: &Json| match j {
            Json::Null | Json::Bool(_) => true,
            Json::Int(n) => i16::try_from(*n).is_ok() || wide && i32::try_from(*n).is_ok(),
            Json::UInt(n) => u16::try_from(*n).is_ok() || wide && u32::try_from(*n).is_ok(),
            _ => false,
        };
        let bodies: usize = values.iter().filter(|j| !inline(j)).map(|j| body_size(j)).sum();
        header + if is_object { count * key } else { 0 } + count * entry + names + bodies
    };
    match size(false) {
        small if small <= usize::from(u16::MAX) => small,
        _ => size(true),
    }
}
