"""The dashboard, by Grafana's own schema of dashboards, panels and queries: its foundation SDK."""

import json
from collections.abc import Iterator
from pathlib import Path

DASHBOARD = Path("deploy/grafana/central-forwarder.json")
# What Grafana writes and reads, and its schema does not have.
BESIDE_THE_SCHEMA = ("definition", "titleFormat")


def check() -> Iterator[str]:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    ours = json.loads(DASHBOARD.read_text())
    understood = json.loads(json.dumps(Dashboard.from_json(ours), cls=JSONEncoder))
    yield from lost(ours, understood, str(DASHBOARD))
    datasource = Path("deploy/grafana/datasource.yml").read_text()
    for wanted in ("type: prometheus", "isDefault: true"):
        if wanted not in datasource:
            yield f"deploy/grafana/datasource.yml: the dashboard needs {wanted}"


def lost(ours: object, understood: object, at: str) -> Iterator[str]:
    """What is not the same after Grafana's types have read it and written it again."""
    if isinstance(ours, dict) and isinstance(understood, dict):
        for key in ours.keys() - set(BESIDE_THE_SCHEMA):
            if key in understood:
                yield from lost(ours[key], understood[key], f"{at}: {key}")
            else:
                yield f"{at}: Grafana knows no {key} there"
    elif isinstance(ours, list) and isinstance(understood, list) and len(ours) == len(understood):
        for index, (one, other) in enumerate(zip(ours, understood)):
            yield from lost(one, other, f"{at}[{index}]")
    elif ours != understood:
        yield f"{at}: Grafana reads {ours} as {understood}"
