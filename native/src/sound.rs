//! Whether a packed record is surely one that a member may send, seen without unpacking it.

use pyo3::prelude::*;

use crate::json::{read_object, Nowhere};

const ACTOR_BYTES: usize = 16;
const MOST_SEEN: u64 = 16;
const MOST_TABLE_BYTES: usize = 1024;
const MOST_NAME_BYTES: usize = 8192;
const MOST_OWNER_BYTES: usize = 1024;
const MOST_OP_BYTES: usize = 1024;
/// Fields of a record that former releases pack, and those that this one does.
const FIELDS: std::ops::RangeInclusive<u64> = 7..=11;
/// More than any count and any time.
const BEYOND: u64 = 1 << 53;
const NIL: u8 = 0xc0;

/// Whether a record of a key has surely no flaw.
#[pyfunction]
pub fn is_sound(table: &str, name: &str, packed: &[u8]) -> bool {
    (1..=MOST_TABLE_BYTES).contains(&table.len())
        && (1..=MOST_NAME_BYTES).contains(&name.len())
        && Packed { rest: packed }.record() == Some(())
}

/// msgpack that is not read yet.
struct Packed<'a> {
    rest: &'a [u8],
}

impl<'a> Packed<'a> {
    /// A record to its end; only what is usual of named writes, leases and creations.
    fn record(&mut self) -> Option<()> {
        let fields = self.list()?;
        if !FIELDS.contains(&fields) {
            return None;
        }
        sure(self.list()? == 2 && self.bytes()?.len() == ACTOR_BYTES && self.below(BEYOND)? > 0)?;
        if self.rest.first() == Some(&NIL) {
            self.byte()?;
        } else {
            read_object(self.bytes()?, usize::MAX, &mut Nowhere)?;
        }
        let seen = self.list()?;
        sure(seen <= MOST_SEEN)?;
        for _ in 0..seen {
            sure(self.list()? == 2)?;
            self.bytes()?;
            self.below(BEYOND)?;
        }
        self.stamp()?;
        sure(self.list()? == 2)?;
        self.below(BEYOND)?;
        sure(self.list()? == 1)?;
        self.stamp()?;
        sure(self.below(BEYOND)? > 0 && self.text()?.len() <= MOST_OWNER_BYTES)?;
        if fields > 7 {
            self.below(BEYOND)?;
        }
        sure(fields <= 8 || self.bytes()?.len() <= MOST_OP_BYTES)?;
        sure(fields <= 9 || self.list()? == 0)?;
        sure(fields <= 10 || self.byte()? == NIL)?;
        sure(self.rest.is_empty())
    }

    fn stamp(&mut self) -> Option<()> {
        sure(self.list()? == 3)?;
        self.below(BEYOND)?;
        self.below(BEYOND)?;
        sure(self.bytes()?.len() == ACTOR_BYTES)
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, length: u64) -> Option<u64> {
        Some(
            self.take(length)?
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        )
    }

    fn list(&mut self) -> Option<u64> {
        match self.byte()? {
            head @ 0x90..=0x9f => Some(u64::from(head & 15)),
            0xdc => self.number(2),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.number(1),
            0xc5 => self.number(2),
            0xc6 => self.number(4),
            _ => None,
        }?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = match self.byte()? {
            head @ 0xa0..=0xbf => Some(u64::from(head & 31)),
            0xd9 => self.number(1),
            0xda => self.number(2),
            _ => None,
        }?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// A number from 0 on that is below another one.
    fn below(&mut self, end: u64) -> Option<u64> {
        let number = match self.byte()? {
            small @ 0x00..=0x7f => Some(u64::from(small)),
            0xcc => self.number(1),
            0xcd => self.number(2),
            0xce => self.number(4),
            0xcf => self.number(8),
            _ => None,
        }?;
        (number < end).then_some(number)
    }
}

fn sure(is_so: bool) -> Option<()> {
    is_so.then_some(())
}
