//! Everything fails in turn, and nothing is lost: the real binary between a simulated Central and
//! real Kafka, `RabbitMQ` and Mosquitto.
//!
//! The schedule follows from its seed. `CHAOS_SEEDS=1,2,3` names the seeds, `CHAOS_STEPS` how many
//! faults each has; what was done, and what came of it, is printed with `--nocapture`.

mod ledger;
mod schedule;
mod stand;

use std::env;

use schedule::Schedule;
use stand::{Brokers, Stand};

/// Between them they have nearly every kind of fault.
const SEEDS: &str = "4,7";
const STEPS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_every_frame_that_was_safe_is_in_every_sink() {
    let Some(mut brokers) = Brokers::start() else {
        return;
    };
    let seeds = env::var("CHAOS_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let steps = env::var("CHAOS_STEPS").map_or(STEPS, |steps| steps.parse().expect("a number"));
    for seed in seeds.split(',') {
        let seed = seed.trim().parse().expect("a seed is a number");
        let mut stand = Stand::start(&brokers, seed).await;
        for fault in Schedule::new(seed, steps) {
            println!("seed {seed}: {fault:?}");
            stand.suffer(fault, &mut brokers).await;
        }
        stand.settle(&mut brokers);
    }
}
