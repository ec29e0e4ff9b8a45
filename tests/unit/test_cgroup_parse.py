"""Kernel text → values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.cgroup.parse import (
    format_cpu_list,
    parse_cpu_list,
    parse_device_operations,
    parse_flat_keyed,
    parse_int,
    parse_io_stat,
)
from pylxcfs.cgroup.types import CpuSet, DeviceNumber, ParseError


@pytest.mark.parametrize(
    "text,cpus",
    [
        (b"\n", ()),
        (b"0\n", (0,)),
        (b"0-3\n", (0, 1, 2, 3)),
        (b"0,2-3,8", (0, 2, 3, 8)),
        (b"3,1-2,2", (1, 2, 3)),
    ],
)
def test_cpu_list(text: bytes, cpus: tuple[int, ...]) -> None:
    """A CPU list is numbers and ranges; the empty list is the empty set."""
    assert cpus == parse_cpu_list("f", text)


@pytest.mark.parametrize("text", [b"a", b"1-", b"-1", b"3-1", b"0,,1", b"0-99999999", b"0 1"])
def test_damaged_cpu_list(text: bytes) -> None:
    """What is no CPU list names the file."""
    with pytest.raises(ParseError, match=r"cpuset\.cpus"):
        parse_cpu_list("/x/cpuset.cpus", text)


@given(st.sets(st.integers(0, 511)))
def test_cpu_list_round_trip(cpus: set[int]) -> None:
    """Writing a CPU list is the inverse of reading it."""
    assert CpuSet(cpus) == parse_cpu_list("f", format_cpu_list(CpuSet(cpus)))


def test_most_cpus() -> None:
    """As many as any kernel can have."""
    for text in (b"0-65535\n", b"0-65535,7\n"):
        assert CpuSet(range(65536)) == parse_cpu_list("f", text)
    with pytest.raises(ParseError):
        parse_cpu_list("f", b"65536\n")


def test_format_cpu_list() -> None:
    """Neighbours are written as ranges, as the kernel does."""
    assert b"0-1,3,5-7" == format_cpu_list(CpuSet([0, 1, 3, 5, 6, 7]))


def test_int() -> None:
    """Numbers have no limit, and the kernel's rare negative ones are numbers too."""
    numbers = (18446744073709551615, -1, -9223372036854775808)
    assert numbers == tuple(parse_int("f", b"%d\n" % number) for number in numbers)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"max\n", b"1 2\n", b"\xff\xfe"),
        *(b"%d" % (1 << 64), b"%d" % (-(1 << 63) - 1), b"9" * 5000),
    ],
)
def test_damaged_int(text: bytes) -> None:
    """What is no number names the file and the text."""
    with pytest.raises(ParseError, match="f: cannot parse"):
        parse_int("f", text)


def test_flat_keyed() -> None:
    """Keys are whole words: file_mapped is not file."""
    assert {b"file": 1, b"file_mapped": 2} == parse_flat_keyed("f", b"file 1\nfile_mapped 2\n")


@pytest.mark.parametrize("text", [b"file\n", b"file x\n", b"a 1 2\n"])
def test_damaged_flat_keyed(text: bytes) -> None:
    """Where no key has its number the file makes no sense."""
    with pytest.raises(ParseError):
        parse_flat_keyed("f", text)


def test_device_operations() -> None:
    """Each device has its operations; the closing total belongs to none."""
    text = b"254:0 Read 8482816\n254:0 Write 5\n8:16 Read 1\n254:0 Total 8482821\nTotal 8482822\n"
    expected = {
        DeviceNumber(254, 0): {b"Read": 8482816, b"Write": 5, b"Total": 8482821},
        DeviceNumber(8, 16): {b"Read": 1},
    }
    assert expected == parse_device_operations("f", text)


@pytest.mark.parametrize("text", [b"254 Read 1\n", b"254:0 Read\n", b"254:0 Read x\n", b"a:b Read 1\n"])
def test_damaged_device_operations(text: bytes) -> None:
    """Where no line has device, operation and number the file makes no sense."""
    with pytest.raises(ParseError):
        parse_device_operations("f", text)


@given(st.binary(max_size=200))
def test_parsers_raise_nothing_else(text: bytes) -> None:
    """Whatever a file says, a parser returns a value or raises ParseError."""
    for parse in (parse_int, parse_flat_keyed, parse_cpu_list, parse_device_operations):
        try:
            parse("f", text)
        except ParseError:
            continue


@pytest.mark.parametrize("text", [b"0-65535,0-65535,0-65535", b"0" + b",0-9999" * 9])
def test_cpu_list_of_too_many(text: bytes) -> None:
    """Ranges that name more CPUs than any machine has are damage, however short the text is."""
    with pytest.raises(ParseError):
        parse_cpu_list("f", text)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_counts_that_no_kernel_writes(value: int) -> None:
    """What was moved to a device is neither negative nor longer than 64 bits."""
    with pytest.raises(ParseError):
        parse_device_operations("f", b"8:0 Read %d\n" % value)
    with pytest.raises(ParseError):
        parse_io_stat("f", b"8:0 rbytes=%d\n" % value)
    with pytest.raises(ParseError):
        parse_io_stat("f", b"%d:0 rbytes=1\n" % value)


def test_keyed_numbers_of_more_than_64_bits() -> None:
    """A longer number is damage, and would go on as such into all that is computed from it."""
    for number in (1 << 64, -(1 << 63) - 1):
        assert {b"file": 1} == parse_flat_keyed("f", b"file 1\nanon %d\n" % number)
    extremes = {b"least": -(1 << 63), b"file": 1, b"most": (1 << 64) - 1}
    assert extremes == parse_flat_keyed("f", b"".join(b"%b %d\n" % pair for pair in extremes.items()))
