"""The line that says what is going on."""

from __future__ import annotations

import html

import gradio as gr


def say(text: str, state: str = "quiet", done: float | None = None, seconds: float | None = None) -> str:
    """The status line. Its clock is kept from screen readers, which would read it out four times a second."""
    clock = f'<i aria-hidden="true">{seconds:.1f} s</i>' if seconds is not None else ""
    bar = f'<progress max="1" value="{done:.3f}" aria-label="Progress"></progress>' if done is not None else ""
    return f'<div class="sk-status" data-state="{state}"><span role="status">{html.escape(text)}</span>{bar}{clock}</div>'


def complain(sentence: str) -> str:
    """Show a user's mistake as a note that pops up; the status line that keeps it."""
    gr.Warning(html.escape(sentence))
    return say(sentence, "error")
