//! Names of files as text: a reversible escape for bytes that aren't UTF-8.
//!
//! A file name on Linux is any bytes but `/` and NUL; `results.csv`, Parquet and Arrow hold text. So `path` is the name
//! itself where it is UTF-8, and every byte that isn't part of valid UTF-8 is written `\xHH`, two lower-case hexadecimal
//! digits. A backslash of the name's own is written `\x5c` only where what follows would read as such an escape, so
//! that two different names never give the same text.
//!
//! | name (bytes) | path |
//! |---|---|
//! | `Apple Braeburn/0_100.jpg` | the same |
//! | `caf` `E9` `.jpg` (Latin-1) | `caf\xe9.jpg` |
//! | `a\b.jpg` | the same |
//! | `a\xe9.jpg` (a real backslash) | `a\x5cxe9.jpg` |
//!
//! ```
//! use fruitbatch_storage::path_escape::{escape, unescape};
//!
//! assert_eq!(escape(b"caf\xe9.jpg"), r"caf\xe9.jpg");
//! assert_eq!(*unescape(r"caf\xe9.jpg"), *b"caf\xe9.jpg");
//! assert_eq!(escape(br"a\xe9.jpg"), r"a\x5cxe9.jpg");
//! ```

use std::borrow::Cow;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes a name's bytes as text; see the module's documentation for the scheme. Borrowed where nothing had to be
/// escaped, as for nearly every name there is.
pub fn escape(name: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(name)
        && !text.match_indices('\\').any(|(at, _)| is_escape(&name[at..]))
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(name.len() + 16);
    let mut rest = name;
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' && is_escape(rest) {
                escaped.push_str("\\x5c");
            } else {
                escaped.push(character);
            }
            rest = &rest[character.len_utf8()..];
        }
        for byte in chunk.invalid() {
            escaped.push_str("\\x");
            escaped.extend([byte >> 4, byte & 0xf].map(|digit| char::from(HEX_DIGITS[usize::from(digit)])));
        }
        rest = &rest[chunk.invalid().len()..];
    }
    Cow::Owned(escaped)
}

/// The bytes of the name that [`escape`] wrote as `path`.
pub fn unescape(path: &str) -> Cow<'_, [u8]> {
    let bytes = path.as_bytes();
    if !path.match_indices('\\').any(|(at, _)| is_escape(&bytes[at..])) {
        return Cow::Borrowed(bytes);
    }
    let mut name = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if is_escape(&bytes[at..]) {
            name.push(hex_value(bytes[at + 2]) << 4 | hex_value(bytes[at + 3]));
            at += 4;
        } else {
            name.push(byte);
            at += 1;
        }
    }
    Cow::Owned(name)
}

/// Whether `bytes` begins with `\xHH`.
fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\\', b'x', high, low, ..] if is_hex(*high) && is_hex(*low))
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn hex_value(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_themselves() {
        for name in [
            "",
            "a.jpg",
            "Apple Braeburn/0 100.jpg",
            "ä/🍎.jpg",
            r"a\b",
            r"\",
            r"\x",
            r"\x4",
            r"\xE9",
            r"\xg0",
            "%5c",
        ] {
            assert_eq!(escape(name.as_bytes()), name);
            assert_eq!(unescape(name), name.as_bytes());
        }
    }

    #[test]
    fn every_short_name_over_a_hostile_alphabet_comes_back_and_no_two_share_a_text() {
        // All names of up to six bytes over the bytes that the scheme itself uses, and two that aren't UTF-8.
        let alphabet: &[u8] = b"\\x5c\xff\xe9a";
        let mut texts = std::collections::HashSet::new();
        let mut names: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..6 {
            let longer = names
                .iter()
                .flat_map(|name| alphabet.iter().map(|byte| [name, [*byte].as_slice()].concat()))
                .collect::<Vec<_>>();
            for name in &longer {
                let text = escape(name);
                assert_eq!(unescape(&text), name.as_slice(), "{text}");
                assert!(texts.insert(text.into_owned()), "{name:?} shares its text with another name");
            }
            names = longer;
        }
    }
}
