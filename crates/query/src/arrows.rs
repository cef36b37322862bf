//! The modules of this crate form floors: each knows those below it only.

use std::path::Path;

/// From the ground up, as the crate's header tells them.
const FLOORS: [&str; 14] = [
    "error",
    "context",
    "types",
    "value",
    "calendar",
    "interval",
    "digest",
    "batch",
    "expr",
    "infer",
    "eval",
    "functions",
    "ops",
    "pb",
];

fn sources(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn arrows_point_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let floor = |name: &str| FLOORS.iter().position(|f| *f == name);
    let mut back = Vec::new();
    for path in files {
        let place = path.strip_prefix(&root).unwrap();
        let module = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        // Tests look at everything.
        let (Some(here), false) = (floor(module), path.ends_with("tests.rs")) else { continue };
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for part in line.split("crate::").skip(1) {
                let names = match part.strip_prefix('{') {
                    Some(list) => list.split([',', '}']).collect(),
                    None => vec![part],
                };
                for name in names {
                    let name = name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                    if floor(name).is_some_and(|there| there > here) {
                        back.push(format!("{} knows {name}", place.display()));
                    }
                }
            }
        }
    }
    assert_eq!(back, [""; 0], "arrows that point up");
}
