//! Types and collations that come with the databases. One that somebody defined runs code of theirs when it converts or
//! compares, and `regclass` and its like look names up in the catalog.

use sqlparser::ast::{ArrayElemTypeDef, DataType, Ident, ObjectName, ObjectNamePart, TableAlias};

use super::Grammar;

/// Whether values of the type are made without code of anybody but the database. What is not known here is not.
pub(super) fn built_in(data_type: &DataType) -> bool {
    let mut data_type = data_type;
    while let DataType::Array(element) = data_type {
        data_type = match element {
            ArrayElemTypeDef::None => return true,
            ArrayElemTypeDef::AngleBracket(inner)
            | ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::Parenthesis(inner)
            | ArrayElemTypeDef::Qualified(inner, _) => inner,
        };
    }
    is_text(data_type) || is_number(data_type) || is_time(data_type) || is_other(data_type)
}

/// Whether every column that the alias gives a type gets a built-in one.
pub(super) fn plain_alias(alias: &TableAlias) -> bool {
    alias.columns.iter().all(|column| column.data_type.as_ref().is_none_or(built_in))
}

/// Whether the collation is one that the database brings along.
pub(super) fn known_collation(name: &ObjectName, grammar: Grammar) -> bool {
    const KNOWN: [&str; 7] = ["c", "posix", "default", "ucs_basic", "binary", "nocase", "rtrim"];
    // In MySQL every collation is part of the server and named after its character set.
    const CHARACTER_SETS: [&str; 5] = ["utf8_", "utf8mb3_", "utf8mb4_", "latin1_", "ascii_"];
    let [ObjectNamePart::Identifier(Ident { value, .. })] = name.0.as_slice() else { return false };
    let value = value.to_ascii_lowercase();
    KNOWN.contains(&value.as_str())
        || (grammar == Grammar::MySql && CHARACTER_SETS.iter().any(|set| value.starts_with(set)))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Character(_)
            | DataType::Char(_)
            | DataType::CharacterVarying(_)
            | DataType::CharVarying(_)
            | DataType::Varchar(_)
            | DataType::Nvarchar(_)
            | DataType::CharacterLargeObject(_)
            | DataType::CharLargeObject(_)
            | DataType::Clob(_)
            | DataType::Text
            | DataType::TinyText
            | DataType::MediumText
            | DataType::LongText
            | DataType::Binary(_)
            | DataType::Varbinary(_)
            | DataType::Blob(_)
            | DataType::TinyBlob
            | DataType::MediumBlob
            | DataType::LongBlob
            | DataType::Bytea
            | DataType::Bit(_)
            | DataType::BitVarying(_)
            | DataType::VarBit(_)
    )
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Numeric(_)
            | DataType::Decimal(_)
            | DataType::DecimalUnsigned(_)
            | DataType::Dec(_)
            | DataType::DecUnsigned(_)
            | DataType::Float(_)
            | DataType::FloatUnsigned(_)
            | DataType::Float4
            | DataType::Float8
            | DataType::Real
            | DataType::RealUnsigned
            | DataType::Double(_)
            | DataType::DoubleUnsigned(_)
            | DataType::DoublePrecision
            | DataType::DoublePrecisionUnsigned
            | DataType::TinyInt(_)
            | DataType::TinyIntUnsigned(_)
            | DataType::SmallInt(_)
            | DataType::SmallIntUnsigned(_)
            | DataType::MediumInt(_)
            | DataType::MediumIntUnsigned(_)
            | DataType::Int(_)
            | DataType::IntUnsigned(_)
            | DataType::Integer(_)
            | DataType::IntegerUnsigned(_)
            | DataType::BigInt(_)
            | DataType::BigIntUnsigned(_)
            | DataType::Int2(_)
            | DataType::Int4(_)
            | DataType::Int8(_)
            | DataType::Signed
            | DataType::SignedInteger
            | DataType::Unsigned
            | DataType::UnsignedInteger
    )
}

fn is_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Date
            | DataType::Time(..)
            | DataType::Datetime(_)
            | DataType::Timestamp(..)
            | DataType::Interval { .. }
    )
}

fn is_other(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Bool | DataType::Boolean | DataType::Uuid | DataType::JSON | DataType::JSONB
    )
}
