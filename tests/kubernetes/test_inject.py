"""pylxcfsctl inject: the same for manifests, offline."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pylxcfs.ctl.cli import main
from pylxcfs.webhook.manifests import ManifestError, inject
from pylxcfs.webhook.patch import decide
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import Settings
from tests.kubernetes.applied import KUBECTL, apply, assert_valid, files
from tests.kubernetes.pods import ALL, CASES, Case, pod
from tests.support.daemon import REPOSITORY

_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: example.org/app
"""
_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
_API = {
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "Pod": "v1",
    "PodTemplate": "v1",
    "ReplicationController": "v1",
}


def _workload(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    """Wrap a pod template as `kind` does."""
    template = {key: template[key] for key in ("metadata", "spec")}
    head = {"apiVersion": _API.get(kind, "apps/v1"), "kind": kind, "metadata": {"name": "web"}}
    if kind == "Pod":
        return {**head, "metadata": {**template["metadata"], "name": "web"}, "spec": template["spec"]}
    if kind == "PodTemplate":
        return {**head, "template": template}
    spec: dict[str, Any] = {"template": template}
    if kind in {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}:
        spec["selector"] = {"matchLabels": {"app": "web"}}
    if kind == "StatefulSet":
        spec["serviceName"] = "web"
    if kind == "CronJob":
        spec = {"schedule": "@daily", "jobTemplate": {"spec": spec}}
    return {**head, "spec": spec}


def _template(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    if kind == "Pod":
        return document
    if kind == "CronJob":
        document = document["spec"]["jobTemplate"]
    found: dict[str, Any] = (document if kind == "PodTemplate" else document["spec"])["template"]
    return found


@pytest.mark.parametrize("kind", ["Pod", "PodTemplate", "ReplicationController", "CronJob", *_TEMPLATED])
def test_workloads(kind: str) -> None:
    """Every kind that makes pods has its template injected, and is still what the schema says."""
    subject = pod()
    del subject["spec"]["aFieldOfNextYear"]
    workload = _workload(kind, subject)
    text, (result,) = inject(yaml.safe_dump(workload), Settings())
    injected = yaml.safe_load(text)
    kubernetes_validate.validate(injected, "1.37", strict=True)
    assert (kind, "web", Reason.INJECTED) == (result.kind, result.name, result.decision.reason)
    assert {"app": ALL} == files(_template(kind, injected))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_same_as_the_webhook(case: Case) -> None:
    """A manifest of a pod becomes what the webhook makes of the pod."""
    subject = json.loads(json.dumps(case.pod))
    subject.setdefault("metadata", {})
    if subject["metadata"] is not None:
        subject["metadata"]["namespace"] = case.namespace
    text, (result,) = inject(yaml.safe_dump(subject, sort_keys=False), Settings())
    assert case.reason is result.decision.reason
    assert apply(subject, decide(subject, case.namespace, Settings())) == yaml.safe_load(text)


def test_twice_is_once() -> None:
    """What comes out is not changed when it goes in again."""
    once, _ = inject(_POD, Settings())
    assert once == inject(once, Settings())[0]


def test_comments_and_style_stay() -> None:
    """Comments, quotes, order, folded text and indentation stay; documents without additions to the byte."""
    manifest = """\
# What this is.
---
apiVersion: v1
kind: ConfigMap   # not a pod
data:
    odd:   'indentation'
    mode: 0644
---
# A pod.
kind: Pod
apiVersion: v1
metadata:
  name: 'web'   # quoted
  annotations: {on: "yes"}
spec:
  terminationGracePeriodSeconds: 0x10
  containers:
    - name: app
      args: ["-c", 'a: b']   # not YAML
      command:
        - sh
      env:
        - name: TEXT
          value: |
            two
              lines
...
---
"""
    text, results = inject(manifest, Settings())
    assert 1 == len(results)
    head, _, tail = manifest.partition("---\n# A pod.\n")
    assert text.startswith(head + "---\n# A pod.\nkind: Pod\n")
    added = set(text.splitlines()) - set(manifest.splitlines())
    assert "    - name: pylxcfs-proc-meminfo" in added
    kept = [line for line in tail.splitlines() if line != "..." and "annotations" not in line]
    assert [] == [line for line in kept if line not in text.splitlines()]


@pytest.mark.parametrize("separator", ["---\n", "--- # next\n", "---   \n"])
def test_many_documents(separator: str) -> None:
    """All documents come out, in their order, also empty ones and those that are no objects."""
    manifest = separator.join([_POD, "", "# nothing\n", "[1, 2]\n", _POD, "text\n"])
    text, results = inject(manifest, Settings())
    documents = list(yaml.safe_load_all(text))
    assert [None, None, [1, 2], "text"] == [d for d in documents if not isinstance(d, dict)]
    assert [0, 4] == [i for i, d in enumerate(documents) if isinstance(d, dict)]
    assert 2 == len(results)


def test_list() -> None:
    """The items of a List are injected each by itself, what they share too."""
    manifest = """\
apiVersion: v1
kind: List
items:
- {kind: Pod, metadata: {name: a}, spec: &spec {containers: [{name: app}]}}
- {kind: Service, metadata: {name: b}, spec: {ports: []}}
- {kind: Pod, metadata: {name: c}, spec: *spec}
"""
    text, results = inject(manifest, Settings())
    items = yaml.safe_load(text)["items"]
    assert ["a", "c"] == [result.name for result in results]
    for item in (items[0], items[2]):
        assert {"app": ALL} == files(item)
        assert_valid(item)
    assert {"ports": []} == items[1]["spec"]


def test_aliases() -> None:
    """What is shared by an alias or a merge key is added to once in each place, and nowhere else."""
    manifest = """\
kind: Deployment
metadata:
  name: web
  annotations: &notes {team: shop}
spec:
  template:
    metadata:
      annotations: *notes
    spec:
      containers:
      - &app
        name: app
        volumeMounts: &mounts
        - {name: data, mountPath: /data}
      - name: log
        volumeMounts: *mounts
      - <<: *app
        name: third
      - &bare {name: fourth}
      - <<: *bare
        name: fifth
      volumes:
      - {name: data, emptyDir: {}}
"""
    text, _ = inject(manifest, Settings())
    document = yaml.safe_load(text)
    template = document["spec"]["template"]
    assert dict.fromkeys(["app", "log", "third", "fourth", "fifth"], ALL) == files(template)
    assert_valid(template)
    assert {"team": "shop"} == document["metadata"]["annotations"]


@pytest.mark.parametrize("manifest", ["a: [", "a: b: c", "\t- a", "a: 1\na: 2\n", "*x", "--- &a [*a]\n--- }"])
def test_no_yaml(manifest: str) -> None:
    """What is no YAML is one error."""
    with pytest.raises(ManifestError):
        inject(manifest, Settings())


@pytest.mark.parametrize(
    "manifest", ["", "\n", "---\n", "7", "kind: Pod\n", "kind: Pod\nspec: 7\n", "kind: Deployment"]
)
def test_nothing_to_inject(manifest: str) -> None:
    """What makes no pods comes out as it went in."""
    assert manifest == inject(manifest, Settings())[0]


def test_command_reads_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result is on stdout, what was left out on stderr."""
    file = tmp_path / "pod.yaml"
    file.write_text(_POD + "---\n" + _POD.replace("spec:", "spec:\n  hostPID: true"))
    assert 0 == main(["inject", "-f", str(file), "--mount-point", "/run/lxcfs", "--files", "meminfo"])
    captured = capsys.readouterr()
    first, second = yaml.safe_load_all(captured.out)
    source = {"path": "/run/lxcfs/proc/meminfo", "type": "File"}
    assert [{"name": "pylxcfs-proc-meminfo", "hostPath": source}] == first["spec"]["volumes"]
    assert "volumes" not in second["spec"]
    assert [
        "pylxcfsctl: Pod web: nothing added (host-pid)",
        "pylxcfsctl: Pod web: pods with hostPID: true are left with the host's view",
    ] == captured.err.splitlines()


def test_command_reads_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With - as its file the command is a filter."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_POD.encode())))
    assert 0 == main(["inject", "-f", "-"])
    assert inject(_POD, Settings())[0] == capsys.readouterr().out


@pytest.mark.parametrize(
    "content,options,words",
    [
        (b"a: [", [], "while parsing"),
        (b"\xff", [], "codec can't decode"),
        (None, [], "No such file or directory"),
    ],
)
def test_command_fails_in_one_line(
    tmp_path: Path, content: bytes | None, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read or is no YAML is one line and exit status 1."""
    file = tmp_path / "pod.yaml"
    if content is not None:
        file.write_bytes(content)
    assert 1 == main(["inject", "-f", str(file), *options])
    captured = capsys.readouterr()
    assert ("", 1) == (captured.out, captured.err.count("\n"))
    assert words in captured.err


@pytest.mark.parametrize("command", ["pylxcfs.ctl.cli", "pylxcfs.webhook.cli"])
def test_without_the_extra(command: str) -> None:
    """Without the packages of the extra, one line says what to install."""
    argv = ["inject", "-f", "-"] if "ctl" in command else []
    program = f"""
import sys
for name in ("ruamel", "ruamel.yaml", "jsonpatch", "hypercorn", "hypercorn.config", "httpx", "cryptography"):
    sys.modules[name] = None
from {command} import main
sys.exit(main({argv!r}))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, input="", capture_output=True, text=True, check=False
    )
    assert (1, "") == (run.returncode, run.stdout)
    assert 1 == run.stderr.count("\n")
    assert "pip install 'pylxcfs[webhook]'" in run.stderr


def test_kubectl_reads_it(tmp_path: Path) -> None:
    """What comes out is read by kubectl as it is by us."""
    file = tmp_path / "pod.yaml"
    text, _ = inject(_POD, Settings())
    file.write_text(text)
    command = [KUBECTL, "patch", "--local", "--type=json", "-p", "[]", "-f", str(file), "-o", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert yaml.safe_load(text) == json.loads(run.stdout)
