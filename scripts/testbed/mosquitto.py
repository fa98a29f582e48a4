"""Mosquitto, as Debian packages it."""

import re
import subprocess

from testbed.instance import Broker
from testbed.machine import need_program
from testbed.process import ask

CONNECT = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x05\x00\x07testbed"
CONNECTED = b"\x20\x02\x00\x00"


class Mosquitto(Broker):
    kind = "mosquitto"
    port_names = ("listen",)

    def prepare(self) -> None:
        self.program = need_program("mosquitto", "mosquitto")
        # The tests read records back with it.
        need_program("mosquitto_sub", "mosquitto-clients")
        printed = subprocess.run([self.program, "-h"], capture_output=True, text=True).stdout
        version = re.search(r"mosquitto version (\S+)", printed)
        self.version = version[1] if version else "?"

    @property
    def settings(self) -> str:
        return str(self.folder / "mosquitto.conf")

    def format(self) -> None:
        lines = [
            f"listener {self.ports['listen']} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.data}/",
            "log_dest stderr",
            # No limit, so that a slow reader loses nothing.
            "max_queued_messages 0",
            # As root, Mosquitto would switch to the user mosquitto, who may not have access to this folder.
            "user root",
        ]
        with open(self.settings, "w") as file:
            file.writelines(f"{line}\n" for line in lines)

    def launch(self) -> None:
        self.run("broker", [self.program, "-c", self.settings], {})

    def answers(self) -> bool:
        """It accepts an MQTT 3.1.1 connection."""
        return ask(self.ports["listen"], CONNECT, len(CONNECTED)) == CONNECTED
