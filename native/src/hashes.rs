//! Hashes of keys and dots: what replicas compare, and the tags by which clients know records.

use blake2b_simd::Params;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

/// Of a partition; see `dynatwist/heart/pure.py`.
const BUCKETS: u32 = 1024;

/// What of a key is hashed: its table and its name, with a zero byte between.
fn text_of(table: &str, name: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(table.len() + name.len() + 48);
    text.extend_from_slice(table.as_bytes());
    text.push(0);
    text.extend_from_slice(name.as_bytes());
    text
}

fn bucket(text: &[u8]) -> u32 {
    crc32fast::hash(text) % BUCKETS
}

/// The bucket of a key.
#[pyfunction]
pub fn bucket_of(table: &str, name: &str) -> u32 {
    bucket(&text_of(table, name))
}

/// The bucket of a key, and by what a change of the dot that is held for the key changes the bucket.
#[pyfunction]
pub fn change_of(
    table: &str,
    name: &str,
    before: Option<&Bound<'_, PyTuple>>,
    after: Option<&Bound<'_, PyTuple>>,
) -> PyResult<(u32, u64)> {
    let mut change = Change::of(table, name);
    for dot in [before, after].into_iter().flatten() {
        let actor = dot.get_item(0)?;
        change.begin(actor.cast::<PyBytes>()?.as_bytes());
        append_integer(&mut change.text, &dot.get_item(1)?)?;
        change.end();
    }
    Ok(change.done())
}

/// A change of what is held for a key, dot by dot.
pub struct Change {
    text: Vec<u8>,
    key_length: usize,
    bucket: u32,
    mark: u64,
}

impl Change {
    /// Nothing changes yet.
    pub fn of(table: &str, name: &str) -> Self {
        let text = text_of(table, name);
        Change {
            key_length: text.len(),
            bucket: bucket(&text),
            text,
            mark: 0,
        }
    }

    /// This dot is held no more, or from now on: either turns over the same bits.
    pub fn with(mut self, (actor, seq): (&[u8], u64)) -> Self {
        self.begin(actor);
        append_decimal(&mut self.text, seq);
        self.end();
        self
    }

    /// The bucket, and the bits that are turned over in it.
    pub fn done(self) -> (u32, u64) {
        (self.bucket, self.mark)
    }

    fn begin(&mut self, actor: &[u8]) {
        self.text.truncate(self.key_length);
        self.text.push(0);
        self.text.extend_from_slice(actor);
    }

    fn end(&mut self) {
        self.mark ^= fingerprint(&self.text);
    }
}

/// An integer as `%d` writes it. Python's have no end; the usual ones are read as machines have them.
pub fn append_integer(text: &mut Vec<u8>, integer: &Bound<'_, PyAny>) -> PyResult<()> {
    match integer.extract::<u64>() {
        Ok(number) => append_decimal(text, number),
        Err(_) => text.extend_from_slice(integer.str()?.to_str()?.as_bytes()),
    }
    Ok(())
}

/// A number as `%d` writes it.
pub fn append_decimal(text: &mut Vec<u8>, mut number: u64) {
    let start = text.len();
    loop {
        text.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = text.get_mut(start..) {
        digits.reverse();
    }
}

fn fingerprint(text: &[u8]) -> u64 {
    let hash = Params::new().hash_length(8).hash(text);
    hash.as_bytes()
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Tells a record from all others.
#[pyfunction]
pub fn tag_of<'py>(
    python: Python<'py>,
    actor: &[u8],
    seq: u64,
    ms: u64,
    counter: u64,
) -> Bound<'py, PyBytes> {
    PyBytes::new(python, tag(actor, seq, ms, counter).as_bytes())
}

/// The same, as clients see it: hexadecimal, in quotes.
#[pyfunction]
pub fn etag_of<'py>(
    python: Python<'py>,
    actor: &[u8],
    seq: u64,
    ms: u64,
    counter: u64,
) -> Bound<'py, PyString> {
    let mut text = String::with_capacity(26);
    text.push('"');
    text.push_str(&tag(actor, seq, ms, counter).to_hex());
    text.push('"');
    PyString::new(python, &text)
}

fn tag(actor: &[u8], seq: u64, ms: u64, counter: u64) -> blake2b_simd::Hash {
    let mut text = Vec::with_capacity(actor.len() + 24);
    text.extend_from_slice(actor);
    for number in [seq, ms, counter] {
        text.extend_from_slice(&number.to_be_bytes());
    }
    Params::new().hash_length(12).hash(&text)
}

/// The name of a write, as records keep it.
#[pyfunction]
pub fn name_of<'py>(
    python: Python<'py>,
    uid: &str,
    name: &str,
    body: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut who = Vec::with_capacity(uid.len() + name.len() + 21);
    append_decimal(&mut who, uid.chars().count() as u64);
    who.push(b' ');
    who.extend_from_slice(uid.as_bytes());
    who.extend_from_slice(name.as_bytes());
    let mut what = Params::new().hash_length(8).personal(b"body").to_state();
    for part in body.iter() {
        let part = part.cast::<PyBytes>()?.as_bytes();
        what.update(&(part.len() as u64).to_be_bytes());
        what.update(part);
    }
    let mut named = Params::new()
        .hash_length(16)
        .personal(b"name")
        .hash(&who)
        .as_bytes()
        .to_vec();
    named.extend_from_slice(what.finalize().as_bytes());
    Ok(PyBytes::new(python, &named))
}
