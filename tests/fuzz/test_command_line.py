"""Any command line is understood, or refused in one line."""

from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.cli import parse_arguments
from pylxcfs.config import Config
from tests.fuzz.damage import MANY

_WORDS = (
    *("-f", "-u", "-o", "-p", "-d", "-v", "-h", "-s", "-l", "--", "-", "--cache-ttl", "--runtime-dir"),
    *("--log-level", "--enable-cfs", "--disable-swap", "--enable-psi-poll", "--memory-high", "--pidfile="),
    *(
        "allow_other,ro",
        "max_read=1",
        "-omax_read=" + "9" * 5000,
        "fsname=%s",
        "/mnt",
        "debug",
        "nan",
        "1e400",
    ),
    *("0.05", "-1", "%(prog)s", "{}", "@file"),
)
_arguments = st.text(st.characters(exclude_characters="\0"), max_size=8)


@MANY
@given(argv=st.lists(st.sampled_from(_WORDS) | _arguments | st.just("\udcff"), max_size=6))
def test_command_line(argv: list[str]) -> None:
    """It becomes a configuration, or ends the program as `-h` or a mistake does."""
    codes = {0, 2}
    try:
        assert isinstance(parse_arguments(argv), Config)
    except SystemExit as end:
        codes.add(int(end.code or 0))
    assert codes == {0, 2}
