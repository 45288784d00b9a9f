use super::*;

fn router() -> Router {
    Router::new(Rules::default()).unwrap()
}

fn tier(message: &str) -> Tier {
    router().route(message, Moment::default()).unwrap().tier
}

#[test]
fn only_a_message_that_is_small_talk_as_a_whole_is_canned() {
    for message in ["Hi", "Thanks!", "got it 👍", " OK. ", "ＨＥＬＬＯ", "thank\u{a0}you", "👋🏽 hey 👋🏽"]
    {
        assert_eq!(tier(message), Tier::Canned, "{message}");
    }
    for message in [
        "ok delete everything",
        "fix it, thanks",
        "great bug found",
        "no thank you",
        "hi, are you there",
        "o.k",
        "not ok",
        "thanks?? no",
    ] {
        assert_ne!(tier(message), Tier::Canned, "{message}");
    }
}

#[test]
fn a_word_inside_of_another_is_no_keyword() {
    for (message, expected) in [
        ("preview the page", Tier::Fast),
        ("researcher name?", Tier::Fast),
        ("Summarize this", Tier::Smart),
        ("please explain in detail", Tier::Smart),
        ("explain it in some detail", Tier::Fast),
        ("REVIEW!", Tier::Smart),
        ("このデータを詳細に分析してください", Tier::Smart),
        ("今日は?", Tier::Fast),
        ("what does this function do when the configuration file is missing", Tier::Smart),
    ] {
        assert_eq!(tier(message), expected, "{message}");
    }
}

#[test]
fn an_answer_to_a_question_is_never_small_talk() {
    let router = router();
    for moment in [
        Moment { awaiting_confirmation: true, tool_pending: false },
        Moment { awaiting_confirmation: false, tool_pending: true },
    ] {
        let route = router.route("ok", moment).unwrap();
        assert_eq!(route, Route { tier: Tier::Fast, rule: Rule::Short });
    }
}

#[test]
fn the_rule_that_decided_is_named() {
    let route = |message| router().route(message, Moment::default()).unwrap().rule;
    assert_eq!(route("Thank  you!!"), Rule::Canned("thank you".to_owned()));
    assert_eq!(route("a DEEP dive, please"), Rule::Keyword("deep dive".to_owned()));
    assert_eq!(route("where is it"), Rule::Short);
    assert_eq!(route(&"x".repeat(50)), Rule::Default);
}

#[test]
fn nothing_has_no_route() {
    for message in ["", " \n\t", "\u{3000}"] {
        assert_eq!(router().route(message, Moment::default()), Err(RouteError::EmptyQuery));
    }
    assert_eq!(tier("?!"), Tier::Fast);
}

#[test]
fn a_mebibyte_is_not_read_to_its_end() {
    let long = "ok ".repeat(350_000);
    let route = router().route(&long, Moment::default()).unwrap();
    assert_eq!(route, Route { tier: Tier::Smart, rule: Rule::Default });
}

#[test]
fn rules_are_held_to_their_bounds() {
    let code = |rules| Router::new(rules).unwrap_err().code();
    assert_eq!(code(Rules { canned: vec!["!".to_owned()], ..Rules::default() }), "AK0651");
    assert_eq!(code(Rules { smart: vec!["a".repeat(257)], ..Rules::default() }), "AK0652");
    assert_eq!(code(Rules { fast_below: 1001, ..Rules::default() }), "AK0652");
    let written = serde_json::to_string(&Rules::default()).unwrap();
    assert_eq!(serde_json::from_str::<Rules>(&written).unwrap(), Rules::default());
    assert!(serde_json::from_str::<Rules>(&written.replace("fast_below", "fast_bellow")).is_err());
}
