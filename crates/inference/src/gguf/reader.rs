//! A little-endian reader that never asks for more bytes than the file has left.

use std::io::{BufReader, Read};

use super::{GgufError, MAX_HEADER_BYTES, Value, value::MAX_ARRAY_DEPTH};

/// Reads header fields in order and counts what is left.
pub(super) struct HeaderReader<R> {
    source: BufReader<R>,
    position: u64,
    size: u64,
}

impl<R: Read> HeaderReader<R> {
    /// A reader at the start of a file of `size` bytes.
    pub(super) fn new(source: R, size: u64) -> Self {
        Self { source: BufReader::with_capacity(1 << 18, source), position: 0, size }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes the file has left.
    pub(super) fn left(&self) -> u64 {
        self.size.saturating_sub(self.position)
    }

    /// Refuses to go on when fewer than `needed` bytes are left, or the header gets too long.
    pub(super) fn expect(&self, needed: u64, place: impl FnOnce() -> String) -> Result<(), GgufError> {
        if needed > self.left() {
            return Err(GgufError::CutShort { place: place(), needed, left: self.left() });
        }
        if self.position.saturating_add(needed) > MAX_HEADER_BYTES {
            return Err(GgufError::HeaderTooLong { limit: MAX_HEADER_BYTES });
        }
        Ok(())
    }

    fn fixed<const N: usize>(&mut self, place: &str) -> Result<[u8; N], GgufError> {
        self.expect(N as u64, || place.to_owned())?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// Four raw bytes.
    pub(super) fn magic(&mut self) -> Result<[u8; 4], GgufError> {
        self.fixed("the magic number")
    }

    /// A 32-bit number.
    pub(super) fn u32(&mut self, place: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.fixed(place)?))
    }

    /// A 64-bit number.
    pub(super) fn u64(&mut self, place: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.fixed(place)?))
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self, place: &str) -> Result<String, GgufError> {
        let length = self.u64(place)?;
        self.expect(length, || place.to_owned())?;
        let mut bytes = vec![0; length as usize];
        self.source.read_exact(&mut bytes)?;
        self.position += length;
        String::from_utf8(bytes).map_err(|_| GgufError::NotUtf8 { place: place.to_owned() })
    }

    /// A metadata value of the given type number.
    pub(super) fn value(&mut self, kind: u32, place: &str, depth: usize) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.fixed::<1>(place)?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.fixed(place)?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.fixed(place)?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.fixed(place)?))),
            4 => Value::Unsigned(u64::from(self.u32(place)?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.fixed(place)?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.fixed(place)?))),
            7 => Value::Bool(self.fixed::<1>(place)?[0] != 0),
            8 => Value::Text(self.text(place)?),
            9 => self.array(place, depth)?,
            10 => Value::Unsigned(self.u64(place)?),
            11 => Value::Signed(i64::from_le_bytes(self.fixed(place)?)),
            12 => Value::Float(f64::from_le_bytes(self.fixed(place)?)),
            found => return Err(GgufError::UnknownValueType { place: place.to_owned(), found }),
        })
    }

    fn array(&mut self, place: &str, depth: usize) -> Result<Value, GgufError> {
        if depth >= MAX_ARRAY_DEPTH {
            return Err(GgufError::TooDeep { place: place.to_owned(), limit: MAX_ARRAY_DEPTH });
        }
        let kind = self.u32(place)?;
        let count = self.u64(place)?;
        let least_size: u64 = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10 | 11 | 12 => 8,
            9 => 12,
            found => return Err(GgufError::UnknownValueType { place: place.to_owned(), found }),
        };
        // An honest count cannot promise more entries than the bytes left could hold.
        self.expect(count.saturating_mul(least_size), || place.to_owned())?;
        let count = count as usize;
        Ok(match kind {
            8 => {
                // Texts cost more memory (24 bytes) than their smallest form in the file (8 bytes), so the
                // vector grows as they come instead of trusting the count.
                let mut texts = Vec::new();
                for _ in 0..count {
                    texts.push(self.text(place)?);
                }
                Value::Texts(texts)
            }
            6 => {
                let mut numbers = Vec::with_capacity(count);
                for _ in 0..count {
                    numbers.push(f32::from_le_bytes(self.fixed(place)?));
                }
                Value::Floats(numbers)
            }
            0..=5 | 7 => {
                let mut numbers = Vec::new();
                for _ in 0..count {
                    numbers.push(match self.value(kind, place, depth + 1)? {
                        Value::Unsigned(number) => number as i64,
                        Value::Signed(number) => number,
                        Value::Bool(flag) => i64::from(flag),
                        _ => 0,
                    });
                }
                Value::Integers(numbers)
            }
            _ => {
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(kind, place, depth + 1)?);
                }
                Value::Array(values)
            }
        })
    }
}
