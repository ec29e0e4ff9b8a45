"""Hands jobs to the worker, which must be a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pylxcfs.reattach.protocol import Answer, Job, Word, dump_jobs, load_answers

#: Isolated, without site: neither the environment nor the working directory has a say in what is imported.
_PROGRAM: Final = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from pylxcfs.reattach.worker import main
main()
"""
_PACKAGES: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Worker:
    """What binds are made of; `tree_fd` is -1 where nothing of ours is mounted, and none can be made."""

    proc_root: Path
    tree_fd: int = -1
    #: ``major:minor`` of our tree; a mount of it is never replaced.
    device: str = "none"

    def carry_out(self, jobs: Sequence[Job]) -> list[list[Answer]]:
        """Carry out all jobs, one after the other; one list of answers each, in the order of its orders."""
        if not jobs:
            return []
        proc_fd = os.open(self.proc_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            done = subprocess.run(  # noqa: S603 - ours
                [
                    *(sys.executable, "-ISc", _PROGRAM, _PACKAGES),
                    *(str(proc_fd), str(self.tree_fd), self.device),
                ],
                input=dump_jobs(jobs).encode(),
                stdout=subprocess.PIPE,
                pass_fds=[fd for fd in (proc_fd, self.tree_fd) if fd >= 0],
                check=False,
            )
        finally:
            os.close(proc_fd)
        answers = [load_answers(line) for line in done.stdout.splitlines()]
        unanswered = jobs[len(answers) :]
        return answers + [
            [Answer(Word.FAILED, "the worker ended early")] * len(job.orders) for job in unanswered
        ]
