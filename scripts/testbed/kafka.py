"""Apache Kafka: one node that is broker and controller (KRaft)."""

import re
import struct

from testbed.instance import Broker, Failed
from testbed.machine import REPOSITORY, kafka_jars, need_java, run_tool
from testbed.process import ask

CLUSTER = "Y2VudHJhbC1mb3J3YXJkZQ"

# The forwarder is a super user; a guest may do only what a test allows. Both passwords are `secret`.
FORWARDER, GUEST = "forwarder", "guest"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LOGIN = "org.apache.kafka.common.security"

METADATA, METADATA_VERSION = 3, 4
LENGTH_ID_THROTTLE_COUNT = struct.Struct(">iiii")


class Kafka(Broker):
    kind = "kafka"
    port_names = ("listen", "controller", "sasl", "sasl_ssl", "ssl", "behind", "proxy")

    def prepare(self) -> None:
        self.java = need_java()
        self.jars = kafka_jars()
        jar = next(self.jars.glob("kafka_2.13-*.jar")).name
        self.version = re.sub(r"kafka_2\.13-(.*)\.jar", r"\1", jar)

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "CF_TEST_KAFKA_LIB": str(kafka_jars()),
            # The listener "behind" advertises the port "proxy", where a test may listen.
            "CF_TEST_KAFKA_BEHIND": self.at("behind"),
            "CF_TEST_KAFKA_PROXY": self.at("proxy"),
            "CF_TEST_KAFKA_SASL": self.at("sasl"),
            "CF_TEST_KAFKA_SASL_SSL": self.at("sasl_ssl"),
            "CF_TEST_KAFKA_SSL": self.at("ssl"),
            "CF_TEST_KAFKA_SECRETS": str(self.secrets),
        }

    def at(self, port: str) -> str:
        return f"127.0.0.1:{self.ports[port]}"

    @property
    def properties(self) -> str:
        return str(self.folder / "server.properties")

    def format(self) -> None:
        with open(self.properties, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in self.settings().items())
        command = self.command("kafka.tools.StorageTool")
        scram = [
            f"--add-scram={mechanism}=[name={user},password=secret]"
            for mechanism in SCRAM
            for user in (FORWARDER, GUEST)
        ]
        arguments = ["format", "--cluster-id", CLUSTER, "--config", self.properties, *scram]
        run_tool([*command, *arguments], "Kafka's StorageTool could not format the data folder", raises=Failed)

    def settings(self) -> dict[str, object]:
        listeners = (
            f"PLAINTEXT://{self.address},SASL_PLAINTEXT://{self.at('sasl')},"
            f"SASL_SSL://{self.at('sasl_ssl')},SSL://{self.at('ssl')}"
        )
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['controller']}",
            "listeners": f"CONTROLLER://{self.at('controller')},{listeners},"
            f"BEHIND://{self.at('behind')}",
            "advertised.listeners": f"{listeners},BEHIND://{self.at('proxy')}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "BEHIND:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
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
            # Frees the disk space of a deleted topic soon: a minute later by default.
            "log.segment.delete.delay.ms": 100,
            # Clients without SASL and without a certificate are the tests themselves.
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{FORWARDER};User:CN={FORWARDER}",
            **self.logins(),
            **self.certificates(),
        }

    @staticmethod
    def logins() -> dict[str, str]:
        users = " ".join(f'user_{user}="secret"' for user in (FORWARDER, GUEST))
        modules = {
            "plain": f"{LOGIN}.plain.PlainLoginModule required {users};",
            **{name.lower(): f"{LOGIN}.scram.ScramLoginModule required;" for name in SCRAM},
            # Accepts unsigned tokens: the tests have no issuer.
            "oauthbearer": f"{LOGIN}.oauthbearer.OAuthBearerLoginModule required;",
        }
        settings = {"sasl.enabled.mechanisms": ",".join(modules).upper()}
        for listener in ("sasl_plaintext", "sasl_ssl"):
            for mechanism, module in modules.items():
                settings[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = module
        return settings

    def certificates(self) -> dict[str, str]:
        self.issue_certificates(FORWARDER)
        key, certificate = self.secrets / "server.key", self.secrets / "server.pem"
        store = self.secrets / "server-with-key.pem"
        store.write_text(key.read_text() + certificate.read_text())
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.secrets / "ca.pem"),
            "listener.name.ssl.ssl.client.auth": "required",
        }

    def launch(self) -> None:
        self.run("broker", [*self.command("kafka.Kafka"), self.properties], {})

    def command(self, main: str) -> list[str]:
        logging = REPOSITORY / "scripts" / "kafka" / "log4j2.properties"
        heap = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"]
        log = f"-Dlog4j2.configurationFile={logging}"
        return [self.java, *heap, log, "-cp", f"{self.jars}/*", main]

    def answers(self) -> bool:
        """Its metadata lists a broker: it does so only once the broker takes requests."""
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
