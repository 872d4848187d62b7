"""Text that others have made, such as names and errors of user code, for people and programs.

Nothing in it may act: control characters steer terminals, line breaks make two rows of one, bidi
marks show text in another order than it has, and a spreadsheet computes what begins with =.
"""

from __future__ import annotations

import re
from typing import Any

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
# Control characters (C0, DEL, C1), line and paragraph separators, bidi marks, half of a surrogate.
_CONTROLS = re.compile(f"[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")
_CONTROLS_IN_LINES = re.compile(
    f"[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u2028\u2029{_BIDI}\ud800-\udfff]"
)
_ESCAPED_CONTROLS = re.compile(
    rf"{_CONTROLS_IN_LINES.pattern}|\\(?:[bfr]|u(?:00[0189]|007f|061c|20[026]|feff|d[89a-f]))",
    re.IGNORECASE,
)
# Colours, cursor movements, titles: only a terminal has a use for them.
_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI ... letter
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # OSC ... BEL or ST
)
_FORMULA = set("=+-@\uff1d\uff0b\uff0d\uff20")  # also as East Asian keyboards write them


def one_line(text: str) -> str:
    """Text in one line: a line break is shown as \\n, other control characters as in \\x1b."""
    return _CONTROLS.sub(_escape, text)


def plain_lines(text: str) -> str:
    """Lines of text without colours and cursor movements; other control characters as in \\x00."""
    return _CONTROLS_IN_LINES.sub(_escape, _TERMINAL.sub("", text).replace("\r\n", "\n"))


def plain_values(value: Any) -> Any:
    """JSON's values with all their texts, names too, as `plain_lines` gives them."""
    if isinstance(value, str):
        return plain_lines(value)
    if isinstance(value, list):
        return [plain_values(one) for one in value]
    if isinstance(value, dict):
        return {plain_lines(name): plain_values(one) for name, one in value.items()}
    return value


def may_act(encoded: str) -> bool:
    """Whether JSON may have texts that `plain_lines` would change, escaped or not."""
    return _ESCAPED_CONTROLS.search(encoded) is not None


def shortened(text: str, length: int) -> str:
    """Text of at most `length` characters, which ends with an ellipsis if it was longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def for_spreadsheet(text: str) -> str:
    """Text in one line that no spreadsheet takes for a formula: an apostrophe before it says so."""
    line = text if text.isprintable() else one_line(text)
    return f"'{line}" if line[:1] in _FORMULA else line


def in_json(encoded: str) -> str:
    """JSON with the escapes of control characters that JSON itself would leave as they are."""
    return _CONTROLS_IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
