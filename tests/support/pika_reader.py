"""Prints the first COUNT messages of a queue as JSON lines, in the broker's order: URL QUEUE COUNT.

It waits for the queue and for the messages. `all` stands for those that the queue has at the moment.
"""

import base64
import json
import sys
import time

import pika
from pika.adapters.blocking_connection import BlockingChannel

PATIENCE_SECONDS = 60
POLL_SECONDS = 0.1

# Messages that may be here without our having taken them: the broker keeps those.
PREFETCH = 2000
BATCH = 1000


def main() -> None:
    url, queue, wanted = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel, there = wait_for(connection, queue)
    count = there if wanted == "all" else int(wanted)
    if count == 0:
        return
    channel.basic_qos(prefetch_count=min(count, PREFETCH))
    messages = channel.consume(queue, inactivity_timeout=PATIENCE_SECONDS)
    for number, (method, properties, body) in enumerate(messages, start=1):
        if method is None:
            sys.exit(f"no further message within {PATIENCE_SECONDS} s")
        print(
            json.dumps(
                {
                    "routing_key": method.routing_key,
                    "properties": {k: v for k, v in vars(properties).items() if v is not None},
                    "body": body.decode(errors="replace"),
                    "body_base64": base64.b64encode(body).decode(),
                }
            )
        )
        if number % BATCH == 0 or number == count:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if number == count:
            connection.close()
            return


def wait_for(connection: pika.BlockingConnection, queue: str) -> tuple[BlockingChannel, int]:
    """A channel, and how many messages the queue has once it is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        channel = connection.channel()
        try:
            return channel, channel.queue_declare(queue, passive=True).method.message_count
        except pika.exceptions.ChannelClosedByBroker:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


main()
