//! What the nodes of each grammar are to us. The names are those of the grammars' `node-types.json`.

use tree_sitter::Node;

use crate::model::Language;

/// The kinds of nodes that matter at the level of items.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) comments: &'static [&'static str],
    /// Name other modules, or the one that this is.
    imports: &'static [&'static str],
    /// Stand before an item and belong to it.
    attributes: &'static [&'static str],
    /// Items that are named by all of their text but the field `body`.
    functions: &'static [&'static str],
    /// Items that are named by their first line, if they have no field `body`.
    values: &'static [&'static str],
    /// Items of items, in the field `body`.
    containers: &'static [&'static str],
    /// Items around an item, and the field that has it; without a field, the last part.
    wrappers: &'static [(&'static str, Option<&'static str>)],
    /// Hold items and are none.
    lists: &'static [&'static str],
}

/// What a node is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Comment,
    Import,
    Attribute,
    Function,
    Value,
    Container,
    List,
    Other,
}

impl Kinds {
    pub(super) const fn of(language: Language) -> &'static Self {
        match language {
            Language::C => &C,
            Language::Cpp => &CPP,
            Language::Go => &GO,
            Language::Java => &JAVA,
            Language::JavaScript | Language::TypeScript => &TYPESCRIPT,
            Language::Python => &PYTHON,
            Language::Rust => &RUST,
        }
    }

    /// What a node is, and the item in it, which is the node itself where nothing wraps it.
    pub(super) fn role<'t>(&self, node: Node<'t>) -> (Role, Node<'t>) {
        let mut item = node;
        // A wrapper in a wrapper in a wrapper is no program of a human.
        for _ in 0..4 {
            let wraps = self.wrappers.iter().filter(|(kind, _)| *kind == item.kind());
            let mut inner = wraps.filter_map(|(_, field)| match field {
                Some(field) => item.child_by_field_name(field),
                None => last_named(item),
            });
            match inner.next() {
                Some(inner) => item = inner,
                None => break,
            }
        }
        match self.plain(item) {
            // What wraps it makes it no import and no comment.
            Role::Import | Role::Comment | Role::Attribute | Role::List | Role::Other if item != node => {
                (self.plain(node), node)
            }
            role => (role, item),
        }
    }

    fn plain(&self, node: Node<'_>) -> Role {
        let kind = node.kind();
        let body = || node.child_by_field_name("body");
        match kind {
            _ if self.comments.contains(&kind) => Role::Comment,
            _ if self.imports.contains(&kind) => Role::Import,
            // Passing on what is elsewhere.
            "export_statement" if node.child_by_field_name("source").is_some() => Role::Import,
            _ if self.attributes.contains(&kind) => Role::Attribute,
            "linkage_specification" if body().is_none_or(|body| body.kind() != "declaration_list") => {
                Role::Function
            }
            _ if self.containers.contains(&kind) => Role::Container,
            _ if self.functions.contains(&kind) => Role::Function,
            "field_declaration" if declares_function(node) => Role::Function,
            _ if self.values.contains(&kind) => Role::Value,
            _ if self.lists.contains(&kind) => Role::List,
            _ => Role::Other,
        }
    }

    /// Whether a node is something even where what is around it is in error.
    pub(super) fn is_known(&self, node: Node<'_>) -> bool {
        !matches!(self.role(node).0, Role::Other)
    }
}

pub(super) fn last_named(node: Node<'_>) -> Option<Node<'_>> {
    node.named_child_count().checked_sub(1).and_then(|last| node.named_child(u32::try_from(last).ok()?))
}

/// Whether a member of a class in C++ is a function: its name is within pointers and references at the most.
fn declares_function(node: Node<'_>) -> bool {
    let mut declarator = node.child_by_field_name("declarator");
    for _ in 0..8 {
        match declarator {
            Some(node) if node.kind() == "function_declarator" => return true,
            Some(node) => declarator = node.child_by_field_name("declarator").or_else(|| node.named_child(0)),
            None => return false,
        }
    }
    false
}

const RUST: Kinds = Kinds {
    comments: &["line_comment", "block_comment", "shebang"],
    imports: &["use_declaration", "extern_crate_declaration"],
    attributes: &["attribute_item"],
    functions: &["function_item", "function_signature_item"],
    values: &[
        "struct_item",
        "enum_item",
        "union_item",
        "const_item",
        "static_item",
        "type_item",
        "associated_type",
        "macro_definition",
    ],
    containers: &["impl_item", "trait_item", "mod_item", "foreign_mod_item"],
    wrappers: &[],
    lists: &[],
};

const PYTHON: Kinds = Kinds {
    comments: &["comment"],
    imports: &["import_statement", "import_from_statement", "future_import_statement"],
    attributes: &[],
    functions: &["function_definition"],
    values: &["type_alias_statement"],
    containers: &["class_definition"],
    wrappers: &[("decorated_definition", Some("definition"))],
    lists: &[],
};

/// JavaScript is a part of it.
const TYPESCRIPT: Kinds = Kinds {
    comments: &["comment", "html_comment", "hash_bang_line"],
    imports: &["import_statement", "import_alias"],
    attributes: &["decorator"],
    functions: &[
        "function_declaration",
        "generator_function_declaration",
        "function_expression",
        "arrow_function",
        "function_signature",
        "method_definition",
        "method_signature",
        "abstract_method_signature",
    ],
    values: &[
        "lexical_declaration",
        "variable_declaration",
        "type_alias_declaration",
        "enum_declaration",
        "interface_declaration",
    ],
    containers: &["class_declaration", "abstract_class_declaration", "class", "internal_module", "module"],
    wrappers: &[
        ("export_statement", Some("declaration")),
        ("export_statement", Some("value")),
        ("ambient_declaration", None),
        ("expression_statement", None),
    ],
    lists: &[],
};

const GO: Kinds = Kinds {
    comments: &["comment"],
    imports: &["package_clause", "import_declaration"],
    attributes: &[],
    functions: &["function_declaration", "method_declaration"],
    values: &["type_declaration", "const_declaration", "var_declaration"],
    containers: &[],
    wrappers: &[],
    lists: &[],
};

const JAVA: Kinds = Kinds {
    comments: &["line_comment", "block_comment"],
    imports: &["package_declaration", "import_declaration"],
    attributes: &[],
    functions: &[
        "method_declaration",
        "constructor_declaration",
        "compact_constructor_declaration",
        "annotation_type_element_declaration",
        "module_declaration",
    ],
    values: &[],
    containers: &[
        "class_declaration",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "annotation_type_declaration",
    ],
    wrappers: &[],
    lists: &["enum_body_declarations"],
};

const C: Kinds = Kinds {
    comments: &["comment"],
    imports: &["preproc_include"],
    attributes: &["attribute_declaration"],
    functions: &["function_definition", "declaration"],
    values: &[
        "type_definition",
        "struct_specifier",
        "union_specifier",
        "enum_specifier",
        "preproc_def",
        "preproc_function_def",
    ],
    containers: &["linkage_specification"],
    wrappers: &[],
    lists: CONDITIONS,
};

const CPP: Kinds = Kinds {
    imports: &["preproc_include", "using_declaration"],
    values: &[
        "type_definition",
        "enum_specifier",
        "union_specifier",
        "preproc_def",
        "preproc_function_def",
        "alias_declaration",
        "concept_definition",
        "namespace_alias_definition",
    ],
    containers: &["class_specifier", "struct_specifier", "namespace_definition", "linkage_specification"],
    wrappers: &[("template_declaration", None)],
    ..C
};

/// Around whole headers, most of the time.
const CONDITIONS: &[&str] =
    &["preproc_if", "preproc_ifdef", "preproc_else", "preproc_elif", "preproc_elifdef"];
