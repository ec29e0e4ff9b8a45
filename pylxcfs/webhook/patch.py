"""From a pod to the additions that give its containers our files; pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from pylxcfs.webhook.pod import (
    CONTAINER_FIELDS,
    EPHEMERAL_FIELD,
    Container,
    MalformedError,
    Mount,
    containers,
    metadata_map,
    sequence,
    spec_of,
    volumes,
)
from pylxcfs.webhook.rules import Pod, Reason, rule_against
from pylxcfs.webhook.selection import Selection
from pylxcfs.webhook.settings import STATUS_ANNOTATION, InjectedFile, Settings
from pylxcfs.webhook.verification import verify


@dataclass(frozen=True, slots=True)
class Addition:
    """An operation of a JSON patch (RFC 6902), always ``add``.

    A ``remove``, ``replace`` or ``test`` that does not find what it expects is an error for which the API
    server rejects the pod, whatever the failure policy.
    """

    #: JSON pointer (RFC 6901).
    path: str
    value: object

    def as_json(self) -> dict[str, object]:
        """Return the operation as it is sent."""
        return {"op": "add", "path": self.path, "value": self.value}


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one pod."""

    reason: Reason
    patch: tuple[Addition, ...] = ()
    #: For the user who created the pod.
    warnings: tuple[str, ...] = ()
    #: Names of the files that are added to at least one container.
    files: tuple[str, ...] = ()
    #: Files that were left out because of mounts of the container's own.
    conflicts: int = 0


@dataclass(slots=True)
class _Draft:
    """What has been found about the containers so far."""

    existing: Mapping[str, Mapping[str, object]]
    settings: Settings
    mounts: dict[Container, list[InjectedFile]] = field(default_factory=dict)
    present: set[InjectedFile] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    conflicts: int = 0

    def consider(self, container: Container, files: Iterable[InjectedFile]) -> None:
        """Note what `container` has to be given of `files`."""
        for file in files:
            in_the_way = [mount for mount in container.mounts if mount.overlaps(file.target)]
            if not in_the_way:
                self.mounts.setdefault(container, []).append(file)
            elif self.has_volume(file) and Mount(self.volume_name(file), file.target) in in_the_way:
                self.present.add(file)
            else:
                self.conflicts += 1
                self.warnings.append(
                    f"container {container.name} has a mount of its own at, above or below {file.target}"
                )

    def volume_name(self, file: InjectedFile) -> str:
        """Return the volume's name: ours, with a number if the pod has something else by that name."""
        name, number = file.volume_name, 0
        while name in self.existing and self.existing[name] != self.volume(file, name):
            number += 1
            name = f"{file.volume_name}-{number}"
        return name

    def volume(self, file: InjectedFile, name: str) -> dict[str, object]:
        """Return the volume; without its type the runtime would make a directory where there is no file."""
        source = {"path": f"{self.settings.mount_point}/{file.path}", "type": file.host_path_type}
        return {"name": name, "hostPath": source}

    def has_volume(self, file: InjectedFile) -> bool:
        """Tell whether the pod has the volume already."""
        return self.volume_name(file) in self.existing

    @property
    def added(self) -> frozenset[InjectedFile]:
        """What at least one container is given."""
        return frozenset(file for files in self.mounts.values() for file in files)


def decide(pod: Pod, namespace: str, settings: Settings) -> Decision:
    """Say what a new pod in `namespace` is given. Raises VerificationError if our own patch is wrong."""
    return _unless_skipped(_decide_new, pod, namespace, settings)


def decide_ephemeral(pod: Pod, old_pod: Pod, namespace: str, settings: Settings) -> Decision:
    """Say what the ephemeral containers that `old_pod` had not yet are given: what the pod has volumes for.

    Nothing else of a running pod can be changed. Raises VerificationError if our own patch is wrong.
    """
    return _unless_skipped(partial(_decide_ephemeral, old_pod), pod, namespace, settings)


def _unless_skipped(
    decide: Callable[[Pod, Settings], Decision], pod: Pod, namespace: str, settings: Settings
) -> Decision:
    if namespace in settings.excluded_namespaces:
        return Decision(Reason.EXCLUDED_NAMESPACE)
    try:
        rule = rule_against(pod, settings)
        if rule is not None:
            return Decision(rule.reason, warnings=tuple(filter(None, [rule.message])))
        return decide(pod, settings)
    except MalformedError as error:
        return Decision(Reason.MALFORMED, warnings=(str(error),))


def _decide_new(pod: Pod, settings: Settings) -> Decision:
    selection = Selection(metadata_map(pod, "annotations"), settings)
    draft = _Draft(volumes(pod), settings)
    everything = {name: tuple(containers(pod, name)) for name in CONTAINER_FIELDS}
    names = [container.name for found in everything.values() for container in found]
    draft.warnings += selection.complaints(names)
    for name, found in everything.items():
        if name == "containers" or settings.init_containers:
            for container in found:
                draft.consider(container, selection.files(container.name))
    return _decision(pod, draft, (*_add_volumes(pod, draft), *_add_mounts(draft), *_add_status(pod, draft)))


def _decide_ephemeral(old_pod: Pod, pod: Pod, settings: Settings) -> Decision:
    selection = Selection(metadata_map(pod, "annotations"), settings)
    draft = _Draft(volumes(pod), settings)
    known = {container.name for container in containers(old_pod, EPHEMERAL_FIELD)}
    for container in containers(pod, EPHEMERAL_FIELD):
        if container.name not in known:
            draft.consider(container, filter(draft.has_volume, selection.files(container.name)))
    return _decision(pod, draft, tuple(_add_mounts(draft)))


def _decision(pod: Pod, draft: _Draft, patch: tuple[Addition, ...]) -> Decision:
    if not draft.mounts:
        reason = Reason.UP_TO_DATE if draft.present else Reason.NOTHING_TO_ADD
        return Decision(reason, warnings=tuple(draft.warnings), conflicts=draft.conflicts)
    verify(pod, [addition.as_json() for addition in patch])
    return Decision(
        Reason.INJECTED,
        patch=patch,
        warnings=tuple(draft.warnings),
        files=_names(draft, draft.added),
        conflicts=draft.conflicts,
    )


def _names(draft: _Draft, files: Collection[InjectedFile]) -> tuple[str, ...]:
    return tuple(file.name for file in draft.settings.files if file in files)


def _add_volumes(pod: Pod, draft: _Draft) -> Iterator[Addition]:
    new = [
        draft.volume(file, draft.volume_name(file))
        for file in draft.settings.files
        if file in draft.added and not draft.has_volume(file)
    ]
    has_array = bool(sequence(spec_of(pod).get("volumes"), "spec.volumes"))
    yield from _append("/spec/volumes", new, has_array=has_array)


def _add_mounts(draft: _Draft) -> Iterator[Addition]:
    for container, files in draft.mounts.items():
        new: list[dict[str, object]] = [
            {"name": draft.volume_name(file), "mountPath": file.target, "readOnly": True} for file in files
        ]
        yield from _append(container.pointer, new, has_array=container.has_array)


def _append(pointer: str, values: list[dict[str, object]], *, has_array: bool) -> Iterator[Addition]:
    if has_array:
        yield from (Addition(f"{pointer}/-", value) for value in values)
    elif values:
        yield Addition(pointer, values)


def _add_status(pod: Pod, draft: _Draft) -> Iterator[Addition]:
    status = ",".join(_names(draft, draft.added | draft.present))
    if metadata_map(pod, "annotations"):
        key = STATUS_ANNOTATION.replace("~", "~0").replace("/", "~1")
        yield Addition(f"/metadata/annotations/{key}", status)
    elif pod.get("metadata") is not None:
        yield Addition("/metadata/annotations", {STATUS_ANNOTATION: status})
    else:
        # Only templates of workloads come without metadata.
        yield Addition("/metadata", {"annotations": {STATUS_ANNOTATION: status}})
