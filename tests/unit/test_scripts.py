"""What prepares a machine says in one line what it cannot have."""

import subprocess
from typing import Final

import pytest

from tests.support.daemon import REPOSITORY

_SCRIPT: Final = REPOSITORY / "scripts/install-packages"
_AS_NOBODY: Final = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
#: No package has such a name.
_NAMES: Final = ("no.such.package", "nor.this")


def _lines(*command: str) -> list[str]:
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
    )
    return done.stdout.splitlines()


@pytest.mark.needs("other-user")
def test_packages_that_others_must_install() -> None:
    """Who is not root is told what is missing, and that is no failure: what can run goes on."""
    # Given as text: a checkout may be where only root gets.
    command = (*_AS_NOBODY, "bash", "-c", _SCRIPT.read_text(), str(_SCRIPT), *_NAMES)
    (line,) = _lines(*command)
    assert line.startswith("install-packages: without no.such.package nor.this (only root can install them);")


def test_nothing_missing() -> None:
    """Where everything is there, nothing is said."""
    assert [] == _lines(str(_SCRIPT))
