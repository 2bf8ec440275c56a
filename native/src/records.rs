//! Packed records, looked at and compared without being unpacked.
//!
//! Only what is usual is read: fields that former releases pack or this one does, numbers that JSON can say, no lease.
//! Of anything else these functions are not sure, and the model unpacks it.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hashes::Change;
use crate::json::{read_object, Nowhere};
use crate::msgpack::Packed;

const ACTOR_BYTES: usize = 16;
const MOST_SEEN: u64 = 16;
const MOST_TABLE_BYTES: usize = 1024;
const MOST_NAME_BYTES: usize = 8192;
const MOST_OWNER_BYTES: usize = 1024;
const MOST_OP_BYTES: usize = 1024;
const MOST_NAMED: u64 = 32;
const NAMED_NAME_BYTES: usize = 24;
const NAMED_TAG_BYTES: usize = 12;
/// Fields of a record that former releases pack, and those that this one does.
const FIELDS: std::ops::RangeInclusive<u64> = 7..=11;
/// More than any count and any time.
const BEYOND: u64 = 1 << 53;

/// Actor and number.
type Dot<'a> = (&'a [u8], u64);
/// Milliseconds, counter, actor: in the order in which stamps are compared.
type Stamp<'a> = (u64, u64, &'a [u8]);
/// A dot, as Python has it.
type PyDot<'py> = (Bound<'py, PyBytes>, u64);

/// A packed record; see `dynatwist/model/record.py` for its fields.
struct Record<'a> {
    dot: Dot<'a>,
    value: Option<&'a [u8]>,
    seen: Packed<'a>,
    seen_count: u64,
    stamp: Stamp<'a>,
    /// Packed, as all of its moments are.
    lineage: &'a [u8],
    generation: u64,
    moments: u64,
    expires_ms: u64,
    op: &'a [u8],
    named_count: u64,
}

fn sure(is_so: bool) -> Option<()> {
    is_so.then_some(())
}

fn actor<'a>(packed: &mut Packed<'a>) -> Option<&'a [u8]> {
    packed.bytes().filter(|bytes| bytes.len() == ACTOR_BYTES)
}

fn dot<'a>(packed: &mut Packed<'a>) -> Option<Dot<'a>> {
    packed.list_of(2)?;
    Some((packed.bytes()?, packed.below(BEYOND)?))
}

fn stamp<'a>(packed: &mut Packed<'a>) -> Option<Stamp<'a>> {
    packed.list_of(3)?;
    Some((packed.below(BEYOND)?, packed.below(BEYOND)?, actor(packed)?))
}

fn named(packed: &mut Packed) -> Option<()> {
    packed.list_of(4)?;
    sure(packed.bytes()?.len() == NAMED_NAME_BYTES)?;
    packed.below(BEYOND)?;
    packed.below(BEYOND)?;
    sure(packed.bytes()?.len() == NAMED_TAG_BYTES)
}

impl<'a> Record<'a> {
    /// A record to its end, if it surely decodes and has no flaw but perhaps in its value.
    fn read(packed: &'a [u8]) -> Option<Self> {
        let mut packed = Packed { rest: packed };
        let fields = packed.list()?;
        sure(FIELDS.contains(&fields))?;
        packed.list_of(2)?;
        let dot_read = (actor(&mut packed)?, packed.below(BEYOND)?);
        let value = if packed.nil() {
            None
        } else {
            Some(packed.bytes()?)
        };
        let seen_count = packed.list()?;
        sure(dot_read.1 > 0 && seen_count <= MOST_SEEN)?;
        let seen = packed;
        for _ in 0..seen_count {
            dot(&mut packed)?;
        }
        let stamp_read = stamp(&mut packed)?;
        let start = packed;
        packed.list_of(2)?;
        let generation = packed.below(BEYOND)?;
        let moments = packed.list()?;
        sure(moments > 0)?;
        for _ in 0..moments {
            stamp(&mut packed)?;
        }
        let lineage = packed.since(start)?;
        sure(packed.below(BEYOND)? > 0 && packed.text()?.len() <= MOST_OWNER_BYTES)?;
        let expires_ms = if fields > 7 { packed.below(BEYOND)? } else { 0 };
        let op = if fields > 8 { packed.bytes()? } else { &[] };
        let named_count = if fields > 9 { packed.list()? } else { 0 };
        sure(op.len() <= MOST_OP_BYTES && named_count <= MOST_NAMED)?;
        for _ in 0..named_count {
            named(&mut packed)?;
        }
        sure(fields <= 10 || packed.nil())?;
        sure(packed.rest.is_empty())?;
        Some(Record {
            dot: dot_read,
            value,
            seen,
            seen_count,
            stamp: stamp_read,
            lineage,
            generation,
            moments,
            expires_ms,
            op,
            named_count,
        })
    }

    /// Whether the writer of this had seen a dot.
    fn had_seen(&self, other: Dot) -> bool {
        let mut seen = self.seen;
        (0..self.seen_count)
            .any(|_| dot(&mut seen).is_some_and(|(actor, seq)| actor == other.0 && seq >= other.1))
    }

    /// The length of the value, where nobody keeps an account of the record beside that of its bytes.
    fn plain_bytes(&self) -> Option<i64> {
        sure(self.expires_ms == 0 && self.op.is_empty())?;
        i64::try_from(self.value?.len()).ok()
    }
}

/// The dot of a record of a key and the milliseconds of its stamp, where it has surely no flaw.
#[pyfunction]
pub fn sound<'py>(
    python: Python<'py>,
    table: &str,
    name: &str,
    packed: &[u8],
) -> Option<(PyDot<'py>, u64)> {
    let record = Record::read(packed)?;
    sure(record.moments == 1)?;
    sure((1..=MOST_TABLE_BYTES).contains(&table.len()))?;
    sure((1..=MOST_NAME_BYTES).contains(&name.len()))?;
    if let Some(value) = record.value {
        read_object(value, usize::MAX, &mut Nowhere)?;
    }
    let (actor, seq) = record.dot;
    Some(((PyBytes::new(python, actor), seq), record.stamp.0))
}

type Succession<'py> = (PyDot<'py>, u64, (u64, u64), i64, i64, u32, u64);

/// What changes where a record surely comes to be held in the place of what is held, as it usually does.
#[pyfunction]
pub fn succession<'py>(
    python: Python<'py>,
    table: &str,
    name: &str,
    packed: &[u8],
    held: Option<&[u8]>,
) -> Option<Succession<'py>> {
    let new = Record::read(packed)?;
    let mut grown = new.plain_bytes()?;
    let mut named = new.named_count as i64;
    let mut change = Change::of(table, name).with(new.dot);
    if let Some(held) = held {
        let old = Record::read(held)?;
        sure(new.lineage == old.lineage && new.stamp > old.stamp && new.had_seen(old.dot))?;
        grown -= old.plain_bytes()?;
        named -= old.named_count as i64;
        change = change.with(old.dot);
    }
    let (bucket, mark) = change.done();
    let (actor, seq) = new.dot;
    Some((
        (PyBytes::new(python, actor), seq),
        new.generation,
        (new.stamp.0, new.stamp.1),
        grown,
        named,
        bucket,
        mark,
    ))
}

/// The length of a record's value and how many names it remembers, where it surely has no lease.
#[pyfunction]
pub fn weight(packed: &[u8]) -> Option<(usize, u64)> {
    let record = Record::read(packed)?;
    Some((record.value.map_or(0, <[u8]>::len), record.named_count))
}
