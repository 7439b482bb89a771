"""What the commands of training share: mistakes told in a sentence, and said once where there are several processes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

import psutil

from stylekit.errors import StyleError

BUSY = 1.5  # programs more than cores, of which a run of its own may be one


def is_first() -> bool:
    """Whether this is the only process of the run, or the one that speaks for all, as torchrun and accelerate number them."""
    return os.environ.get("RANK", "0") == "0"


def run_script(name: str, run: Callable[[], object]) -> int:
    """The exit code of `run`, with what a user can mend told in one sentence, once."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the processor to others; read when torch is loaded
    try:
        run()
    except StyleError as error:
        _complain(f"{name}: {error}")
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        _complain(f"{name}: {error.filename or 'a file'} could not be written ({error.strerror}): make room and run it again.")
        return 2
    except KeyboardInterrupt as stopped:
        _complain(f"{name}: {str(stopped) or 'stopped'}; the same command goes on from there")
        return 130
    return 0


def _complain(text: str) -> None:
    if is_first():
        print(text, file=sys.stderr)


def busy_hint(threads: int | None) -> str:
    """What to say of a machine on which other programs run; empty where there is nothing to say, or `threads` are chosen."""
    cores = os.cpu_count() or 1
    load = psutil.getloadavg()[0]
    if threads or load < cores + BUSY:
        return ""
    return f"the machine is busy ({load:.0f} programs at work on {cores} cores): --threads 1 may be faster, and leaves more to the others"
