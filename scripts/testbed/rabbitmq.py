"""RabbitMQ, as Debian packages it, with an Erlang port mapper of its own."""

import os
import subprocess
from pathlib import Path

from testbed.instance import Broker, Failed
from testbed.machine import need_program
from testbed.process import ask, is_free, wait_until

# Debian's wrapper of this script switches to the user rabbitmq, who may not have access to the folder of
# this repository. The script itself runs as any user.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
CONTROL_SECONDS = 60.0
PORT_MAPPER_SECONDS = 10.0

# Watermarks as fractions of the machine's memory: 0 raises the alarm at once, 0.4 is RabbitMQ's default.
ALARM_WATERMARK = "0"
DEFAULT_WATERMARK = "0.4"

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_HEADER = 7
CONNECTION_START = b"\x00\x0a\x00\x0a"


class RabbitMq(Broker):
    kind = "rabbitmq"
    port_names = ("listen", "distribution", "port_mapper", "tls")

    def prepare(self) -> None:
        need_program("rabbitmq-server", "rabbitmq-server")
        self.port_mapper = need_program("epmd", "erlang-base")
        query = ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}"]
        asked = subprocess.run([*query, "rabbitmq-server"], capture_output=True, text=True)
        self.version = asked.stdout

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "CF_TEST_RABBITMQ_TLS": self.tls_address,
            "CF_TEST_RABBITMQ_SECRETS": str(self.secrets),
        }

    @property
    def tls_address(self) -> str:
        return f"127.0.0.1:{self.ports['tls']}"

    def format(self) -> None:
        self.issue_certificates("forwarder")
        settings = {
            "listeners.tcp.1": self.address,
            "listeners.ssl.1": self.tls_address,
            "ssl_options.cacertfile": self.secrets / "ca.pem",
            "ssl_options.certfile": self.secrets / "server.pem",
            "ssl_options.keyfile": self.secrets / "server.key",
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
            # The common name of a certificate is the user: that of `client` is forwarder.
            "ssl_cert_login_from": "common_name",
            "auth_mechanisms.1": "PLAIN",
            "auth_mechanisms.2": "EXTERNAL",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.folder / "rabbitmq.conf").write_text(lines)
        (self.folder / "rabbitmq-env.conf").touch()
        (self.folder / "enabled_plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n")

    def launch(self) -> None:
        mapper = self.ports["port_mapper"]
        # Started here, so that it ends with the broker: the one of rabbitmq-server would keep running.
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
            # Schedulers must not busy-wait, because the tested program shares the machine.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1}",
            # Makes the script exec the Erlang VM, so that its pid is the broker's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def block_publishers(self, block: bool) -> None:
        fraction = ALARM_WATERMARK if block else DEFAULT_WATERMARK
        self.control(["set_vm_memory_high_watermark", fraction])

    def control(self, arguments: list[str]) -> None:
        asked = subprocess.run(
            [str(CONTROL), *arguments],
            env=os.environ | self.settings(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CONTROL_SECONDS,
        )
        if asked.returncode != 0:
            raise Failed(f"rabbitmqctl: {asked.stdout}{asked.stderr}")

    def answers(self) -> bool:
        """It starts an AMQP connection: RabbitMQ listens only when everything else is up."""
        frame = ask(self.ports["listen"], PROTOCOL_HEADER, FRAME_HEADER + len(CONNECTION_START))
        return frame[FRAME_HEADER:] == CONNECTION_START
