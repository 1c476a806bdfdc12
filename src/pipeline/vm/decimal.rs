//! Decimal numbers: `i128` digits and a scale, the part of `BigDecimal` that pipelines use.
//!
//! At most 38 digits. What does not fit is refused with a sentence instead of being rounded.

use std::cmp::Ordering;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: i128,
    /// How many of the digits stand after the point.
    scale: u32,
}

/// Digits after the point that a division which does not end is rounded to.
const QUOTIENT: u32 = 10;
const SCALE_LIMIT: u32 = 30;

impl Decimal {
    pub(crate) fn new(digits: i128, scale: u32) -> Decimal {
        Decimal { digits, scale }
    }

    pub(crate) fn from_int(number: i64) -> Decimal {
        Decimal { digits: i128::from(number), scale: 0 }
    }

    /// Its digits, if nothing can stand after the point: what Groovy calls a `BigInteger`.
    pub(crate) fn integer(self) -> Option<i128> {
        (self.scale == 0).then_some(self.digits)
    }

    pub(crate) fn parse(text: &str) -> Option<Decimal> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.trim_start_matches(['-', '+']).is_empty() && fraction.is_empty()
            || fraction.contains(['-', '+'])
        {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        match u32::try_from(scale) {
            Ok(scale) if scale <= SCALE_LIMIT => Some(Decimal { digits, scale }),
            Ok(_) => None,
            Err(_) => {
                let raise = scale.checked_neg().and_then(|s| u32::try_from(s).ok())?;
                Some(Decimal { digits: digits.checked_mul(10i128.checked_pow(raise)?)?, scale: 0 })
            }
        }
    }

    fn align(self, other: Decimal) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let left = self.digits.checked_mul(10i128.checked_pow(scale - self.scale)?)?;
        let right = other.digits.checked_mul(10i128.checked_pow(scale - other.scale)?)?;
        Some((left, right, scale))
    }

    pub(crate) fn add(self, other: Decimal) -> Option<Decimal> {
        let (left, right, scale) = self.align(other)?;
        Some(Decimal { digits: left.checked_add(right)?, scale })
    }

    pub(crate) fn sub(self, other: Decimal) -> Option<Decimal> {
        let (left, right, scale) = self.align(other)?;
        Some(Decimal { digits: left.checked_sub(right)?, scale })
    }

    pub(crate) fn mul(self, other: Decimal) -> Option<Decimal> {
        let scale = self.scale + other.scale;
        (scale <= SCALE_LIMIT).then_some(())?;
        Some(Decimal { digits: self.digits.checked_mul(other.digits)?, scale })
    }

    /// Exact where the quotient ends, else rounded half up. The divisor is not zero.
    pub(crate) fn div(self, other: Decimal) -> Option<Decimal> {
        let scale = QUOTIENT.max(self.scale).max(other.scale);
        let raise = scale + 1 + other.scale - self.scale.min(scale);
        let left = self.digits.checked_mul(10i128.checked_pow(raise)?)?;
        let quotient = left.checked_div(other.digits)?;
        let rounded = (quotient + if quotient < 0 { -5 } else { 5 }) / 10;
        Some(Decimal { digits: rounded, scale }.stripped(0))
    }

    pub(crate) fn rem(self, other: Decimal) -> Option<Decimal> {
        let (left, right, scale) = self.align(other)?;
        Some(Decimal { digits: left.checked_rem(right)?, scale })
    }

    pub(crate) fn neg(self) -> Decimal {
        Decimal { digits: -self.digits, scale: self.scale }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// Towards zero.
    pub(crate) fn whole(self) -> i128 {
        self.digits / 10i128.pow(self.scale)
    }

    pub(crate) fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Rounds half up to so many digits after the point.
    pub(crate) fn rounded(self, scale: u32) -> Option<Decimal> {
        self.scaled(scale, "HALF_UP")
    }

    /// With so many digits after the point, rounded as one of Java's modes says.
    pub(crate) fn scaled(self, scale: u32, mode: &str) -> Option<Decimal> {
        if scale >= self.scale {
            let digits = self.digits.checked_mul(10i128.checked_pow(scale - self.scale)?)?;
            return Some(Decimal { digits, scale });
        }
        let unit = 10i128.checked_pow(self.scale - scale)?;
        let (whole, rest) = (self.digits / unit, self.digits % unit);
        let away = match mode {
            "UP" => rest != 0,
            "DOWN" => false,
            "CEILING" => rest > 0,
            "FLOOR" => rest < 0,
            _ => rest.abs() >= unit - rest.abs(),
        };
        Some(Decimal { digits: whole + if away { rest.signum() } else { 0 }, scale })
    }

    /// Without zeros at the end, down to `least` digits after the point.
    pub(crate) fn stripped(mut self, least: u32) -> Decimal {
        while self.scale > least && self.digits % 10 == 0 {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.align(*other) {
            Some((left, right, _)) => Some(left.cmp(&right)),
            None => self.to_f64().partial_cmp(&other.to_f64()),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.unsigned_abs().to_string();
        let scale = self.scale as usize;
        let sign = if self.digits < 0 { "-" } else { "" };
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(d("0.1").add(d("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(d("1.5").mul(d("-2.25")).unwrap().to_string(), "-3.375");
        assert_eq!(d("10").div(d("4")).unwrap().to_string(), "2.5");
        assert_eq!(d("10").div(d("2")).unwrap().to_string(), "5");
        assert_eq!(d("1").div(d("3")).unwrap().to_string(), "0.3333333333");
        assert_eq!(d("2").div(d("3")).unwrap().to_string(), "0.6666666667");
        assert_eq!(d("1e3").to_string(), "1000");
        assert_eq!(d("-0.05").rounded(1).unwrap().to_string(), "-0.1");
        assert!(
            Decimal::parse("abc").is_none() && Decimal::parse("").is_none() && Decimal::parse("-").is_none()
        );
    }
}
