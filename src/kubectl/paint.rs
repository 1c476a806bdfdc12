//! Text for a terminal: tables, colours, and nothing in it that a terminal would obey.

/// Whether colours are wanted: only a terminal gets them.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

/// What a text is to those who look at it from afar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Busy,
    Bad,
    Heading,
}

impl Paint {
    pub(crate) fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Heading => "1",
        };
        match self.0 && !text.is_empty() {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// What comes from the cluster on one line: without what moves the cursor or changes colours.
pub(crate) fn line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// No longer than so many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
        None => text.to_owned(),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: line(&text.to_string()), tone: Tone::Plain }
    }
}

/// Columns as kubectl shows them; the last one is not filled up.
pub(crate) fn table(paint: Paint, heads: &[&str], rows: &[Vec<Cell>]) -> String {
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| width(&cell.text));
            cells.chain([width(head)]).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    let heads: Vec<Cell> = heads.iter().map(Cell::from).collect();
    for row in [&heads].into_iter().chain(rows) {
        let mut written = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            written.push_str(&paint.text(cell.tone, &cell.text));
            let pad = wide.saturating_sub(width(&cell.text)) + 3;
            written.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_command_the_terminal() {
        assert_eq!(line("a\u{1b}[2J\nb\t c\u{9b}x"), "a [2J b c x");
    }

    #[test]
    fn columns_stand_below_each_other_in_colour_too() {
        let good = Cell { text: "Ready".to_owned(), tone: Tone::Good };
        let rows = [vec!["acme-0".into(), good, "".into()], vec!["é".into(), "Lost".into(), "x".into()]];
        let plain = table(Paint(false), &["POD", "STATE", "MESSAGE"], &rows);
        assert_eq!(plain, "POD      STATE   MESSAGE\nacme-0   Ready\né        Lost    x\n");
        let coloured = table(Paint(true), &["POD", "STATE", "MESSAGE"], &rows);
        assert!(coloured.contains("\u{1b}[32mReady\u{1b}[0m"), "{coloured}");
        assert_eq!(coloured.replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), plain);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
