"""The same for manifests: pods and the templates of workloads in YAML; everything else stays as it was."""

import copy
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass
from typing import Any, Final

import jsonpatch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pylxcfs.webhook.patch import Decision, decide
from pylxcfs.webhook.pod import CONTAINER_FIELDS, text
from pylxcfs.webhook.settings import Settings
from pylxcfs.webhook.verification import VerificationError

#: Where the kinds that make pods keep their template.
_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"),
        ("spec", "template"),
    ),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
#: The beginning of a document, in the first column even inside of a block of text.
_DOCUMENTS: Final = re.compile(r"^(?=---(?:\s|$))", re.MULTILINE)
_SEPARATOR: Final = re.compile(r"---[ \t]*(?:#[^\n]*)?(?:\n|$)|---")
#: A key and the first element of its list.
_LIST: Final = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*\n( *)- ", re.MULTILINE)
#: Wider than any line: lines are not folded anew.
_WIDTH: Final = 2**20


class ManifestError(Exception):
    """The text is no YAML, or makes no sense; the message says where."""


@dataclass(frozen=True, slots=True)
class Injected:
    """What was decided about one object."""

    kind: str
    name: str
    decision: Decision


def inject(manifests: str, settings: Settings) -> tuple[str, tuple[Injected, ...]]:
    """Return the YAML documents with our files added, and what was decided.

    Documents without additions are returned as they are; in the others comments, order and unknown fields
    stay. Raises ManifestError.
    """
    documents, results = [], []
    for document in _DOCUMENTS.split(manifests):
        text, found = _inject_document(document, settings)
        documents.append(text)
        results += found
    return "".join(documents), tuple(results)


def _inject_document(document: str, settings: Settings) -> tuple[str, list[Injected]]:
    separator = _SEPARATOR.match(document)
    head = separator.group() if separator else ""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    indents = _LIST.search(document)
    if indents and len(indents[2]) > len(indents[1]):
        yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        content = yaml.load(document[len(head) :])
        found = list(_inject_object(content, settings))
        if not any(result.decision.patch for result in found):
            return document, found
        target = io.StringIO()
        yaml.dump(content, target)
    except YAMLError as error:
        raise ManifestError(" ".join(str(error).split())) from None
    except VerificationError as error:
        raise ManifestError(f"cannot be injected: {error}") from None
    except RecursionError:
        raise ManifestError("nested too deeply, or in itself") from None
    return f"{head.rstrip()}\n{target.getvalue()}" if head else target.getvalue(), found


def _inject_object(document: object, settings: Settings) -> Iterator[Injected]:
    if not isinstance(document, MutableMapping):
        return
    kind, items = text(document.get("kind")), document.get("items")
    if kind.endswith("List") and isinstance(items, MutableSequence):
        for item in items:
            yield from _inject_object(item, settings)
    if kind not in _TEMPLATES:
        return
    pod: object = document
    for key in _TEMPLATES[kind]:
        pod = pod.get(key) if isinstance(pod, Mapping) else None
    if not isinstance(pod, MutableMapping):
        return
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    _separate_aliases(document, pod)
    decision = decide(pod, text(metadata.get("namespace")), settings)
    jsonpatch.apply_patch(pod, [addition.as_json() for addition in decision.patch], in_place=True)
    yield Injected(kind, text(metadata.get("name")) or text(metadata.get("generateName")), decision)


def _separate_aliases(document: object, pod: MutableMapping[str, object]) -> None:
    """Make those aliases (``*name``) that we add to copies: an addition must not appear in other places."""
    uses: Counter[int] = Counter()
    _count(document, uses)

    def own(parent: object, key: str | int) -> object:
        container: Any = parent
        if isinstance(key, str) and (not isinstance(parent, Mapping) or key not in parent):
            return None
        child: object = container[key]
        if uses[id(child)] > 1 and isinstance(child, MutableMapping | MutableSequence):
            child = container[key] = copy.deepcopy(child)
        return child

    own(own(pod, "metadata"), "annotations")
    spec = own(pod, "spec")
    own(spec, "volumes")
    for field in CONTAINER_FIELDS:
        containers = own(spec, field)
        if isinstance(containers, MutableSequence):
            for index in range(len(containers)):
                own(own(containers, index), "volumeMounts")


def _count(node: object, uses: Counter[int]) -> None:
    """Count how often each object is referred to below `node`, merge keys (``<<``) included."""
    children: list[object] = []
    if isinstance(node, Mapping):
        children = list(node.values())
    elif isinstance(node, MutableSequence):
        children = list(node)
    for child in children:
        uses[id(child)] += 1
        if uses[id(child)] == 1:
            _count(child, uses)
