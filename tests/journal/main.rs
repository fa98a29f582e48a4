//! The journal: through its public interface, with gigabytes in it, and through the commands that look into it.

mod journal;
mod large;
mod tools;
