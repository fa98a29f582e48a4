//! The journal: through its public interface, with gigabytes in it, and through the commands that look into it.

mod cursors;
mod large;
mod limits;
mod reading;
mod recovery;
mod stand;
mod tools;
