"""Errors that end the program with one line."""


class StartupError(Exception):
    """Why the daemon cannot start, in words for an operator: one line, exit status 1, no traceback."""
