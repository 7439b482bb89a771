"""The line that says what is going on: the one place for it."""

from __future__ import annotations

import html

import gradio as gr

from stylekit.ui.parts import progress

FAILED = "Something went wrong on the server and is in its log: try again."


def say(
    text: str,
    state: str = "quiet",
    done: float | None = None,
    seconds: float | None = None,
    stages: list[tuple[str, float, float]] | None = None,
) -> str:
    """The status line. Its clock is kept from screen readers, which would read it out four times a second.

    done: 0 to 1. stages: in its place, how far a picture is, as `progress.Stopwatch.shares` has it.
    """
    clock = f'<i aria-hidden="true">{seconds:.1f} s</i>' if seconds is not None else ""
    bar = f'<progress max="1" value="{done:.3f}" aria-label="Progress"></progress>' if done is not None else ""
    if stages:
        bar = progress.bar(stages)
    return f'<div class="sk-status" data-state="{state}"><span role="status">{html.escape(text)}</span>{bar}{clock}</div>'


def complain(sentence: str) -> str:
    """A user's mistake, for the status line."""
    return say(sentence, "error")


def note(sentence: str) -> None:
    """Show what a user should know of what they gave, as a note that pops up; programs find it in the log of their job."""
    gr.Warning(html.escape(sentence))
