"""What became of binds. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pylxcfs.containers.name import Name
from pylxcfs.reattach.protocol import is_place
from pylxcfs.reattach.survey import State


class Action(StrEnum):
    """What was done about a bind."""

    NOTHING = "nothing"
    ATTACHED = "attached"
    DETACHED = "detached"
    WOULD_ATTACH = "would attach"
    WOULD_DETACH = "would detach"
    #: Not ours to change; the reason says why.
    LEFT = "left alone"
    #: The container ended meanwhile.
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One bind, and what was done about it."""

    container: Name
    pid: int
    #: In the container; empty for all the places that were more than are examined.
    target: str
    state: State
    action: Action
    reason: str = ""

    @property
    def where(self) -> str:
        """The container, as an operator knows it."""
        return self.container.short or f"pid {self.pid} {self.container.cgroup}"

    @property
    def is_trouble(self) -> bool:
        """Whether readers in the container still get an error, or what was asked for failed."""
        if self.action is Action.LEFT:
            unread = {State.DEAD, State.UNRESPONSIVE}
            return self.state is State.UNEXAMINED or (self.state in unread and is_place(self.target))
        return self.action is Action.FAILED


def summary(outcomes: Sequence[Outcome]) -> str:
    """Count containers, binds, and what was done about them."""
    binds = [outcome for outcome in outcomes if outcome.target]
    counts = Counter(outcome.action for outcome in binds)
    containers = len({(outcome.container, outcome.pid) for outcome in outcomes})
    done = [f"{count} {action}" for action, count in counts.items() if action is not Action.NOTHING]
    beyond = sum(outcome.state is State.UNEXAMINED for outcome in outcomes)
    if beyond:
        done.append(f"containers that were not examined whole: {beyond}")
    return f"{containers} containers, {len(binds)} binds: {', '.join(done) or 'nothing to do'}"
