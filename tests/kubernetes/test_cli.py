"""The command line of pylxcfs-webhook."""

from pathlib import Path

import pytest

from pylxcfs.webhook.authority import Place
from pylxcfs.webhook.cli import main, parse_arguments
from pylxcfs.webhook.server import GivenFiles, OwnAuthority
from pylxcfs.webhook.settings import DEFAULT_EXCLUDED_NAMESPACES, DEFAULT_SKIPPED_RUNTIME_CLASSES, Settings


@pytest.fixture
def in_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what every pod's environment has."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.setenv("POD_NAMESPACE", "lxc")


@pytest.mark.usefixtures("in_cluster")
def test_defaults() -> None:
    """In a cluster nothing needs to be said."""
    settings, options, log_level = parse_arguments([])
    assert (Settings(), "INFO") == (settings, log_level)
    place = Place("lxc", "pylxcfs-webhook", "pylxcfs-webhook-tls", "pylxcfs-webhook")
    account = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    assert OwnAuthority(place, ("10.0.0.1", "6443"), account) == options.certificates


def test_options() -> None:
    """Options say what is injected, into what, and how it is served."""
    files = ["--tls-cert", "/c", "--tls-key", "/k"]
    settings, options, _ = parse_arguments(
        [
            *files,
            *("--mount-point", "/run/lxcfs/", "--files", "meminfo, slabinfo,cpu".replace("slabinfo,", "")),
            *("--no-init-containers", "--host-pid", "--exclude-namespace", "a", "--exclude-namespace", "b"),
            *("--skip-runtime-class", "firecracker*", "--drain-seconds", "0"),
        ]
    )
    expected = Settings(
        mount_point="/run/lxcfs",
        default_names=frozenset({"meminfo", "cpu"}),
        excluded_namespaces=DEFAULT_EXCLUDED_NAMESPACES | {"a", "b"},
        init_containers=False,
        host_pid=True,
        skipped_runtime_classes=(*DEFAULT_SKIPPED_RUNTIME_CLASSES, "firecracker*"),
    )
    assert expected == settings
    assert (GivenFiles(Path("/c"), Path("/k")), 0.0) == (options.certificates, options.drain_seconds)


@pytest.mark.parametrize("argv", [["-h"], ["--version"]])
def test_help_goes_to_stdout(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help is an answer: stdout, exit status 0."""
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    captured = capsys.readouterr()
    assert (0, "") == (leaving.value.code, captured.err)
    assert "pylxcfs-webhook" in captured.out


@pytest.mark.parametrize(
    "argv,words",
    [
        (["--explode"], "--explode"),
        (["--tls-cert", "/c"], "need each other"),
        (["--mount-point", "lxcfs"], "not an absolute path"),
        (["--mount-point", "/a/../b"], "not an absolute path"),
        (["--files", "memnifo"], "no such file: memnifo (there are: cpuinfo, "),
        (["--files", ""], "no such file"),
        (["--drain-seconds", "-1"], "not a number of seconds"),
        (["--check-seconds", "inf"], "not a number of seconds"),
    ],
)
def test_wrong_usage_is_one_line(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mistake gives one line on stderr that names it, and exit status 2."""
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    captured = capsys.readouterr()
    assert (2, "") == (leaving.value.code, captured.out)
    assert captured.err.startswith("pylxcfs-webhook: ")
    assert 1 == captured.err.count("\n")
    assert words in captured.err


def test_outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no cluster to keep certificates in, they must be given."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert 1 == main([])
    expected = (
        "pylxcfs-webhook: not in a cluster (no KUBERNETES_SERVICE_HOST): give --tls-cert and --tls-key\n"
    )
    assert expected == capsys.readouterr().err


@pytest.mark.usefixtures("in_cluster")
def test_no_service_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pod without a service account's files is told so in one line."""
    assert 1 == main(["--service-account", str(tmp_path)])
    assert "ca.crt: No such file or directory" in capsys.readouterr().err
