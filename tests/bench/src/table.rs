//! The result: rows of what, value, beside what.

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// `beside`: the limit or goal that the value is to be read against.
    pub(crate) fn row(
        &mut self,
        store: &str,
        what: &str,
        value: impl Into<String>,
        beside: impl Into<String>,
    ) {
        let row = [store.to_owned(), what.to_owned(), value.into(), beside.into()];
        println!("{}", row.join(" | "));
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        let head = ["store", "what", "measured", "goal or limit"].map(ToOwned::to_owned);
        let widths: Vec<usize> = (0..4)
            .map(|c| self.rows.iter().chain([&head]).map(|r| r[c].chars().count()).max().unwrap_or(0))
            .collect();
        println!();
        let rule = [0, 1, 2, 3].map(|c| "-".repeat(widths[c]));
        for row in [&head, &rule].into_iter().chain(&self.rows) {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
            println!("| {} |", cells.join(" | "));
        }
    }
}

/// The value at a share of the sorted ones.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
