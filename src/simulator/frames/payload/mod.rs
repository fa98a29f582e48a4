//! The payload message of each topic, with values such as Central sends.

mod events;
mod monitoring;
mod movement;
mod new;

use bytes::Bytes;
use prost::Message as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use self::new::Event;
use crate::simulator::frames::sequence::PLACEHOLDER;
use crate::simulator::frames::site::{AccessPoint, Client, Site};

/// A Classic payload with [`PLACEHOLDER`] where the number goes.
pub(crate) fn encode(topic: &str, draw: &mut Draw<'_>) -> Bytes {
    let payload = match topic {
        "apprf" => events::apprf(draw).encode_to_vec(),
        "audit" => events::audit(draw).encode_to_vec(),
        "security" => events::security(draw).encode_to_vec(),
        "presence" => movement::presence(draw).encode_to_vec(),
        "location" if draw.one_in(8) => movement::geofence(draw).encode_to_vec(),
        "location" => movement::location(draw).encode_to_vec(),
        _ => monitoring::information(draw).encode_to_vec(),
    };
    Bytes::from(payload)
}

/// Draws random values from the site. The same seed gives the same values.
pub(crate) struct Draw<'a> {
    pub(crate) site: &'a Site,
    /// Seconds since the epoch.
    now: u32,
    rng: Xoshiro256PlusPlus,
}

impl<'a> Draw<'a> {
    /// Each stream has a generator of its own, so that its values do not depend on other streams.
    pub(crate) fn new(site: &'a Site, stream: &str, seed: u64, now: u32) -> Self {
        let seed = xxh3_64_with_seed(stream.as_bytes(), seed);
        Self {
            site,
            now,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    fn access_point(&mut self) -> &'a AccessPoint {
        let site = self.site;
        site.access_points
            .choose(&mut self.rng)
            .expect("a site has access points")
    }

    fn client(&mut self) -> &'a Client {
        let site = self.site;
        site.clients
            .choose(&mut self.rng)
            .expect("a site has clients")
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices
            .choose(&mut self.rng)
            .expect("there is something to choose from")
    }

    fn one_in(&mut self, chance: u32) -> bool {
        self.rng.random_ratio(1, chance)
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.rng.random_range(0..bound)
    }

    /// A counter of bytes: larger than JavaScript's numbers now and then.
    fn counter(&mut self) -> u64 {
        let bits = self.rng.random_range(16..56);
        self.rng.random::<u64>() >> (64 - bits)
    }

    /// Up to 5 minutes ago, in seconds since the epoch.
    fn recently(&mut self) -> u32 {
        self.now - self.below(300)
    }

    fn uuid(&mut self) -> String {
        let bits = self.rng.random::<u128>();
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xfff,
            (bits >> 48) & 0xfff,
            bits & 0xffff_ffff_ffff
        )
    }

    /// A UUID whose last group is the frame's number: as many digits as that has.
    pub(crate) fn numbered_uuid(&mut self) -> String {
        numbered(&self.uuid()[..24])
    }
}

/// A name that ends in the frame's number.
fn numbered(prefix: &str) -> String {
    format!("{prefix}{PLACEHOLDER}")
}

fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Twelve hexadecimal digits: how presence sends a MAC address, in a field of bytes (seen in
/// clients).
fn hex(mac: [u8; 6]) -> Bytes {
    Bytes::from(octets(mac, ""))
}

fn colons(mac: [u8; 6]) -> String {
    octets(mac, ":")
}

fn octets(mac: [u8; 6], separator: &str) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(separator)
}

/// Forty characters, as of a SHA-1, the last of which are the frame's number.
fn hashed_mac(draw: &mut Draw<'_>) -> String {
    let hash = draw.uuid().replace('-', "");
    numbered(&hash[..28])
}

/// In dBm.
fn strength(draw: &mut Draw<'_>) -> i32 {
    -30 - draw.below(60).cast_signed()
}

fn metres(draw: &mut Draw<'_>) -> f32 {
    f32::from(u16::try_from(draw.below(12_000)).unwrap_or(0)) / 100.0
}
