"""Whatever the pod: patches apply, are complete, and touch nothing that is not ours."""

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from pylxcfs.webhook.patch import decide, decide_ephemeral
from pylxcfs.webhook.pod import MalformedError, mapping
from pylxcfs.webhook.review import BadRequestError, answer, judge, parse
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import INJECTED_FILES, Settings
from tests.kubernetes.applied import apply, assert_valid

_SETTINGS = Settings()
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_PARTS = ("proc", "sys", "devices", "system", "cpu", "meminfo", "stat", "..", ".", "", "x")
_PATHS = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
_VOLUME_NAMES = st.sampled_from(
    [
        "data",
        "pylxcfs-proc-meminfo",
        "pylxcfs-proc-meminfo-1",
        "pylxcfs-proc-stat",
        "pylxcfs-sys-devices-system-cpu",
    ]
)


@st.composite
def _volumes(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(_VOLUME_NAMES, unique=True))
    sources: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [
            {"emptyDir": {}},
            {"hostPath": {"path": "/var/lib/lxcfs/proc/meminfo", "type": "File"}},
            {"hostPath": {"path": "/var/lib/lxcfs/proc/stat", "type": ""}},
        ]
    )
    return [{"name": name, **draw(sources)} for name in names]


@st.composite
def _pods(draw: st.DrawFn) -> dict[str, Any]:
    """Make valid pods: unique names, mounts that have volumes, paths that differ."""
    volumes = draw(_volumes())
    names = [volume["name"] for volume in volumes]

    def containers(prefix: str, least: int) -> list[dict[str, Any]]:
        made = []
        for number in range(draw(st.integers(least, 3))):
            paths = draw(st.lists(_PATHS, unique=True, max_size=3)) if names else []
            mounts = [{"name": draw(st.sampled_from(names)), "mountPath": path} for path in paths]
            extra = draw(st.dictionaries(st.sampled_from(["image", "env", "x"]), _JSON, max_size=2))
            optional = (
                {"volumeMounts": mounts} if mounts else draw(st.sampled_from([{}, {"volumeMounts": None}]))
            )
            made.append({"name": f"{prefix}{number}", **extra, **optional})
        return made

    keys = st.sampled_from(
        [
            "pylxcfs.io/files",
            "pylxcfs.io/files.c0",
            "pylxcfs.io/containers",
            "pylxcfs.io/status",
            "a/b",
            "c~d",
        ]
    )
    words = st.lists(st.sampled_from(["meminfo", "cpu", "stat", "none", "c0", "c1", "?"]), max_size=3)
    annotations = draw(st.none() | st.dictionaries(keys, words.map(",".join), max_size=3))
    spec: dict[str, Any] = {"zz": draw(_JSON), "containers": containers("c", 1)}
    if draw(st.booleans()):
        spec["initContainers"] = containers("i", 0)
    if volumes:
        spec["volumes"] = volumes
    elif draw(st.booleans()):
        spec["volumes"] = draw(st.none() | st.builds(list))
    metadata = {"name": "p", **({"annotations": annotations} if annotations is not None else {})}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "other": draw(_JSON)}


def _without_ours(pod: Any) -> Any:  # noqa: ANN401 - JSON
    """Take out, in place, all that an injection may have added."""
    ours = tuple(file.volume_name for file in INJECTED_FILES)
    spec = pod["spec"]
    spec["volumes"] = [v for v in spec.get("volumes") or [] if not v["name"].startswith(ours)]
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [m for m in mounts if not m["name"].startswith(ours)]
    annotations = pod["metadata"].get("annotations") or {}
    pod["metadata"]["annotations"] = {k: v for k, v in annotations.items() if k != "pylxcfs.io/status"}
    return pod


def _ordered(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Make the order of keys count."""
    if isinstance(value, dict):
        return [(key, _ordered(inner)) for key, inner in value.items()]
    return [_ordered(inner) for inner in value] if isinstance(value, list) else value


@given(_pods())
def test_twice_is_once(pod: dict[str, Any]) -> None:
    """After a patch there is nothing left to patch, and the result is valid."""
    decision = decide(pod, "shop", _SETTINGS)
    patched = apply(pod, decision)
    assert_valid(patched)
    assert () == decide(patched, "shop", _SETTINGS).patch


@given(_pods())
def test_foreign_fields_stay(pod: dict[str, Any]) -> None:
    """All that is not ours is there afterwards, unchanged and in its order."""
    patched = apply(pod, decide(pod, "shop", _SETTINGS))
    before, after = _without_ours(apply(pod, decide(pod, "kube-system", _SETTINGS))), _without_ours(patched)
    for field in ("containers", "initContainers"):
        for one in (*before["spec"].get(field, []), *after["spec"].get(field, [])):
            # Where there was none, it is the last key.
            one["volumeMounts"] = one.pop("volumeMounts")
    for one in (before, after):
        one["spec"]["volumes"] = one["spec"].pop("volumes")
        one["metadata"]["annotations"] = one["metadata"].pop("annotations")
    assert _ordered(before) == _ordered(after)


@given(_JSON, _JSON)
def test_nonsense_is_let_through(pod: object, old: object) -> None:
    """A pod that is no pod gets no patch, and is no error."""
    for kind in ("Pod", "Potato"):
        try:
            subject = {**mapping(pod, ""), "kind": kind}
            other = mapping(old, "")
        except MalformedError:
            return
        assert () == decide(subject, "", _SETTINGS).patch
        assert () == decide_ephemeral(subject, other, "", _SETTINGS).patch


@given(
    st.dictionaries(st.sampled_from(["containers", "volumes", "hostUsers", "os", "nodeSelector"]), _JSON),
    _JSON,
)
def test_nonsense_in_a_spec_is_let_through(spec: dict[str, Any], metadata: object) -> None:
    """A spec of the wrong types is malformed or harmless, never an error."""
    decision = decide({"kind": "Pod", "spec": spec, "metadata": metadata}, "shop", _SETTINGS)
    assert isinstance(decision.reason, Reason)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    """What is no review is refused, in one way."""
    try:
        parse(body)
    except BadRequestError:
        return
    raise AssertionError("hypothesis does not find reviews")


@given(_JSON, st.text(min_size=1, max_size=5), _JSON)
def test_any_request(fields: object, uid: str, resource: object) -> None:
    """A review of anything is answered, with its own uid."""
    request = {
        **(fields if isinstance(fields, dict) else {}),
        "uid": uid,
        "resource": resource,
        "object": fields,
    }
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
    review = parse(body.encode())
    response = json.loads(answer(review, judge(review, _SETTINGS)))["response"]
    assert (uid, True) == (response["uid"], response["allowed"])
    assert "patch" not in response
