"""Argument parsing as both programs do it: one line on stderr and exit status 1 for any mistake."""

from argparse import ArgumentParser
from typing import NoReturn


class OneLineParser(ArgumentParser):
    """An `ArgumentParser` whose errors are one line, without the usage text, and exit with status 1."""

    def error(self, message: str) -> NoReturn:
        """Print `message` on one line and leave."""
        # A sub-command's prog has several words ("pylxcfsctl show"); the program is the first.
        program = self.prog.split()[0]
        self.exit(1, f"{program}: {' '.join(message.split())}\n")
