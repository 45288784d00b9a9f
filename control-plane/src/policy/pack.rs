//! Policies that are built in and addressed by name.

/// A built-in policy: its name and the rules it brings, as a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pack {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// Every pack there is.
pub(super) const PACKS: [Pack; 2] = [
    Pack { name: "default_deny", text: "rules: []\n" },
    Pack {
        name: "read_only",
        text: r#"
rules:
  - id: read_only.own-tree
    effect: allow
    calls: [read, open]
    paths: ["/**"]
"#,
    },
];
