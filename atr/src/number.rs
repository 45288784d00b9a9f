//! The numbers of Rust in a schema.

use schemars::Schema;
use serde_json::Value;

/// What a type of numbers holds, as far as a schema has to say it: none of these is out of reach of an argument.
///
/// Integers of 64 bits and more have no entry of their own: arguments hold none that a double does not, and what is unsigned
/// has its least value from `schemars`.
const BOUNDS: [(&str, Option<(i64, i64)>); 14] = [
    ("int8", Some((i8::MIN as i64, i8::MAX as i64))),
    ("int16", Some((i16::MIN as i64, i16::MAX as i64))),
    ("int32", Some((i32::MIN as i64, i32::MAX as i64))),
    ("uint8", Some((0, u8::MAX as i64))),
    ("uint16", Some((0, u16::MAX as i64))),
    ("uint32", Some((0, u32::MAX as i64))),
    ("int64", None),
    ("int128", None),
    ("int", None),
    ("uint64", None),
    ("uint128", None),
    ("uint", None),
    ("float", None),
    ("double", None),
];

/// Says what the type of a number holds in words that JSON Schema has. `schemars` names the type with `format`, which no
/// validator and no vendor of models knows for numbers.
pub(crate) fn bound(schema: &mut Schema) {
    let format = schema.get("format").and_then(Value::as_str);
    let Some((_, bounds)) = BOUNDS.iter().find(|(known, _)| format == Some(*known)) else { return };
    schema.remove("format");
    for (keyword, bound) in bounds.iter().flat_map(|(least, most)| [("minimum", *least), ("maximum", *most)])
    {
        if schema.get(keyword).is_none() {
            schema.insert(keyword.to_owned(), bound.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde_json::json;

    use crate::schema::InputSchema;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Numbers {
        small: i32,
        #[schemars(range(min = 1, max = 5))]
        ranged: u32,
        wide: Option<u64>,
        list: Vec<f32>,
        #[schemars(extend("const" = {"format": "int32"}))]
        data: Option<String>,
    }

    #[test]
    fn a_type_of_numbers_is_told_by_its_bounds() {
        let schema = InputSchema::of::<Numbers>();
        let cases = [
            ("/small", json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX})),
            ("/ranged", json!({"type": "integer", "minimum": 1, "maximum": 5})),
            ("/wide", json!({"type": ["integer", "null"], "minimum": 0})),
            ("/list/items", json!({"type": "number"})),
            ("/data/const", json!({"format": "int32"})),
        ];
        for (at, expected) in cases {
            assert_eq!(schema["properties"].pointer(at), Some(&expected), "{at}");
        }
    }
}
