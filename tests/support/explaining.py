"""Lets this code explain every file to a process, and checks what can be checked."""

import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylxcfs.cgroup.parse import parse_cpu_list
from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import assemble
from pylxcfs.content.explanation import explain
from pylxcfs.content.recording import Log, recording_files, recording_host
from pylxcfs.ctl.explain import as_document, lines
from tests.support.explained import Wrong, check_memory, content

Documents = Mapping[str, Any]
_HERTZ = os.sysconf("SC_CLK_TCK")
#: From the file's rendering to the look at the clock.
_SECONDS = 5


def explain_all(pid: int) -> tuple[Documents, str]:
    """Return what is said of every file, by its path, and the text for people."""
    log: Log = []
    engine = assemble(
        ViewConfig(cache_ttl_seconds=0), make_files=recording_files(log), make_host=recording_host(log)
    )
    documents: dict[str, Any] = {}
    text: list[str] = []
    for file in engine.files:
        explanation = explain(engine, log, file, pid)
        documents[file.path] = as_document(explanation, list(explanation.fields))
        documents[file.path]["age"] = time.clock_gettime(time.CLOCK_BOOTTIME)
        text += lines(explanation, list(explanation.fields))
    return documents, "\n".join(text)


def check_all(documents: Documents) -> dict[str, tuple[int, int]]:
    """Recompute what can be recomputed; return of how many fields of each file, and how many it has."""
    counted = {}
    for path, document in documents.items():
        fields = document["fields"]
        if not fields and path != "proc/diskstats" and "pressure" not in path:
            raise Wrong(path)
        counted[path] = (sum(_check(path, field, document) for field in fields), len(fields))
    return counted


def _check(path: str, field: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Tell whether a field could be recomputed; raises Wrong where that gives another value."""
    name, value = field["name"], field["value"]
    if field["rule"] != "computed":
        return _check_constant(field)
    if field["inputs"]:
        return check_memory(field)
    expected: object
    if path == "proc/uptime" and name == "uptime":
        (stat,) = content(field, "/stat")
        age = document["age"] - int(stat.rpartition(")")[2].split()[19]) / _HERTZ
        expected, right = age, 0 <= age - float(value) <= _SECONDS
    elif name in {"cpu user", "cpu system"}:
        expected = _ticks(field, name)
        right = abs(int(value) - expected) <= 2 * _possible()
    elif name in {"processor", "list"}:
        expected = _visible(field)
        right = _listed(value) == expected
    elif name == "tasks":
        expected = sum(len(text.split()) for text in content(field, "/(tasks|cgroup.threads)"))
        right = expected == int(value)
    elif "pressure" in path:
        expected = content(field, r"\.pressure")
        kind, key = name.split()
        right = not expected or re.search(rf"{kind} .*{key}={value}\b", expected[0]) is not None
    else:
        return False
    if not right:
        raise Wrong(path, field, expected)
    return True


def _check_constant(field: Mapping[str, Any]) -> bool:
    if field["rule"] == "zero":
        right = field["value"] in {"0", "0 kB", "", "none", "virtual", "-2", "0.00"}
    else:
        right = field["name"] == "other lines" or field["host"] is not None
    if not right:
        raise Wrong(field)
    return True


def _possible() -> int:
    return len(parse_cpu_list("possible", Path("/sys/devices/system/cpu/possible").read_bytes()))


def _ticks(field: Mapping[str, Any], name: str) -> int:
    column = 1 if name.endswith("user") else 2
    for text in content(field, r"usage_all"):
        return sum(int(line.split()[column]) for line in text.splitlines()[1:]) * _HERTZ // 10**9
    (text,) = content(field, r"cpu\.stat")
    words = dict(line.split() for line in text.splitlines())
    return int(words["user_usec" if column == 1 else "system_usec"]) * _HERTZ // 10**6


def _listed(value: str) -> list[int]:
    return list(parse_cpu_list("shown", value.replace(" ", ",").encode()))


def _visible(field: Mapping[str, Any]) -> list[int]:
    (online,) = content(field, "cpu/online")
    cpus = set(_listed(online.strip()))
    for text in content(field, r"cpuset\.(effective_cpus|cpus\.effective)")[-1:]:
        cpus &= set(_listed(text.strip()))
    quotas = [bound["value"] for bound in field["bounds"] if bound["won"]]
    return sorted(cpus)[: max(1, math.ceil(min(quotas)))] if quotas else sorted(cpus)
