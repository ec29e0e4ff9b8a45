"""How the hugetlb controller names its files."""

from typing import Final

_UNITS: Final = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def size_name(page_size: int) -> str:
    """Name a size of huge pages, bytes, as in ``hugetlb.2MB.max`` (cgroup-v2.rst, "HugeTLB")."""
    unit, name = next(entry for entry in _UNITS if page_size >= entry[0])
    return f"{page_size // unit}{name}"
