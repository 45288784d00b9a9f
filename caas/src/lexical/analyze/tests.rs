use proptest::prelude::*;

use super::*;

/// Parts are written as they are, wholes in brackets.
fn tokens(analyzer: Analyzer, text: &str) -> String {
    let tokens = analyzer.analyze(text);
    let words: Vec<String> = tokens
        .iter()
        .map(|(token, whole)| if whole { format!("[{token}]") } else { token.to_owned() })
        .collect();
    words.join(" ")
}

#[test]
fn running_text_becomes_stems() {
    for (text, expected) in [
        ("The Operations were NOT running", "oper not run"),
        ("no, never", "no never"),
        ("don't; it’s Dewey's", "don't dewey"),
        ("ＡＢＣ ﬁles of 1,000 pages", "abc file 1000 page"),
        ("well-known", "well known"),
        ("naïve İstanbul", "naïve i̇stanbul"),
        ("हिन्दी", "हिन्दी"),
        ("!?", ""),
    ] {
        assert_eq!(tokens(Analyzer::English, text), expected, "{text}");
    }
}

#[test]
fn identifiers_are_split_and_kept() {
    for (text, expected) in [
        ("getHTTPResponse2", "[gethttpresponse2] get http respons 2"),
        ("get_http_response", "[get_http_response] get http respons"),
        ("__init__", "init"),
        ("parse(x)", "pars x"),
        ("utf8 $scope", "[utf8] utf 8 scope"),
        ("isEmpty", "[isempty] empti"),
        ("ÄrgerÜber", "[ärgerüber] ärger über"),
        ("self.foo.bar", "self foo bar"),
    ] {
        assert_eq!(tokens(Analyzer::Code, text), expected, "{text}");
    }
}

#[test]
fn codes_paths_and_versions_stay_whole_too() {
    for (text, prose, code) in [
        ("error E-1234.", "error e 1234 [e-1234]", "error e 1234 [e-1234]"),
        ("(/api/users/123)", "api user 123 [api/users/123]", "api user 123 [api/users/123]"),
        ("\"v 0.27.1\"", "v 0 27 1 [0.27.1]", "v 0 27 1 [0.27.1]"),
        ("C++ and C#", "c c [c++] [c#]", "c c"),
        ("config.yaml, os.path", "config yaml os path [config.yaml] [os.path]", "config yaml os path"),
        ("db.example.com:5432", "", ""),
        ("a@b.org", "", ""),
    ] {
        if prose.is_empty() {
            for analyzer in [Analyzer::English, Analyzer::Code] {
                assert!(tokens(analyzer, text).ends_with(&format!("[{text}]")), "{text}");
            }
        } else {
            assert_eq!(tokens(Analyzer::English, text), prose, "{text}");
            assert_eq!(tokens(Analyzer::Code, text), code, "{text}");
        }
    }
    let long = format!("x/{}", "b".repeat(MAX_TOKEN + 1));
    assert_eq!(tokens(Analyzer::English, &long), "x");
}

#[test]
fn texts_without_blanks_become_pairs() {
    for analyzer in [Analyzer::English, Analyzer::Code] {
        assert_eq!(tokens(analyzer, "Tokyo東京都tower"), "tokyo 東京 京都 tower");
        assert_eq!(tokens(analyzer, "한국어 中。"), "한국 국어 中");
        assert_eq!(tokens(analyzer, "ไทย"), "ไท ทย");
    }
}

proptest! {
    #[test]
    fn any_text_has_tokens_within_bounds(text in any::<String>(), code in any::<bool>()) {
        let analyzer = if code { Analyzer::Code } else { Analyzer::English };
        let tokens = analyzer.analyze(&text);
        prop_assert!(tokens.iter().all(|(token, _)| !token.is_empty() && token.len() <= MAX_TOKEN));
        prop_assert_eq!(tokens.parts(), tokens.iter().filter(|(_, whole)| !whole).count());
        prop_assert_eq!(tokens.len(), tokens.iter().count());
    }

    #[test]
    fn capitals_tell_nothing_in_running_text(text in "[a-z .'-]{0,40}") {
        prop_assert_eq!(Analyzer::English.analyze(&text), Analyzer::English.analyze(&text.to_uppercase()));
    }
}
