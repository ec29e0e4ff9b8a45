"""What the worker is told, and what it answers; as JSON between two processes. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from pylxcfs.procfiles.binds import CPU_DIRECTORY, NODE_DIRECTORY

#: Of a container's mount table: some 100,000 lines, as many as the kernel allows (fs.mount-max), unless they
#: are made long on purpose.
LONGEST_TABLE: Final = 16 << 20
#: The kernel's own paths there are shorter; a container that mounts can make them as long as it likes.
LONGEST_PLACE: Final = 255
#: Where the kernel's own file systems are in a container, by their type; nothing is attached elsewhere.
KERNEL_MOUNTS: Final = {"proc": "/proc", "sysfs": "/sys"}


class Verb(StrEnum):
    """What is to be done at one place."""

    #: Answer with the errno of the file system that is seen there.
    ASK = "ask"
    #: Bind a file of ours, in place of the mounts named if there are any.
    ATTACH = "attach"
    #: Take the mounts named away.
    DETACH = "detach"


@dataclass(frozen=True, slots=True)
class Order:
    """One place in a container, as its own processes name it."""

    verb: Verb
    target: str
    #: Below the root of our tree.
    file: str
    #: Ids of the mounts that may be asked, replaced or taken away; any other that is seen there is respected.
    mounts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """All orders for one mount namespace, entered through one of its processes."""

    pid: int
    start_ticks: int
    namespace: int
    #: Peer groups that reach nobody outside of this container.
    own_peer_groups: tuple[int, ...]
    orders: tuple[Order, ...]


class Word(StrEnum):
    """How an order ended."""

    DONE = "done"
    #: Somebody else, or propagation, did it before.
    ALREADY = "already"
    #: Not done, for a reason that is no failure of ours.
    LEFT = "left"
    FAILED = "failed"
    #: The container ended.
    GONE = "gone"
    #: No answer in time: a file system on the way hangs.
    UNRESPONSIVE = "unresponsive"


@dataclass(frozen=True, slots=True)
class Answer:
    """How one order ended, and why; `number` is the errno asked for."""

    word: Word
    reason: str = ""
    number: int = 0


def is_place(target: str) -> bool:
    """Tell whether our files may be bound on `target`: below /proc, or at a directory of ours; not long."""
    directories = (f"/{CPU_DIRECTORY}", f"/{NODE_DIRECTORY}")
    below = ("/proc/", *(f"{directory}/" for directory in directories))
    return len(target) <= LONGEST_PLACE and (target.startswith(below) or target in directories)


def dump_jobs(jobs: Iterable[Job]) -> str:
    """Write jobs for `load_jobs`."""
    return json.dumps([asdict(job) for job in jobs])


def load_jobs(text: str) -> list[Job]:
    """Read what `dump_jobs` wrote."""
    return [_job(**words) for words in json.loads(text)]


def dump_answers(answers: Sequence[Answer]) -> str:
    """Write answers, on one line, for `load_answers`."""
    return json.dumps([asdict(answer) for answer in answers])


def load_answers(line: str | bytes) -> list[Answer]:
    """Read what `dump_answers` wrote."""
    return [Answer(Word(words["word"]), words["reason"], words["number"]) for words in json.loads(line)]


def _job(**words: Any) -> Job:  # noqa: ANN401 - JSON
    orders = tuple(
        Order(Verb(order["verb"]), order["target"], order["file"], tuple(order["mounts"]))
        for order in words.pop("orders")
    )
    return Job(**{**words, "own_peer_groups": tuple(words["own_peer_groups"])}, orders=orders)
