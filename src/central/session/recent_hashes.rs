//! The hashes of the last frames or events: bounded, the oldest is dropped first.

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::wire::{DEPTH_LIMIT, Wire, WireReader};

#[derive(Debug, Default)]
pub(crate) struct RecentHashes {
    capacity: usize,
    order: VecDeque<u128>,
    /// How often each was inserted and not removed since.
    counts: HashMap<u128, u32>,
}

impl RecentHashes {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: VecDeque::new(),
            counts: HashMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, hash: u128) {
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
        }
        self.order.push_back(hash);
        *self.counts.entry(hash).or_default() += 1;
    }

    /// Removes one of those that are equal. `false`: there was none.
    pub(crate) fn remove(&mut self, hash: u128) -> bool {
        let Some(count) = self.counts.get_mut(&hash) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&hash);
        }
        true
    }

    pub(crate) fn contains(&self, hash: u128) -> bool {
        self.counts.contains_key(&hash)
    }
}

pub(crate) fn hash_of_frame(payload: &[u8]) -> u128 {
    xxh3_128(payload)
}

/// The hash of source and id, which identify a `CloudEvent`; `None` if it has no id.
pub(crate) fn hash_of_event(payload: &[u8]) -> Option<u128> {
    const ID: u32 = 1;
    const SOURCE: u32 = 2;
    let (mut id, mut source): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = WireReader::new(payload);
    while let Ok(Some(tag)) = reader.tag() {
        match (tag.number, tag.wire) {
            (ID, Wire::Len) => id = payload.get(reader.delimited().ok()?)?,
            (SOURCE, Wire::Len) => source = payload.get(reader.delimited().ok()?)?,
            _ => reader.skip(tag, DEPTH_LIMIT).ok()?,
        }
        if !id.is_empty() && !source.is_empty() {
            break;
        }
    }
    if id.is_empty() {
        return None;
    }
    let mut hash = Xxh3Default::new();
    hash.update(source);
    hash.update(&[0]);
    hash.update(id);
    Some(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_twice_can_be_removed_twice() {
        let mut recent = RecentHashes::new(8);
        recent.insert(1);
        recent.insert(1);
        assert!(recent.remove(1) && recent.remove(1));
        assert!(!recent.remove(1) && !recent.remove(2));
    }

    #[test]
    fn the_oldest_is_dropped() {
        let mut recent = RecentHashes::new(2);
        for hash in 1..=3 {
            recent.insert(hash);
        }
        assert!(!recent.contains(1) && recent.contains(2) && recent.contains(3));
        assert_eq!(recent.order.len(), 2);
    }

    #[test]
    fn an_event_is_identified_by_its_source_and_id() {
        let event = |source: &str, id: &str, rest: &[u8]| {
            let mut bytes = vec![0x0a, u8::try_from(id.len()).unwrap()];
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&[0x12, u8::try_from(source.len()).unwrap()]);
            bytes.extend_from_slice(source.as_bytes());
            bytes.extend_from_slice(rest);
            hash_of_event(&bytes)
        };
        let first = event("/a", "1", &[]).unwrap();
        assert_eq!(event("/a", "1", &[0x1a, 1, b'x']), Some(first));
        assert_ne!(event("/b", "1", &[]), Some(first));
        assert_ne!(event("/a", "2", &[]), Some(first));
        assert_eq!(event("/a", "", &[]), None);
        assert_eq!(hash_of_event(b"\xff"), None);
    }
}
