//! JSON text at the end of a growing buffer.
//!
//! | file | what |
//! |---|---|
//! | `buffer` | the buffer: numbers, strings, bytes and addresses |
//! | `short_field` | a key and a short value, written by copies of a fixed size |
//! | `strings` | what must be escaped, and what is not UTF-8 |
//! | `floats` | the shortest text of a number, laid out as Google's runtime does |

pub(super) mod buffer;
mod floats;
pub(super) mod short_field;
mod strings;
