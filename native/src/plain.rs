//! Whether bytes begin with a plain request for one key, and what it says: the twin of `dynatwist/heart/plain.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

const MOST_HEADERS: usize = 64;
const MOST_LENGTH_DIGITS: usize = 9;
const LINE_END: &[u8] = b"\r\n";
const METHODS: [(&[u8], &str); 4] = [
    (b"GET /", "GET"),
    (b"PUT /", "PUT"),
    (b"PATCH /", "PATCH"),
    (b"DELETE /", "DELETE"),
];
const LEVELS: [&[u8]; 2] = [b"r=", b"w="];
/// Headers that change how a request is to be read.
const LEAVE: [&str; 6] = [
    "transfer-encoding",
    "expect",
    "upgrade",
    "connection",
    "content-encoding",
    "cookie",
];
/// Lines that differ from request to request, as our clients write them, and what they are called.
const OWN: [(&[u8], &str); 5] = [
    (b"Idempotency-Key: ", "idempotency-key"),
    (b"X-Causal-Token: ", "x-causal-token"),
    (b"X-Request-Id: ", "x-request-id"),
    (b"Traceparent: ", "traceparent"),
    (b"traceparent: ", "traceparent"),
];

/// What stands in a first line, and how long that is with its end.
struct Line<'a> {
    method: &'static str,
    table: &'a str,
    key: &'a str,
    query: &'a str,
    size: usize,
}

/// Bytes that are read from their beginning on.
struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// Go behind some bytes, if they are what comes next.
    fn skip(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(bytes)?;
        Some(())
    }

    /// The longest run, of at least one, of bytes of a kind, all ASCII.
    fn run(&mut self, is_one: impl Fn(u8) -> bool) -> Option<&'a str> {
        let size = run_of(self.rest, is_one);
        let (run, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        if run.is_empty() {
            return None;
        }
        std::str::from_utf8(run).ok()
    }
}

fn run_of(bytes: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| is_one(byte)).count()
}

/// What a name in a path may have without being written in another way.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9')
        || matches!(
            byte,
            b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'-' | b';' | b'=' | b':' | b'@'
        )
}

fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
}

/// Where some bytes stand first.
fn find(bytes: &[u8], searched: &[u8]) -> Option<usize> {
    bytes
        .windows(searched.len())
        .position(|window| window == searched)
}

/// The first line of a request for one key.
fn first_line(data: &[u8]) -> Option<Line<'_>> {
    let (method, mut line) = METHODS.iter().find_map(|&(begin, method)| {
        let rest = data.strip_prefix(begin)?;
        Some((method, Bytes { rest }))
    })?;
    let table = line.run(is_plain)?;
    line.skip(b"/key/")?;
    let key = line.run(is_plain)?;
    let mut query = "";
    if line.skip(b"?").is_some() {
        let asked = line.rest;
        LEVELS.iter().find_map(|level| line.skip(level))?;
        let level = line.run(|byte| byte.is_ascii_lowercase())?;
        query = std::str::from_utf8(asked.get(..2 + level.len())?).ok()?;
    }
    line.skip(b" HTTP/1.1\r\n")?;
    Some(Line {
        method,
        table,
        key,
        query,
        size: data.len() - line.rest.len(),
    })
}

/// Method, table, key, level, lines of the head, and where the body begins.
type Found<'a, 'py> = (
    &'static str,
    &'a str,
    &'a str,
    &'a str,
    Bound<'py, PyBytes>,
    usize,
);

/// The request at the beginning of some bytes, if its head is there and its first line is plain.
#[pyfunction]
pub fn request_of<'a, 'py>(
    python: Python<'py>,
    data: &'a [u8],
    most_head_bytes: usize,
) -> Option<Found<'a, 'py>> {
    let line = first_line(data)?;
    let begin = line.size.checked_sub(LINE_END.len())?;
    let head = data.get(begin..most_head_bytes.min(data.len()))?;
    let size = find(head, b"\r\n\r\n")?;
    let block = PyBytes::new(python, head.get(..size)?);
    Some((
        line.method,
        line.table,
        line.key,
        line.query,
        block,
        begin + size + 4,
    ))
}

/// A line of a head that is a request's own, without the line's end before it: the name, the value, and what follows.
fn own_line(line: &[u8]) -> Option<(&'static str, &str, &[u8])> {
    let (name, mut value) = OWN.iter().find_map(|&(begin, name)| {
        let rest = line.strip_prefix(begin)?;
        Some((name, Bytes { rest }))
    })?;
    let text = value.run(is_visible)?;
    (value.rest.is_empty() || value.rest.starts_with(LINE_END)).then_some((name, text, value.rest))
}

/// The lines of a head that most requests of a client have in common, and what this request has of its own.
#[pyfunction]
pub fn apart<'py>(
    python: Python<'py>,
    block: &Bound<'py, PyBytes>,
) -> PyResult<(Bound<'py, PyBytes>, Option<Bound<'py, PyDict>>)> {
    let own = PyDict::new(python);
    let (mut rest, mut count) = (block.as_bytes(), 0usize);
    let mut common = Vec::new();
    // What of `rest` is common for certain; behind it stands the line that is looked at.
    let mut size = 0;
    while let Some((before, line)) = next_line(rest, size) {
        match own_line(line) {
            None => size = before + LINE_END.len(),
            Some((name, value, behind)) => {
                common.extend_from_slice(rest.get(..before).unwrap_or_default());
                own.set_item(name, value)?;
                count += 1;
                (rest, size) = (behind, 0);
            }
        }
    }
    if count == 0 {
        return Ok((block.clone(), Some(own)));
    }
    common.extend_from_slice(rest);
    let is_said_once = own.len() == count;
    Ok((PyBytes::new(python, &common), is_said_once.then_some(own)))
}

/// Where the first line's end at or behind a place stands, and what follows it.
fn next_line(bytes: &[u8], from: usize) -> Option<(usize, &[u8])> {
    let at = from + find(bytes.get(from..)?, LINE_END)?;
    Some((at, bytes.get(at + LINE_END.len()..)?))
}

/// The name and the value of a header.
fn header(line: &[u8]) -> Option<(String, &str)> {
    let mut line = Bytes { rest: line };
    if !line.rest.first()?.is_ascii_alphabetic() {
        return None;
    }
    let name = line.run(|byte| byte.is_ascii_alphanumeric() || byte == b'-')?;
    line.skip(b":")?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.rest.iter().position(|byte| !is_blank(byte))?;
    let end = line.rest.iter().rposition(|byte| !is_blank(byte))?;
    let value = line.rest.get(start..=end)?;
    if !value.iter().all(|&byte| byte == b' ' || is_visible(byte)) {
        return None;
    }
    Some((name.to_ascii_lowercase(), std::str::from_utf8(value).ok()?))
}

/// The length of a body, as a header says it.
fn length_of(text: &str) -> Option<u64> {
    if text.len() > MOST_LENGTH_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The headers of a head, and the length of the body, where they are all plain.
#[pyfunction]
pub fn headers_of<'py>(
    python: Python<'py>,
    block: &[u8],
) -> PyResult<Option<(Bound<'py, PyDict>, u64)>> {
    let headers = PyDict::new(python);
    let mut length = 0;
    let mut rest = if block.is_empty() {
        None
    } else {
        Some(block.get(2..).unwrap_or_default())
    };
    while let Some(lines) = rest {
        let line;
        (line, rest) = match next_line(lines, 0) {
            Some((size, behind)) => (lines.get(..size).unwrap_or_default(), Some(behind)),
            None => (lines, None),
        };
        let Some((name, value)) = header(line) else {
            return Ok(None);
        };
        let is_kept_alive = name == "connection" && value.eq_ignore_ascii_case("keep-alive");
        if (LEAVE.contains(&name.as_str()) && !is_kept_alive)
            || headers.len() >= MOST_HEADERS
            || headers.contains(&name)?
        {
            return Ok(None);
        }
        if name == "content-length" {
            match length_of(value) {
                Some(found) => length = found,
                None => return Ok(None),
            }
        }
        headers.set_item(name, value)?;
    }
    Ok(Some((headers, length)))
}
