//! "Did you mean": the nearest known name, for error messages.

/// The candidate most like `text`, if one is close enough to be worth naming.
///
/// Closeness is normalised Damerau-Levenshtein similarity of at least 0.6, case ignored; ties go to the first candidate.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    // Names whose lengths differ too much cannot be that similar; leaving them out keeps a refusal cheap.
    let near = |candidate: &&str| {
        let (short, long) = (text.len().min(candidate.len()), text.len().max(candidate.len()));
        (long - short) * 10 <= long * 4
    };
    candidates
        .into_iter()
        .filter(near)
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&text, &candidate.to_lowercase()), candidate)
        })
        .filter(|(score, _)| 0.6 <= *score)
        .reduce(|best, next| if best.0 < next.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

/// The tail of an error message: `; did you mean …?`, or nothing.
#[must_use]
pub fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_noise_finds_none() {
        let words = ["effect", "tools", "paths"];
        assert_eq!(nearest("efect", words), Some("effect"));
        assert_eq!(nearest("PATHS", words), Some("paths"));
        assert_eq!(nearest("zzzz", words), None);
    }
}
