//! Numbers as people read them.

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `one` photo, or a number of `many`.
pub(crate) fn count_of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A figure with about five digits that matter: `0.34839`, `41.027`, `123,267.8`.
pub(crate) fn figure(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 1e15 => return format!("{number:e}"),
        size if size >= 1_000.0 => 1,
        size if size >= 10.0 => 3,
        size if size >= 0.001 || size == 0.0 => 5,
        _ => return format!("{number:.4e}").replace('-', "\u{2212}"),
    };
    let text = format!("{:.decimals$}", number.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, "0"));
    let sign = if number < 0.0 { "\u{2212}" } else { "" };
    format!("{sign}{}.{rest}", whole.parse().map_or_else(|_| whole.to_owned(), count))
}

/// A figure with so many decimals.
pub(crate) fn fixed(number: f64, decimals: usize) -> String {
    format!("{number:.decimals$}").replace('-', "\u{2212}")
}

/// [`figure`] with as many digits as an axis has room for.
pub(crate) fn tick(number: f64) -> String {
    let sign = if number < 0.0 { "\u{2212}" } else { "" };
    let size = number.abs();
    let short = |number: f64, decimals: usize| {
        let text = format!("{number:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    let text = match size {
        _ if size >= 1e15 => format!("{size:.1e}"),
        _ if size >= 1e9 => format!("{}G", short(size / 1e9, 2)),
        _ if size >= 1e6 => format!("{}M", short(size / 1e6, 2)),
        _ if size >= 1e4 => format!("{}k", short(size / 1e3, 2)),
        _ => short(size, 4),
    };
    if text == "0" { text } else { format!("{sign}{text}") }
}

/// A number as JSON writes it, from which the same bits are read again.
pub(crate) fn exact(number: f64) -> String {
    serde_json::Number::from_f64(number).map_or_else(|| "null".to_owned(), |number| number.to_string())
}

/// A share as `58.1 %`.
pub(crate) fn percent(share: f64) -> String {
    // A no-break space.
    format!("{:.1}\u{a0}%", 100.0 * share)
}

/// Seconds as `0.42 s`, `12.3 s`, `3 min 12 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds < 9.995 => format!("{seconds:.2} s"),
        _ if seconds < 59.95 => format!("{seconds:.1} s"),
        _ if seconds < 3_599.5 => {
            let whole = seconds.round() as u64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
        _ => {
            let minutes = (seconds / 60.0).round() as u64;
            format!("{} h {} min", count(minutes / 60), minutes % 60)
        }
    }
}

/// The text, or its beginning and end with `…` between them, `longest` characters in all.
pub(crate) fn clip(text: &str, longest: usize) -> String {
    let characters = text.chars().count();
    if characters <= longest {
        return text.to_owned();
    }
    let kept = longest.saturating_sub(1);
    let start: String = text.chars().take(kept / 3).collect();
    let end: String = text.chars().skip(characters - (kept - kept / 3)).collect();
    format!("{start}…{end}")
}

/// What a cluster is called.
pub(crate) fn cluster_name(cluster: i32) -> String {
    if cluster < 0 { "noise".to_owned() } else { cluster.to_string() }
}

/// The least and the most of the values; the infinities the other way round if there are none.
pub(crate) fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn figures_have_about_five_digits() {
        for (number, text) in [
            (0.348_393_868, "0.34839"),
            (-0.25, "\u{2212}0.25000"),
            (41.027_49, "41.027"),
            (123_267.814, "123,267.8"),
            (0.0, "0.00000"),
            (0.000_012_3, "1.2300e\u{2212}5"),
        ] {
            assert_eq!(figure(number), text);
        }
    }

    #[test]
    fn exact_numbers_are_read_with_the_same_bits() {
        for number in [0.348_393_868_953_618_57, 1e-300, 123_267.814_295_906_37, -0.0, f64::MAX] {
            assert_eq!(exact(number).parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
    }

    #[test]
    fn ticks_are_short() {
        for (number, text) in
            [(0.0, "0"), (-0.2, "\u{2212}0.2"), (120_000.0, "120k"), (1.25e6, "1.25M"), (0.000_01, "0")]
        {
            assert_eq!(tick(number), text);
        }
    }

    #[test]
    fn durations_round_to_what_people_say() {
        for (seconds, text) in [
            (0.0, "0.00 s"),
            (9.999, "10.0 s"),
            (59.99, "1 min 0 s"),
            (3_599.9, "1 h 0 min"),
            (192.0, "3 min 12 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn long_texts_keep_both_ends() {
        assert_eq!(clip("Apfelbaum", 9), "Apfelbaum");
        assert_eq!(clip("äöüßÄÖÜẞ", 4), "ä…Üẞ");
    }
}
