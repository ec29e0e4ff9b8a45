"""What this machine's own network is, so that tests can be seen not to touch it."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

_NET: Final = Path("/proc/net")
_FORWARDING: Final = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
#: include/uapi/linux/if_addr.h and ipv6_route.h: what is not for a time only, as the router says.
_PERMANENT_ADDRESS: Final = 0x80
_ROUTE_EXPIRES: Final = 0x00400000


@dataclass(frozen=True, slots=True)
class Network:
    """Interfaces with their addresses, routes, and whether packets are forwarded, of this network namespace.

    Each is a line that says what it is. Nothing that a router gives for a time is among them.
    """

    interfaces: frozenset[str]
    facts: frozenset[str]

    @classmethod
    def now(cls) -> Self:
        """Look at it."""
        interfaces = frozenset(path.name for path in Path("/sys/class/net").iterdir())
        facts = [*_links(), *_ipv4_routes(), *_ipv6(), *_forwarding()]
        return cls(interfaces, frozenset(facts))

    def changes(self, before: "Network") -> list[str]:
        """Name what is gone, and what is new of interfaces that were there before.

        New interfaces are whoever's: the machine may have other containers that are started meanwhile.
        """
        strangers = self.interfaces - before.interfaces
        gone = [f"gone: {fact}" for fact in before.facts - self.facts]
        new = [f"new: {fact}" for fact in self.facts - before.facts if not _is_of(fact, strangers)]
        return sorted(gone + new)


def _is_of(fact: str, interfaces: frozenset[str]) -> bool:
    return fact.split()[1] in interfaces


def _links() -> list[str]:
    addresses = psutil.net_if_addrs()
    up = psutil.net_if_stats()
    found = [f"link {name} {'up' if up[name].isup else 'down'} mtu {up[name].mtu}" for name in up]
    for name, each in addresses.items():
        # IPv6's are read with their flags.
        found += [f"address {name} {one.address}/{one.netmask}" for one in each if ":" not in one.address]
        found += [f"hardware {name} {one.address}" for one in each if one.family == psutil.AF_LINK]
    return found


def _ipv4_routes() -> list[str]:
    """Read proc_net_route: interface, destination, gateway, …, mask; addresses in host order."""
    lines = [line.split() for line in (_NET / "route").read_text().splitlines()[1:]]
    return [f"route {words[0]} {_ipv4(words[1])}/{_ipv4(words[7])} via {_ipv4(words[2])}" for words in lines]


def _ipv4(hexadecimal: str) -> str:
    return str(ipaddress.IPv4Address(bytes.fromhex(hexadecimal)[::-1]))


def _ipv6() -> list[str]:
    if not (_NET / "if_inet6").exists():
        return []
    found = []
    for line in (_NET / "if_inet6").read_text().splitlines():
        address, _index, length, _scope, flags, name = line.split()
        if int(flags, 16) & _PERMANENT_ADDRESS:
            found.append(f"address {name} {address}/{length}")
    for line in (_NET / "ipv6_route").read_text().splitlines():
        target, length, _source, _, via, _metric, _references, _use, flags, name = line.split()
        if not int(flags, 16) & _ROUTE_EXPIRES:
            found.append(f"route {name} {target}/{length} via {via}")
    return found


def _forwarding() -> list[str]:
    files = [Path("/proc/sys/net", name) for name in _FORWARDING]
    return [f"forwarding all {file}: {file.read_text().strip()}" for file in files if file.exists()]
