"""Errors a user can cause and mend. Each message is one sentence: what is wrong, which value, what to do.

The command line and the page show these sentences as they are; anything else is a bug and may show a traceback.
"""

from __future__ import annotations

EMPTY = "{name} is empty (0 bytes): copy or download it again."  # the same for every kind of file


class StyleError(Exception):
    """A mistake in what the user gave. The message is meant for the user."""


class PictureError(StyleError):
    """A picture that cannot be used."""


class SettingError(StyleError):
    """A setting outside its range, or of the wrong kind."""


class UnknownStyleError(StyleError):
    """A style that is not in the library, or that has no adapter for the base in use."""


class BaseError(StyleError):
    """A base model that cannot be loaded."""


class AdapterError(StyleError):
    """An adapter file that cannot be used with the base."""


def first_line(error: BaseException, limit: int = 160) -> str:
    """What `error` says, in one line of at most `limit` characters; its kind where it says nothing.

    The system's own errors name paths of this machine besides, which are left out.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]
