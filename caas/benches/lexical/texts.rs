//! Texts that are the same in every run.

/// Words there are. The share of a word is as one over its rank.
const WORDS: f64 = 300_000.0;
const CHUNKS: usize = 50;
const CHUNK_WORDS: u64 = 170;

pub(crate) struct Document {
    pub(crate) number: usize,
    pub(crate) title: String,
    pub(crate) chunks: Vec<String>,
}

/// `SplitMix64` from a fixed start, and how many documents it made.
pub(crate) struct Texts {
    state: u64,
    documents: usize,
}

impl Texts {
    pub(crate) const fn new() -> Self {
        Self { state: 7, documents: 0 }
    }

    /// The next document, with no more than `left` chunks, which are taken off.
    pub(crate) fn document(&mut self, left: &mut usize) -> Option<Document> {
        let count = CHUNKS.min(*left);
        *left -= count;
        self.documents += 1;
        (0 < count).then(|| Document {
            number: self.documents,
            title: self.text(5),
            chunks: (0..count)
                .map(|_| {
                    let words = CHUNK_WORDS / 2 + self.next() % CHUNK_WORDS;
                    self.text(words)
                })
                .collect(),
        })
    }

    /// Two to nine words.
    pub(crate) fn question(&mut self) -> String {
        let words = 2 + self.next() % 8;
        self.text(words)
    }

    fn text(&mut self, words: u64) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 16] = [
            "ba", "ri", "to", "ne", "su", "lam", "per", "min", "co", "ver", "da", "gos", "fi", "lu", "ham",
            "ting",
        ];
        // Uniform in the logarithm of the rank.
        let mut rank = (self.uniform() * WORDS.ln()).exp() as u64 + 16;
        let mut word = String::new();
        while 0 < rank {
            word.push_str(SYLLABLES.get((rank % 16) as usize).copied().unwrap_or_default());
            rank /= 16;
        }
        word
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
