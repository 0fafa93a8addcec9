"""scrape.yml, tried on pods that are made up: scrape-test.py PROMTOOL.

Debian's promtool is built without the discovery of Kubernetes, so its place is taken by a
static list with the labels that it gives. What becomes of them is Prometheus' own doing."""

import json
import pathlib
import subprocess
import sys
import tempfile

import yaml

META = "__meta_kubernetes_pod_"
PODS = {  # address: what discovery tells, and whether it is to be scraped
    "10.0.0.1:9746": (("throttle-monitor", "http-metrics", "node-1", "false"), True),
    "10.0.0.2:9746": (("throttle-monitor", "http-metrics", "node-2", "true"), True),
    "10.0.0.3:80": (("throttle-monitor", "other", "node-1", "true"), False),
    "10.0.0.4:9746": (("another", "http-metrics", "node-1", "true"), False),
}

job = yaml.safe_load((pathlib.Path(__file__).parent / "scrape.yml").read_text())["scrape_configs"][0]
discovery = job.pop("kubernetes_sd_configs")
wrong = []
if discovery != [{"role": "pod", "namespaces": {"names": ["throttle-monitor"]}}]:
    wrong.append(f"it discovers something else: {discovery}")
job["static_configs"] = [
    {
        "targets": [address],
        "labels": {
            f"{META}label_app_kubernetes_io_name": name,
            f"{META}container_port_name": port,
            f"{META}node_name": node,
            f"{META}name": "throttle-monitor-abcde",
            f"{META}ready": ready,
        },
    }
    for address, ((name, port, node, ready), _) in PODS.items()
]
with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
    yaml.safe_dump({"scrape_configs": [job]}, file)
    file.flush()
    command = [sys.argv[1], "check", "service-discovery", "--timeout=2s", file.name, "throttle-monitor"]
    done = subprocess.run(command, capture_output=True, text=True)
if done.returncode:
    sys.exit(done.stderr or done.stdout)
found = {t["discoveredLabels"]["__address__"]: t["labels"] for t in json.loads(done.stdout)}
for address, ((_, _, node, _), scraped) in PODS.items():
    labels = {k: v for k, v in found[address].items() if not k.startswith("__")}
    wanted = {"job": "throttle-monitor", "instance": node, "pod": "throttle-monitor-abcde"} if scraped else {}
    if labels != wanted:
        wrong.append(f"{address} is scraped as {labels}, not {wanted}")
sys.exit("\n".join(wrong) or 0)
