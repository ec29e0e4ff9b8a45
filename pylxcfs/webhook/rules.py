"""Which pods get nothing, and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from pylxcfs.webhook.pod import mapping, metadata_map, spec_of, text
from pylxcfs.webhook.settings import DECLINED, INJECT_LABEL, Settings

Pod = Mapping[str, object]


class Reason(Enum):
    """Why a review ended as it did; a label of the metrics, so never free text."""

    INJECTED = "injected"
    #: All that the pod may have it already has.
    UP_TO_DATE = "up-to-date"
    #: Nothing that we could add was asked for, or mounts of its own are in the way everywhere.
    NOTHING_TO_ADD = "nothing-to-add"
    NOT_A_NEW_POD = "not-a-new-pod"
    MALFORMED = "malformed"
    #: An error of ours; the pod is let through as it is.
    INTERNAL_ERROR = "internal-error"

    EXCLUDED_NAMESPACE = "excluded-namespace"
    DECLINED = "declined"
    OWN_POD = "own-pod"
    MIRROR_POD = "mirror-pod"
    WINDOWS = "windows"
    HOST_USERS = "user-namespace"
    HOST_PID = "host-pid"
    RUNTIME_CLASS = "runtime-class"


@dataclass(frozen=True, slots=True)
class Rule:
    """Why pods are left alone; `message` tells the user, where that is not what they asked for."""

    reason: Reason
    applies: Callable[[Pod, Settings], bool]
    message: str = ""


def _is_windows(pod: Pod, _settings: Settings) -> bool:
    spec = spec_of(pod)
    selector = mapping(spec.get("nodeSelector"), "spec.nodeSelector")
    return "windows" in (
        mapping(spec.get("os"), "spec.os").get("name"),
        *(selector.get(f"{prefix}kubernetes.io/os") for prefix in ("", "beta.")),
    )


def _has_skipped_runtime_class(pod: Pod, settings: Settings) -> bool:
    name = text(spec_of(pod).get("runtimeClassName"))
    return any(fnmatchcase(name, pattern) for pattern in settings.skipped_runtime_classes)


#: The first that applies decides.
_RULES: Final = (
    Rule(
        Reason.OWN_POD,
        lambda pod, _settings: metadata_map(pod, "labels").get("app.kubernetes.io/part-of") == "pylxcfs",
    ),
    Rule(
        Reason.DECLINED,
        lambda pod, _settings: text(metadata_map(pod, "labels").get(INJECT_LABEL)) in DECLINED,
    ),
    Rule(
        # The node made it from a file, and only shows it to the API server.
        Reason.MIRROR_POD,
        lambda pod, _settings: "kubernetes.io/config.mirror" in metadata_map(pod, "annotations"),
    ),
    Rule(Reason.WINDOWS, _is_windows),
    Rule(
        # The kubelet asks for an idmapped mount of every volume, which FUSE refuses unless the server opts in
        # (Linux 6.12, FUSE_ALLOW_IDMAP): the container would not start.
        Reason.HOST_USERS,
        lambda pod, _settings: spec_of(pod).get("hostUsers") is False,
        "pods with a user namespace (hostUsers: false) cannot have volumes from FUSE",
    ),
    Rule(
        Reason.HOST_PID,
        lambda pod, settings: spec_of(pod).get("hostPID") is True and not settings.host_pid,
        "pods with hostPID: true are left with the host's view",
    ),
    Rule(
        Reason.RUNTIME_CLASS,
        _has_skipped_runtime_class,
        "pods of this runtimeClassName have a /proc of their own",
    ),
)


def rule_against(pod: Pod, settings: Settings) -> Rule | None:
    """Return the rule by which `pod` gets nothing."""
    return next((rule for rule in _RULES if rule.applies(pod, settings)), None)
