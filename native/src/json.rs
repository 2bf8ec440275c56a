//! JSON that is surely an object, read once, without recursion and without making anything of it.
//!
//! Less is accepted here than is valid: whatever is rare (numbers that may not fit a machine's, surrogates, control
//! characters, deep nesting) is left to the pure heart's way, which also has the words for what is wrong.

/// Levels that fit the bits of one word; the usual bound on values that clients send, too.
const MOST_LEVELS: usize = 64;
/// Of an integer: less digits than the greatest of 63 bits has.
const MOST_INTEGER_BYTES: usize = 18;
/// Of a number with a point or an exponent.
const MOST_NUMBER_BYTES: usize = 40;
/// Of an exponent: with the digits above, no number is beyond what a float holds.
const MOST_EXPONENT_DIGITS: usize = 2;

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> Option<&'a [u8]> {
        self.body.get(start..self.at)
    }

    /// A string whose first quote was read.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                0x00..=0x1f => return None,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let mut number = 0;
                for _ in 0..4 {
                    number = number * 16 + char::from(self.next()?).to_digit(16)?;
                }
                (!(0xd800..0xe000).contains(&number)).then_some(())
            }
            _ => None,
        }
    }

    /// How many digits follow; they are read.
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// A number whose first byte was looked at.
    fn number(&mut self) -> Option<()> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let leads = self.peek()?;
        let count = self.digits();
        if count == 0 || (leads == b'0' && count > 1) {
            return None;
        }
        let mut most = MOST_INTEGER_BYTES;
        if self.peek() == Some(b'.') {
            self.at += 1;
            most = MOST_NUMBER_BYTES;
            if self.digits() == 0 {
                return None;
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            most = MOST_NUMBER_BYTES;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !(1..=MOST_EXPONENT_DIGITS).contains(&self.digits()) {
                return None;
            }
        }
        (self.at - start <= most).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at.checked_add(word.len())?;
        if self.body.get(self.at..end)? != word {
            return None;
        }
        self.at = end;
        Some(())
    }
}

/// Takes what stands between white space, in order.
pub trait Sink {
    fn take(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// For those who only ask whether it is an object.
pub struct Nowhere;

impl Sink for Nowhere {
    fn take(&mut self, _: &[u8]) {}
}

/// Give an object to a sink without white space; `None` where it is not surely an object of at most so many levels.
pub fn read_object(body: &[u8], most_levels: usize, sink: &mut impl Sink) -> Option<()> {
    std::str::from_utf8(body).ok()?;
    let most_levels = most_levels.min(MOST_LEVELS);
    let mut reader = Reader { body, at: 0 };
    let (mut levels, mut are_objects) = (0, 0u64);
    reader.skip_space();
    if reader.peek()? != b'{' {
        return None;
    }
    loop {
        // A value begins here: of a list, or behind the name of a member.
        let start = reader.at;
        match reader.peek()? {
            opening @ (b'{' | b'[') => {
                reader.at += 1;
                levels += 1;
                if levels > most_levels {
                    return None;
                }
                let is_object = opening == b'{';
                are_objects = are_objects << 1 | u64::from(is_object);
                sink.take(reader.since(start)?);
                reader.skip_space();
                if reader.peek()? != if is_object { b'}' } else { b']' } {
                    if is_object {
                        read_name(&mut reader, sink)?;
                    }
                    continue;
                }
            }
            other => {
                match other {
                    b'"' => {
                        reader.at += 1;
                        reader.string()?;
                    }
                    b't' => reader.word(b"true")?,
                    b'f' => reader.word(b"false")?,
                    b'n' => reader.word(b"null")?,
                    _ => reader.number()?,
                }
                sink.take(reader.since(start)?);
                reader.skip_space();
            }
        }
        // A value, or the inside of a list or an object, has ended.
        loop {
            let is_object = are_objects & 1 == 1;
            match reader.next()? {
                b',' => {
                    sink.take(b",");
                    reader.skip_space();
                    if is_object {
                        read_name(&mut reader, sink)?;
                    }
                    break;
                }
                closing @ (b'}' | b']') if (closing == b'}') == is_object => {
                    sink.take(&[closing]);
                    levels -= 1;
                    are_objects >>= 1;
                    reader.skip_space();
                    if levels == 0 {
                        return (reader.at == body.len()).then_some(());
                    }
                }
                _ => return None,
            }
        }
    }
}

/// The name of a member, its colon, and the space behind that.
fn read_name(reader: &mut Reader<'_>, sink: &mut impl Sink) -> Option<()> {
    let start = reader.at;
    if reader.next()? != b'"' {
        return None;
    }
    reader.string()?;
    sink.take(reader.since(start)?);
    reader.skip_space();
    if reader.next()? != b':' {
        return None;
    }
    sink.take(b":");
    reader.skip_space();
    Some(())
}
