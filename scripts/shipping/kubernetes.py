"""deploy/kubernetes: the manifests, checked against the config in them and against the program."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from shipping.program import admin_port, argument_problems, config_problems, path_problems

FOLDER = Path("deploy/kubernetes")
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def check() -> Iterator[str]:
    manifests = {kind["kind"]: kind for path in sorted(FOLDER.glob("*.yml")) for kind in yaml.safe_load_all(path.read_text())}
    config = manifests["ConfigMap"]["data"]["central-forwarder.toml"]
    secrets = set(manifests["Secret"]["stringData"])
    pod = manifests["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    yield from argument_problems("StatefulSet", container["args"])
    yield from config_problems("ConfigMap", config, secrets, f"{mounts['secrets']}/")
    yield from path_problems("StatefulSet", {container[probe]["httpGet"]["path"] for probe in PROBES})
    yield from names(manifests, pod, mounts)
    port = admin_port(config)
    (port_of_container,) = container["ports"]
    annotated = manifests["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
    if {port_of_container["containerPort"], manifests["Service"]["spec"]["ports"][0]["port"], int(annotated)} != {port}:
        yield f"the ports differ from admin.listen, {port}"
    if f'state_dir = "{mounts["state"]}"' not in config:
        yield "the config's state_dir is not on the volume"


def names(manifests: dict, pod: dict, mounts: dict) -> Iterator[str]:
    claims = manifests["StatefulSet"]["spec"]["volumeClaimTemplates"]
    volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    if volumes != set(mounts):
        yield f"volumes {sorted(volumes)} are mounted as {sorted(mounts)}"
    labels = manifests["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    for kind, selector in {
        "StatefulSet": manifests["StatefulSet"]["spec"]["selector"]["matchLabels"],
        "Service": manifests["Service"]["spec"]["selector"],
        "PodDisruptionBudget": manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    }.items():
        if selector != labels:
            yield f"{kind} selects {selector}, the pod is {labels}"
