"""Reads one record from the queue through RabbitMQ's HTTP API, and puts it back."""

import json
import sys
import time
import urllib.error
import urllib.request

API = sys.argv[1] if len(sys.argv) > 1 else "http://rabbitmq:15672"
TRIES = 60


def records() -> list[dict]:
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(None, API, "guest", "guest", is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    wanted = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    request = urllib.request.Request(
        f"{API}/api/queues/%2f/central/get",
        data=json.dumps(wanted).encode(),
        headers={"content-type": "application/json"},
    )
    with opener.open(request, timeout=5) as answer:
        return json.load(answer)


reason = "the queue is empty"
for _ in range(TRIES):
    try:
        for record in records():
            json.loads(record["payload"])
            print(f"rabbitmq: {record['routing_key']} {record['payload'][:200]}")
            sys.exit()
    except (urllib.error.URLError, TimeoutError) as error:
        reason = error
    time.sleep(1)
sys.exit(f"rabbitmq: no record arrived: {reason}")
