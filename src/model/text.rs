//! Text of others, as it is shown in our sentences.

/// The beginning of a text that came from outside, for a sentence.
pub fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let cut: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() { format!("{cut}…") } else { cut }
}
