"""What no schema says of these manifests: what they may ask of a node, and that their
parts fit together. `check` calls it: lint.py FULL LEAST, both rendered. Silent if all
holds; else a line for each thing that does not, and exit code 1."""

import pathlib
import re
import sys
import tomllib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAME = "throttle-monitor"
LABEL = {"app.kubernetes.io/name": NAME}
# Paths of the node, and how each may be mounted. Never "/" or anything below /var or /run.
PATHS = {"/proc": "HostToContainer", "/sys/kernel/tracing": None, "/sys/kernel/debug": None}
# Given up by least-privilege/.
DROPPABLE = {"SYS_ADMIN"}

wrong = []


def want(holds, sentence):
    if not holds:
        wrong.append(sentence)


def load(path):
    return [document for document in yaml.safe_load_all(pathlib.Path(path).read_text()) if document]


def one(documents, kind):
    found = [document for document in documents if document["kind"] == kind]
    want(len(found) == 1, f"there are {len(found)} objects of kind {kind}, not 1")
    return found[0]


def unit_capabilities():
    """Those of the systemd unit, as Kubernetes spells them. An empty line resets them."""
    given = set()
    for line in (ROOT / "deploy/systemd/throttle-monitor.service").read_text().splitlines():
        if line.startswith("AmbientCapabilities="):
            words = line.split("=", 1)[1].split()
            given = given | {word.removeprefix("CAP_") for word in words} if words else set()
    return given


def container_of(documents):
    pod = one(documents, "DaemonSet")["spec"]["template"]["spec"]
    want(len(pod["containers"]) == 1, "there is more than one container")
    want(not pod.get("initContainers"), "there is an init container: it would have to run before a restart")
    return pod, pod["containers"][0]


def privileges(documents, capabilities):
    pod, container = container_of(documents)
    security = container["securityContext"]
    want(security.get("privileged") is False, "privileged is not false")
    want(security.get("readOnlyRootFilesystem") is True, "the root file system is writable")
    want(security.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation is not false")
    want(security.get("runAsUser") == 0, "runAsUser is not 0: added capabilities go to root alone")
    want(security["capabilities"].get("drop") == ["ALL"], "not all capabilities are dropped first")
    added = security["capabilities"].get("add", [])
    want(not [word for word in added if word.startswith("CAP_")],
         "a capability is spelled with CAP_: the API server refuses CAP_SYS_ADMIN")
    want(set(added) == capabilities and len(added) == len(capabilities),
         f"capabilities are {sorted(added)}, not those of the systemd unit, {sorted(capabilities)}")
    want(security.get("seccompProfile", {}).get("type") == "RuntimeDefault", "seccomp is not the runtime's")
    want(security.get("appArmorProfile", {}).get("type") == "Unconfined",
         "AppArmor confines it: other pods' mounts and servers would not be seen")
    want(pod.get("hostNetwork", False) is False, "hostNetwork: metrics would be open at the node's address")
    want(pod.get("hostIPC", False) is False, "hostIPC is not needed")
    want(pod.get("automountServiceAccountToken") is False, "the pod gets a token of the API server")
    account = one(documents, "ServiceAccount")
    want(account.get("automountServiceAccountToken") is False, "the service account mounts its token")
    rights = [d["kind"] for d in documents if d["apiVersion"].startswith("rbac.")]
    want(not rights, f"it gets rights at the API server: {rights}")


def paths(documents):
    pod, container = container_of(documents)
    hosts = {v["name"]: v["hostPath"] for v in pod["volumes"] if "hostPath" in v}
    want({h["path"] for h in hosts.values()} == set(PATHS),
         f"paths of the node are {sorted(h['path'] for h in hosts.values())}, not {sorted(PATHS)}")
    want(all(h.get("type") == "Directory" for h in hosts.values()),
         "a path of the node is not of type Directory: it would be made where it is missing")
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    want(set(mounts) == {v["name"] for v in pod["volumes"]}, "volumes and mounts are not the same")
    for name, mount in mounts.items():
        want(mount.get("readOnly") is True, f"{mount['mountPath']} is writable")
        path = hosts.get(name, {}).get("path")
        if path in PATHS:
            want(mount.get("mountPropagation") == PATHS[path],
                 f"{path} is mounted with propagation {mount.get('mountPropagation')}, not {PATHS[path]}")
            if path != "/proc":
                want(mount["mountPath"] == path, f"{path} is not mounted where the daemon attaches: there")
            else:
                want(f"--path.procfs={mount['mountPath']}" in container["args"],
                     "--path.procfs is not where /proc of the node is mounted")


def life(documents):
    daemons = one(documents, "DaemonSet")["spec"]
    pod, container = container_of(documents)
    want({"operator": "Exists"} in pod.get("tolerations", []), "not every taint is tolerated")
    want(pod.get("priorityClassName") == "system-node-critical", "it may be evicted, and killed for memory early")
    resources = container["resources"]
    want(set(resources.get("requests", {})) == {"cpu", "memory"}, "cpu and memory are not both requested")
    want(not resources.get("limits"), "there are limits: it would wait for what it watches")
    want(daemons["updateStrategy"]["type"] == "RollingUpdate", "a new version is not rolled out")
    ready, alive = container["readinessProbe"], container["livenessProbe"]
    want(ready["httpGet"]["path"] == "/-/ready", "readiness is not /-/ready")
    want(alive["httpGet"]["path"] == "/-/healthy", "liveness is not /-/healthy: a node that hangs would restart it")
    want(alive["periodSeconds"] * alive["failureThreshold"] >= 300, "liveness gives up in under five minutes")
    want("exec" not in ready and "exec" not in alive, "a probe starts a program on a node that hangs")
    want(pod.get("terminationGracePeriodSeconds", 30) >= 5, "it has no time to end")


def names(documents, extra):
    space = one(documents, "Namespace")
    name = space["metadata"]["name"]
    want(space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") == "privileged",
         "the namespace does not allow what the pod asks for")
    for document in documents + extra:
        if document["kind"] != "Namespace":
            want(document["metadata"].get("namespace") == name, f"{document['kind']} is in another namespace")
    daemons = one(documents, "DaemonSet")["spec"]
    pod, container = container_of(documents)
    want(daemons["selector"]["matchLabels"] == LABEL, "the DaemonSet selects other labels")
    want(daemons["template"]["metadata"]["labels"] == LABEL, "pods have other labels")
    want(pod["serviceAccountName"] == one(documents, "ServiceAccount")["metadata"]["name"],
         "there is no such service account")
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    want(container["image"].endswith(f"/{NAME}:{version}"), f"the image is {container['image']}, not of {version}")
    port = container["ports"][0]
    want(port == {"name": "http-metrics", "containerPort": 9746, "protocol": "TCP"}, "the port is another")
    for probe in ("readinessProbe", "livenessProbe"):
        want(container[probe]["httpGet"]["port"] == port["name"], f"{probe} asks another port")
    want(f"EXPOSE {port['containerPort']}\n" in (HERE.parent / "container/Containerfile").read_text(),
         "the image exposes another port")
    config = one(documents, "ConfigMap")
    volume = [v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v]
    want(volume == [config["metadata"]["name"]], "the pod mounts another ConfigMap")
    mount = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "config"]
    file = f"{NAME}.toml"
    want(f"--config={mount[0]}/{file}" in container["args"], "--config is not where the ConfigMap is mounted")
    settings = tomllib.loads(config["data"].get(file, ""))
    addresses = settings.get("web", {}).get("listen-address", [])
    want(any(re.fullmatch(r"(0\.0\.0\.0|\[::\]):9746", address) for address in addresses),
         "it does not listen at the pod's address")
    monitor, policy = one(extra, "PodMonitor")["spec"], one(extra, "NetworkPolicy")["spec"]
    want(monitor["selector"]["matchLabels"] == LABEL, "the PodMonitor selects other pods")
    want(monitor["podMetricsEndpoints"][0]["port"] == port["name"], "the PodMonitor scrapes another port")
    want(policy["podSelector"]["matchLabels"] == LABEL, "the NetworkPolicy is about other pods")
    want(policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": port["name"]}],
         "the NetworkPolicy opens another port")
    scrape = (HERE / "scrape.yml").read_text()
    want(f"regex: {NAME};{port['name']}\n" in scrape and f"names: [{name}]\n" in scrape,
         "scrape.yml keeps other pods")


full, least = load(sys.argv[1]), load(sys.argv[2])
more = load(HERE / "prometheus-operator/pod-monitor.yaml") + load(HERE / "network-policy/network-policy.yaml")
unit = unit_capabilities()
want(DROPPABLE < unit, "the systemd unit has no capabilities to compare with")
privileges(full, unit)
privileges(least, unit - DROPPABLE)
for documents in (full, least):
    paths(documents)
    life(documents)
    names(documents, more)
want(container_of(full)[0].get("hostPID") is True, "hostPID is not true")
want(container_of(least)[0].get("hostPID") is False, "least-privilege/ leaves the host's pid namespace")
for sentence in dict.fromkeys(wrong):
    print(sentence)
sys.exit(bool(wrong))
