//! What is measured.

/// Something that ranks the texts of a corpus.
pub(crate) trait System {
    /// What the row of the table is called.
    fn name(&self) -> &str;

    /// The best `k` texts by name, best first.
    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>>;
}
