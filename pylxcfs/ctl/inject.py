"""``pylxcfsctl inject``: pods of Kubernetes manifests get our files, without a cluster."""

import argparse
import sys
from pathlib import Path

from pylxcfs.console import complain
from pylxcfs.errors import StartupError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    from pylxcfs.webhook.options import add_policy_arguments  # noqa: PLC0415 - other commands should not wait for it

    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        required=True,
        help="YAML or JSON, any number of documents; - is standard input. The result goes to standard output",
    )
    add_policy_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the manifests with our files added; say on stderr what was left out and why."""
    from pylxcfs.webhook.options import settings_of  # noqa: PLC0415 - as above

    try:
        from pylxcfs.webhook.manifests import ManifestError, inject  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        raise StartupError(f"inject needs {error.name}: pip install 'pylxcfs[webhook]'") from None

    is_stdin = arguments.filename == "-"
    name = "standard input" if is_stdin else arguments.filename
    try:
        content = sys.stdin.buffer.read() if is_stdin else Path(arguments.filename).read_bytes()
        text, results = inject(content.decode(), settings_of(arguments))
    except (ManifestError, UnicodeDecodeError) as error:
        raise StartupError(f"{name}: {error}") from None
    # YAML is UTF-8, whatever the terminal is.
    sys.stdout.buffer.write(text.encode())
    for result in results:
        decision, subject = result.decision, f"{result.kind} {result.name}"
        if not decision.patch:
            complain("pylxcfsctl", f"{subject}: nothing added ({decision.reason.value})")
        for warning in decision.warnings:
            complain("pylxcfsctl", f"{subject}: {warning}")
    return 0
