//! Arbitrary JSON values for properties.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Keys that mean something to a rule, and others.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "data", "stringData", "binaryData", "labels", "annotations", "uid", "rules", "aggregationRule", "default",
            "spec", "status", "<<", "yes", "on", "1", "0644", "~", "", "a b", "a: b",
        ]).prop_map(str::to_owned),
        2 => "[a-z]{1,5}",
        1 => any::<String>(),
    ]
}

/// Texts that a reader of YAML may take for something else, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "yes",
            "on",
            "off",
            "n",
            "~",
            "null",
            "true",
            "0644",
            "0o17",
            "0x1f",
            "0b1",
            "1_000",
            "1e3",
            ".5",
            "08",
            "<<",
            ".inf",
            ".nan",
            "2001-01-01",
            "12:30:45",
            "-",
            "- a",
            "? a",
            ": a",
            "a: b",
            "a #b",
            "#a",
            "",
            " ",
            " a",
            "a ",
            "a\nb",
            "a\nb\n",
            "a\n\n",
            "\na",
            "\n",
            " a\nb",
            "a\r\nb",
            "\ta",
            "a\t\nb",
            "---",
            "...",
            "a\n---\nb",
            "{a",
            "[a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            "a\u{85}b",
            "\u{feff}a",
            "a\u{2028}b",
            "\0",
            "\u{7f}",
            "=",
            "YWJj",
            "a\n  b\n c",
            "a \nb",
            "x\n\n\n",
            "# a\nb",
            "\u{fffe}",
        ])
        .prop_map(str::to_owned),
        "[ -~\n]{0,20}",
        any::<String>(),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1000.0_f64..1000.0).prop_map(Value::from),
    ]
}

/// Any value.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => number(),
        4 => text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(key(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Any mapping.
pub(crate) fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value(), 0..6)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}
