"""Whether pyfuse3, and the libfuse below it, are there; the supervisor loads neither."""

import importlib
from typing import Final

#: What the driver was tested with (fuse/driver.py says on which lines it relies).
TESTED_VERSION: Final = "3.5"
ADVICE: Final = "install pyfuse3 (PyPI) and libfuse3 (Debian: libfuse3-3)"


def load_error() -> str:
    """Load pyfuse3; return why that fails, "" if it does not."""
    try:
        # An attribute too: what is left of a package that was taken away can be imported.
        importlib.import_module("pyfuse3").ROOT_INODE  # noqa: B018
    except (ImportError, AttributeError) as error:
        return str(error)
    return ""
