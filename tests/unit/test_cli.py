"""The daemon's command line."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pylxcfs.cli import main, parse_arguments
from pylxcfs.config import Config, ViewConfig


def run_pylxcfs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as its console script does."""
    program = "import sys; from pylxcfs.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )


def test_mount_point_alone_gives_defaults() -> None:
    """With nothing but a mount point, everything is as `Config` has it."""
    assert parse_arguments(["/srv/lxcfs"]) == Config(mount_point=Path("/srv/lxcfs"))


@pytest.mark.parametrize(
    "option",
    ["-f", "--foreground", "--enable-cfs", "-l", "--enable-loadavg", "--enable-pidfd", "-s", "-fls"],
)
def test_lxcfs_option_that_is_the_default_changes_nothing(option: str) -> None:
    """Options of lxcfs that ask for our defaults are accepted."""
    assert parse_arguments([option, "/srv"]) == Config(mount_point=Path("/srv"))


@pytest.mark.parametrize(
    "option,view",
    [
        ("--disable-cfs", ViewConfig(cfs=False)),
        ("--disable-loadavg", ViewConfig(loadavg=False)),
        ("-u", ViewConfig(swap=False)),
        ("--disable-swap", ViewConfig(swap=False)),
        ("--disable-zswap", ViewConfig(zswap=False)),
        ("--memory-high", ViewConfig(memory_high=True)),
        ("--cpu-numbering=compact", ViewConfig(compact_cpus=True)),
        ("--cpu-numbering=kernel", ViewConfig()),
        ("--cache-ttl=0", ViewConfig(cache_ttl_seconds=0)),
        ("--cache-ttl=1.5", ViewConfig(cache_ttl_seconds=1.5)),
    ],
)
def test_view_options(option: str, view: ViewConfig) -> None:
    """Options about what containers see end in `ViewConfig`."""
    assert parse_arguments([option, "/srv"]).view == view


@pytest.mark.parametrize(
    "argv",
    [
        ["/srv", "-f", "-o", "allow_other", "-p", "/run/x.pid"],
        ["-f", "/srv", "-o", "allow_other", "-p", "/run/x.pid"],
        ["-f", "-o", "allow_other", "-p", "/run/x.pid", "/srv"],
    ],
)
def test_mount_point_may_stand_anywhere(argv: list[str]) -> None:
    """The mount point is found before, between and after the options."""
    config = parse_arguments(argv)
    assert config.mount_point == Path("/srv")
    assert config.mount_options == ("allow_other",)
    assert config.pidfile == Path("/run/x.pid")


def test_mount_options_are_collected() -> None:
    """Every -o counts, and so does every word of it."""
    config = parse_arguments(["-o", "allow_other,noatime", "-oentry_timeout=3", "/srv"])
    assert config.mount_options == ("allow_other", "noatime", "entry_timeout=3")


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are meant as of now, not as of a later working directory."""
    monkeypatch.chdir(tmp_path)
    config = parse_arguments(["mnt", "--runtime-dir", "run"])
    assert (config.mount_point, config.runtime_dir) == (tmp_path / "mnt", tmp_path / "run")


@pytest.mark.parametrize("options,level", [(["-d"], "DEBUG"), (["--log-level", "error"], "ERROR")])
def test_log_level(options: list[str], level: str) -> None:
    """-d is a short way to say --log-level debug."""
    assert parse_arguments([*options, "/srv"]).log_level == level


@pytest.mark.parametrize("options,psi_poll", [([], False), (["--enable-psi-poll"], True)])
def test_psi_triggers_are_asked_for(options: list[str], psi_poll: bool) -> None:  # noqa: FBT001 - the expected value
    """Nobody may set triggers unless the operator says so."""
    assert parse_arguments([*options, "/srv"]).psi_poll == psi_poll


@pytest.mark.parametrize("option,output", [("-h", "usage: pylxcfs"), ("--version", "pylxcfs 0.1.0\n")])
def test_help_and_version_go_to_stdout(option: str, output: str) -> None:
    """Help and version are answers: stdout, exit status 0."""
    result = run_pylxcfs(option)
    assert result.stdout.startswith(output)
    assert (result.stderr, result.returncode) == ("", 0)


def test_help_hides_options_that_change_nothing() -> None:
    """Help shows only what is worth choosing."""
    output = run_pylxcfs("-h").stdout
    assert argparse.SUPPRESS not in output
    assert "--disable-cfs" in output
    assert "--enable-cfs" not in output


@pytest.mark.parametrize(
    "argv,words",
    [
        ([], "no mount point"),
        (["/a", "-f", "/b"], "more than one mount point given: /a /b"),
        ([""], "empty path"),
        (["--no-such-option", "/a"], "--no-such-option"),
        (["--cache-ttl", "-1", "/a"], "--cache-ttl"),
        (["--max-memory", "0", "/a"], "--max-memory"),
        (["--max-memory", "1G", "/a"], "'1G'"),
        (["--cache-ttl", "nan", "/a"], "'nan'"),
        (["--cache-ttl", "soon", "/a"], "'soon'"),
        (["--log-level", "loud", "/a"], "--log-level"),
        (["-p"], "-p"),
        (["-o", "suid", "/a"], "suid"),
        (["-o", "allow_other,colour=red", "/a"], "unknown mount option: colour=red"),
        (["--cache", "1", "/a"], "--cache"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(argv: list[str], words: str) -> None:
    """Every mistake gives one line on stderr that names it, and exit status 2."""
    result = run_pylxcfs(*argv)
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr.startswith("pylxcfs: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without root the daemon says so and ends."""
    # Not by dropping root: another user may not be able to read the interpreter or this checkout.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["/srv"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("pylxcfs: must be run as root")
    assert captured.err.count("\n") == 1
