"""Counters, and what is told of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.content.counters import FileCounters
from pylxcfs.status.document import FallbackStatus, FileStatus, ServerStatus, quantile, summarize

_STATUS = ServerStatus(
    version="1.2",
    pid=7,
    containers=3,
    requests={"OPEN": 4},
    files={"proc/meminfo": FileStatus(10, 5, 0.1, 0.1, 0.2, 0.3)},
    fallbacks=(FallbackStatus("proc/stat", "ParseError", 2),),
    refused={"ENOENT": 1},
)


def _counted(*elapsed_ns: int, hits: int = 0) -> FileCounters:
    counters = FileCounters()
    for each in elapsed_ns:
        counters.add(each)
    counters.hits = hits
    return counters


def test_nothing_asked() -> None:
    """A file that nobody has asked for has no times and no rate."""
    assert FileStatus() == summarize([FileCounters()])
    assert FileStatus().hit_rate == 0


def test_counters_of_one_file_are_added() -> None:
    """Counters of two rows with the same path are one file's."""
    status = summarize([_counted(1000, 3000, hits=1), _counted(5000, 7000)])
    assert (4, 1, 0.25) == (status.requests, status.hits, status.hit_rate)
    assert pytest.approx(4e-6) == status.mean_seconds
    assert pytest.approx(7e-6) == status.max_seconds


def test_a_hit_that_is_still_counted() -> None:
    """A request that is a hit already and not counted yet makes no rate above 1."""
    assert summarize([_counted(1000, hits=2)]).hit_rate == 1


@given(st.lists(st.integers(0, 10**11), min_size=1), st.sampled_from([0.5, 0.99]))
def test_quantiles_are_within_a_power_of_two(elapsed_ns: list[int], share: float) -> None:
    """An estimate is in the same power of two as the value that it stands for."""
    exact = sorted(elapsed_ns)[max(0, -(-int(share * 100) * len(elapsed_ns) // 100) - 1)]
    estimate = quantile(_counted(*elapsed_ns).classes, share)
    assert exact / 2 <= estimate <= max(1, exact * 2)


def test_document_and_back() -> None:
    """What is told is understood."""
    assert _STATUS == ServerStatus.from_document(json.loads(json.dumps(_STATUS.document())))


def test_of_another_version() -> None:
    """What a later server tells besides is passed over, what an earlier one does not tell has its default."""
    document = _STATUS.document()
    document["later"] = 1
    document["files"]["proc/meminfo"]["later"] = 1
    del document["containers"], document["files"]["proc/meminfo"]["p50_seconds"]
    status = ServerStatus.from_document(document)
    assert (0, "1.2") == (status.containers, status.version)
    assert (10, 0) == (status.files["proc/meminfo"].requests, status.files["proc/meminfo"].p50_seconds)


@pytest.mark.parametrize("document", [None, 3, [], {}, {"schema": 2}, {"schema": 1, "files": 3}])
def test_not_a_status(document: object) -> None:
    """Whatever else is told is one kind of error."""
    with pytest.raises(ValueError, match="status"):
        ServerStatus.from_document(document)
