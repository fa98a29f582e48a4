"""docker-compose.yml, and the configs that it mounts."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from shipping.program import admin_port, argument_problems, config_problems

FORWARDER = Path("deploy/compose/central-forwarder.toml")
OURS = "central-forwarder"
# Images that listen on default ports, which our files do not name.
DEFAULT_PORTS = {"rabbitmq": {5672, 15672}, "prometheus": {9090}, "grafana": {3000}}


def check() -> Iterator[str]:
    done = subprocess.run(["docker-compose", "config", "-q"], capture_output=True, text=True)
    if done.returncode:
        return (yield f"docker-compose config: {done.stderr.strip()}")
    stack = yaml.safe_load(Path("docker-compose.yml").read_text())
    services = stack["services"]
    secrets = stack["secrets"]
    for name, service in services.items():
        if service["image"] == OURS:
            yield from argument_problems(name, service["command"])
        yield from missing_files(name, service)
    for name, secret in secrets.items():
        if not Path(secret["file"]).exists():
            yield f"secret {name}: there is no {secret['file']}"
    config = FORWARDER.read_text()
    yield from config_problems(str(FORWARDER), config, set(services["forwarder"]["secrets"]), "/run/secrets/")
    yield from wrong_addresses(services, config)
    yield from published(services, config)
    yield from kafka_settings(services["kafka"]["environment"])


def missing_files(name: str, service: dict) -> Iterator[str]:
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("./") and not Path(source).exists():
            yield f"{name} mounts {source}, which does not exist"


def wrong_addresses(services: dict, config: str) -> Iterator[str]:
    """Every HOST:PORT in a config or command of the stack must be a service that listens on that port."""
    texts = {"central-forwarder.toml": config}
    for path in ("deploy/prometheus/prometheus.yml", "deploy/grafana/datasource.yml", "deploy/compose/verify-rabbitmq.py"):
        texts[path] = Path(path).read_text()
    for name, service in services.items():
        texts[name] = " ".join(map(str, service.get("command", [])))
    for where, text in texts.items():
        for host, port in re.findall(r'(?:^|["\s/@])([a-z]+):(\d{2,5})\b', text):
            if host not in services:
                yield f"{where}: there is no service {host}"
            elif int(port) not in listens(host, services[host], config):
                yield f"{where}: {host} does not listen on {port}"


def listens(name: str, service: dict, config: str) -> set[int]:
    if name == "forwarder":
        return {admin_port(config)}
    if name == "mosquitto":
        return ports(r"^listener (\d+)", Path("deploy/compose/mosquitto.conf").read_text())
    text = " ".join(map(str, [*service.get("environment", {}).values(), *service.get("command", [])]))
    return ports(r"0\.0\.0\.0:(\d+)", text) | DEFAULT_PORTS.get(name, set())


def ports(pattern: str, text: str) -> set[int]:
    return {int(port) for port in re.findall(pattern, text, re.M)}


def published(services: dict, config: str) -> Iterator[str]:
    for name, service in services.items():
        for mapping in service.get("ports", []):
            address, _, port = mapping.rpartition(":")
            if int(port) not in listens(name, service, config):
                yield f"{name} publishes {port}, but does not listen on it"
            if not address.startswith("127.0.0.1:"):
                yield f"{name} publishes {mapping} beyond this machine"


def kafka_settings(environment: dict) -> Iterator[str]:
    """The image turns `KAFKA_NODE_ID` into the broker's property `node.id`; Kafka's own jar lists all properties."""
    from testbed.machine import kafka_jars, need_java

    source = Path("target/shipped/Names.java")
    source.write_text(
        "class Names { public static void main(String[] a) {"
        " kafka.server.KafkaConfig.configNames().foreach(n -> { System.out.println(n); return null; }); } }"
    )
    command = [need_java(), "-cp", f"{kafka_jars()}/*", str(source)]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for variable in environment:
        if variable.removeprefix("KAFKA_").lower().replace("_", ".") not in known:
            yield f"kafka: {variable} is not a property of Kafka"
