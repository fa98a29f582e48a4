//! Everything fails in turn, and nothing is lost: the real binary between a simulated Central and
//! real Kafka, `RabbitMQ` and Mosquitto.
//!
//! The schedule follows from its seed. `CHAOS_SEEDS=1,2,3` names the seeds, `CHAOS_STEPS` how many
//! faults each has; what was done, and what came of it, is printed with `--nocapture`.

mod ledger;
mod schedule;
mod stand;

use std::{env, thread};

use schedule::Schedule;
use stand::{Brokers, Stand};
use tokio::runtime::Runtime;

/// Between them they have nearly every kind of fault.
const SEEDS: &str = "4,7";
const STEPS: usize = 10;

/// Seeds that are tried at the same time, each with brokers of its own.
const SIDE_BY_SIDE: usize = 2;

#[test]
fn whatever_fails_every_frame_that_was_safe_is_in_every_sink() {
    let seeds = env::var("CHAOS_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let seeds = seeds.split(',').map(|seed| seed.trim().parse());
    let seeds: Vec<u64> = seeds
        .map(|seed| seed.expect("a seed is a number"))
        .collect();
    let steps = env::var("CHAOS_STEPS").map_or(STEPS, |steps| steps.parse().expect("a number"));
    for seeds in seeds.chunks(SIDE_BY_SIDE) {
        thread::scope(|scope| {
            for seed in seeds {
                // A stand waits without yielding: each has a thread and a runtime.
                thread::Builder::new()
                    .name(format!("chaos-{seed}"))
                    .spawn_scoped(scope, || {
                        Runtime::new()
                            .expect("a runtime")
                            .block_on(run(*seed, steps));
                    })
                    .expect("a thread");
            }
        });
    }
}

async fn run(seed: u64, steps: usize) {
    let Some(mut brokers) = Brokers::start(seed) else {
        return;
    };
    let mut stand = Stand::start(&brokers, seed).await;
    for fault in Schedule::new(seed, steps) {
        println!("seed {seed}: {fault:?}");
        stand.suffer(fault, &mut brokers).await;
    }
    stand.settle(&mut brokers);
}
