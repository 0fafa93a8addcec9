"""What no schema says of these manifests: what they may ask of a node, and that their
parts fit together. `check` calls it: lint.py DEFAULT LEAST GUARD BOTH, all rendered. Silent
if all holds; else a line for each thing that does not, and exit code 1."""

import copy
import pathlib
import re
import sys
import tomllib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAME = "throttle-monitor"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}
KUBERNETES = HERE.parent / "kubernetes"
# Paths of the node, how each may be mounted, and its type. Never "/", and of /var and /run only
# the names of the kubelet's directories, which a node may have elsewhere.
PATHS = {
    "/proc": ("HostToContainer", "Directory"),
    "/sys/kernel/tracing": (None, "Directory"),
    "/sys/kernel/debug": (None, "Directory"),
    "/var/log/pods": (None, None),
}
# Those of the guard's helper besides: where in its container, and whether it may write.
GUARD_PATHS = {
    "/proc/sys/vm": ("/host/proc/sys/vm", True),
    "/sys/class/bdi": ("/host/sys/class/bdi", False),
    "/sys/devices/virtual/bdi": ("/host/sys/devices/virtual/bdi", True),
    # Where `guard undo` on the node looks for it.
    "/run/throttle-monitor": ("/run/throttle-monitor", True),
}
# Given up with privileges.sysAdmin false.
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


def unit_capabilities(unit="throttle-monitor.service", key="AmbientCapabilities"):
    """Those of the systemd unit, as Kubernetes spells them. An empty line resets them."""
    given = set()
    for line in (ROOT / "deploy/systemd" / unit).read_text().splitlines():
        if line.startswith(f"{key}="):
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
    want(pod.get("hostPID", False) is False, "hostPID is not needed: /proc of the node is mounted")
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
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    want(set(mounts) == {v["name"] for v in pod["volumes"]}, "volumes and mounts are not the same")
    for name, mount in mounts.items():
        want(mount.get("readOnly") is True, f"{mount['mountPath']} is writable")
        path = hosts.get(name, {}).get("path")
        if path in PATHS:
            propagation, kind = PATHS[path]
            want(mount.get("mountPropagation") == propagation,
                 f"{path} is mounted with propagation {mount.get('mountPropagation')}, not {propagation}")
            want(hosts[name].get("type") == kind, f"{path} is of type {hosts[name].get('type')}, not {kind}")
            if path != "/proc":
                want(mount["mountPath"] == path, f"{path} is not mounted where the daemon attaches: there")
            else:
                want(settings(documents).get("path", {}).get("procfs") == mount["mountPath"],
                     "path.procfs is not where /proc of the node is mounted")


def settings(documents):
    """The configuration file in the ConfigMap."""
    return tomllib.loads(one(documents, "ConfigMap")["data"].get("config.toml", ""))


def without_guard(documents):
    """What is left of them when that which the guard adds is taken away, and that."""
    rest = copy.deepcopy(documents)
    template = one(rest, "DaemonSet")["spec"]["template"]
    template["metadata"]["annotations"].pop("checksum/config")
    pod = template["spec"]
    daemon = pod["containers"][0]
    sidecars = pod.pop("initContainers", [])
    volumes = {v["name"]: v for v in pod["volumes"] if v["name"].startswith("guard-")}
    pod["volumes"] = [v for v in pod["volumes"] if v["name"] not in volumes]
    mounts = [m for m in daemon["volumeMounts"] if m["name"] in volumes]
    daemon["volumeMounts"] = [m for m in daemon["volumeMounts"] if m["name"] not in volumes]
    config = settings(rest)
    guard = config.pop("guard", {})
    one(rest, "ConfigMap")["data"]["config.toml"] = config
    return rest, sidecars, volumes, mounts, guard


def guarded(documents, full):
    """The variant with the guard: the helper may write, the daemon may not, nor anything else."""
    rest, sidecars, volumes, mounts, guard = without_guard(documents)
    key = lambda document: document["kind"]
    want(sorted(rest, key=key) == sorted(without_guard(full)[0], key=key), "guard.mode changes more than it adds")
    want(len(sidecars) == 1, f"guard.mode adds {len(sidecars)} sidecars, not 1")
    helper = sidecars[0]
    daemon = one(documents, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    want(helper.get("restartPolicy") == "Always",
         "the guard's helper is not a sidecar: the daemon would wait for its end, or end with it")
    want(helper["image"] == daemon["image"], "the guard's helper is another image than the daemon")
    want(not [key for key in helper if key.endswith("Probe")] and "lifecycle" not in helper,
         "the guard's helper is probed: it answers nobody but the daemon")
    want(set(helper["resources"].get("requests", {})) == {"cpu", "memory"} and not helper["resources"].get("limits"),
         "the guard's helper has limits, or requests nothing")
    guard_rights(helper["securityContext"])
    guard_mounts(helper, volumes, mounts)
    guard_words(helper, volumes, mounts, guard)


def guard_rights(security):
    want(security.get("privileged") is False, "the guard's helper is privileged")
    want(security.get("readOnlyRootFilesystem") is True, "the guard's helper has a writable root file system")
    want(security.get("allowPrivilegeEscalation") is False, "the guard's helper may gain privileges")
    want(security.get("runAsUser") == 0, "the guard's helper does not own what it writes")
    want(security["capabilities"].get("drop") == ["ALL"], "the guard's helper keeps capabilities")
    added = set(security["capabilities"].get("add", []))
    unit = unit_capabilities("throttle-monitor-guard.service", "CapabilityBoundingSet")
    want(added == unit, f"capabilities of the guard's helper are {sorted(added)}, not those of its unit, {sorted(unit)}")
    for profile in ("seccompProfile", "appArmorProfile"):
        want(security.get(profile, {}).get("type") == "RuntimeDefault", f"the guard's helper: {profile} is not the runtime's")


def guard_mounts(helper, volumes, mounts):
    hosts = {name: v["hostPath"] for name, v in volumes.items() if "hostPath" in v}
    want({h["path"] for h in hosts.values()} == set(GUARD_PATHS),
         f"paths of the node for the guard are {sorted(h['path'] for h in hosts.values())}, not {sorted(GUARD_PATHS)}")
    for path, host in ((h["path"], h) for h in hosts.values()):
        kind = "DirectoryOrCreate" if path.startswith("/run/") else "Directory"
        want(host.get("type") == kind, f"{path} is not of type {kind}")
    memory = [name for name, v in volumes.items() if v.get("emptyDir", {}).get("medium") == "Memory"]
    want(len(memory) == 1 and len(volumes) == len(hosts) + 1, "the guard's socket is not in memory")
    for mount in helper["volumeMounts"]:
        name, where = mount["name"], mount["mountPath"]
        if name in hosts:
            at, writes = GUARD_PATHS.get(hosts[name]["path"], (None, False))
            want(where == at, f"{hosts[name]['path']} is mounted at {where}, not {at}")
            want(mount.get("readOnly", False) is not writes, f"the guard's {where}: readOnly is not {not writes}")
        elif name not in volumes:
            want(name == "proc" and mount.get("readOnly") is True and mount.get("mountPropagation") == "HostToContainer",
                 f"the guard's helper mounts {name} at {where}, or may write there")
    want({m["name"] for m in helper["volumeMounts"]} == set(volumes) | {"proc"}, "volumes and mounts of the guard are not the same")
    want([m["name"] for m in mounts] == memory and all(m.get("readOnly") is True for m in mounts),
         "the guard gives the daemon something that it may write to")


def words():
    """What comments and README.md say of what the daemon can do, and of the image."""
    files = [HERE / "README.md", HERE / "values.yaml", *HERE.glob("templates/*"), *KUBERNETES.glob("*.*")]
    for path in files:
        want(not re.search(r"\bno TLS\b", path.read_text()), f"{path.name} says that there is no TLS: docs/web.md")
    values = yaml.safe_load((HERE / "values.yaml").read_text())["image"]
    chart = yaml.safe_load((HERE / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    want(chart["appVersion"] == version, f"appVersion of Chart.yaml is {chart['appVersion']}, not {version}")
    want(values["tag"] == values["digest"] == "", "the chart's own values name a tag or a digest: appVersion does")
    image = f"{values['repository']}:{version}"
    for path in [ROOT / "deploy/container/README.md", HERE / "README.md", KUBERNETES / "README.md", ROOT / "docs/install.md"]:
        for name in re.findall(r"[\w.-]+/throttle-monitor:[\w.-]+", path.read_text()):
            want(name in (image, f"registry.example/{NAME}:{version}"),
                 f"{path.relative_to(ROOT)} names the image {name}, values.yaml {image}")


def guard_files():
    """Every file that the guard's helper may write is below a mount where it may, and named in README.md."""
    program = (ROOT / "monitor/src/guard/tunables.rs").read_text().split("#[cfg(test)]")[0]
    files = {f"/proc/sys/vm/{name}" for name in re.findall(r'vm\.join\("(\w+)"\)', program)}
    files |= {f"/sys/class/bdi/*/{name}" for name in re.findall(r'\.of\(bdi, "(\w+)"\)', program)}
    want(len(files) == 7, f"the guard's helper writes {sorted(files)}: are they all mounted?")
    readme = (HERE / "README.md").read_text().partition("### The guard")[2].split("\n## ")[0]
    for file in sorted(files):
        name = file.rsplit("/", 1)[1]
        want(f"`{name}`" in readme, f"README.md does not say that the guard's helper may write {name}")
        # The links of /sys/class/bdi lead to the other.
        real = file.replace("/sys/class/bdi", "/sys/devices/virtual/bdi")
        want(any(real.startswith(path + "/") and writes for path, (_, writes) in GUARD_PATHS.items()),
             f"the guard's helper may not write {file}")


def guard_words(helper, volumes, mounts, guard):
    value = lambda words, flag: next((w.split("=", 1)[1] for w in words if w.startswith(f"{flag}=")), None)
    socket = guard.get("socket")
    want(helper["args"][:2] == ["guard", "serve"] and value(helper["args"], "--listen") == socket,
         "the daemon asks another socket than the guard's helper listens on")
    where = {m["name"]: m["mountPath"] for m in helper["volumeMounts"]}
    for mount in mounts:
        want(mount["mountPath"] == where.get(mount["name"]) == str(pathlib.Path(socket or "/").parent),
             "the guard's socket is not where the two share a folder")
    want(guard.get("mode") == "advise", "guard.mode is another than the value that was given")
    want(value(helper["args"], "--path.procfs") == where.get("proc"),
         "--path.procfs of the guard's helper is not where /proc of the node is mounted")
    want(value(helper["args"], "--path.sysfs") == "/host/sys", "--path.sysfs of the guard's helper is another")
    want(value(helper["args"], "--guard.state-file") is None, "the guard's state file is not where `guard undo` looks")


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


def names(documents):
    space = one(documents, "Namespace")
    name = space["metadata"]["name"]
    want(space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") == "privileged",
         "the namespace does not allow what the pod asks for")
    for document in documents:
        if document["kind"] != "Namespace":
            want(document["metadata"].get("namespace") == name, f"{document['kind']} is in another namespace")
    daemons = one(documents, "DaemonSet")["spec"]
    pod, container = container_of(documents)
    want(daemons["selector"]["matchLabels"] == LABELS, "the DaemonSet selects other labels")
    want(daemons["template"]["metadata"]["labels"] == LABELS, "pods have other labels")
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
    file = f"{mount[0]}/config.toml"
    want(f"--config.file={file}" in container["args"], "--config.file is not where the ConfigMap is mounted")
    # `check` and `support-bundle` in the pod find it by themselves there.
    want(f'SERVICE: &str = "{file}"' in (ROOT / "monitor/src/cli/flags.rs").read_text(),
         "the configuration is not where the program looks for the service's")
    want(settings(documents).get("web", {}).get("listen-address") == ["0.0.0.0:9746"],
         "it does not listen at the pod's address")
    monitor, policy = one(documents, "PodMonitor")["spec"], one(documents, "NetworkPolicy")["spec"]
    want(monitor["selector"]["matchLabels"] == LABELS, "the PodMonitor selects other pods")
    endpoint = monitor["podMetricsEndpoints"][0]
    want(endpoint["port"] == port["name"], "the PodMonitor scrapes another port")
    targets = {r["targetLabel"]: r for r in endpoint["relabelings"]}
    want(targets.get("job") == {"targetLabel": "job", "replacement": NAME}, "the job is not the one that alerts ask for")
    want(targets.get("instance") == {"targetLabel": "instance", "sourceLabels": ["__meta_kubernetes_pod_node_name"]},
         "the instance is not the node")
    want(policy["podSelector"]["matchLabels"] == LABELS, "the NetworkPolicy is about other pods")
    want(policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": port["name"]}],
         "the NetworkPolicy opens another port")
    want(policy["egress"] == [] and set(policy["policyTypes"]) == {"Ingress", "Egress"}, "the daemon may connect to others")
    scrape = (KUBERNETES / "scrape.yml").read_text()
    want(f"regex: {NAME};{port['name']}\n" in scrape and f"names: [{name}]\n" in scrape,
         "scrape.yml keeps other pods")


full, least, with_guard, both = (load(path) for path in sys.argv[1:])
unit = unit_capabilities()
want(DROPPABLE < unit, "the systemd unit has no capabilities to compare with")
privileges(full, unit)
privileges(least, unit - DROPPABLE)
for documents in (full, least):
    paths(documents)
    life(documents)
    names(documents)
words()
guard_files()
guarded(with_guard, full)
guarded(both, least)
for sentence in dict.fromkeys(wrong):
    print(sentence)
sys.exit(bool(wrong))
