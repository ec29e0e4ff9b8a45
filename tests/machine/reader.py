"""A program that reads files in a container while something happens to whoever serves them."""

from typing import Final

#: Reads all files again and again, one of them in pieces, until its input ends; then tells what it saw.
READER: Final = """
import json, os, select, sys, time
names = sys.argv[1:]
reads = failed = torn = back = 0
longest = 0.0
before = {}
problems = []
while not select.select([sys.stdin], [], [], 0)[0]:
    for name in names:
        started = time.monotonic()
        try:
            fd = os.open(f"/proc/{name}", os.O_RDONLY)
            size = 512 if name in ("stat", "meminfo") else 65536
            content = b""
            while piece := os.read(fd, size):
                content += piece
            os.close(fd)
        except OSError as error:
            failed += 1
            problems.append(repr(error))
            continue
        longest = max(longest, time.monotonic() - started)
        reads += 1
        lines = content.decode().splitlines()
        # A container without block I/O has no device.
        whole = content.endswith(b"\\n") or (name == "diskstats" and not content)
        if name == "meminfo":
            fields = {l.split(":")[0] for l in lines}
            whole = whole and lines[0].startswith("MemTotal:") and len(fields) == len(lines)
            whole = whole and all(len(l.split()) in (2, 3) for l in lines)
        elif name == "stat":
            cpus = [l.split() for l in lines if l.startswith("cpu")]
            total = [int(n) for n in cpus[0][1:]]
            whole = whole and total == [sum(int(c[i + 1]) for c in cpus[1:]) for i in range(len(total))]
            last = before.get("stat", [0] * len(total))
            if any(new < old for new, old in zip(total, last)):
                back += 1
                problems.append(f"{last} -> {total}")
            before["stat"] = total
        elif name == "uptime":
            whole = whole and len(content.split()) == 2
        if not whole:
            torn += 1
            problems.append(f"{name} {content!r}")
seen = dict(reads=reads, failed=failed, torn=torn, back=back, longest=longest, problems=problems[:2])
print(json.dumps(seen))
"""
