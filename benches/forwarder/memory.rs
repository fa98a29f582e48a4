//! Memory that a virtual machine keeps while it is measured.
//!
//! A host may take back what its guest has freed ("free page reporting"), in blocks of two mebibytes
//! that are free as a whole. Whoever needs it next waits for the host, page by page, which is most of
//! what a run then does: the file pages of the broker and of the journal are fresh in each run, and
//! the forwarder needs more of them than the bare client.

use crate::usage;

const PIECE_BYTES: usize = 1 << 20;

const PAGE_BYTES: usize = 4096;

/// What the runs need at a time, with much to spare.
const MOST_BYTES: u64 = 6 << 30;

/// A page of each mebibyte: what lies between them is free, and no block of it is for the host to take.
pub(crate) struct Held {
    _pages: Vec<Vec<u8>>,
}

impl Held {
    /// At most half of what is free.
    pub(crate) fn take() -> Self {
        let pieces = MOST_BYTES.min(usage::available_memory() / 2) / PIECE_BYTES as u64;
        // Written to in turns, so that they lie side by side.
        let (pieces, pages): (Vec<_>, Vec<_>) = (0..pieces)
            .map(|_| (vec![1_u8; PIECE_BYTES], vec![1_u8; PAGE_BYTES]))
            .unzip();
        drop(pieces);
        Self { _pages: pages }
    }
}
