"""Shell lines that people copy: zsh, in which a bracket is a pattern, takes them as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"\s*(\.venv/bin/|python -m )?(stn-cluster|pip|ray|make|python|docker) ")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def shell_lines() -> Iterator[tuple[Path, str]]:
    """Lines of Markdown, and of scripts and messages in code, that begin with a command."""
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docker/*.md")]:
        text = path.read_text()
        blocks = re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        yield from ((path, line) for block in blocks for line in block.splitlines())
        yield from ((path, line) for line in inline)
    for path in [*ROOT.glob("jobs/**/*.py"), *ROOT.glob("stn_cluster/**/*.py")]:
        text = path.read_text()
        yield from ((path, line) for line in re.findall(r"pip install [^\n]*", text))
        yield from ((path, line) for line in text.splitlines() if COMMAND.match(line))


def test_brackets_are_quoted() -> None:
    lines = [(path, line) for path, line in shell_lines() if COMMAND.match(line)]
    assert len(lines) > 30
    assert any("[" in line for _, line in lines)
    for path, line in lines:
        assert not re.search(r"[\[\]*?]", QUOTED.sub("", line.partition(" #")[0])), (
            f"{path}: {line}"
        )
