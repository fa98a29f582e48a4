"""Reads a topic of Classic Central with Python's websocket-client, as HPE documents it.

When the connection is refused with 401 it asks for the current key, as HPE documents that.

Usage: hpe_classic.py HOST:PORT KEY TOPIC COUNT KEYS
Prints each frame in base64, and ends when it has COUNT of them and has had KEYS keys.
"""

import base64
import json
import ssl
import sys
import urllib.request

import websocket

host, key, topic, count, keys = sys.argv[1:6]
UNVERIFIED = ssl._create_unverified_context()


def main() -> None:
    global key
    read, had = 0, {key}
    while read < int(count) or len(had) < int(keys):
        try:
            connection = connect()
        except websocket.WebSocketBadStatusException as refused:
            if refused.status_code != 401:
                raise
            key = current_key()
            had.add(key)
            continue
        for frame in frames(connection):
            print(base64.b64encode(frame).decode(), flush=True)
            read += 1
            if read >= int(count) and len(had) >= int(keys):
                connection.close()
                return


def connect() -> websocket.WebSocket:
    headers = {"Authorization": key, "Topic": topic, "UserName": "ops@acme.example"}
    return websocket.create_connection(
        f"wss://{host}/streaming/api", header=headers, sslopt={"cert_reqs": ssl.CERT_NONE}, timeout=20
    )


def frames(connection: websocket.WebSocket):
    try:
        while True:
            opcode, data = connection.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            if opcode == websocket.ABNF.OPCODE_BINARY:
                yield data
    except websocket.WebSocketConnectionClosedException:
        return


def current_key() -> str:
    ask = urllib.request.Request(f"https://{host}/streaming/token/validate", headers={"Authorization": key})
    with urllib.request.urlopen(ask, context=UNVERIFIED) as answer:
        return json.load(answer)["token"]


main()
