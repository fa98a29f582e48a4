"""RabbitMQ, as Debian packages it, with an Erlang port mapper of its own."""

import os
import subprocess
from pathlib import Path

from testbed.instance import Broker, Failed
from testbed.machine import need_program
from testbed.process import ask, is_free, wait_until

# Debian puts a wrapper before this script, which drops to the user rabbitmq: that user may be
# unable to enter the folder of this repository. The script itself runs as anybody.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
CONTROL_SECONDS = 60.0
PORT_MAPPER_SECONDS = 10.0

# Of the machine's memory: the alarm is raised at once, and RabbitMQ's own default.
NO_MEMORY = "0"
USUAL_MEMORY = "0.4"

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_HEADER = 7
CONNECTION_START = b"\x00\x0a\x00\x0a"


class RabbitMq(Broker):
    kind = "rabbitmq"
    port_names = ("listen", "distribution", "port_mapper")

    def prepare(self) -> None:
        need_program("rabbitmq-server", "rabbitmq-server")
        self.port_mapper = need_program("epmd", "erlang-base")
        query = ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}"]
        asked = subprocess.run([*query, "rabbitmq-server"], capture_output=True, text=True)
        self.version = asked.stdout

    def format(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = {self.address}\n")
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "enabled_plugins").write_text("[].\n")

    def launch(self) -> None:
        mapper = self.ports["port_mapper"]
        # One that we start ourselves ends with its broker: rabbitmq-server would leave one behind.
        listen = ["-port", str(mapper), "-address", "127.0.0.1"]
        self.run("port_mapper", [self.port_mapper, *listen], {})
        wait_until(lambda: not is_free(mapper), PORT_MAPPER_SECONDS)
        self.run("broker", [str(SERVER)], self.settings())

    def settings(self) -> dict[str, str]:
        return {
            "HOME": str(self.data),
            "ERL_EPMD_PORT": str(self.ports["port_mapper"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self.instance}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.data / "config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.data),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # No schedulers that spin while they wait: the machine is shared with what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the Erlang machine: the pid that we know is the broker's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def block_publishers(self, block: bool) -> None:
        fraction = NO_MEMORY if block else USUAL_MEMORY
        asked = subprocess.run(
            [str(CONTROL), "set_vm_memory_high_watermark", fraction],
            env=os.environ | self.settings(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CONTROL_SECONDS,
        )
        if asked.returncode != 0:
            raise Failed(f"rabbitmqctl: {asked.stdout}{asked.stderr}")

    def answers(self) -> bool:
        """It opens the AMQP conversation: RabbitMQ listens only when all else is up."""
        frame = ask(self.ports["listen"], PROTOCOL_HEADER, FRAME_HEADER + len(CONNECTION_START))
        return frame[FRAME_HEADER:] == CONNECTION_START
