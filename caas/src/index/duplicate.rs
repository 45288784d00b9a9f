//! Which chunks say nearly the same.

use agent_primitives::Digest;
use agent_primitives::search::tokenise;

/// Bits in which the prints of near duplicates differ at most, of 64 (Manku, Jain and Das Sarma 2007).
const NEAR: u32 = 3;

/// A print of 64 bits of a text: near texts have near prints (SimHash, Charikar 2002), over pairs of neighbouring words.
pub(super) fn print(text: &str) -> u64 {
    let words = tokenise(text);
    let mut sums = [0i64; 64];
    let mut add = |shingle: &str| {
        let digest = Digest::of("agent-os caas simhash v1", shingle.as_bytes());
        let bits = digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        for (bit, sum) in sums.iter_mut().enumerate() {
            *sum += if bits >> bit & 1 == 1 { 1 } else { -1 };
        }
    };
    if words.len() < 2 {
        // Texts of one word, or of none that counts, are told apart by themselves.
        add(text.trim());
    }
    for pair in words.windows(2) {
        add(&pair.join(" "));
    }
    (0..).zip(sums).filter(|(_, sum)| 0 < *sum).fold(0, |print, (bit, _)| print | 1 << bit)
}

/// Whether two prints are of near duplicates.
pub(super) const fn is_near(one: u64, other: u64) -> bool {
    (one ^ other).count_ones() <= NEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_more_is_near_and_another_number_is_not() {
        let text: String = (0..120).map(|number| format!("word{number} ")).collect();
        let near = |one: &str, other: &str| is_near(print(one), print(other));
        assert!(near(&text, &format!("{text} more")));
        assert!(near("The limit is 100.", "the limit is 100"));
        assert!(!near("the limit is 100 requests", "the limit is 50 requests"));
        assert!(!near("a", "b"));
        assert!(!near("", "words here"));
    }
}
