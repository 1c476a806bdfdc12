//! Runs a compiled pattern at one place of a text.

use super::Inst;

pub(super) struct Run<'t> {
    pub(super) text: &'t str,
    /// Where the match has to end.
    pub(super) end: Option<usize>,
}

/// The steps are used up.
pub(super) struct TooLong;

enum Undo {
    Try(usize, usize),
    Slot(usize, Option<usize>),
}

impl Run<'_> {
    /// The end of the match that begins at `at`. Recursion is as deep as look-arounds are nested.
    pub(super) fn run(
        &self,
        program: &[Inst],
        at: usize,
        slots: &mut [Option<usize>],
        steps: &mut u64,
    ) -> Result<Option<usize>, TooLong> {
        let mut undo: Vec<Undo> = Vec::new();
        let (mut pc, mut pos) = (0, at);
        loop {
            *steps = steps.checked_sub(1).ok_or(TooLong)?;
            let ok = match &program[pc] {
                Inst::Done => {
                    if self.end.is_none_or(|end| end == pos) {
                        return Ok(Some(pos));
                    }
                    false
                }
                Inst::Jump(to) => {
                    pc = *to;
                    continue;
                }
                Inst::Split(first, second) => {
                    undo.push(Undo::Try(*second, pos));
                    pc = *first;
                    continue;
                }
                Inst::Save(slot) | Inst::Mark(slot) => {
                    undo.push(Undo::Slot(*slot, slots[*slot]));
                    slots[*slot] = Some(pos);
                    true
                }
                Inst::Moved(slot) => slots[*slot] != Some(pos),
                Inst::Look { ahead, negated, inner } => {
                    self.look(*ahead, inner, pos, slots, steps)? != *negated
                }
                Inst::Atomic(inner) => {
                    match (Run { text: self.text, end: None }).run(inner, pos, slots, steps)? {
                        Some(end) => {
                            pos = end;
                            true
                        }
                        None => false,
                    }
                }
                Inst::Back { group, fold } => match self.back(*group, *fold, pos, slots) {
                    Some(end) => {
                        pos = end;
                        true
                    }
                    None => false,
                },
                inst => match self.one(inst, pos) {
                    Some(end) => {
                        pos = end;
                        true
                    }
                    None => false,
                },
            };
            if ok {
                pc += 1;
                continue;
            }
            loop {
                match undo.pop() {
                    None => return Ok(None),
                    Some(Undo::Slot(slot, old)) => slots[slot] = old,
                    Some(Undo::Try(to, from)) => {
                        (pc, pos) = (to, from);
                        break;
                    }
                }
            }
        }
    }

    fn look(
        &self,
        ahead: bool,
        inner: &[Inst],
        pos: usize,
        slots: &mut [Option<usize>],
        steps: &mut u64,
    ) -> Result<bool, TooLong> {
        if ahead {
            return Ok(Run { text: self.text, end: None }.run(inner, pos, slots, steps)?.is_some());
        }
        let behind = Run { text: self.text, end: Some(pos) };
        let starts = self.text[..pos].char_indices().map(|(at, _)| at).rev();
        for at in std::iter::once(pos).chain(starts) {
            if behind.run(inner, at, slots, steps)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn back(&self, group: usize, fold: bool, pos: usize, slots: &[Option<usize>]) -> Option<usize> {
        let (from, to) = ((*slots.get(group * 2)?)?, (*slots.get(group * 2 + 1)?)?);
        let wanted = &self.text[from..to];
        let got = self.text.get(pos..pos + wanted.len())?;
        (got == wanted || fold && got.to_lowercase() == wanted.to_lowercase()).then_some(pos + wanted.len())
    }

    /// What one character or place says; the new position when it fits.
    fn one(&self, inst: &Inst, pos: usize) -> Option<usize> {
        let next = self.text[pos..].chars().next();
        let last = self.text[..pos].chars().next_back();
        let step = |fits: bool| next.filter(|_| fits).map(|c| pos + c.len_utf8());
        let stay = |fits: bool| fits.then_some(pos);
        match inst {
            Inst::Char { c, fold } => step(next.is_some_and(|n| n == *c || *fold && same_letter(n, *c))),
            Inst::Any { newline } => {
                step(*newline || !matches!(next, Some('\n' | '\r' | '\u{85}' | '\u{2028}')))
            }
            Inst::Class { set, fold } => step(next.is_some_and(|n| {
                set.has(n)
                    || *fold && (n.to_lowercase().any(|c| set.has(c)) || n.to_uppercase().any(|c| set.has(c)))
            })),
            Inst::Start { lines } => stay(pos == 0 || *lines && last == Some('\n') && next.is_some()),
            Inst::End { lines } => {
                let rest = &self.text[pos..];
                stay(rest.is_empty() || rest == "\n" || rest == "\r\n" || *lines && next == Some('\n'))
            }
            Inst::VeryEnd => stay(next.is_none()),
            Inst::Border { negated } => stay((word(last) != word(next)) != *negated),
            _ => None,
        }
    }
}

fn word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn same_letter(a: char, b: char) -> bool {
    a.to_lowercase().eq(b.to_lowercase())
}
