use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

/// A token is four bytes, rounded up.
#[derive(Debug)]
struct Bytes;

impl TokenCounter for Bytes {
    fn name(&self) -> &str {
        "bytes/4"
    }

    fn count(&self, text: &str) -> usize {
        text.len().div_ceil(4)
    }
}

#[derive(Debug, Default)]
struct Shelf {
    kept: Mutex<Vec<String>>,
    full: bool,
}

impl Archive for Shelf {
    fn keep(&self, archived: Archived<'_>) -> Result<String, Box<dyn Error + Send + Sync>> {
        if self.full {
            return Err("no room".into());
        }
        let text = match archived {
            Archived::Group(_, messages) => messages.iter().map(Message::text).collect::<Vec<_>>().join("|"),
            Archived::Text(_, text) => text.to_owned(),
            Archived::Late(_, message) => message.text().to_owned(),
        };
        let mut kept = self.kept.lock().map_err(|_| "poisoned")?;
        kept.push(text);
        Ok(format!("a{}", kept.len()))
    }
}

fn conversation(limits: Limits) -> Conversation {
    Conversation::new(limits, Arc::new(Bytes)).unwrap()
}

fn small(tokens: usize, turns: usize) -> Limits {
    Limits { tokens, turns, facts: 0, per_message: 1, pin_first_question: false }
}

fn call(id: &str) -> Call {
    Call { id: id.to_owned(), tool: "find".to_owned(), arguments: "{}".into() }
}

fn texts(conversation: &Conversation) -> Vec<String> {
    conversation.view().messages.iter().map(|message| message.text().to_owned()).collect()
}

#[test]
fn the_oldest_leaves_and_pins_stay() {
    let mut talk = conversation(Limits { pin_first_question: true, ..small(1000, 2) });
    talk.push(Message::system("rules")).unwrap();
    for number in 0..5 {
        talk.push(Message::user(&format!("question {number}"))).unwrap();
        talk.push(Message::assistant(&format!("answer {number}"))).unwrap();
    }
    let left = texts(&talk);
    assert_eq!(left, ["rules", "question 0", "answer 2", "question 3", "answer 3", "question 4", "answer 4"]);
    assert_eq!(talk.dropped().groups, 4);
}

#[test]
fn calls_leave_with_their_results() {
    let mut talk = conversation(small(40, 10));
    talk.push(Message::user("first")).unwrap();
    talk.push(Message::calling("looking", vec![call("1"), call("2")])).unwrap();
    talk.push(Message::result("2", "second result")).unwrap();
    assert_eq!(texts(&talk), ["first"], "a call without its results is not shown");
    talk.push(Message::result("1", "first result")).unwrap();
    assert_eq!(texts(&talk), ["first", "looking", "second result", "first result"]);
    let placed = talk.push(Message::user(&"x".repeat(120))).unwrap();
    assert_eq!(placed.evicted.len(), 2);
    assert_eq!(texts(&talk).len(), 1);
}

#[test]
fn results_belong_to_calls() {
    let mut talk = conversation(small(1000, 10));
    let code = |done: Result<Placed, ConversationError>| done.unwrap_err().code();
    assert_eq!(code(talk.push(Message::result("1", "x"))), "AK0656");
    assert_eq!(code(talk.push(Message::calling("", vec![call("1"), call("1")]))), "AK0658");
    talk.push(Message::calling("", vec![call("1")])).unwrap();
    assert_eq!(code(talk.push(Message::user("and?"))), "AK0657");
    assert_eq!(code(talk.push(Message::result("2", "x"))), "AK0656");
    talk.push(Message::result("1", "x")).unwrap();
    assert_eq!(code(talk.push(Message::result("1", "x"))), "AK0656");
}

#[test]
fn pins_that_do_not_fit_are_refused() {
    let mut talk = conversation(small(10, 10));
    let error = talk.push(Message::system(&"x".repeat(100))).unwrap_err();
    assert_eq!((error.code(), talk.view().messages.len()), ("AK0654", 0));
}

#[test]
fn a_long_result_is_cut_in_its_middle_and_kept_whole_elsewhere() {
    let shelf = Arc::new(Shelf::default());
    let mut talk = conversation(small(60, 10)).with_archive(Arc::<Shelf>::clone(&shelf));
    let long = format!("begin {} end", "é".repeat(500));
    talk.push(Message::calling("looking", vec![call("1")])).unwrap();
    talk.push(Message::result("1", &long)).unwrap();
    let view = talk.view();
    let shown = view.messages.last().unwrap().text();
    assert!(shown.starts_with("begin ") && shown.ends_with(" end"), "{shown}");
    assert!(shown.contains("bytes left out; whole text: a1]"), "{shown}");
    assert!(view.tokens <= 60 && 40 < view.tokens, "{}", view.tokens);
    assert_eq!(*shelf.kept.lock().unwrap(), [long]);
}

#[test]
fn a_paste_that_is_too_large_is_cut_too() {
    let mut talk = conversation(small(60, 10));
    talk.push(Message::user(&"paste ".repeat(10_000))).unwrap();
    let view = talk.view();
    assert!(view.tokens <= 60, "{}", view.tokens);
    let shown = view.messages.first().unwrap().text().len() as u64;
    assert_eq!(talk.dropped().bytes, 60_000 - shown, "what is in no archive is counted");
}

#[test]
fn a_late_answer_goes_where_its_question_went() {
    let shelf = Arc::new(Shelf::default());
    let mut talk = conversation(small(1000, 1)).with_archive(Arc::<Shelf>::clone(&shelf));
    let first = talk.push(Message::user("first")).unwrap().group;
    let second = talk.push(Message::user("second")).unwrap().group;
    talk.push(Message::assistant("later")).unwrap();
    assert!(matches!(talk.respond(second, "reply").unwrap(), Late::Kept(_)));
    assert_eq!(texts(&talk), ["second", "reply", "later"]);
    assert_eq!(talk.respond(first, "too late").unwrap(), Late::Evicted(Some("a2".to_owned())));
    assert_eq!(*shelf.kept.lock().unwrap(), ["first", "too late"]);
    assert_eq!(talk.respond(GroupId(99), "?").unwrap_err().code(), "AK0659");
    assert_eq!(talk.recent(0).len(), 0);
}

#[test]
fn an_archive_that_refuses_changes_nothing() {
    let shelf = Shelf { full: true, ..Shelf::default() };
    let mut talk = conversation(small(1000, 1)).with_archive(Arc::new(shelf));
    talk.push(Message::user("first")).unwrap();
    assert_eq!(talk.push(Message::user("second")).unwrap_err().code(), "AK0660");
    assert_eq!(texts(&talk), ["first"]);
}

#[test]
fn facts_of_what_left_stay() {
    let limits = Limits { facts: 64, ..small(1000, 2) };
    let mut talk = conversation(limits);
    talk.push(Message::user("it fails with error code 500 on db.example.com:5432.")).unwrap();
    talk.push(Message::assistant("look at config.py line 45, please")).unwrap();
    for number in 0..10 {
        talk.push(Message::user(&format!("and then {}", char::from(b'a' + number)))).unwrap();
    }
    let facts = talk.view().facts.join("\n");
    for fact in ["error code 500", "db.example.com:5432", "config.py line 45"] {
        assert!(facts.contains(fact), "{fact}: {facts}");
    }
}

/// A model writes the names of its calls, and reads them again.
#[test]
fn the_name_of_a_call_has_tokens_like_any_text() {
    let name = "n".repeat(4000);
    let mut talk = conversation(small(1100, 5));
    talk.push(Message::calling("", vec![call(&name)])).unwrap();
    assert_eq!(talk.push(Message::result(&name, "x")).unwrap_err().code(), "AK0655");
    let mut talk = conversation(small(2100, 5));
    talk.push(Message::calling("", vec![call(&name)])).unwrap();
    talk.push(Message::result(&name, "x")).unwrap();
    assert!(2000 < talk.view().tokens);
}

/// Data in one word and a fact that is too large alone push out nothing.
#[test]
fn what_has_no_room_itself_takes_none_from_other_facts() {
    for hostile in [format!("{} 7", "x".repeat(5000)), format!("/{}", "y/".repeat(60))] {
        let mut talk = conversation(Limits { facts: 24, ..small(100_000, 1) });
        for text in ["it fails with error code 500.", &hostile, "last"] {
            talk.push(Message::user(text)).unwrap();
        }
        assert_eq!(talk.view().facts.first(), Some(&"error code 500"));
    }
}

#[test]
fn a_row_of_numbers_is_many_facts() {
    let numbers: String = (0..5000).map(|number| format!("{number} ")).collect();
    let facts = facts(&numbers);
    assert!(facts.len() == 32 && facts.iter().all(|fact| (200..=256).contains(&fact.len())), "{facts:?}");
    assert!(numbers.starts_with(&facts.join(" ")), "none is there twice and none is missing");
}

#[test]
fn facts_are_quoted_and_bounded() {
    assert_eq!(facts("No facts here, only words."), Vec::<&str>::new());
    assert_eq!(facts("Open /api/users/123 and (see E-1234)."), ["Open /api/users/123", "and (see E-1234"]);
    assert_eq!(facts("a_b, a_b"), ["a_b"]);
    let many: String = (0..1000).map(|number| format!("n{number}. ")).collect();
    assert_eq!(facts(&many).len(), 32);
}

#[test]
fn limits_that_hold_nothing_are_refused() {
    for limits in [small(0, 1), small(1, 0), Limits { facts: 6, ..small(10, 1) }] {
        assert_eq!(Conversation::new(limits, Arc::new(Bytes)).unwrap_err().code(), "AK0653");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Say(u8, usize),
    Call(u8, Vec<usize>),
    Respond(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u8..3, 0usize..400).prop_map(|(role, length)| Step::Say(role, length)),
        (0u8..3, proptest::collection::vec(0usize..400, 0..4))
            .prop_map(|(left, sizes)| Step::Call(left, sizes)),
        (0u64..40, 0usize..400).prop_map(|(group, length)| Step::Respond(group, length)),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    fn any_history_fits_and_is_whole(
        steps in steps(), tokens in 40usize..400, turns in 1usize..6, facts in 0usize..20, pin: bool,
    ) {
        let limits = Limits { tokens, turns, facts, per_message: 2, pin_first_question: pin };
        let mut talk = conversation(limits);
        let mut named = 0;
        for step in steps {
            // What is refused leaves the conversation as it was, which is held to the same law.
            let _ = match step {
                Step::Say(0, length) => talk.push(Message::user(&"u1 ".repeat(length))).map(drop),
                Step::Say(1, length) => talk.push(Message::system(&"s".repeat(length / 8))).map(drop),
                Step::Say(_, length) => talk.push(Message::assistant(&"é".repeat(length))).map(drop),
                Step::Respond(group, length) => talk.respond(GroupId(group), &"r".repeat(length)).map(drop),
                Step::Call(left, sizes) => {
                    let names: Vec<String> = sizes.iter().map(|_| { named += 1; named.to_string() }).collect();
                    let calls = names.iter().map(|name| call(name)).collect();
                    let called = talk.push(Message::calling("c", calls)).is_ok();
                    for (name, size) in names.iter().zip(sizes).skip(usize::from(left / 2)) {
                        let placed = talk.push(Message::result(name, &"x".repeat(size)));
                        prop_assert!(called || placed.is_err());
                    }
                    Ok(())
                }
            };
            let view = talk.view();
            prop_assert!(view.tokens <= tokens, "{} of {tokens}", view.tokens);
            prop_assert!(view.messages.first().is_none_or(|first| first.role() != Role::Tool));
            let mut open: Vec<&str> = Vec::new();
            for message in &view.messages {
                match message.answers() {
                    Some(answered) => {
                        let place = open.iter().position(|call| *call == answered);
                        prop_assert!(place.is_some(), "a result without its call");
                        open.remove(place.unwrap());
                    }
                    None => prop_assert!(open.is_empty(), "a call without its result"),
                }
                open.extend(message.calls().iter().map(|call| call.id.as_str()));
            }
            prop_assert!(open.is_empty(), "a call without its result");
        }
    }
}
