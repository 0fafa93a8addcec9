"""What `podman kube play` takes of a rendered chart: for-podman.py NAME <RENDERED >MANIFEST."""

import sys

import yaml

name = sys.argv[1]
# It knows no others, and plays into no namespace.
documents = [d for d in yaml.safe_load_all(sys.stdin) if d and d["kind"] in ("ConfigMap", "DaemonSet")]
template = next(d for d in documents if d["kind"] == "DaemonSet")["spec"]["template"]
pod = template["spec"]
if name == "least":
    # Its seccomp profile is one of those that want SYS_ADMIN, as the chart's README.md says;
    # it takes another from an annotation alone.
    template["metadata"]["annotations"]["seccomp.security.alpha.kubernetes.io/pod"] = "unconfined"
for sidecar in pod.pop("initContainers", []):
    # It waits for the end of what is an init container, and does not know sidecars.
    del sidecar["restartPolicy"]
    pod["containers"].append(sidecar)
for volume in pod["volumes"]:
    # One in memory is one for each container there.
    volume.get("emptyDir", {}).pop("medium", None)
yaml.safe_dump_all(documents, sys.stdout)
