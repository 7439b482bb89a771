"""Errors a user can cause and mend. Each message is one sentence: what is wrong, which value, what to do.

The command line and the page show these sentences as they are; anything else is a bug and may show a traceback.
"""

from __future__ import annotations


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
