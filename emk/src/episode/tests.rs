use agent_primitives::{FailureType, Label};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn builder() -> EpisodeBuilder {
    Episode::builder("agent-1".parse().unwrap(), at("2026-01-21T20:49:00Z"))
        .goal("List overdue invoices")
        .action("SELECT invoices past due")
        .result("37 rows")
        .reflection("Index on due_date was used")
        .outcome(Outcome::Success)
        .tags(["db", "billing"])
}

fn metadata(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn every_field_is_part_of_the_id() {
    let id = builder().build().unwrap().content_id();
    let label = LabelSet::new(["pii".parse::<Label>().unwrap()]).unwrap();
    let failure = Failure { kind: FailureType::Timeout, reason: "silent".to_owned() };
    let time = at("2027-01-01T00:00:00Z");
    let changed = [
        Episode::builder("agent-2".parse().unwrap(), at("2026-01-21T20:49:00Z"))
            .goal("List overdue invoices")
            .action("SELECT invoices past due")
            .result("37 rows")
            .reflection("Index on due_date was used")
            .outcome(Outcome::Success)
            .tags(["db", "billing"]),
        builder().session("s1".parse().unwrap()),
        builder().goal("List overdue invoíces"),
        builder().action("x"),
        builder().result(""),
        builder().reflection("x"),
        builder().outcome(Outcome::Partial),
        builder().outcome(Outcome::Failure).failure(failure),
        builder().importance(51),
        builder().source(Source::Tool),
        builder().tags(["new"]),
        builder().labels(label),
        builder().caused_by([id]),
        builder().metadata(metadata(json!({"k": 1}))),
        builder().revises(Revision::Corrects(id)),
        builder().revises(Revision::Supersedes(id)),
        builder().valid_from(time),
        builder().valid_to(time),
        builder().document(Document { name: "a.json".to_owned(), text: "{}".to_owned() }),
    ];
    let mut ids: BTreeSet<Digest> =
        changed.iter().map(|one| one.clone().build().unwrap().content_id()).collect();
    ids.insert(id);
    assert_eq!(ids.len(), changed.len() + 1);
}

#[test]
fn the_order_and_repeats_of_tags_and_causes_do_not_matter() {
    let id = builder().build().unwrap().content_id();
    let same = |one: EpisodeBuilder, other: EpisodeBuilder| one.build().unwrap() == other.build().unwrap();
    assert!(same(builder(), builder().tags(["billing", "db"])));
    assert!(same(builder().caused_by([id]), builder().caused_by([id, id])));
}

#[test]
fn what_is_no_episode_is_refused_with_its_reason() {
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let failure = || Failure { kind: FailureType::Timeout, reason: "silent".to_owned() };
    let deep = (0..MAX_METADATA_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let causes = (0..33u8).map(|number| Digest::from_bytes([number; 32]));
    let document = |name: &str| Document { name: name.to_owned(), text: String::new() };
    let cases = [
        (builder().goal(long.clone()), "AK0710"),
        (builder().failure(Failure { kind: FailureType::Timeout, reason: long.clone() }), "AK0710"),
        (builder().metadata(metadata(json!({"k": long}))), "AK0710"),
        (builder().tags(["t".repeat(129)]), "AK0710"),
        (builder().goal(" \n").action(""), "AK0711"),
        (builder().importance(101), "AK0712"),
        (builder().outcome(Outcome::Failure), "AK0713"),
        (builder().failure(failure()), "AK0713"),
        (builder().tags((0..65).map(|number| format!("t{number}"))), "AK0714"),
        (builder().caused_by(causes), "AK0714"),
        (builder().tags([" "]), "AK0715"),
        (builder().tags(["a\nb"]), "AK0715"),
        (builder().document(document("")), "AK0715"),
        (builder().valid_from(Timestamp::from_micros(i64::MAX)), "AK0716"),
        (builder().valid_to(at("2026-01-21T20:49:00Z")), "AK0716"),
        (builder().metadata(metadata(json!({"k": deep}))), "AK0717"),
        (builder().metadata(metadata(json!({"k": u64::MAX}))), "AK0717"),
        (builder().metadata(metadata(json!({"k": 1e17}))), "AK0717"),
    ];
    for (builder, code) in cases {
        assert_eq!(builder.build().unwrap_err().code(), code);
    }
    assert!(builder().goal("x".repeat(MAX_TEXT_BYTES)).build().is_ok());
}

#[test]
fn secrets_are_gone_before_anything_is_hashed() {
    let key = "sk-abcdefghijklmnopqrstuvwx";
    let episode = builder()
        .action(format!("call with {key}"))
        .tags([key])
        .metadata(metadata(json!({"apiKey": "abc", "note": key})))
        .document(Document {
            name: "a.json".to_owned(),
            text: format!("{{\"password\": \"open\", \"n\": \"{key}\"}}"),
        })
        .build()
        .unwrap();
    let text = String::from_utf8(episode.encode()).unwrap();
    assert!(!text.contains(key) && !text.contains("open") && !text.contains("\"abc\""), "{text}");
    assert_eq!(episode.action(), "call with [REDACTED]");
    let kept = builder().action(key).dangerous_keep_secrets().build().unwrap();
    assert_eq!(kept.action(), key);
}

#[test]
fn a_document_without_secrets_keeps_every_byte() {
    let text = "{ \"goal\":\t\"g\", \"z\": 1.0, \"a\": [ ] }\n";
    let document = Document { name: "ü.json".to_owned(), text: text.to_owned() };
    let episode = builder().document(document.clone()).build().unwrap();
    assert_eq!(Episode::decode(&episode.encode()).unwrap().document(), Some(&document));
}

fn document(text: &str) -> Result<EpisodeBuilder, EpisodeError> {
    let document = Document { name: "note.json".to_owned(), text: text.to_owned() };
    let agent: AgentId = "agent-1".parse().map_err(EpisodeError::malformed)?;
    Episode::from_document(agent, at("2026-01-21T20:49:00Z"), document)
}

const TEXTS: &str = r#""goal": "g", "action": "a", "result": "r", "reflection": "x""#;

#[test]
fn any_object_with_the_four_texts_is_an_episode() {
    let failure = |reason: &str| Some(Failure { kind: FailureType::Unknown, reason: reason.to_owned() });
    let timeout = Some(Failure { kind: FailureType::Timeout, reason: "silent".to_owned() });
    let cases = [
        ("", Outcome::Unknown, None, vec![], 50),
        (r#", "outcome": "success", "tags": ["b", "a", 3, " "]"#, Outcome::Success, None, vec!["a", "b"], 50),
        (r#", "outcome": "failure""#, Outcome::Failure, failure(""), vec![], 50),
        (
            r#", "failure": {"kind": "timeout", "reason": "silent"}"#,
            Outcome::Failure,
            timeout.clone(),
            vec![],
            50,
        ),
        (
            r#", "outcome": "success", "failure": {"kind": "timeout", "reason": "x"}"#,
            Outcome::Success,
            None,
            vec![],
            50,
        ),
        (
            r#", "outcome": "partial", "failure": {"kind": "timeout", "reason": "silent"}"#,
            Outcome::Partial,
            timeout,
            vec![],
            50,
        ),
        (
            r#", "outcome": 5, "failure": [], "importance": 101, "tags": {}"#,
            Outcome::Unknown,
            None,
            vec![],
            50,
        ),
        (
            r#", "importance": 7, "schema": 9, "agent_id": null, "deep": [[[[{}]]]]"#,
            Outcome::Unknown,
            None,
            vec![],
            7,
        ),
    ];
    for (rest, outcome, failure, tags, importance) in cases {
        let text = format!("  {{{TEXTS}{rest}}}\n");
        let episode = document(&text).unwrap().build().unwrap();
        let episode = Episode::decode(&episode.encode()).unwrap();
        assert_eq!((episode.outcome(), episode.failure()), (outcome, failure.as_ref()), "{rest}");
        assert!(episode.tags().iter().eq(tags) && episode.importance() == importance, "{rest}");
        assert_eq!((episode.texts(), &episode.document().unwrap().text), (["g", "a", "r", "x"], &text));
    }
    let long = format!("{{{TEXTS}, \"more\": \"{}\"}}", "\\u0000".repeat(10_000));
    let episode = document(&long).unwrap().build().unwrap();
    assert_eq!(Episode::decode(&episode.encode()).unwrap().document().unwrap().text, long);
}

#[test]
fn a_document_of_another_form_is_refused() {
    for text in
        ["", "[]", "{", r#"{"goal": "g"}"#, r#"{"goal": 1, "action": "a", "result": "r", "reflection": "x"}"#]
    {
        assert_eq!(document(text).unwrap_err().code(), "AK0718", "{text}");
    }
    assert_eq!(document(&" ".repeat(MAX_TEXT_BYTES + 1)).unwrap_err().code(), "AK0710");
}

#[test]
fn only_canonical_bytes_of_this_version_are_read() {
    let bytes = builder().build().unwrap().encode();
    let text = String::from_utf8(bytes).unwrap();
    let changed = [
        text.replace("\"schema\":1", "\"schema\":2"),
        text.replace("\"schema\":1", "\"schema\":1,\"zzz\":1"),
        text.replace("\"importance\":50", "\"importance\":5000"),
        text.replace("[\"billing\",\"db\"]", "[\"db\",\"billing\"]"),
        text.replace("20:49:00.000000Z", "20:49:00Z"),
        text.replace("\"source\":\"agent\"", "\"source\":\"me\""),
        format!("{text} "),
        String::new(),
        "[]".to_owned(),
    ];
    for bad in changed {
        assert_ne!(bad, text);
        assert_eq!(Episode::decode(bad.as_bytes()).unwrap_err().code(), "AK0718", "{bad}");
    }
}

#[test]
fn debug_shows_no_text() {
    let shown = format!("{:?} {:?}", builder().build().unwrap(), builder());
    assert!(!shown.contains("invoices") && !shown.contains("rows"), "{shown}");
}

proptest! {
    #[test]
    fn episodes_survive_their_encoding(
        texts in prop::array::uniform4(".{0,40}"),
        tags in prop::collection::vec("[a-z]{1,8}", 0..6),
        importance in 0u8..=100,
        micros in -62_167_219_200_000_000i64..=253_402_300_799_999_999,
        number in any::<f64>().prop_filter("exact", |number| number.abs() < 9e15 || 1e21 < number.abs()),
    ) {
        let [goal, action, result, reflection] = texts;
        let built = Episode::builder("a".parse().unwrap(), Timestamp::from_micros(micros))
            .goal(format!("g{goal}")).action(action).result(result).reflection(reflection)
            .tags(tags).importance(importance)
            .metadata(metadata(json!({"number": number})))
            .build();
        let episode = built.unwrap();
        let read = Episode::decode(&episode.encode()).unwrap();
        prop_assert_eq!(read.content_id(), episode.content_id());
        prop_assert_eq!(read.texts(), episode.texts());
        prop_assert_eq!(read.timestamp(), episode.timestamp());
    }

    #[test]
    fn the_writer_and_the_tree_of_values_agree(
        texts in prop::array::uniform6(".{0,20}"),
        tags in prop::collection::vec(".{1,8}", 0..4),
        causes in prop::collection::vec(any::<[u8; 32]>(), 0..3),
        flags in any::<[bool; 8]>(),
        micros in 0i64..=253_402_300_799_999_999,
    ) {
        let [goal, action, result, reflection, name, reason] = texts;
        let cause = |bytes: &[u8; 32]| Digest::from_bytes(*bytes);
        let time = Timestamp::from_micros(micros);
        let when = |flag: usize| flags[flag].then_some(time).map(body::Time);
        let body = Body {
            schema: 1,
            agent_id: "agent-1".parse().unwrap(),
            session_id: flags[0].then(|| "s".parse().unwrap()),
            failure: flags[1].then_some(Failure { kind: FailureType::Timeout, reason }),
            outcome: Outcome::Partial,
            importance: 7,
            source: Source::User,
            tags: tags.into_iter().collect(),
            caused_by: causes.iter().map(cause).collect(),
            metadata: if flags[2] { metadata(json!({"ü": {"b": 1.5, "a": [null]}, "a": ""})) } else { Map::new() },
            timestamp: time,
            labels: if flags[3] { LabelSet::new(["pii".parse().unwrap()]).unwrap() } else { LabelSet::EMPTY },
            corrects: causes.first().filter(|_| flags[4]).map(cause),
            supersedes: causes.last().filter(|_| flags[5]).map(cause),
            valid_from: when(6),
            valid_to: when(7),
            document: flags[4].then(|| Document { name, text: goal.clone() }),
            goal, action, result, reflection,
        };
        let tree = serde_json::to_value(&body).unwrap();
        prop_assert_eq!(body.canonical().unwrap(), agent_primitives::json::canonical(&tree).unwrap());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Episode::decode(&bytes).is_err());
    }
}
