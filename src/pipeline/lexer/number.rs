//! Number literals: decimal, hexadecimal, octal, binary, with suffix and `_`.

use super::{Lexer, Tok, continues_name};
use crate::diagnostic::Diagnostic;

/// How many characters a number may have. Longer ones cost square time and are no number anybody means.
const MAX_DIGITS: usize = 1000;

impl Lexer<'_> {
    pub(super) fn number(&mut self) -> Result<(), Diagnostic> {
        let (from, pos) = (self.at, self.pos);
        let radix = match self.rest().as_bytes() {
            [b'0', b'x' | b'X', ..] => 16,
            [b'0', b'b' | b'B', ..] => 2,
            _ => 10,
        };
        if radix != 10 {
            self.bump();
            self.bump();
        }
        let start = self.at;
        self.digits(radix);
        let mut fraction = false;
        if radix == 10 {
            fraction = self.fraction() | self.exponent();
        }
        let digits = self.source[start..self.at].replace('_', "");
        let suffix =
            self.peek().filter(|c| "gGlLiIdDfF".contains(*c) && (radix == 10 || !"dDfF".contains(*c)));
        if suffix.is_some() {
            self.bump();
        }
        if digits.is_empty() || self.peek().is_some_and(continues_name) {
            return Err(Diagnostic::new(pos, format!("'{}' is not a number", self.word(from))));
        }
        if digits.len() > MAX_DIGITS {
            return Err(Diagnostic::new(pos, format!("a number of more than {MAX_DIGITS} digits")));
        }
        let floating = fraction || suffix.is_some_and(|c| "dDfF".contains(c));
        let octal = radix == 10 && !floating && digits.len() > 1 && digits.starts_with('0');
        let radix = if octal { 8 } else { radix };
        let tok = match i64::from_str_radix(&digits, radix) {
            _ if suffix.is_some_and(|c| "dDfF".contains(c)) => {
                Tok::Double(digits.parse().unwrap_or(f64::NAN))
            }
            _ if floating => Tok::Decimal(digits),
            Ok(_) if suffix.is_some_and(|c| "gG".contains(c)) => Tok::Decimal(to_decimal(&digits, radix)),
            Ok(value) if suffix.is_some_and(|c| "lL".contains(c)) => Tok::Long(value),
            Ok(value) => Tok::Int(value),
            Err(_) if digits.chars().all(|c| c.is_digit(radix)) => Tok::Decimal(to_decimal(&digits, radix)),
            Err(_) => return Err(Diagnostic::new(pos, format!("'{}' is not a number", self.word(from)))),
        };
        self.push(tok, from, pos);
        Ok(())
    }

    fn digits(&mut self, radix: u32) {
        while self.peek().is_some_and(|c| c.is_digit(radix) || c == '_') {
            self.bump();
        }
    }

    /// `.5`, but not the dots of `1..5` and `1.plus(2)`.
    fn fraction(&mut self) -> bool {
        let fraction = matches!(self.rest().as_bytes(), [b'.', b'0'..=b'9', ..]);
        if fraction {
            self.bump();
            self.digits(10);
        }
        fraction
    }

    /// `e10`, `E-3`
    fn exponent(&mut self) -> bool {
        let signed = matches!(self.rest().as_bytes(), [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..]);
        let plain = matches!(self.rest().as_bytes(), [b'e' | b'E', b'0'..=b'9', ..]);
        if signed || plain {
            self.bump();
            self.bump();
            self.digits(10);
        }
        signed || plain
    }

    fn word(&self, from: usize) -> String {
        self.source[from..].chars().take_while(|c| continues_name(*c)).take(40).collect()
    }
}

/// Writes the digits of a number of any size in base ten.
fn to_decimal(digits: &str, radix: u32) -> String {
    // Little-endian decimal digits; at most MAX_DIGITS rounds over as many digits.
    let mut decimal: Vec<u32> = vec![0];
    for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
        let mut carry = digit;
        for place in &mut decimal {
            let value = *place * radix + carry;
            *place = value % 10;
            carry = value / 10;
        }
        while carry > 0 {
            decimal.push(carry % 10);
            carry /= 10;
        }
    }
    decimal.iter().rev().filter_map(|d| char::from_digit(*d, 10)).collect()
}
