"""The manifests of deploy/kubernetes, as kustomize builds them."""

import functools
import subprocess
from typing import Any, Final

import yaml

from tests.kubernetes.applied import KUBECTL
from tests.support.daemon import REPOSITORY

DIRECTORY: Final = REPOSITORY / "deploy" / "kubernetes"


@functools.cache
def _build(name: str) -> str:
    built = subprocess.run(
        [KUBECTL, "kustomize", DIRECTORY / name], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return built.stdout


def build(name: str) -> list[dict[str, Any]]:
    """Return the objects of one of the directories."""
    return [document for document in yaml.safe_load_all(_build(name)) if document]


def find(name: str, kind: str, object_name: str = "pylxcfs-webhook") -> dict[str, Any]:
    """Return one object."""
    (found,) = (o for o in build(name) if (o["kind"], o["metadata"]["name"]) == (kind, object_name))
    return found
