//! Names of files as text, and back.

use crate::path_escape::{escape, unescape};

/// Every name comes back from its text, and every text is some name's.
pub(crate) fn check(bytes: &[u8]) {
    let text = escape(bytes);
    assert_eq!(*unescape(&text), *bytes, "{text}");
    if let Ok(text) = std::str::from_utf8(bytes) {
        let name = unescape(text);
        assert_eq!(unescape(&escape(&name)), name);
    }
}
