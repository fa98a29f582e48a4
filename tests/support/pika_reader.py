"""Prints the first COUNT messages of a queue as JSON lines, in the broker's order: URL QUEUE COUNT.

`all` stands for the messages that the queue has at the moment.
"""

import json
import sys

import pika

PATIENCE_SECONDS = 60


def main() -> None:
    url, queue, wanted = sys.argv[1:]
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    if wanted == "all":
        wanted = channel.queue_declare(queue, passive=True).method.message_count
    count = int(wanted)
    messages = channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE_SECONDS)
    for method, properties, body in messages:
        if method is None:
            sys.exit(f"no further message within {PATIENCE_SECONDS} s")
        print(
            json.dumps(
                {
                    "routing_key": method.routing_key,
                    "properties": {k: v for k, v in vars(properties).items() if v is not None},
                    "body": body.decode(),
                }
            )
        )
        count -= 1
        if count == 0:
            return


main()
