//! What must hold for any input. The fuzz targets and `tests/laws.rs` run the same functions.

use std::ops::ControlFlow;

use agent_primitives::detect::{KindSet, find, injection, scan};
use agent_primitives::json::{self, Limits as JsonLimits};
use agent_primitives::redact::{REDACTED, redact, redact_text};
use agent_primitives::text::{Form, Limits, each_view, fold, skeleton};

/// Redacting twice is redacting once, and nothing grows by more than ten bytes a match.
pub(crate) fn redacting(text: &str) {
    let once = redact_text(text);
    assert!(once.len() <= text.len());
    assert_eq!(redact_text(&once), once);
    if let Ok(value) = json::parse(text.as_bytes(), &JsonLimits::DEFAULT) {
        let before = value.to_string().len();
        let once = redact(value);
        let after = once.to_string();
        assert!(after.len() <= before + 10 * after.matches(REDACTED).count());
        assert_eq!(redact(once.clone()), once);
    }
}

/// Readings stay within their bound, the first is the text, and forms are fixed points.
pub(crate) fn reading(text: &str) {
    let limits = Limits::DEFAULT;
    let (mut made, mut first) = (0, true);
    let seen = each_view(text, &limits, |view| {
        made += view.text.len();
        assert!(view.layer <= limits.depth);
        if std::mem::take(&mut first) {
            assert_eq!((view.text, view.form, view.layer), (text, Form::Plain, 0));
        }
        ControlFlow::<()>::Continue(())
    });
    assert!(made <= text.len() * (1 + limits.expansion) + Limits::SLACK);
    assert!(!matches!(seen, Ok(ControlFlow::Break(()))));
    let (folded, looks) = (fold(text), skeleton(text));
    assert_eq!(fold(&folded), folded);
    assert_eq!(skeleton(&looks), looks);
}

/// Findings are pieces of the text, in order and apart, and what is plain to see is found.
pub(crate) fn detecting(text: &str) {
    let mut any = false;
    for kind in KindSet::ALL.iter() {
        let mut end = 0;
        for finding in scan(text, KindSet::EMPTY.with(kind)) {
            assert!(end <= finding.range.start && finding.range.start < finding.range.end);
            assert!(text.get(finding.range.clone()).is_some());
            end = finding.range.end;
            any = true;
        }
    }
    let found = find(text, KindSet::ALL, &Limits::DEFAULT);
    if any {
        assert!(matches!(found, Ok(Some(seen)) if seen.range.is_some()));
    }
    let advice = injection::look(text, &Limits::DEFAULT);
    assert_eq!(advice.is_flagged(), !advice.families.is_empty());
}

/// What parses has one canonical form, which parses to a value with the same form.
pub(crate) fn canonical_json(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes, &JsonLimits::DEFAULT) else { return };
    assert_eq!(json::check(&value, &JsonLimits::DEFAULT), Ok(()));
    let canonical = json::canonical(&value);
    assert!(canonical.is_ok(), "{canonical:?}");
    // A canonical form may be longer than its text.
    let limits = JsonLimits { bytes: usize::MAX, ..JsonLimits::DEFAULT };
    let again = canonical.clone().and_then(|text| json::parse(&text, &limits));
    assert_eq!(again.and_then(|value| json::canonical(&value)), canonical);
}
