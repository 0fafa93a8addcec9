"""Renders the chart for each file of ci/, and holds what comes out to the schemas of several
versions of Kubernetes; then values that have to be refused.

matrix.py CHART OUTPUT VERSION... writes OUTPUT/NAME.yaml for each ci/NAME-values.yaml. Silent
but for a count if all holds; else a line for each thing that does not, and exit code 1."""

import concurrent.futures
import functools
import json
import pathlib
import subprocess
import sys

import importlib_resources
import jsonschema
import yaml
from referencing import Registry, Resource

chart, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
versions = sys.argv[3:]
wrong = []

# Values that are refused, and words of the reason.
REFUSED = [
    ("{imagee: {tag: x}}", "additional properties 'imagee' not allowed"),
    ("{image: {tag: latest}}", "/image/tag"),
    ("{image: {digest: sha256:123}}", "/image/digest"),
    ("{image: {repository: ''}}", "/image/repository"),
    ("{image: {pullPolicy: Sometimes}}", "'IfNotPresent', 'Always', 'Never'"),
    ("{guard: {mode: on}}", "/guard/mode"),
    ("{guard: {mode: guard}}", "'off', false, 'advise', 'break', 'prevent'"),
    ("{config: {interval: 1}}", "at '/config/interval': got number, want string"),
    ("{config: {thresholds: {confirmed: 5s}}}", "additional properties 'confirmed' not allowed"),
    ("{config: {thresholds: {hysteresis: '2'}}}", "at '/config/thresholds/hysteresis': got string, want number"),
    ("{config: {guard: {mode: break}}}", "at '/config/guard': additional properties 'mode' not allowed"),
    ("{config: {web: {listen-address: ['0.0.0.0:80']}}}", "at '/config': additional properties 'web' not allowed"),
    ("{config: {path: {procfs: /proc}}}", "at '/config': additional properties 'path' not allowed"),
    ("{web: {port: 70000}}", "at '/web/port': maximum: got 70,000, want 65,535"),
    ("{web: {port: '9746'}}", "at '/web/port': got string, want integer"),
    ("{web: {scheme: ftp}}", "'http', 'https'"),
    ("{web: {listenAddress: '::'}}", "/web/listenAddress"),
    ("{privileges: {privileged: true}}", "additional properties 'privileged' not allowed"),
    ("{privileges: {sysAdmin: 'no'}}", "at '/privileges/sysAdmin': got string, want boolean"),
    ("{extraArgs: ['log.level=debug']}", "/extraArgs/0"),
    ("{resources: {limit: {memory: 1Gi}}}", "additional properties 'limit' not allowed"),
    ("{resources: {limits: {memory: 1 GB}}}", "/resources/limits/memory"),
    ("{tolerations: {operator: Exists}}", "at '/tolerations': got object, want array"),
    ("{nodeSelector: {example.com/storage: true}}", "got boolean, want string"),
    ("{commonLabels: {app.kubernetes.io/name: other}}", "/commonLabels"),
    ("{podLabels: {'a b': c}}", "/podLabels"),
    ("{fullnameOverride: Throttle_Monitor}", "/fullnameOverride"),
    ("{networkPolicy: {from: [{}]}}", "/networkPolicy/from/0"),
    ("{networkPolicy: {enabled: 1}}", "at '/networkPolicy/enabled': got number, want boolean"),
    ("{podMonitor: {interval: 15}}", "at '/podMonitor/interval': got number, want string"),
    ("{podMonitor: {interval: 15 s}}", "/podMonitor/interval"),
    ("{podMonitor: {endpoint: {port: metrics}}}", "/podMonitor/endpoint"),
    ("{prometheusRule: {runbookUrl: wiki}}", "/prometheusRule/runbookUrl"),
    ("{livenessProbe: {periodSeconds: 0}}", "/livenessProbe/periodSeconds"),
    ("{livenessProbe: {httpGet: {path: /-/ready}}}", "additional properties 'httpGet' not allowed"),
    ("{terminationGracePeriodSeconds: 1}", "/terminationGracePeriodSeconds"),
]


def want(holds, sentence):
    if not holds:
        wrong.append(sentence)


def helm(words, values=None):
    command = ["helm", "template", "release-1", str(chart), "--namespace", "throttle-monitor", *words]
    return subprocess.run(command, input=values, capture_output=True, text=True)


@functools.cache
def schemas(version):
    return json.loads(schema_file(version, "_definitions.json").read_text())


def schema_file(version, name):
    folder = importlib_resources.files("kubernetes_validate").joinpath("kubernetes-json-schema")
    wanted = [d for d in folder.iterdir() if d.name.startswith(f"v{version}.") and d.name.endswith("-local-strict")]
    want(len(wanted) == 1, f"there are {len(wanted)} schemas of Kubernetes {version}")
    return wanted[0].joinpath(name)


@functools.cache
def registry(version):
    return Resource.from_contents(schemas(version)) @ Registry()


@functools.cache
def validator(version, kind, api):
    group, _, of = api.rpartition("/")
    name = "-".join([kind.lower(), *([group.split(".")[0]] if group else []), of])
    schema = json.loads(schema_file(version, f"{name}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry(version))


def render(name):
    return name, helm(["--values", str(chart / f"ci/{name}-values.yaml")])


def told(documents, name):
    """What each rendering is about."""
    kinds = {}
    for document in documents:
        kinds.setdefault(document["kind"], []).append(document)
    spec = kinds["DaemonSet"][0]["spec"]
    pod = spec["template"]["spec"]
    daemon = pod["containers"][0]
    config = kinds["ConfigMap"][0]["data"].get("config.toml", "")
    policy = kinds.get("NetworkPolicy", [{}])[0].get("spec", {})
    extra = {"Namespace", "ResourceQuota", "Service", "PodMonitor", "PrometheusRule"}
    held = {
        "default": lambda: [not extra & set(kinds), policy.get("egress") == [], len(policy.get("ingress", [])) == 1,
                    "initContainers" not in pod, kinds["DaemonSet"][0]["metadata"]["name"] == "release-1-throttle-monitor"],
        "off": lambda: ["initContainers" not in pod, "guard" not in config],
        "guard": lambda: ['mode = "advise"' in config, pod.get("initContainers", [{}])[0].get("name") == "guard"],
        "nobody": lambda: [policy.get("ingress") == []],
        "open": lambda: ["NetworkPolicy" not in kinds, "ServiceAccount" not in kinds, pod["serviceAccountName"] == "default",
                 "livenessProbe" not in daemon, "readinessProbe" not in daemon, 'listen-address = ["[::]:19746"]' in config,
                 daemon["ports"][0]["containerPort"] == 19746, pod["nodeSelector"] == {"kubernetes.io/os": "linux"}],
        "monitoring": lambda: [extra <= set(kinds), len(kinds["ConfigMap"]) == 3,
                       all(d["metadata"]["namespace"] == "grafana" for d in kinds["ConfigMap"][1:]),
                       all(json.loads(next(iter(d["data"].values())))["uid"] for d in kinds["ConfigMap"][1:])],
        "tls": lambda: [daemon["livenessProbe"]["httpGet"]["scheme"] == "HTTPS",
                'file = "/etc/throttle-monitor-web/web.yml"' in config],
        "clients": lambda: ["tcpSocket" in daemon["livenessProbe"], "enable-lifecycle = true" in config],
        "site": lambda: [daemon["image"].startswith("registry.example:5000/storage/throttle-monitor:0.1.0@sha256:e3b0"),
                 "priorityClassName" not in pod, len(pod["nodeSelector"]) == 3, spec["updateStrategy"] == {"type": "OnDelete"}],
        "names": lambda: [spec["selector"]["matchLabels"]["app.kubernetes.io/name"] == "tm",
                  all(d["metadata"]["labels"]["team"] == "storage" for d in documents),
                  kinds["DaemonSet"][0]["metadata"]["name"] == "tm-storage"],
    }
    for number, holds in enumerate(held.get(name, list)()):
        want(holds, f"{name}: its expectation number {number + 1} does not hold")
    selector = spec["selector"]["matchLabels"]
    for kind, path in (("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")):
        for document in kinds.get(kind, []):
            want(document["spec"][path]["matchLabels"] == selector, f"{name}: {kind} selects other pods")
    for document in kinds.get("Service", []):
        want(document["spec"]["selector"] == selector, f"{name}: the Service selects other pods")
    labels = spec["template"]["metadata"]["labels"]
    want(selector.items() <= labels.items(), f"{name}: the DaemonSet selects other pods than its own")


seen = set()
names = sorted(file.name.removesuffix("-values.yaml") for file in (chart / "ci").glob("*-values.yaml"))
want(len(names) > 10, "there are no values to try in ci/")
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for name, done in pool.map(render, names):
        if done.returncode:
            wrong.append(f"{name}: helm cannot render it: {done.stderr.strip()}")
            continue
        (output / f"{name}.yaml").write_text(done.stdout)
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        told(documents, name)
        for document in documents:
            if document["apiVersion"].startswith("monitoring.coreos.com/"):
                continue
            for version in versions:
                text = json.dumps([version, document], sort_keys=True)
                if text in seen:
                    continue
                seen.add(text)
                for error in validator(version, document["kind"], document["apiVersion"]).iter_errors(document):
                    where = "/".join(str(part) for part in error.absolute_path)
                    wrong.append(f"{name}: Kubernetes {version}: {document['kind']} {where}: {error.message[:300]}")
    for (values, words), done in zip(REFUSED, pool.map(lambda one: helm(["--values", "-"], one[0]), REFUSED)):
        want(done.returncode != 0, f"not refused: {values}")
        if done.returncode:
            want(words in done.stderr, f"{values} is refused without the words '{words}': {done.stderr.strip()}")
for sentence in dict.fromkeys(wrong):
    print(sentence)
if not wrong:
    print(f"{len(names)} renderings, {len(seen)} objects of {len(versions)} versions, {len(REFUSED)} refused")
sys.exit(bool(wrong))
