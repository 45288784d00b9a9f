//! Policies that are built in and addressed by name.

/// A built-in policy: its name and the rules it brings, as a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pack {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// Every pack there is.
pub(super) const PACKS: [Pack; 5] = [
    Pack { name: "default_deny", text: "rules: []\n" },
    Pack {
        name: "read_only",
        text: r#"
rules:
  - id: read_only.own-tree
    effect: allow
    calls: [read, open]
    paths: ["/**"]
  - { id: read_only.tools, effect: allow, calls: [exec], tools: ["*"], when: { effects: { only: [read] } } }
  - { id: read_only.descendants, effect: allow, calls: [signal], targets: ["@descendants"] }
"#,
    },
    Pack {
        name: "audit",
        text: r#"
rules:
  - { id: audit.tools, effect: allow, calls: [exec], tools: ["*"] }
  - { id: audit.own-tree, effect: allow, calls: [read, write, open], paths: ["/**"] }
  - { id: audit.descendants, effect: allow, calls: [signal], targets: ["@descendants"] }
  - { id: audit.snapshots, effect: allow, calls: [signal], targets: ["@self"], signals: [SIGUSR1, SIGUSR2] }
"#,
    },
    Pack {
        name: "no_pii",
        text: r#"
rules:
  - id: no_pii.arguments
    effect: deny
    on_violation: deny
    calls: [exec]
    tools: ["*"]
    when: { args: { sensitive: [card, iban, ssn, phone, api_key, jwt, private_key, credential] } }
"#,
    },
    Pack {
        name: "strict",
        text: r#"
rules:
  - { id: strict.tools, effect: allow, calls: [exec], tools: ["*"] }
  - { id: strict.own-tree, effect: allow, calls: [read, write, open], paths: ["/**"] }
  - { id: strict.descendants, effect: allow, calls: [signal], targets: ["@descendants"] }
  - { id: strict.snapshots, effect: allow, calls: [signal], targets: ["@self"], signals: [SIGUSR1, SIGUSR2] }
  - { id: strict.sql, effect: deny, on_violation: deny, calls: [exec], tools: ["*"], when: { args: { hazard: [sql] } } }
  - { id: strict.shell, effect: deny, on_violation: deny, calls: [exec], tools: ["*"], when: { args: { hazard: [shell, code] } } }
  - { id: strict.files, effect: deny, on_violation: deny, calls: [exec], tools: ["*"], when: { args: { hazard: [path] } } }
  - { id: strict.addresses, effect: deny, on_violation: deny, calls: [exec], tools: ["*"], when: { args: { hazard: [url] } } }
  - { id: strict.orders, effect: deny, on_violation: deny, calls: [exec], tools: ["*"], when: { args: { hazard: [orders] } } }
  - id: strict.secrets
    effect: deny
    on_violation: deny
    calls: [exec]
    tools: ["*"]
    when: { args: { sensitive: [card, ssn, api_key, private_key] } }
  - id: strict.deletion
    effect: deny
    on_violation: deny
    calls: [exec]
    tools:
      - "*{delete,Delete,DELETE,destroy,Destroy,erase,Erase,wipe,Wipe,purge,Purge,unlink,Unlink,rmdir,truncate,Truncate}*"
      - "{drop,Drop,remove,Remove}{_,-,.,F,T,D,U,A}*"
      - "*{_,-,.,/}{drop,remove}{_,-,.}*"
      - "*{_,-,.,/}{drop,remove}"
"#,
    },
];
