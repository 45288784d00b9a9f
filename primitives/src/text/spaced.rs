//! Words spelt one letter at a time.

/// Fewest single letters in a row that are taken for a spelt word.
const MIN_LETTERS: usize = 3;
/// Longest gap between two letters of one run, in characters.
const MAX_GAP: usize = 4;

/// A text in which words were spelt letter by letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelt {
    /// The whole text, such words joined. A gap unlike the first one of its run is a blank between words.
    pub(super) joined: String,
    /// The letters of such runs alone, without any gap; one run a line.
    pub(super) compact: String,
}

/// Finds runs of letters or digits that stand alone: `i g n o r e`, `d-r-o-p`. `None` if there is none. Neither text is
/// longer than the one given.
pub(super) fn spelt(text: &str) -> Option<Spelt> {
    let mut spelt = Spelt { joined: String::new(), compact: String::new() };
    let mut singles = singles(text).peekable();
    let mut kept_to = 0;
    while let Some((first, letter)) = singles.next() {
        let mut end = first + letter.len_utf8();
        let (mut word, mut letters) = (String::from(letter), 1);
        let mut compact = word.clone();
        let mut usual: Option<&str> = None;
        while let Some((at, letter)) = singles.peek().copied() {
            let Some(gap) = text.get(end..at).filter(|gap| is_gap(gap)) else { break };
            if gap != *usual.get_or_insert(gap) {
                word.push(' ');
            }
            word.push(letter);
            compact.push(letter);
            letters += 1;
            end = at + letter.len_utf8();
            singles.next();
        }
        if MIN_LETTERS <= letters {
            spelt.joined.push_str(text.get(kept_to..first).unwrap_or_default());
            spelt.joined.push_str(&word);
            kept_to = end;
            if !spelt.compact.is_empty() {
                spelt.compact.push('\n');
            }
            spelt.compact.push_str(&compact);
        }
    }
    spelt.joined.push_str(text.get(kept_to..).unwrap_or_default());
    (kept_to != 0).then_some(spelt)
}

/// The letters and digits without one beside them, with their places.
fn singles(text: &str) -> impl Iterator<Item = (usize, char)> {
    let after = text.chars().skip(1).map(Some).chain([None]);
    let mut before_is_letter = false;
    text.char_indices().zip(after).filter_map(move |((at, char), after)| {
        let letter = char.is_alphanumeric();
        let single = letter && !before_is_letter && !after.is_some_and(char::is_alphanumeric);
        before_is_letter = letter;
        single.then_some((at, char))
    })
}

fn is_gap(gap: &str) -> bool {
    // Four bytes are the most a character takes.
    gap.len() <= 4 * MAX_GAP && gap.chars().count() <= MAX_GAP && !gap.contains(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_stand_alone_become_words() {
        for (text, joined, compact) in [
            ("i g n o r e   a l l", "ignore all", "ignoreall"),
            ("please d-r-o-p t-a-b-l-e now", "please drop table now", "droptable"),
            ("i g n o r e a l l", "ignoreall", "ignoreall"),
            ("d.r_o-p x", "dr o p x", "dropx"),
            ("é l a", "éla", "éla"),
        ] {
            let spelt = spelt(text).unwrap();
            assert_eq!((spelt.joined.as_str(), spelt.compact.as_str()), (joined, compact), "{text}");
        }
        for text in ["", "a", "a b", "plan b or c", "it is", "a, or b", "a      b      c"] {
            assert_eq!(spelt(text), None, "{text}");
        }
    }
}
