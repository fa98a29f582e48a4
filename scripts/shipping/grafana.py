"""The dashboard: checked against Grafana's schema of dashboards, panels and queries, from its foundation SDK."""

import json
from collections.abc import Iterator
from pathlib import Path

DASHBOARD = Path("deploy/grafana/central-forwarder.json")
# Keys that Grafana writes and reads but that are missing from its schema.
NOT_IN_SCHEMA = ("definition", "titleFormat")


def check() -> Iterator[str]:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    ours = json.loads(DASHBOARD.read_text())
    parsed = json.loads(json.dumps(Dashboard.from_json(ours), cls=JSONEncoder))
    yield from differences(ours, parsed, str(DASHBOARD))
    datasource = Path("deploy/grafana/datasource.yml").read_text()
    for wanted in ("type: prometheus", "isDefault: true"):
        if wanted not in datasource:
            yield f"deploy/grafana/datasource.yml: the dashboard needs {wanted}"


def differences(ours: object, parsed: object, at: str) -> Iterator[str]:
    """What differs after Grafana's types have read the dashboard and written it again."""
    if isinstance(ours, dict) and isinstance(parsed, dict):
        for key in ours.keys() - set(NOT_IN_SCHEMA):
            if key in parsed:
                yield from differences(ours[key], parsed[key], f"{at}: {key}")
            else:
                yield f"{at}: Grafana does not know the key {key}"
    elif isinstance(ours, list) and isinstance(parsed, list) and len(ours) == len(parsed):
        for index, (one, other) in enumerate(zip(ours, parsed)):
            yield from differences(one, other, f"{at}[{index}]")
    elif ours != parsed:
        yield f"{at}: Grafana reads {ours} as {parsed}"
