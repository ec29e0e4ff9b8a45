"""Processes in other places than a runtime puts them: what an administrator, or a container itself, makes."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from tests.support.cgroups import find_layout
from tests.support.container import Container, joining

#: Reads a file for every line that it is told; the main thread ends, or not, and a second one answers.
#: System call 60 is exit(2): of the calling thread alone.
_ANSWERER: Final = """
import ctypes, os, sys, threading
def answer():
    print(os.getpid(), threading.get_native_id(), flush=True)
    for line in sys.stdin:
        with open(line.rstrip(chr(10))) as file:
            print(repr(file.read()), flush=True)
    os._exit(0)
threading.Thread(target=answer).start()
if sys.argv[1] == "leaderless":
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
"""
_UNSHARE: Final = ("unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc")


class Answerer:
    """A process that reads files when asked to."""

    def __init__(self, outer: psutil.Popen) -> None:
        """Talk to `outer`, whose last descendant, or itself, it is."""
        self._outer = outer
        outer.stdout.readline()
        self.pid: int = [outer, *outer.children(recursive=True)][-1].pid

    def read(self, path: Path | str) -> str:
        """Return what it reads."""
        self._outer.stdin.write(f"{path}\n")
        self._outer.stdin.flush()
        text: str = eval(self._outer.stdout.readline(), {"__builtins__": {}})  # noqa: S307 - a repr of our own
        return text

    def end(self) -> None:
        """End it, and what it is the init of."""
        psutil.Process(self.pid).kill()
        self._outer.wait()


@contextmanager
def answering(directories: Sequence[Path], *within: str, leaderless: bool = False) -> Iterator[Answerer]:
    """Run one in these cgroups, `within` standing before it; without a main thread if `leaderless`."""
    mode = "leaderless" if leaderless else "whole"
    command = joining(directories, *within, sys.executable, "-ISc", _ANSWERER, mode)
    with psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as outer:
        try:
            yield Answerer(outer)
        finally:
            outer.stdin.close()
            outer.wait()


@contextmanager
def as_init(directories: Sequence[Path], *, leaderless: bool = False) -> Iterator[Answerer]:
    """Run one as process 1 of new pid and mount namespaces."""
    with answering(directories, *_UNSHARE, leaderless=leaderless) as answerer:
        yield answerer


@contextmanager
def entering(init_pid: int, directories: Sequence[Path] | None = None, *more: str) -> Iterator[Answerer]:
    """Run one that has entered the namespaces of `init_pid` from the root cgroups, or from these."""
    enter = ("nsenter", f"--target={init_pid}", "--pid", "--mount", "--net", *more)
    with answering(find_layout().tops if directories is None else directories, *enter) as answerer:
        yield answerer


def from_outside(container: Container, *argv: str) -> str:
    """Run a command that an administrator starts in a container by nsenter(1) from the root cgroups."""
    enter = ("nsenter", f"--target={container.init_pid}", "--pid", "--mount", "--net", *argv)
    return subprocess.run(
        joining(find_layout().tops, *enter), check=True, stdout=subprocess.PIPE, text=True
    ).stdout
