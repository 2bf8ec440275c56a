//! msgpack that is read in place, field by field. What is not there, is too short or is of another kind is `None`.

const NIL: u8 = 0xc0;

/// msgpack that is not read yet.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    pub rest: &'a [u8],
}

impl<'a> Packed<'a> {
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

    /// Whether nothing is there, which is read then.
    pub fn nil(&mut self) -> bool {
        let is_nil = self.rest.first() == Some(&NIL);
        if is_nil {
            self.byte();
        }
        is_nil
    }

    /// The head of a list; so many elements follow.
    pub fn list(&mut self) -> Option<u64> {
        match self.byte()? {
            head @ 0x90..=0x9f => Some(u64::from(head & 15)),
            0xdc => self.number(2),
            _ => None,
        }
    }

    /// The head of a list of exactly so many elements.
    pub fn list_of(&mut self, length: u64) -> Option<()> {
        (self.list()? == length).then_some(())
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.number(1),
            0xc5 => self.number(2),
            0xc6 => self.number(4),
            _ => None,
        }?;
        self.take(length)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = match self.byte()? {
            head @ 0xa0..=0xbf => Some(u64::from(head & 31)),
            0xd9 => self.number(1),
            0xda => self.number(2),
            _ => None,
        }?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// A number from 0 on that is below another one.
    pub fn below(&mut self, end: u64) -> Option<u64> {
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

    /// What was read since a former state of the same bytes.
    pub fn since(&self, start: Packed<'a>) -> Option<&'a [u8]> {
        let length = start.rest.len().checked_sub(self.rest.len())?;
        start.rest.get(..length)
    }
}
