"""Open files that change hands."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from tests.support.cgroups import MIB, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

#: Opens meminfo and gives the descriptor away, over a socket that both see.
_GIVE: Final = """
import os, socket, sys
fd = os.open(sys.argv[2], os.O_RDONLY)
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect(sys.argv[1])
    socket.send_fds(channel, [b"x"], [fd])
"""
#: Takes it, and reads it anew for every line of input.
_TAKE: Final = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as channel:
    channel.bind(sys.argv[1])
    channel.listen()
    print("listening", flush=True)
    giver, _ = channel.accept()
    _, (fd,), _, _ = socket.recv_fds(giver, 1, 1)
for line in sys.stdin:
    print(os.pread(fd, 65536, 0).split()[1].decode(), flush=True)
"""


def test_a_file_shows_who_opened_it(
    start_daemon: Callable[..., Daemon], make_container: Callable[..., Container]
) -> None:
    """A descriptor shows the container that opened it, whoever reads; a later server the reader."""
    daemon = start_daemon("--cache-ttl", "0")
    giver = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    taker = make_container(Limits(memory=200 * MIB), served=daemon.proc)
    path = os.fspath(daemon.mount_point.with_name(daemon.mount_point.name + ".socket"))
    process = taker.start(sys.executable, "-ISc", _TAKE, path)
    to, answers = process.stdin, process.stdout
    assert to is not None
    assert answers is not None

    def look() -> int:
        to.write("\n")
        return int(answers.readline()) * 1024

    assert answers.readline() == "listening\n"
    giver.run(sys.executable, "-ISc", _GIVE, path, f"{daemon.proc}/meminfo")
    assert 100 * MIB == look()
    giver.group.set_memory(150 * MIB)
    assert 150 * MIB == look()
    # A server that did not open it knows the reader alone.
    daemon.process.send_signal(signal.SIGUSR1)
    wait_for("it is replaced", lambda: "serves after" in daemon.log, alive=daemon.running)
    assert 200 * MIB == look()
    assert 200 * MIB == meminfo(taker.read("meminfo"))["MemTotal"] * 1024
    process.communicate()
    daemon.stop()
