"""Streams events of New Central through HPE's own client, as it comes from PyPI.

Nothing of the client is replaced: where Central and its tokens are is its configuration (`base_url`,
`token_endpoint`), and that our certificate is to be trusted is in REQUESTS_CA_BUNDLE.

Usage: hpe_new_central.py HOST:PORT ID SECRET COUNT EVENT...
Prints a line of JSON for each event that the client has decoded, and ends when each has had COUNT.
"""

import json
import logging
import sys
import threading

from pycentral import NewCentralBase
from pycentral.streaming import Streaming

host, client_id, client_secret, count = sys.argv[1:5]
lock = threading.Lock()


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    connection = NewCentralBase(
        token_info={
            "new_central": {
                "base_url": f"https://{host}",
                "token_endpoint": f"https://{host}/as/token.oauth2",
                "client_id": client_id,
                "client_secret": client_secret,
            }
        },
        logger=logging.getLogger("hpe"),
    )
    streams = [threading.Thread(target=stream, args=(connection, event)) for event in sys.argv[5:]]
    for each in streams:
        each.start()
    for each in streams:
        each.join()


def stream(connection: NewCentralBase, event: str) -> None:
    streaming = Streaming(connection, event, reconnect_delay=0.1)
    left = int(count)

    def take(data: dict) -> None:
        nonlocal left
        left -= 1
        with lock:
            print(json.dumps({"event": event, "data": data}), flush=True)
        if left == 0:
            streaming.stop()

    streaming.stream(callback=take)


main()
