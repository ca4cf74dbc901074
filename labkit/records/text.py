"""Names from outside (runs, classes, methods) made safe for Markdown, CSV and terminals."""

import re

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute the cell
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?%?")


def terminal_text(text: str) -> str:
    """Return a text in one line with unprintable characters escaped: ESC as `\\x1b`."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(text))


def markdown_text(text: str) -> str:
    """Return a text that Markdown, also inside a table or as HTML, shows as it is."""
    text = terminal_text(text).replace("\\", "\\\\")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|`*_\[\]$#!~])", r"\\\1", text)


def csv_text(text: str) -> str:
    """Return a text for one CSV cell that no spreadsheet takes for a formula; numbers stay.

    Quoting of commas and quotes is the csv module's.
    """
    plain = terminal_text(text)
    starts = str(text).lstrip(" ").startswith(FORMULA_STARTS)
    return "'" + plain if starts and not NUMBER.fullmatch(plain) else plain


def figure_text(text: str) -> str:
    """Return a text that matplotlib draws as it is: no mathtext."""
    return terminal_text(text).replace("\\", "\\\\").replace("$", r"\$")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
