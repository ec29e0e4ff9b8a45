"""What status and doctor tell of a service that is confined as its unit says."""

import json
from typing import Any

from tests.support.service import Service
from tests.support.waiting import wait_for


def _ask(service: Service, command: str) -> dict[str, Any]:
    done = service.machine.try_run("pylxcfsctl", command, "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_status(service: Service) -> None:
    """The server is allowed to tell of itself, and a restart of the service is a replacement."""
    wait_for("it tells of itself", lambda: _ask(service, "status")["answers"])
    service.machine.run("systemctl", "restart", "pylxcfs")
    wait_for("it tells of itself", lambda: _ask(service, "status")["replaced"] == 1)
    status = _ask(service, "status")
    assert ["new supervisor"] == [each["why"] for each in status["replacements"]]
    assert service.show("MainPID") == str(status["processes"]["supervisor"]["pid"])


def test_doctor(service: Service) -> None:
    """All that the unit promises is found: the connection is kept, watched and seen by all."""
    wait_for("it tells of itself", lambda: _ask(service, "status")["answers"])
    findings = {each["subject"]: each for each in _ask(service, "doctor")["findings"]}
    expected = {"daemon", "mount", "fd store", "privileges", "binds"}
    assert dict.fromkeys(expected, "ok") == {name: findings[name]["verdict"] for name in expected}, findings
    assert "pylxcfs.service keeps the connection (1 in the store)" == findings["fd store"]["found"]
    assert "watchdog" not in findings
    assert [] == [each for each in findings.values() if each["verdict"] == "fail"]


def test_doctor_after_a_stop(service: Service) -> None:
    """A service that is stopped is missed."""
    service.machine.run("systemctl", "stop", "pylxcfs")
    document = _ask(service, "doctor")
    failed = {each["subject"] for each in document["findings"] if each["verdict"] == "fail"}
    service.machine.run("systemctl", "start", "pylxcfs")
    assert {"daemon", "mount"} == failed
