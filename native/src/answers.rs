//! What clients are answered: records as JSON, causal tokens, whole answers.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMapping, PyString, PyTuple};

use crate::hashes::{append_decimal, append_integer};
use crate::json;

/// Of an actor, that are the node's id: a point stands behind them.
const NODE_ID_BYTES: usize = 8;
const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A value as it is kept, where that is sure.
#[pyfunction]
pub fn minified<'py>(
    python: Python<'py>,
    body: &[u8],
    most_levels: usize,
) -> Option<Bound<'py, PyBytes>> {
    let mut kept = Vec::with_capacity(body.len());
    json::read_object(body, most_levels, &mut kept)?;
    Some(PyBytes::new(python, &kept))
}

/// A record as clients see it.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn record_json<'py>(
    python: Python<'py>,
    value: Option<&[u8]>,
    dot: &Bound<'py, PyTuple>,
    seen: &Bound<'py, PyTuple>,
    version: &Bound<'py, PyAny>,
    ms: &Bound<'py, PyAny>,
    owner: &[u8],
    tag: &str,
    rest: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let value = value.filter(|bytes| !bytes.is_empty()).unwrap_or(b"null");
    let mut text =
        Vec::with_capacity(value.len() + owner.len() + rest.len() + 180 + 56 * seen.len());
    text.extend_from_slice(b"{\"value\":");
    text.extend_from_slice(value);
    text.extend_from_slice(b",\"vector_clock\":{");
    append_clock(&mut text, dot, seen)?;
    text.extend_from_slice(b"},\"version\":");
    append_integer(&mut text, version)?;
    text.extend_from_slice(b",\"timestamp\":");
    append_integer(&mut text, ms)?;
    text.extend_from_slice(b",\"owner\":");
    text.extend_from_slice(owner);
    text.extend_from_slice(b",\"etag\":");
    text.extend_from_slice(tag.as_bytes());
    text.extend_from_slice(rest);
    text.push(b'}');
    Ok(PyBytes::new(python, &text))
}

/// Actors with their numbers, the oldest first; a later number of the same actor stands in the place of the first.
fn append_clock(
    text: &mut Vec<u8>,
    dot: &Bound<'_, PyTuple>,
    seen: &Bound<'_, PyTuple>,
) -> PyResult<()> {
    let mut clock: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = Vec::with_capacity(seen.len() + 1);
    for number in (0..=seen.len()).rev() {
        let one = match number.checked_sub(1) {
            Some(place) => seen.get_item(place)?.cast_into::<PyTuple>()?,
            None => dot.clone(),
        };
        let (actor, seq) = (one.get_item(0)?, one.get_item(1)?);
        let name = actor.cast::<PyBytes>()?.as_bytes();
        let mut known = clock.iter_mut();
        match known.find(|pair| {
            pair.0
                .cast::<PyBytes>()
                .is_ok_and(|other| other.as_bytes() == name)
        }) {
            Some(pair) => pair.1 = seq,
            None => clock.push((actor, seq)),
        }
    }
    for (place, (actor, seq)) in clock.iter().enumerate() {
        text.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
        append_actor(text, actor.cast::<PyBytes>()?.as_bytes());
        text.extend_from_slice(b"\":");
        append_integer(text, seq)?;
    }
    Ok(())
}

fn append_actor(text: &mut Vec<u8>, actor: &[u8]) {
    let (node, epoch) = actor.split_at(NODE_ID_BYTES.min(actor.len()));
    append_hexadecimal(text, node);
    text.push(b'.');
    append_hexadecimal(text, epoch);
}

fn append_hexadecimal(text: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(HEXADECIMAL.get(usize::from(digit)));
        }
    }
}

/// A causal token: dots with their partitions, as msgpack, in the alphabet of base64 that URLs may have.
#[pyfunction]
pub fn token_of<'py>(
    python: Python<'py>,
    dots: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyString>> {
    let mut packed = Vec::with_capacity(32 * dots.len() + 5);
    append_head(&mut packed, dots.len(), 0x90, 0xdc);
    for one in dots.iter() {
        let (partition, (actor, seq)) =
            one.extract::<(Bound<'_, PyAny>, (Bound<'_, PyBytes>, Bound<'_, PyAny>))>()?;
        packed.push(0x93);
        append_any_number(&mut packed, &partition)?;
        append_bytes(&mut packed, actor.as_bytes());
        append_any_number(&mut packed, &seq)?;
    }
    let mut text = String::with_capacity(packed.len() / 3 * 4 + 4);
    for three in packed.chunks(3) {
        let (one, two, last) = match *three {
            [one, two, last] => (one, two, last),
            [one, two] => (one, two, 0),
            [one] => (one, 0, 0),
            _ => continue,
        };
        let bits = u32::from(one) << 16 | u32::from(two) << 8 | u32::from(last);
        for place in 0..4 {
            if place > three.len() {
                text.push('=');
            } else if let Some(&letter) = BASE64.get((bits >> (18 - 6 * place) & 63) as usize) {
                text.push(char::from(letter));
            }
        }
    }
    Ok(PyString::new(python, &text))
}

/// The head of a list, by its length: a short one has its length in its only byte.
fn append_head(packed: &mut Vec<u8>, length: usize, short: u8, long: u8) {
    match length {
        0..=15 => packed.push(short | length as u8),
        16..=0xffff => {
            packed.push(long);
            packed.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            packed.push(long + 1);
            packed.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

/// An integer that msgpack has.
fn append_any_number(packed: &mut Vec<u8>, integer: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(number) = integer.extract::<u64>() {
        append_number(packed, number);
    } else if let Ok(number) = integer.extract::<i64>() {
        append_negative(packed, number);
    } else {
        return Err(PyOverflowError::new_err(
            "can't serialize ints < -2**63 or > 2**64 - 1",
        ));
    }
    Ok(())
}

/// A number below zero.
fn append_negative(packed: &mut Vec<u8>, number: i64) {
    if number >= -32 {
        packed.push(number as u8);
    } else if let Ok(short) = i8::try_from(number) {
        packed.push(0xd0);
        packed.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(short) = i16::try_from(number) {
        packed.push(0xd1);
        packed.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(short) = i32::try_from(number) {
        packed.push(0xd2);
        packed.extend_from_slice(&short.to_be_bytes());
    } else {
        packed.push(0xd3);
        packed.extend_from_slice(&number.to_be_bytes());
    }
}

fn append_number(packed: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x7f => packed.push(number as u8),
        0x80..=0xff => packed.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            packed.push(0xcd);
            packed.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            packed.push(0xce);
            packed.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            packed.push(0xcf);
            packed.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn append_bytes(packed: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        length @ 0..=0xff => packed.extend_from_slice(&[0xc4, length as u8]),
        length @ 0x100..=0xffff => {
            packed.push(0xc5);
            packed.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            packed.push(0xc6);
            packed.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    packed.extend_from_slice(bytes);
}

/// An answer with its head, as it goes to the client.
#[pyfunction]
pub fn answer_of<'py>(
    python: Python<'py>,
    status_line: &[u8],
    shared: &[u8],
    content_type: &Bound<'py, PyString>,
    headers: &Bound<'py, PyMapping>,
    body: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let mut text = Vec::with_capacity(
        status_line.len() + shared.len() + body.len() + 64 + 64 * headers.len()?,
    );
    text.extend_from_slice(status_line);
    text.extend_from_slice(shared);
    text.extend_from_slice(b"Content-Type: ");
    append_latin(&mut text, content_type)?;
    for line in headers.items()?.iter() {
        let (name, value) = line.extract::<(Bound<'_, PyString>, Bound<'_, PyString>)>()?;
        text.extend_from_slice(b"\r\n");
        append_latin(&mut text, &name)?;
        text.extend_from_slice(b": ");
        append_latin(&mut text, &value)?;
    }
    text.extend_from_slice(b"\r\nContent-Length: ");
    append_decimal(&mut text, body.len() as u64);
    text.extend_from_slice(b"\r\n\r\n");
    text.extend_from_slice(body);
    Ok(PyBytes::new(python, &text))
}

/// A text in Latin-1, with a question mark for each character that this has not.
fn append_latin(text: &mut Vec<u8>, from: &Bound<'_, PyString>) -> PyResult<()> {
    match from.to_str() {
        Ok(found) if found.is_ascii() => text.extend_from_slice(found.as_bytes()),
        _ => {
            let encoded = from.call_method1("encode", ("latin-1", "replace"))?;
            text.extend_from_slice(encoded.cast::<PyBytes>()?.as_bytes());
        }
    }
    Ok(())
}
