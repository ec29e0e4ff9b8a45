"""No test touches the machine's network: containers have one of their own, and a change would be noticed."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from tests.support.cgroups import Limits
from tests.support.container import Container
from tests.support.daemon import REPOSITORY

#: Changes its network namespace as a DHCP client or a docker daemon would that of the machine.
_CHANGE: Final = """
import fcntl, socket, struct, sys
from tests.support.network import Network
before = Network.now()
up = struct.pack("16sH22x", b"lo", 0x49)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, up)  # SIOCSIFFLAGS of netdevice(7)
open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
print(*Network.now().changes(before), sep="\\n")
"""


def test_a_container_has_its_own(make_container: Callable[..., Container]) -> None:
    """Its namespace is not the machine's, for its init as for what enters it, and has no interface but lo."""
    container = make_container(Limits())
    machine = os.readlink("/proc/self/ns/net")
    own = os.readlink(f"/proc/{container.init_pid}/ns/net")
    assert own != machine
    assert own == container.run("readlink", "/proc/self/ns/net").strip()
    assert ["lo"] == [line.split(":")[0].strip() for line in container.read("net/dev").splitlines()[2:]]


def test_a_change_is_noticed(machine: object) -> None:
    """An interface that goes up, its address, and packets that are forwarded are changes."""
    del machine
    # Of a namespace whose lo is down and that forwards nothing.
    script = 'echo 0 > /proc/sys/net/ipv4/ip_forward; exec "$@"'
    command = ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-c", _CHANGE]
    printed = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    changes = printed.splitlines()
    assert "new: forwarding all /proc/sys/net/ipv4/ip_forward: 1" in changes
    assert "new: address lo 127.0.0.1/255.0.0.0" in changes
    assert any(change.startswith("new: link lo up") for change in changes)
