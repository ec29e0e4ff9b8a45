"""Strategies: texts that once were right, and what may have become of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st

CAPTURES: Final = Path(__file__).parents[1] / "unit/captures"
#: Damage is cheap to try, and most of it is dull.
MANY: Final = settings(max_examples=4 * settings().max_examples)

#: Where integers of C, Python and the kernel's own limits end, and what is no number or not only one.
_WORDS: Final = (
    *(b"", b"-1", b"0", b"-9223372036854775808", b"9223372036854775807", b"9223372036854771712"),
    *(b"18446744073709551615", b"18446744073709551616", b"1" * 400, b"9" * 5000, b"max", b"nan", b"1e9"),
    *(b"0x10", b"1_0", b"+5", "\u0663".encode(), b"0-65535", b"65536", b"1-", b"0-3,2,9"),
    *(b" ", b"\n", b"\r", b"\f", b"\0", b"\t", b":", b"=", b",", b"/", b"..", b"\\777", b"\xff", b" - "),
)
pieces: Final = st.sampled_from(_WORDS) | st.binary(max_size=12)


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Take one of `seeds` and change up to four places in it; now and then give something else altogether."""
    text = draw(st.sampled_from(seeds))
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        if draw(st.booleans()):
            # A whole word: numbers are what most of these texts are made of.
            start = text.rfind(b" ", 0, start) + 1
            end = text.find(b"\n", start) if draw(st.booleans()) else text.find(b" ", start)
            end = len(text) if end < 0 else end
        else:
            end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.sampled_from((b"", text[start:end] * 2)) | pieces)
        text = text[:start] + piece + text[end:]
    return text


def captured(pattern: str) -> list[bytes]:
    """Return the files of all captured machines that match, the shortest 4 KiB of each."""
    found = [path.read_bytes()[:4096] for path in sorted(CAPTURES.glob(pattern))]
    assert found, pattern
    return found
