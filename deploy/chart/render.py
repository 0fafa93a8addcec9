"""A part of `render`: render.py CHART OUTPUT <VALUES. Reads the chart, its neighbours in CHART/..
and its values as JSON, and writes below OUTPUT what the chart's files are to be."""

import json
import pathlib
import re
import shutil
import sys

chart, output = (pathlib.Path(path) for path in sys.argv[1:])
deploy = chart.resolve().parent
defaults = json.load(sys.stdin)
# Keys that the chart sets itself, from other values, or that do not fit a pod.
OWN = {"web.listen-address", "web.telemetry-path", "web.systemd-socket", "web.enable-lifecycle", "web.config.file",
       "guard.mode", "guard.socket", "guard.state-file", "path.procfs", "path.sysfs"}


def form(value):
    """The schema of a key, from its default in deploy/config.toml."""
    if value in ("true", "false"):
        return {"type": "boolean"}
    if value.startswith("["):
        return {"type": "array", "items": {"type": "number" if re.match(r"\[[0-9]", value) else "string"}}
    if value.startswith('"'):
        return {"type": "string"}
    return {"type": "number" if "." in value else "integer", "minimum": 0}


def configuration():
    """Every key of the daemon, as nested objects."""
    root = {"type": "object", "additionalProperties": False, "properties": {}}
    for key, value in re.findall(r"^#([a-z][a-z.-]*) = (.*)$", (deploy / "config.toml").read_text(), re.M):
        if key in OWN:
            continue
        *tables, name = key.split(".")
        table = root
        for part in tables:
            table = table["properties"].setdefault(
                part, {"type": "object", "additionalProperties": False, "properties": {}})
        table["properties"][name] = form(value)
    return root


def values():
    """The rows of README.md: each key of values.yaml with its default and its comment."""
    rows, path, comment = [], [], []
    for line in (chart / "values.yaml").read_text().splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        key = re.match(r"([\w./-]+):", text)
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
        elif not text:
            comment = []
        elif key:
            path = path[:indent // 2] + [key[1]]
            if comment:
                value = defaults
                for part in path:
                    value = value[part]
                rows.append(f"| `{'.'.join(path)}` | `{json.dumps(value)}` | {' '.join(comment)} |")
            comment = []
    return "\n".join(["| value | default | |", "|---|---|---|", *rows])


for name in ("alerts.yml", "rules.yml"):
    shutil.copy(deploy / "prometheus" / name, output / "files" / name)
for file in deploy.glob("grafana/throttle-monitor-*.json"):
    shutil.copy(file, output / "files" / file.name)

schema = json.loads((chart / "values.schema.json").read_text())
schema["properties"]["config"] = configuration()
(output / "values.schema.json").write_text(json.dumps(schema, indent=2) + "\n")

readme = (chart / "README.md").read_text()
begin, end = "<!-- values: begin, by ./render -->", "<!-- values: end -->"
before, rest = readme.split(begin)
_, after = rest.split(end)
(output / "README.md").write_text(f"{before}{begin}\n\n{values()}\n\n{end}{after}")
