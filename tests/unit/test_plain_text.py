"""Text of others: nothing in it acts on a terminal, a table or a spreadsheet."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_cluster.errors import UserError
from stn_cluster.plain_text import (
    for_spreadsheet,
    in_json,
    one_line,
    plain_lines,
    shortened,
)


@given(st.text())
def test_one_line_is_one_line_whatever_it_was(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    line.encode()  # no half of a surrogate
    assert not {"\x1b", "\x9b", "\x00", "\x7f", "\u202e", "\u2067", "\t"} & set(line)
    if text.isprintable():
        assert line == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202efdp.exe", r"\u202efdp.exe"),
        ("zwölf 十二 🎉", "zwölf 十二 🎉"),
    ],
)
def test_control_characters_are_shown(text: str, line: str) -> None:
    assert one_line(text) == line


def test_lines_stay_lines_without_colours() -> None:
    assert plain_lines("\x1b[1mone\x1b[0m\r\n\ttwo\x07\x1b]0;t\x1b\\") == "one\n\ttwo\\x07"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_takes_it_for_text(text: str) -> None:
    assert for_spreadsheet(text) == f"'{text}"
    assert for_spreadsheet(f"a{text}") == f"a{text}"


@given(st.text())
def test_json_stays_the_same_json(text: str) -> None:
    encoded = in_json(json.dumps([text], ensure_ascii=False))
    assert json.loads(encoded) == [text]
    assert len(encoded.splitlines()) == 1
    assert not {"\x7f", "\x9b", "\u202e"} & set(encoded)


def test_what_is_too_long_ends_with_an_ellipsis() -> None:
    assert shortened("abcd", 4) == "abcd"
    assert shortened("abcde", 4) == "abc…"


def test_an_errors_message_is_neutral() -> None:
    assert str(UserError("no\nmodel '\x1b[31mCNN'")) == r"no model '\x1b[31mCNN'"
