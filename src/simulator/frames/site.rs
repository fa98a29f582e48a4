//! The site that frames speak of: access points and clients, made up from a seed.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

const ACCESS_POINTS: usize = 24;
const CLIENTS: usize = 160;

/// Names as people give them. The last one is Latin-1: an ESSID is bytes, in practice UTF-8, not
/// always (seen in clients).
pub(crate) const ESSIDS: [&[u8]; 6] = [
    b"corp",
    b"guest",
    "Café Gäste".as_bytes(),
    "会議室".as_bytes(),
    "Wi‑Fi \"annex\"".as_bytes(),
    b"caf\xe9",
];

const PLACES: [&str; 6] = ["lobby", "floor-2", "warehouse", "büro", "annex", "roof"];
const MODELS: [&str; 4] = ["AP-515", "AP-555", "AP-635", "AP-505H"];
const MAKERS: [(&str, &str); 5] = [
    ("Apple", "iOS"),
    ("Samsung", "Android"),
    ("Intel", "Windows 11"),
    ("Zebra", "Android"),
    ("Espressif", "Linux"),
];

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) customer_id: String,
    pub(crate) access_points: Vec<AccessPoint>,
    pub(crate) clients: Vec<Client>,
}

#[derive(Debug)]
pub(crate) struct AccessPoint {
    pub(crate) serial: String,
    pub(crate) name: String,
    pub(crate) mac: [u8; 6],
    pub(crate) ip: [u8; 4],
    pub(crate) model: &'static str,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) mac: [u8; 6],
    /// 4 or 16 bytes.
    pub(crate) ip: Vec<u8>,
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) maker: &'static str,
    pub(crate) os: &'static str,
    pub(crate) essid: &'static [u8],
}

impl Site {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self {
            customer_id: format!("{:032x}", rng.random::<u128>()),
            access_points: (0..ACCESS_POINTS)
                .map(|index| AccessPoint::new(index, &mut rng))
                .collect(),
            clients: (0..CLIENTS)
                .map(|index| Client::new(index, &mut rng))
                .collect(),
        }
    }
}

impl AccessPoint {
    fn new(index: usize, rng: &mut Xoshiro256PlusPlus) -> Self {
        let place = PLACES[index % PLACES.len()];
        let [.., a, b] = rng.random::<[u8; 6]>();
        Self {
            serial: format!("CN{:08X}", rng.random::<u32>()),
            name: format!("ap-{place}-{index:02}"),
            mac: with_maker([0x20, 0x4c, 0x03], rng),
            ip: [10, 20, a, b],
            model: MODELS.choose(rng).expect("there are models"),
        }
    }

    /// Each of the two radios has an address of its own, near the access point's.
    pub(crate) fn radio_mac(&self, radio: u8) -> [u8; 6] {
        let mut mac = self.mac;
        mac[5] = (mac[5] & 0xf0) | (radio << 3);
        mac
    }
}

impl Client {
    fn new(index: usize, rng: &mut Xoshiro256PlusPlus) -> Self {
        let (maker, os) = *MAKERS.choose(rng).expect("there are makers");
        let ip = if index % 8 == 7 {
            let mut ip = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            rng.fill(&mut ip[8..]);
            ip.to_vec()
        } else {
            let [a, b] = rng.random::<[u8; 2]>();
            vec![10, 30, a, b]
        };
        Self {
            mac: with_maker([0x3c, 0x22, 0xfb], rng),
            ip,
            name: format!("{}-{index:03}", maker.to_lowercase()),
            user: format!("user{index:03}@acme.example"),
            maker,
            os,
            essid: ESSIDS.choose(rng).expect("there are ESSIDs"),
        }
    }
}

fn with_maker(maker: [u8; 3], rng: &mut Xoshiro256PlusPlus) -> [u8; 6] {
    let [a, b, c] = rng.random::<[u8; 3]>();
    [maker[0], maker[1], maker[2], a, b, c]
}
