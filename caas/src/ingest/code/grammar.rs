//! The grammars that are built in.

use crate::model::Language;

/// A language with what makes its grammar.
type Grammar = (Language, fn() -> tree_sitter::Language);

const GRAMMARS: &[Grammar] = &[
    #[cfg(feature = "code-c")]
    (Language::C, || tree_sitter_c::LANGUAGE.into()),
    #[cfg(feature = "code-cpp")]
    (Language::Cpp, || tree_sitter_cpp::LANGUAGE.into()),
    #[cfg(feature = "code-go")]
    (Language::Go, || tree_sitter_go::LANGUAGE.into()),
    #[cfg(feature = "code-java")]
    (Language::Java, || tree_sitter_java::LANGUAGE.into()),
    #[cfg(feature = "code-javascript")]
    (Language::JavaScript, || tree_sitter_javascript::LANGUAGE.into()),
    #[cfg(feature = "code-python")]
    (Language::Python, || tree_sitter_python::LANGUAGE.into()),
    #[cfg(feature = "code-rust")]
    (Language::Rust, || tree_sitter_rust::LANGUAGE.into()),
    #[cfg(feature = "code-typescript")]
    (Language::TypeScript, || tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into()),
    // The same language with elements of JSX and without casts by angle brackets: no file needs both.
    #[cfg(feature = "code-typescript")]
    (Language::TypeScript, || tree_sitter_typescript::LANGUAGE_TSX.into()),
];

/// The grammars of a language, the usual one first; none where its feature is off.
pub(super) fn of(language: Language) -> impl Iterator<Item = tree_sitter::Language> {
    GRAMMARS.iter().filter(move |(of, _)| *of == language).map(|(_, grammar)| grammar())
}
