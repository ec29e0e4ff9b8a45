"""pylxcfsctl: its command line, and docker-args."""

import json

import pytest

from pylxcfs.ctl.cli import main
from pylxcfs.ctl.docker_args import docker_arguments
from pylxcfs.ctl.show import file_name


def test_docker_arguments_bind_read_only() -> None:
    """Each file becomes a read-only bind to its place below /proc."""
    assert list(docker_arguments("/mnt", ["proc/meminfo", "proc/stat"])) == [
        *("-v", "/mnt/proc/meminfo:/proc/meminfo:ro"),
        *("-v", "/mnt/proc/stat:/proc/stat:ro"),
    ]


def test_docker_arguments_bind_the_cpu_tree_once() -> None:
    """The files of the CPU tree become one bind of their directory."""
    cpu = "sys/devices/system/cpu"
    assert list(docker_arguments("/mnt", [f"{cpu}/online", f"{cpu}/present"])) == [
        *("-v", f"/mnt/{cpu}:/{cpu}:ro"),
    ]


@pytest.mark.parametrize("path", ["proc/pressure/cpu", "sys/devices/system/cpufreq", "proc/version"])
def test_docker_arguments_leave_out_what_runc_refuses(path: str) -> None:
    """A bind that runc would refuse keeps the container from starting, so there is none."""
    assert list(docker_arguments("/mnt", [path])) == []


def test_docker_args_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The line is ready for the shell: words, separated by blanks, that need no quoting."""
    assert main(["docker-args"]) == 0
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    words = output.split()
    assert words[0::2] == ["-v"] * (len(words) // 2)
    assert "/var/lib/lxcfs/proc/meminfo:/proc/meminfo:ro" in words


def test_docker_args_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the same words are a list."""
    assert main(["docker-args", "--mount-point", "/mnt/x/"]) == 0
    words = capsys.readouterr().out.split()
    assert main(["docker-args", "--mount-point", "/mnt/x/", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == words
    assert "/mnt/x/proc/uptime:/proc/uptime:ro" in words


@pytest.mark.parametrize("text", ["meminfo", "/proc/meminfo", "proc/meminfo"])
def test_show_takes_three_spellings(text: str) -> None:
    """A file may be named as in /proc, absolutely, or as in our tree."""
    assert file_name(text) == "proc/meminfo"


@pytest.mark.parametrize(
    "argv",
    [["-h"], ["--help"], ["show", "-h"], ["docker-args", "-h"], ["--version"]],
)
def test_help_goes_to_stdout(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help is an answer: stdout, exit status 0."""
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    captured = capsys.readouterr()
    assert (leaving.value.code, captured.err) == (0, "")
    assert "pylxcfsctl" in captured.out


@pytest.mark.parametrize(
    "argv,words",
    [
        ([], "COMMAND"),
        (["explode"], "explode"),
        (["show"], "FILE"),
        (["show", "--pid", "x", "meminfo"], "not a process id: 'x'"),
        (["show", "--pid", "1", "--container", "abc", "meminfo"], "not allowed with"),
        (["show", "meminfo", "stat"], "stat"),
        (["docker-args", "--mount-point", "lxcfs"], "not an absolute path"),
        (["docker-args", "--mount-point", "/a b"], "not an absolute path"),
        (["docker-args", "--mount-point", "/a:b"], "not an absolute path"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mistake gives one line on stderr that names it, and exit status 2."""
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    captured = capsys.readouterr()
    assert (leaving.value.code, captured.out) == (2, "")
    assert captured.err.startswith("pylxcfsctl: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


@pytest.mark.parametrize(
    "argv,words",
    [
        (["show", "no-such-file"], "no such file: proc/no-such-file (there are: "),
        # Above the kernel's largest pid (PID_MAX_LIMIT, 4 Mi).
        (["show", "--pid", "99999999", "meminfo"], "no such process: 99999999"),
    ],
)
def test_show_says_what_is_not_there(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown file and a dead process are one line on stderr and exit status 1."""
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pylxcfsctl: {words}")
    assert captured.err.count("\n") == 1
