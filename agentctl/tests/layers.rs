//! No crate names a crate of a higher layer, or a sibling of its own.

use std::path::Path;

/// Folder, package and layer of every library.
const CRATES: [(&str, &str, u8); 10] = [
    ("primitives", "agent-primitives", 0),
    ("cmvk", "cmvk", 1),
    ("caas", "caas-core", 1),
    ("emk", "emk", 1),
    ("iatp", "inter-agent-trust-protocol", 2),
    ("amb", "amb-core", 2),
    ("atr", "agent-tool-registry", 2),
    ("control-plane", "agent-control-plane", 3),
    ("scak", "scak", 4),
    ("mute-agent", "mute-agent", 4),
];

#[test]
fn dependencies_point_downward_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (folder, package, layer) in CRATES {
        let manifest = std::fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{folder} should hold {package}");
        for name in dependencies(&manifest) {
            let Some((_, _, theirs)) = CRATES.iter().find(|(_, package, _)| *package == name) else {
                continue;
            };
            // Its own tests may ask for its features.
            let itself = name == package;
            assert!(
                itself || *theirs < layer,
                "`{package}` (layer {layer}) depends on `{name}` (layer {theirs})"
            );
        }
    }
}

/// The names under `[dependencies]` and its like, development dependencies included.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.contains("dependencies");
        } else if inside
            && let Some(name) = line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty())
        {
            names.push(name);
        }
    }
    names
}
