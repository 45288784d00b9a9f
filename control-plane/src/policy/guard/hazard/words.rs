//! Sequences of words, for detectors that read prose.

/// The words of a text in small letters, apostrophes left out; `.` stands where a sentence ends and `,` where it pauses.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let end = |word: &mut String, words: &mut Vec<String>| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    for char in text.chars() {
        match char {
            '\'' | '\u{2019}' => {}
            char if char.is_alphanumeric() => word.extend(char.to_lowercase()),
            '.' | '!' | '?' | ';' | '\n' => {
                end(&mut word, &mut words);
                words.push(".".to_owned());
            }
            ',' | ':' => {
                end(&mut word, &mut words);
                words.push(",".to_owned());
            }
            _ => end(&mut word, &mut words),
        }
    }
    end(&mut word, &mut words);
    words
}

/// Words of a closed list, parted by blanks; `*` at the end of one stands for any ending.
pub(super) type Set = &'static str;

pub(super) fn is(word: &str, set: Set) -> bool {
    set.split(' ').any(|known| match known.strip_suffix('*') {
        Some(stem) => word.starts_with(stem),
        None => word == known,
    })
}

/// A word of a set, after at most so many other words of the same sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step(pub(super) usize, pub(super) Set);

/// Where a word of `first` is followed by all `steps` in turn; `fits` may turn a place down.
pub(super) fn found(words: &[String], first: Set, steps: &[Step], fits: impl Fn(usize) -> bool) -> bool {
    let starts = words.iter().enumerate().filter(|(_, word)| is(word, first));
    starts.into_iter().any(|(place, _)| fits(place) && follows(words, place, steps))
}

/// Tries every place for each step; the gaps are small constants, so the cost is linear in the words.
fn follows(words: &[String], place: usize, steps: &[Step]) -> bool {
    let Some((Step(gap, set), rest)) = steps.split_first() else { return true };
    let mut left = *gap;
    for (at, word) in words.iter().enumerate().skip(place + 1) {
        match word.as_str() {
            "." => return false,
            "," => continue,
            word if is(word, set) && follows(words, at, rest) => return true,
            _ if left == 0 => return false,
            _ => left -= 1,
        }
    }
    false
}

/// Whether the phrase, words parted by blanks, stands in the text.
pub(super) fn says(words: &[String], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).any(|window| window.iter().zip(&phrase).all(|(word, known)| word == known))
}

/// The word before `place`, pauses included.
pub(super) fn before(words: &[String], place: usize) -> &str {
    place.checked_sub(1).and_then(|at| words.get(at)).map_or("", String::as_str)
}
