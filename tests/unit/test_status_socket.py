"""The socket by which a server tells of itself."""

import contextlib
import errno
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from pylxcfs.rundir import status_socket


def _tell_once(listening: socket.socket, document: bytes) -> threading.Thread:
    def tell() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(document)

    thread = threading.Thread(target=tell)
    thread.start()
    return thread


def _ask(directory: Path, listening: socket.socket, document: bytes) -> bytes:
    thread = _tell_once(listening, document)
    try:
        return status_socket.ask(directory, 60)
    finally:
        thread.join()


def test_a_document_comes_whole(tmp_path: Path) -> None:
    """All that is told is heard, in however many pieces."""
    document = os.urandom(300_000)
    with status_socket.listen(tmp_path) as listening:
        assert document == _ask(tmp_path, listening, document)


def test_only_its_owner_may_ask(tmp_path: Path) -> None:
    """The socket is its owner's alone."""
    with status_socket.listen(tmp_path):
        modes = [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()]
    assert [0o600] == modes


def test_the_next_server_takes_the_place(tmp_path: Path) -> None:
    """Whoever listens last is asked, and only one socket is there."""
    with status_socket.listen(tmp_path), status_socket.listen(tmp_path) as second:
        assert b"second" == _ask(tmp_path, second, b"second")
        assert 1 == len(list(tmp_path.iterdir()))


def test_nothing_is_left_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that could not take the place is removed, and one of a server that died before it did."""

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "status.socket.99999999").touch()
    (tmp_path / f"status.socket.{os.getppid()}").touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            status_socket.listen(tmp_path)
    assert [f"status.socket.{os.getppid()}"] == os.listdir(tmp_path)


def test_deep_directory(tmp_path: Path) -> None:
    """A directory whose name is too long for the address of a socket is as good as any."""
    deep = tmp_path / ("d" * 120) / "pylxcfs"
    with status_socket.listen(deep) as listening:
        assert b"here" == _ask(deep, listening, b"here")


def test_nobody_answers(tmp_path: Path) -> None:
    """A server that hangs is not waited for longer than wanted."""
    with status_socket.listen(tmp_path), pytest.raises(TimeoutError):
        status_socket.ask(tmp_path, 0.05)


def test_an_answer_without_end(tmp_path: Path) -> None:
    """A server that goes on and on, slowly, is not waited for longer than wanted either."""

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b"x")
                time.sleep(0.01)

    with status_socket.listen(tmp_path) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        with pytest.raises(TimeoutError):
            status_socket.ask(tmp_path, 0.2)
        thread.join()


def test_nobody_listens(tmp_path: Path) -> None:
    """A server that has died has left a socket at which nobody is; what is removed is gone."""
    status_socket.listen(tmp_path).close()
    with pytest.raises(ConnectionRefusedError):
        status_socket.ask(tmp_path, 60)
    status_socket.remove(tmp_path)
    with pytest.raises(FileNotFoundError):
        status_socket.ask(tmp_path, 60)
