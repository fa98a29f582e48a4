"""Apache Kafka: one node that is broker and controller (KRaft)."""

import re
import struct
import subprocess

from testbed.instance import Broker, Failed
from testbed.machine import REPOSITORY, kafka_jars, last_lines, need_java
from testbed.process import ask

CLUSTER = "Y2VudHJhbC1mb3J3YXJkZQ"

METADATA, METADATA_VERSION = 3, 4
LENGTH_ID_THROTTLE_COUNT = struct.Struct(">iiii")


class Kafka(Broker):
    kind = "kafka"
    port_names = ("listen", "controller")

    def prepare(self) -> None:
        self.java = need_java()
        self.jars = kafka_jars()
        jar = next(self.jars.glob("kafka_2.13-*.jar")).name
        self.version = re.sub(r"kafka_2\.13-(.*)\.jar", r"\1", jar)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "CF_TEST_KAFKA_LIB": str(kafka_jars())}

    @property
    def properties(self) -> str:
        return str(self.folder / "server.properties")

    def format(self) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['controller']}",
            "listeners": f"PLAINTEXT://{self.address},"
            f"CONTROLLER://127.0.0.1:{self.ports['controller']}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.data,
            # After a SIGKILL the controller waits for the end of the old session: 9 s by default.
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 500,
            "num.partitions": 1,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
        }
        with open(self.properties, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in settings.items())
        command = self.command("kafka.tools.StorageTool")
        done = subprocess.run(
            [*command, "format", "--cluster-id", CLUSTER, "--config", self.properties],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise Failed(f"formatting Kafka's storage failed:\n{last_lines(done.stdout)}")

    def launch(self) -> None:
        self.run("broker", [*self.command("kafka.Kafka"), self.properties], {})

    def command(self, main: str) -> list[str]:
        logging = REPOSITORY / "scripts" / "kafka" / "log4j2.properties"
        heap = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"]
        log = f"-Dlog4j2.configurationFile={logging}"
        return [self.java, *heap, log, "-cp", f"{self.jars}/*", main]

    def answers(self) -> bool:
        """Its metadata names a broker: only one that takes requests is in there."""
        client = b"testbed"
        header = struct.pack(">hhih", METADATA, METADATA_VERSION, 1, len(client)) + client
        body = struct.pack(">i?", 0, False)
        request = header + body
        framed = struct.pack(">i", len(request)) + request
        answer = ask(self.ports["listen"], framed, LENGTH_ID_THROTTLE_COUNT.size)
        if len(answer) < LENGTH_ID_THROTTLE_COUNT.size:
            return False
        brokers: int = LENGTH_ID_THROTTLE_COUNT.unpack(answer)[3]
        return brokers > 0
