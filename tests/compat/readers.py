"""Programs that copy files, and how they fare with ours and with the kernel's own /proc."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

_HERE: Final = Path(__file__).parent
WHOLE: Final = "whole"
REFUSED: Final = "refused"
NOTHING: Final = "nothing"
#: Compares what a command prints of the file with what it prints of a pipe, and copies if it is the same.
_SAME: Final = (
    '{} < "$1" > "$2.a"; cat "$1" | {} > "$2.b"; [ -s "$2.a" ] && cmp "$2.a" "$2.b" && cat "$1" > "$2"'
)
#: The same for a command that is given the file's name, and does not print it.
_SAME_NAMED: Final = (
    '{} "$1" > "$2.a"; cat "$1" | {} > "$2.b"; [ -s "$2.a" ] && cmp "$2.a" "$2.b" && cat "$1" > "$2"'
)
CUT: Final = "cut"
_SIZE_0: Final = "/proc says that it is empty"
_NO_MAPPING: Final = "what is not read through the page cache cannot be mapped; ENODEV"
_NO_CACHE: Final = (
    "the page cache is one for all containers: nothing is read through it. EINVAL, and callers use read(2)"
)


class Outcome(NamedTuple):
    """What comes of a copy of our files, and of the kernel's own, and why that differs."""

    ours: str = WHOLE
    kernels: str = WHOLE
    why: str = ""


_BOTH: Final = Outcome()
_NEITHER: Final = Outcome(REFUSED, REFUSED)
_BY_SIZE: Final = Outcome(WHOLE, NOTHING, _SIZE_0)
_BY_CACHE: Final = Outcome(REFUSED, WHOLE, _NO_CACHE)
_BY_END: Final = Outcome(WHOLE, REFUSED, "/proc has no end to seek to; EINVAL")
_BY_MAPPING: Final = Outcome(REFUSED, NOTHING, f"{_NO_MAPPING}. {_SIZE_0}")


@dataclass(frozen=True, slots=True)
class Reader:
    """What copies a file: `command` is given source and destination."""

    name: str
    command: Sequence[str]
    outcome: Outcome = _BOTH
    environment: tuple[tuple[str, str], ...] = ()


def _shell(name: str, script: str, outcome: Outcome = _BOTH) -> Reader:
    return Reader(name, ("bash", "-c", f"set -e; {script}", "bash"), outcome)


def _raw(name: str, way: str, outcome: Outcome = _BOTH) -> Reader:
    return Reader(name, (sys.executable, "-P", "-m", "tests.compat.raw_reads", way), outcome)


def _coreutils() -> Iterator[Reader]:
    yield _shell("cp", 'cp "$1" "$2"')
    yield _shell("cp --reflink=auto --sparse=never", 'cp --reflink=auto --sparse=never "$1" "$2"')
    yield _shell("cp --sparse=always", 'cp --sparse=always "$1" "$2"')
    yield _shell("install", 'install -m 600 "$1" "$2"')
    for command in ("tail -n +1", "tail -n 100000", "tail -c 10000000"):
        yield _shell(command, f'{command} "$1" > "$2"')
    for command in ("tail -n 1", "tail -c 10", "head -c 10", "sort", "grep -c .", "wc -l"):
        yield _shell(command, _SAME.format(command, command))
    yield _shell("wc -c", _SAME.format("wc -c", "wc -c"))
    for command in ("tail -n 2", "tail -c 15", "head -n 1", "sort -r"):
        yield _shell(f"{command} FILE", _SAME_NAMED.format(command, command))
    yield _shell("tac", 'tac "$1" | tac > "$2"')
    yield _shell("dd bs=512", 'dd status=none bs=512 if="$1" of="$2"')
    yield _shell("dd bs=1M", 'dd status=none bs=1M if="$1" of="$2"')
    yield _shell("split -b", 'split -b 1000 "$1" "$2." && cat "$2".* > "$2"')
    yield _shell("split -n 3", 'split -n 3 "$1" "$2." && cat "$2".* > "$2"')
    yield _shell("redirection", 'cat < "$1" > "$2"')
    yield _shell("mapfile", 'mapfile < "$1"; printf %s "${MAPFILE[@]}" > "$2"')
    yield _shell("read", 'while IFS= read -r line; do printf "%s\\n" "$line"; done < "$1" > "$2"')
    yield _shell("sed -i", 'sed -i s/a/b/ "$1"', _NEITHER)


def _archivers() -> Iterator[Reader]:
    there = 'cd "$(dirname "$1")" && file=$(basename "$1") &&'
    yield _shell("tar", f'{there} tar -cf "$2.tar" "$file" && tar -xOf "$2.tar" > "$2"', _BY_SIZE)
    yield _shell(
        "cpio",
        f'{there} echo "$file" | cpio --quiet -oH newc > "$2.a"; cpio --quiet -i --to-stdout < "$2.a" > "$2"',
        _BY_SIZE,
    )
    yield _shell("rsync", 'rsync "$1" "$2"', _BY_SIZE)
    yield _shell("curl file://", 'curl -s "file://$1" -o "$2"')


def _boxes() -> Iterator[Reader]:
    for box in ("busybox", "toybox"):
        yield _shell(f"{box} cat", f'{box} cat "$1" > "$2"')
        yield _shell(f"{box} cp", f'{box} cp "$1" "$2"')
        yield _shell(f"{box} tail -n +1", f'{box} tail -n +1 "$1" > "$2"')
        yield _shell(f"{box} tac", f'{box} tac "$1" | tac > "$2"')
        for command in ("wc -c", "tail -n 1", "head -c 10", "sort", "grep -c ."):
            applet = f"{box} {command}"
            yield _shell(applet, _SAME.format(applet, applet))
        there = 'cd "$(dirname "$1")" && file=$(basename "$1") &&'
        tar = f'{there} {box} tar -cf "$2.tar" "$file" && tar -xOf "$2.tar" > "$2"'
        yield _shell(f"{box} tar", tar, _BY_SIZE)
    yield _shell("busybox dd", 'busybox dd bs=512 if="$1" of="$2" 2> /dev/null')


def _languages() -> Iterator[Reader]:
    yield _raw("Python: read", "read")
    yield _raw("Python: readinto", "readinto", Outcome(WHOLE, CUT, _SIZE_0))
    yield _raw("Python: shutil.copy", "shutil")
    yield _raw("Python: tarfile; Go: archive/tar", "tarfile", _BY_SIZE)
    yield _raw("Python: mmap", "mmap", _NEITHER)
    for way in ("copyFileSync", "copyFile", "readFileSync", "readFile", "stream"):
        command = ("node", str(_HERE / "copies.js"), way)
        outcome = _BY_SIZE if way.startswith("copy") else _BOTH
        yield Reader(f"Node.js: {way}", command, outcome)
        yield Reader(f"Node.js: {way}, io_uring", command, outcome, (("UV_USE_IO_URING", "1"),))
    for way in ("readAllBytes", "copy", "transferTo", "map"):
        command = ("java", str(_HERE / "Copies.java"), way)
        yield Reader(f"Java: {way}", command, _BOTH if way in {"readAllBytes", "copy"} else _BY_MAPPING)
    yield _raw("Go: os.ReadFile; Rust: fs::read; Ruby: File.read", "to the end")
    yield _raw("Go: io.Copy", "go copy")
    yield _raw("Rust: read_exact of the length; scp", "exact", _BY_SIZE)
    yield _raw("PHP: file_get_contents", "php")
    yield _raw("C: fseek, ftell, fread", "from the end", _BY_END)
    perl = "use File::Copy; copy($ARGV[0], $ARGV[1]) or die"
    yield Reader("Perl: File::Copy", ("perl", "-e", perl))
    perl = "open F, $ARGV[0]; read F, $b, -s F; open T, '>', $ARGV[1]; print T $b"
    yield Reader("Perl: read of -s", ("perl", "-e", perl), _BY_SIZE)


def _calls() -> Iterator[Reader]:
    yield _raw("read(2) of 1 byte", "read of 1")
    for way in ("read", "readv", "read_fixed"):
        yield _raw(f"io_uring: {way} in pieces", f"{way}, pieces")
        yield _raw(f"io_uring: {way} of 8191", f"{way}, 8191")
    yield _raw("preadv2(2), RWF_NOWAIT", "nowait", _NEITHER)
    yield _raw("sendfile(2)", "sendfile", _BY_CACHE)
    yield _raw("splice(2)", "splice", _BY_CACHE)
    yield _raw("copy_file_range(2)", "copy_file_range", _NEITHER)
    yield _raw("inotify(7): IN_OPEN, IN_ACCESS", "watched")
    yield _raw("O_PATH, then /proc/self/fd", "reopened")


READERS: Final = (*_coreutils(), *_archivers(), *_boxes(), *_languages(), *_calls())
