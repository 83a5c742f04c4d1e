//! One promise: what was measured, against what.

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) bound: String,
    pub(crate) kept: bool,
}

/// A figure that must not be larger than `bound`; one that isn't a number breaks the promise.
pub(crate) fn at_most(what: impl Into<String>, measured: f64, bound: f64) -> Promise {
    Promise {
        what: what.into(),
        measured: text(measured),
        bound: format!("at most {bound}"),
        kept: measured <= bound,
    }
}

/// A figure that must not be smaller than `bound`; one that isn't a number breaks the promise.
pub(crate) fn at_least(what: impl Into<String>, measured: f64, bound: f64) -> Promise {
    Promise {
        what: what.into(),
        measured: text(measured),
        bound: format!("at least {bound}"),
        kept: measured >= bound,
    }
}

/// Something that is so or isn't.
pub(crate) fn holds(what: impl Into<String>, kept: bool) -> Promise {
    let measured = if kept { "yes" } else { "no" };
    Promise { what: what.into(), measured: measured.to_owned(), bound: "yes".to_owned(), kept }
}

fn text(figure: f64) -> String {
    if figure != 0.0 && figure.abs() < 1e-3 { format!("{figure:.2e}") } else { format!("{figure:.4}") }
}
