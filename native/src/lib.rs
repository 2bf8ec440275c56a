//! The compiled twin of `dynatwist/heart/pure.py`, and of `plain.py` beside it, which stay the definition: every function here gives, for every
//! argument, what the function of the same name gives there, errors included. `dynatwist/heart/__init__.py` chooses
//! between the two, and `tests/test_heart.py` compares them.
//!
//! Nothing here may panic on whatever bytes arrive: no indexing, no `unwrap`, no arithmetic that is checked.
#![forbid(unsafe_code)]

mod answers;
mod hashes;
mod json;
mod msgpack;
mod plain;
mod records;

use pyo3::prelude::*;

/// Raised together with `INTERFACE` in `dynatwist/heart/__init__.py` by every change of what the functions take or
/// give, so that a library that was built before the change is not used.
const INTERFACE: u32 = 30;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", INTERFACE)?;
    module.add_function(wrap_pyfunction!(hashes::bucket_of, module)?)?;
    module.add_function(wrap_pyfunction!(hashes::change_of, module)?)?;
    module.add_function(wrap_pyfunction!(hashes::tag_of, module)?)?;
    module.add_function(wrap_pyfunction!(hashes::etag_of, module)?)?;
    module.add_function(wrap_pyfunction!(hashes::name_of, module)?)?;
    module.add_function(wrap_pyfunction!(answers::minified, module)?)?;
    module.add_function(wrap_pyfunction!(answers::record_json, module)?)?;
    module.add_function(wrap_pyfunction!(answers::token_of, module)?)?;
    module.add_function(wrap_pyfunction!(answers::answer_of, module)?)?;
    module.add_function(wrap_pyfunction!(plain::request_of, module)?)?;
    module.add_function(wrap_pyfunction!(plain::apart, module)?)?;
    module.add_function(wrap_pyfunction!(plain::headers_of, module)?)?;
    module.add_function(wrap_pyfunction!(records::sound, module)?)?;
    module.add_function(wrap_pyfunction!(records::succession, module)?)?;
    module.add_function(wrap_pyfunction!(records::weight, module)?)?;
    Ok(())
}
