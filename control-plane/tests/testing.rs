//! What hosts test with.
#![cfg(feature = "test-util")]

use std::time::Duration;

use agent_control_plane::call::Reply;
use agent_control_plane::testing::{FakeTool, KernelFixture, ScriptedModel, Turn, transcript};
use agent_control_plane::{CallError, assert_denied};
use serde_json::json;

const POLICY: &str = "
version: 1
name: test
on_violation: deny
rules:
  - {id: search, effect: allow, calls: [exec], tools: [search], limits: {rate: 2/min}}
  - {id: no-mail, effect: deny, calls: [exec], tools: [mail]}
  - {id: fatal, effect: deny, calls: [exec], tools: [drop], on_violation: kill}
";

fn tools() -> [FakeTool; 3] {
    ["search", "mail", "drop"].map(FakeTool::new)
}

#[tokio::test]
async fn a_model_plays_its_script_and_only_what_is_allowed_reaches_a_tool() {
    let [search, mail, drop] = tools();
    search.then_answer(json!(["first"]));
    search.then_fail("the index is gone");
    let fixture = KernelFixture::new(POLICY, [&search, &mail, &drop]).unwrap();
    let agent = fixture.agent("a").unwrap();
    let turns = ["search", "search", "search", "mail", "drop", "search"];
    let mut model = ScriptedModel::new(turns.map(|tool| Turn::exec(tool, json!({"by": tool}))));
    let answers = model.play(&agent).await;

    let Ok(Reply::Output { output, .. }) = &answers[0] else { panic!("{:?}", answers[0]) };
    assert_eq!(output.value(), &json!(["first"]));
    assert!(matches!(&answers[1], Err(CallError::Tool(_))), "{:?}", answers[1]);
    assert_denied!(&answers[2], code = "AK0301");
    assert_denied!(&answers[3], rule = "no-mail");
    assert_denied!(&answers[4]);
    assert_eq!(answers.len(), 6, "the last finds the agent gone");
    assert_eq!(search.calls(), [json!({"by": "search"}), json!({"by": "search"})]);
    assert!(mail.calls().is_empty() && drop.calls().is_empty());
}

#[tokio::test]
async fn a_model_may_react_to_what_it_hears() {
    let [search, mail, drop] = tools();
    let fixture = KernelFixture::new(POLICY, [&search, &mail, &drop]).unwrap();
    let agent = fixture.agent("a").unwrap();
    let mut tried = false;
    let mut model = ScriptedModel::new([Turn::exec("mail", json!({}))]).reacting(move |answer| {
        (answer.is_err() && !std::mem::replace(&mut tried, true)).then(|| Turn::exec("search", json!({})))
    });
    let answers = model.play(&agent).await;
    assert_eq!(answers.len(), 2);
    assert!(answers[1].is_ok());
}

#[tokio::test]
async fn time_passes_when_the_test_says_so() {
    let [search, mail, drop] = tools();
    let fixture = KernelFixture::new(POLICY, [&search, &mail, &drop]).unwrap();
    let agent = fixture.agent("a").unwrap();
    for _ in 0..2 {
        agent.exec("search", json!({})).await.unwrap();
    }
    assert_denied!(&agent.exec("search", json!({})).await);
    fixture.advance(Duration::from_secs(61));
    agent.exec("search", json!({})).await.unwrap();
}

#[tokio::test]
async fn equal_runs_have_equal_transcripts_and_other_runs_others() {
    let run = async |tool: &str| {
        let [search, mail, drop] = tools();
        let fixture = KernelFixture::new(POLICY, [&search, &mail, &drop]).unwrap();
        let agent = fixture.agent("a").unwrap();
        let _ = agent.exec(tool, json!({})).await;
        (fixture.transcript().unwrap(), transcript(fixture.kernel()).unwrap())
    };
    let (first, again) = run("search").await;
    assert_eq!(first, again);
    assert_eq!(first, run("search").await.0);
    assert_ne!(first, run("mail").await.0);
    assert_eq!(first.lines().count(), 4, "{first}");
}
