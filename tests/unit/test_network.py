"""What the end of a run finds changed of the machine's network."""

from tests.support.network import Network

_BEFORE = Network(
    frozenset({"lo", "eth0"}), frozenset({"link eth0 up mtu 1500", "route eth0 ::/00 via fe80"})
)


def test_nothing_has_changed() -> None:
    """The same is no change."""
    assert [] == _BEFORE.changes(_BEFORE)


def test_an_address_more() -> None:
    """What is new of an interface that was there is told, as after a DHCP client; and what is gone."""
    after = Network(_BEFORE.interfaces, frozenset({"link eth0 up mtu 1500", "address eth0 192.0.2.9/24"}))
    assert ["gone: route eth0 ::/00 via fe80", "new: address eth0 192.0.2.9/24"] == after.changes(_BEFORE)


def test_somebody_elses_interface() -> None:
    """Whatever belongs to an interface that was not there is its owner's."""
    after = Network(
        frozenset({*_BEFORE.interfaces, "veth1"}), frozenset({*_BEFORE.facts, "link veth1 up mtu 1500"})
    )
    assert [] == after.changes(_BEFORE)


def test_an_interface_is_gone() -> None:
    """An interface that was there is missed."""
    assert ["gone: link eth0 up mtu 1500", "gone: route eth0 ::/00 via fe80"] == Network(
        frozenset({"lo"}), frozenset()
    ).changes(_BEFORE)


def test_this_machine() -> None:
    """Every fact names an interface of the machine, or all."""
    now = Network.now()
    assert {fact.split()[1] for fact in now.facts} <= {*now.interfaces, "all"}
    assert [] == Network.now().changes(now)
