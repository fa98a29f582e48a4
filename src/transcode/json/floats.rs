//! Floating-point numbers: the shortest text that reads back the same, formatted as Google's runtime for
//! Python does.

use super::buffer::JsonBuffer;

impl JsonBuffer {
    pub(crate) fn double(&mut self, value: f64) {
        if value.is_finite() {
            let mut buffer = zmij::Buffer::new();
            self.float_text(buffer.format_finite(value));
        } else {
            self.not_finite(value);
        }
    }

    pub(crate) fn float(&mut self, value: f32) {
        if !value.is_finite() {
            self.not_finite(f64::from(value));
        } else if Decimal::may_differ_from_google(value) {
            self.double(Decimal::as_google_rounds(value));
        } else {
            let mut buffer = zmij::Buffer::new();
            self.float_text(buffer.format_finite(value));
        }
    }

    #[cold]
    fn not_finite(&mut self, value: f64) {
        self.text(if value.is_nan() {
            b"\"NaN\""
        } else if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        });
    }

    /// Writes what zmij printed in Python's format: without an exponent from 0.0001 to 16 digits before
    /// the point, otherwise as `1e-05` or `1.5e+16`.
    fn float_text(&mut self, text: &str) {
        let text = text.as_bytes();
        let unsigned = text.strip_prefix(b"-").unwrap_or(text);
        let differs = matches!(
            unsigned,
            [.., b'e', _, _]
                | [.., b'e', b'+', b'1', b'0'..=b'5']
                | [b'0', b'.', b'0', b'0', b'0', b'0', ..]
        );
        if !differs {
            self.text(text);
            return;
        }
        if unsigned.len() < text.len() {
            self.byte(b'-');
        }
        let number = Decimal::parse(unsigned);
        if (-3..=16).contains(&number.point) {
            self.large(&number);
        } else {
            self.scientific(&number);
        }
    }

    /// A number with more positions before the point than it has digits.
    fn large(&mut self, number: &Decimal) {
        self.text(number.digits());
        for _ in number.length..number.point.unsigned_abs() as usize {
            self.byte(b'0');
        }
        self.text(b".0");
    }

    fn scientific(&mut self, number: &Decimal) {
        let (first, others) = number.digits().split_at(1);
        self.text(first);
        if !others.is_empty() {
            self.byte(b'.');
            self.text(others);
        }
        let exponent = number.point - 1;
        self.text(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            self.byte(b'0');
        }
        self.unsigned(u64::from(exponent.unsigned_abs()));
    }
}

/// A positive decimal number: `0.DIGITS` times ten to the power of `point`.
struct Decimal {
    digits: [u8; 17],
    length: usize,
    point: i32,
}

impl Decimal {
    /// Reads what zmij prints.
    fn parse(text: &[u8]) -> Self {
        let mut number = Self {
            digits: [b'0'; 17],
            length: 0,
            point: 0,
        };
        let mut parts = text.splitn(2, |byte| *byte == b'e');
        let mantissa = parts.next().unwrap_or_default();
        let exponent = parts
            .next()
            .and_then(|exponent| std::str::from_utf8(exponent).ok()?.parse().ok())
            .unwrap_or(0);
        let mut after_point = false;
        for &byte in mantissa {
            match byte {
                b'.' => after_point = true,
                b'0' if number.length == 0 => number.point -= i32::from(after_point),
                digit => {
                    number.digits[number.length] = digit;
                    number.length += 1;
                    number.point += i32::from(!after_point);
                }
            }
        }
        number.point += exponent;
        number
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    /// Google's runtime looks for the fewest digits, 6 at least, to which the number can be rounded
    /// and still be read back. That is the shortest text, except perhaps below the smallest normal
    /// number, and at powers of two, whose neighbours are nearer on one side.
    #[expect(clippy::verbose_bit_mask, reason = "the mask is the mantissa")]
    fn may_differ_from_google(value: f32) -> bool {
        let short = value == 0.0 || (0.015_625..=524_288.0).contains(&value.abs());
        !short && (value.to_bits() & 0x007f_ffff == 0 || !value.is_normal())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::float_cmp,
        reason = "whether it reads back the same is the question"
    )]
    fn as_google_rounds(value: f32) -> f64 {
        (5..=8)
            .map(|value_positions| format!("{value:.value_positions$e}").parse().unwrap_or(0.0))
            .find(|rounded: &f64| *rounded as f32 == value)
            .unwrap_or(f64::from(value))
    }
}
