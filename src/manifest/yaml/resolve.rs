//! What a scalar means: the rules of YAML 1.1 in the form that Kubernetes' Go
//! library gives them (`resolve` of go.yaml.in/yaml/v2).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const STR: &str = "tag:yaml.org,2002:str";
const BOOL: &str = "tag:yaml.org,2002:bool";
const INT: &str = "tag:yaml.org,2002:int";
const FLOAT: &str = "tag:yaml.org,2002:float";
const NULL: &str = "tag:yaml.org,2002:null";
const TIMESTAMP: &str = "tag:yaml.org,2002:timestamp";
const BINARY: &str = "tag:yaml.org,2002:binary";
pub(super) const MERGE: &str = "tag:yaml.org,2002:merge";

/// A scalar with its meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what is too large for `i64`.
    Uint(u64),
    Float(f64),
    Text(String),
}

/// Why a scalar with a tag has no meaning. The text itself is never part of
/// it: it may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("a {found} is tagged as {tag}")]
    Mismatch { found: &'static str, tag: String },
    #[error("a value tagged as !!binary is not base64")]
    NotBase64,
    #[error("a value tagged as !!binary is not text, which Kubernetes would mangle")]
    NotText,
}

/// Resolves a scalar that is plain or has a tag.
pub(super) fn resolve(tag: Option<&str>, text: &str) -> Result<Resolved, ResolveError> {
    match tag {
        None => Ok(by_form(text, true)),
        Some(STR) => Ok(Resolved::Text(text.to_owned())),
        Some(BINARY) => binary(text),
        Some(TIMESTAMP) if is_timestamp(text) => Ok(Resolved::Text(text.to_owned())),
        Some(tag @ (BOOL | INT | FLOAT | NULL | TIMESTAMP)) => {
            let resolved = by_form(text, false);
            match (tag, resolved) {
                (BOOL, resolved @ Resolved::Bool(_))
                | (NULL, resolved @ Resolved::Null)
                | (INT, resolved @ (Resolved::Int(_) | Resolved::Uint(_)))
                | (FLOAT, resolved @ Resolved::Float(_)) => Ok(resolved),
                (FLOAT, Resolved::Int(integer)) => Ok(Resolved::Float(integer as f64)),
                (tag, resolved) => {
                    Err(ResolveError::Mismatch { found: resolved.name(), tag: tag.replace("tag:yaml.org,2002:", "!!") })
                }
            }
        }
        // Tags that the library does not know leave the text as it is.
        Some(_) => Ok(Resolved::Text(text.to_owned())),
    }
}

/// Whether a plain scalar of this text is read as that very text.
pub(crate) fn is_plain_string(text: &str) -> bool {
    matches!(by_form(text, true), Resolved::Text(_)) && text != "<<"
}

impl Resolved {
    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) | Self::Uint(_) => "whole number",
            Self::Float(_) => "number",
            Self::Text(_) => "text",
        }
    }
}

fn by_form(text: &str, untagged: bool) -> Resolved {
    if let Some(word) = word(text) {
        return word;
    }
    match text.as_bytes().first() {
        Some(b'.') => point_float(text).map_or_else(|| Resolved::Text(text.to_owned()), Resolved::Float),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if untagged && is_timestamp(text) {
                return Resolved::Text(text.to_owned());
            }
            number(&text.replace('_', "")).unwrap_or_else(|| Resolved::Text(text.to_owned()))
        }
        _ => Resolved::Text(text.to_owned()),
    }
}

fn word(text: &str) -> Option<Resolved> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Resolved::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// A number whose underscores are gone: an integer in any of Go's notations,
/// else a decimal float. A number with a leading zero that is not octal, such
/// as `08`, is a float to the library, and thereby 8.
fn number(plain: &str) -> Option<Resolved> {
    if let Some(integer) = go_integer(plain) {
        return Some(integer);
    }
    if is_decimal(plain)
        && let Some(float) = finite(plain)
    {
        return Some(Resolved::Float(float));
    }
    // The library's second try at binary allows a sign after the prefix.
    let (sign, digits) = plain.strip_prefix("0b")?.split_at_checked(1)?;
    let magnitude = u64::from_str_radix(digits, 2).ok().filter(|_| !digits.starts_with('+'))?;
    match sign {
        "+" => signed(false, magnitude),
        "-" => signed(true, magnitude),
        _ => None,
    }
}

/// An integer as Go's `ParseInt` and `ParseUint` read it with base 0.
fn go_integer(plain: &str) -> Option<Resolved> {
    let (sign, digits) = match plain.as_bytes().first()? {
        b'-' => (Some(true), &plain[1..]),
        b'+' => (Some(false), &plain[1..]),
        _ => (None, plain),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0'] => (10, digits),
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match signed(sign == Some(true), magnitude) {
        None if sign.is_none() => Some(Resolved::Uint(magnitude)),
        integer => integer,
    }
}

fn signed(negative: bool, magnitude: u64) -> Option<Resolved> {
    let integer = if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    integer.map(Resolved::Int)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(plain: &str) -> bool {
    let rest = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (rest, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()),
        None => digits(mantissa) && !mantissa.is_empty(),
    };
    mantissa && exponent.is_none_or(|exponent| digits(exponent) && !exponent.is_empty())
}

/// A float that begins with a point. Here the library does not drop the
/// underscores first, and Go allows them between digits only.
fn point_float(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let between_digits = |index: usize| {
        let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
        index > 0 && digit(index - 1) && digit(index + 1)
    };
    if bytes.iter().enumerate().any(|(index, byte)| *byte == b'_' && !between_digits(index)) {
        return None;
    }
    let plain = text.replace('_', "");
    if is_decimal(&plain) { finite(&plain) } else { None }
}

/// Go refuses what is too large for a float, and the text stays text.
fn finite(plain: &str) -> Option<f64> {
    plain.parse::<f64>().ok().filter(|float| float.is_finite())
}

fn binary(text: &str) -> Result<Resolved, ResolveError> {
    let engine = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    let bytes = engine.decode(text.replace(['\r', '\n'], "")).map_err(|_| ResolveError::NotBase64)?;
    String::from_utf8(bytes).map(Resolved::Text).map_err(|_| ResolveError::NotText)
}

/// The four forms of time that the library knows: `2006-1-2`, with a time
/// after a space, and with `T` or `t`, a time and a zone.
fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = split_date(text) else { return false };
    if !is_date(date) {
        return false;
    }
    match time {
        None => true,
        Some((' ', time)) => is_clock(time),
        Some((_, time)) => match time.strip_suffix('Z') {
            Some(clock) => is_clock(clock),
            None => {
                let Some(at) = time.rfind(['+', '-']) else { return false };
                let (clock, zone) = time.split_at(at);
                is_clock(clock) && is_zone(&zone[1..])
            }
        },
    }
}

fn split_date(text: &str) -> Option<(&str, Option<(char, &str)>)> {
    if !text.as_bytes().get(..5)?.iter().enumerate().all(|(index, byte)| match index {
        4 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    }) {
        return None;
    }
    match text.find(['T', 't', ' ']) {
        Some(at) => Some((&text[..at], Some((char::from(text.as_bytes()[at]), &text[at + 1..])))),
        None => Some((text, None)),
    }
}

fn is_date(date: &str) -> bool {
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Some(month), Some(day), Ok(year)) = (small(month, 2), small(day, 2), year.parse::<u32>()) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn is_clock(clock: &str) -> bool {
    let mut parts = clock.splitn(3, ':');
    let (Some(hour), Some(minute), Some(second)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
    small(hour, 2).is_some_and(|hour| hour < 24)
        && hour.len() == 2
        && small(minute, 2).is_some_and(|minute| minute < 60)
        && small(second, 2).is_some_and(|second| second < 60)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_zone(zone: &str) -> bool {
    zone.split_once(':').is_some_and(|(hours, minutes)| {
        hours.len() == 2
            && minutes.len() == 2
            && small(hours, 2).is_some_and(|hours| hours <= 24)
            && small(minutes, 2).is_some_and(|minutes| minutes < 60)
    })
}

/// A number of one digit to so many.
fn small(text: &str, digits: usize) -> Option<u32> {
    if text.is_empty() || text.len() > digits || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
