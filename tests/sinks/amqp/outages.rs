//! Nothing is lost on the way to a `RabbitMQ` that is stopped, killed, paused, cut off, or full.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use support::brokers::RabbitMq;
use support::fresh_name;
use support::order::different_in_order;
use support::pika::{assert_all_arrived, declared, empty_queue, numbers, read_queue};
use support::proxy::Proxy;
use support::stand::{Stand, drain};

const A_WHILE: Duration = Duration::from_secs(120);

/// Gone in good order, killed, and hanging, in turn: one broker serves for all three.
#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_is_restarted_killed_and_paused_costs_no_record() {
    // More than pass while a busy machine starts the broker twice.
    const COUNT: u64 = 40_000;
    const PAUSE: Duration = Duration::from_secs(20);
    let Some(rabbitmq) = RabbitMq::own("amqp-outages") else {
        return;
    };
    let stand = Stand::new(&["monitoring"], 500, COUNT).await;
    let queue = fresh_name("amqp");
    let mut forwarder = stand.to_amqp(&rabbitmq.url(), &declared(&queue)).start();
    stand.wait_until_sent(1000);
    rabbitmq.stop();
    stand.wait_until_sent(2000);
    rabbitmq.start();
    stand.wait_until_sent(5000);
    rabbitmq.kill();
    stand.wait_until_sent(6000);
    rabbitmq.start();
    forwarder.wait_for_stderr(A_WHILE, "next try in");
    stand.wait_until_sent(8000);
    let tries = forwarder.stderr().matches("next try in").count();
    rabbitmq.pause();
    let sent = stand.sent();
    // What is tried here is time: the broker is there and does nothing.
    sleep(PAUSE).await;
    // The socket is read meanwhile.
    stand.wait_until_sent(sent + 1001);
    rabbitmq.resume();
    stand.wait_until_sent(COUNT);
    let said = drain(forwarder);
    assert_eq!(
        said.matches("next try in").count(),
        tries,
        "a broker that hangs for {PAUSE:?} is waited for: {said}"
    );
    assert!(said.contains("refused=0"), "{said}");
    let repeats = assert_all_arrived(&rabbitmq, &queue, COUNT);
    println!("{COUNT} records, a restart, a SIGKILL, a SIGSTOP: {repeats} repeats, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_every_second_under_load_costs_no_record() {
    const COUNT: u64 = 100_000;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let proxy = Proxy::before(&rabbitmq.address).await;
    let stand = Stand::new(&["audit"], 8000, COUNT).await;
    let queue = fresh_name("amqp");
    let url = format!("amqp://guest:guest@{}/%2f", proxy.address);
    let forwarder = stand.to_amqp(&url, &declared(&queue)).start();
    let (mut cuts, mut next) = (0, Instant::now());
    while stand.sent() < COUNT {
        // What is asked for is a cut a second.
        next += Duration::from_secs(1);
        sleep_until(next).await;
        cuts += proxy.cut();
    }
    let said = drain(forwarder);
    assert!(cuts >= 3, "only {cuts} connections were cut");
    assert!(said.contains("refused=0"), "{said}");
    let repeats = assert_all_arrived(&rabbitmq, &queue, COUNT);
    println!("{COUNT} records, {cuts} connections cut: {repeats} repeats, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_blocks_publishers_is_not_taken_for_a_dead_one() {
    const MORE_THAN_CAN_BE_SENT: u64 = 1_000_000;
    let Some(rabbitmq) = RabbitMq::own("amqp-blocked") else {
        return;
    };
    let stand = Stand::new(&["monitoring"], 500, MORE_THAN_CAN_BE_SENT).await;
    let queue = fresh_name("amqp");
    let sink = format!("{}\nconfirm_timeout = \"5s\"", declared(&queue));
    stand.to_amqp(&rabbitmq.url(), &sink);
    let patience = [("CENTRAL_FORWARDER__SHUTDOWN_TIMEOUT", "2s")];
    let mut forwarder = stand.start_with(&patience);
    stand.wait_until_sent(500);
    rabbitmq.block_publishers();
    forwarder.wait_for_stderr(A_WHILE, "the broker blocks publishers: low on memory");
    // The bound for a confirm and more, in frames.
    stand.wait_until_sent(stand.sent() + 3500);
    assert!(
        !forwarder.stderr().contains("no confirm"),
        "{}",
        forwarder.stderr()
    );
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("left_in_journal=0"), "{said}");

    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "the broker blocks publishers: low on memory");
    rabbitmq.unblock_publishers();
    forwarder.wait_for_stderr(A_WHILE, "the broker accepts records again");
    stand.wait_until_sent(stand.sent() + 500);
    drain(forwarder);
    let different = different_in_order(&numbers(&empty_queue(&rabbitmq, &queue)));
    let next = different.iter().skip(1);
    let gaps = different
        .iter()
        .zip(next)
        .filter(|(one, next)| *one + 1 != **next);
    assert!(
        gaps.count() <= 1,
        "more is missing than what came between the two runs"
    );
    a_full_queue_is_waited_for(&rabbitmq).await;
    rabbitmq.control(&["clear_policy", "full"]);
    a_confirm_is_not_waited_for_for_ever(&rabbitmq).await;
}

/// A queue that refuses what it has no room for, and a reader that comes late. One record at a time,
/// since what is on its way behind one that is refused may find room.
async fn a_full_queue_is_waited_for(rabbitmq: &RabbitMq) {
    const COUNT: u64 = 300;
    const ROOM: usize = 100;
    let policy = format!("{{\"max-length\":{ROOM},\"overflow\":\"reject-publish\"}}");
    rabbitmq.control(&["set_policy", "full", ".*", &policy, "--apply-to", "queues"]);
    let stand = Stand::new(&["audit"], 0, COUNT).await;
    let queue = fresh_name("amqp-full");
    let sink = format!("{}\nmax_in_flight = 1", declared(&queue));
    let mut forwarder = stand.to_amqp(&rabbitmq.url(), &sink).start();
    forwarder.wait_for_stderr(A_WHILE, "(nack): a queue may be full");
    let mut arrived = numbers(&read_queue(rabbitmq, &queue, ROOM));
    while arrived.len() < usize::try_from(COUNT).unwrap() {
        arrived.extend(numbers(&read_queue(rabbitmq, &queue, ROOM)));
    }
    let said = drain(forwarder);
    assert_eq!(arrived, (1..=COUNT).collect::<Vec<_>>());
    assert!(said.contains("refused=0"), "{said}");
}

/// A broker that takes records and says nothing: after the bound the connection is given up.
async fn a_confirm_is_not_waited_for_for_ever(rabbitmq: &RabbitMq) {
    const COUNT: u64 = 2000;
    let stand = Stand::new(&["audit"], 500, COUNT).await;
    let queue = fresh_name("amqp-silent");
    let sink = format!("{}\nconfirm_timeout = \"1s\"", declared(&queue));
    let mut forwarder = stand.to_amqp(&rabbitmq.url(), &sink).start();
    stand.wait_until_sent(500);
    rabbitmq.pause();
    forwarder.wait_for_stderr(A_WHILE, "no confirm within 1s");
    rabbitmq.resume();
    stand.wait_until_sent(COUNT);
    drain(forwarder);
    assert_all_arrived(rabbitmq, &queue, COUNT);
}
