"""What the kernel can do, and what we lose without. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pylxcfs.diagnosis.finding import Finding, Verdict

_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)")


class _Feature(NamedTuple):
    name: str
    since: tuple[int, int]
    lost: str
    advice: str = ""
    verdict: Verdict = Verdict.WARN


_FEATURES: Final = (
    _Feature("pidfd_open", (5, 3), "every container sees the host", verdict=Verdict.FAIL),
    _Feature("mount_setattr", (5, 12), "pylxcfsctl reattach and detach do not work"),
    _Feature(
        "FUSE_NOTIFY_RESEND",
        (6, 9),
        "requests that a dying server has taken fail, and are not answered",
    ),
    _Feature("namespace ioctl", (6, 11), "a container's first process is found by a scan of /proc"),
    _Feature("cgroupstats", (2, 6), "load averages cost more"),
    _Feature("pressure", (4, 20), "there is no /proc/pressure", "boot with psi=1, if the kernel has PSI"),
)


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """Its release, and what was tried; what was not is judged by the release."""

    release: str
    tried: Mapping[str, bool] = field(default_factory=dict)


def check(facts: KernelFacts) -> Iterator[Finding]:
    """Judge each ability."""
    found = _NUMBERS.match(facts.release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    there = []
    for feature in _FEATURES:
        if facts.tried.get(feature.name, version >= feature.since):
            there.append(feature.name)
        else:
            since = ".".join(map(str, feature.since))
            advice = feature.advice if version >= feature.since else f"Linux {since} has it"
            yield Finding(
                f"kernel {feature.name}",
                feature.verdict,
                f"Linux {facts.release} lacks it: {feature.lost}",
                advice or "see how the kernel was configured, and what the sandbox forbids",
            )
    yield Finding("kernel", Verdict.OK, f"Linux {facts.release} has {', '.join(there)}")
