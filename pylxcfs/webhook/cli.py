"""The command line of pylxcfs-webhook."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pylxcfs import __version__
from pylxcfs.console import OneLineParser, complain
from pylxcfs.errors import StartupError
from pylxcfs.webhook.options import add_policy_arguments, settings_of
from pylxcfs.webhook.settings import Settings

if TYPE_CHECKING:
    from pylxcfs.webhook.server import ServerOptions

_LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds (0 or more): {text!r}")
    return value


def _any_address(port: int) -> str:
    """All addresses of the machine; a kernel without IPv6 has no ``[::]``."""
    return f"[::]:{port}" if socket.has_dualstack_ipv6() else f"0.0.0.0:{port}"


def build_parser() -> OneLineParser:
    """Return the parser of the command line."""
    parser = OneLineParser(
        prog="pylxcfs-webhook",
        usage="%(prog)s [options]",
        description="Kubernetes admission webhook: gives pods the files that pylxcfs serves on their nodes.",
        allow_abbrev=False,
    )
    add_policy_arguments(parser)
    parser.add_argument(
        "--bind", metavar="HOST:PORT", default=_any_address(8443), help="reviews, TLS (default: %(default)s)"
    )
    parser.add_argument(
        "--health-bind",
        metavar="HOST:PORT",
        default=_any_address(8080),
        help="/healthz, /readyz and /metrics, plain HTTP (default: %(default)s)",
    )
    parser.add_argument("--tls-cert", metavar="FILE", type=Path, help="certificate, renewed by somebody else")
    parser.add_argument("--tls-key", metavar="FILE", type=Path, help="its key; without both, make our own")
    own = parser.add_argument_group("certificates of our own")
    own.add_argument(
        "--namespace",
        metavar="NAME",
        default=os.environ.get("POD_NAMESPACE", "pylxcfs-webhook"),
        help="where Service and Secret are (default: %(default)s)",
    )
    own.add_argument("--service", metavar="NAME", default="pylxcfs-webhook", help="default: %(default)s")
    own.add_argument("--secret", metavar="NAME", default="pylxcfs-webhook-tls", help="default: %(default)s")
    own.add_argument(
        "--configuration",
        metavar="NAME",
        default="pylxcfs-webhook",
        help="MutatingWebhookConfiguration whose caBundle is kept (default: %(default)s)",
    )
    own.add_argument(
        "--service-account",
        metavar="DIR",
        type=Path,
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        help="default: %(default)s",
    )
    parser.add_argument(
        "--check-seconds",
        metavar="SECONDS",
        type=_seconds,
        default=30.0,
        help="how often certificates are looked after (default: %(default)s)",
    )
    parser.add_argument(
        "--drain-seconds",
        metavar="SECONDS",
        type=_seconds,
        default=5.0,
        help="how long reviews are taken after SIGTERM (default: %(default)s)",
    )
    parser.add_argument("--log-level", choices=_LOG_LEVELS, default="info", help="default: %(default)s")
    parser.add_argument("-v", "--version", action="version", version=f"pylxcfs-webhook {__version__}")
    return parser


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[Settings, "ServerOptions", str]:
    """Check the command line; return what is injected, how it is served, and the log level.

    Raises SystemExit for ``-h``, ``-v`` and wrong usage, StartupError for a missing environment.
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        parser.error("--tls-cert and --tls-key need each other")
    try:
        from pylxcfs.webhook.authority import Place  # noqa: PLC0415 - needs the extra
        from pylxcfs.webhook.server import GivenFiles, OwnAuthority, ServerOptions  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise StartupError(f"{error.name} is missing: pip install 'pylxcfs[webhook]'") from None

    certificates: GivenFiles | OwnAuthority
    if arguments.tls_cert is not None:
        certificates = GivenFiles(arguments.tls_cert, arguments.tls_key)
    else:
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        if not host:
            raise StartupError("not in a cluster (no KUBERNETES_SERVICE_HOST): give --tls-cert and --tls-key")
        certificates = OwnAuthority(
            Place(arguments.namespace, arguments.service, arguments.secret, arguments.configuration),
            (host, os.environ.get("KUBERNETES_SERVICE_PORT", "443")),
            arguments.service_account,
        )
    options = ServerOptions(
        arguments.bind, arguments.health_bind, certificates, arguments.check_seconds, arguments.drain_seconds
    )
    return settings_of(arguments), options, arguments.log_level.upper()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the webhook; return its exit status."""
    try:
        settings, options, log_level = parse_arguments(argv)
        from pylxcfs.webhook import logs, server  # noqa: PLC0415 - needs the extra

        logs.set_up(log_level)
        return server.run(settings, options)
    except (OSError, StartupError) as error:
        complain("pylxcfs-webhook", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
