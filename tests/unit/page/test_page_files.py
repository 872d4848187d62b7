"""The page's files: what is vendored is what its record says, and nothing can become markup."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "stn_cluster" / "page"
VENDOR = PAGE / "vendor"
MODULES = sorted(PAGE.glob("*.js"))
STYLES = sorted(PAGE.glob("*.css"))
LARGEST_VENDORED, LARGEST_PAGE = 80_000, 150_000  # bytes; the page's as they go over the wire
LONGEST = 300  # lines of a module

# Ways to markup, to code from text, to inline styles.
FORBIDDEN = {
    "markup": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment"
    r"|DOMParser|dangerouslySetInnerHTML|srcdoc",
    "code from text": r"\beval\s*\(|new\s+Function|Function\s*\("
    r"|set(Timeout|Interval)\s*\(\s*[\"'`]|javascript:",
    "a style or handler as text": r"\bstyle=\"|\bstyle=\$\{[\"'`]|setAttribute\(\s*[\"']style"
    r"|cssText|<style|\son[a-z]+=\"",
    "another origin": r"https?://(?!www\.w3\.org/2000/svg)|[\"'(]//\w",
    "storage": r"localStorage|sessionStorage|document\.cookie",
}
MAY = {"session_key.js": "storage"}  # the only one


def files() -> list[Path]:
    return [*MODULES, *STYLES, PAGE / "index.html", PAGE / "icon.svg"]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_text_never_becomes_markup_or_code(path: Path) -> None:
    text = path.read_text()
    assert text
    found = {
        why: re.findall(pattern, text)
        for why, pattern in FORBIDDEN.items()
        if MAY.get(path.name) != why
    }
    assert {why: some for why, some in found.items() if some} == {}


@pytest.mark.parametrize(
    "text",
    [
        "one.innerHTML = name",
        "setTimeout('run()', 5)",
        'html`<p style="color: red">`',
        "fetch('https://elsewhere.org')",
        'import x from "//cdn.org/x.js"',
        '<a onclick="run()">',
        "html`<p style=${`color: ${hue}`}>`",
    ],
)
def test_what_is_forbidden_would_be_found(text: str) -> None:
    assert any(re.search(pattern, text) for pattern in FORBIDDEN.values())


def test_the_document_has_no_inline_script_or_style() -> None:
    text = (PAGE / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=\"/page/)", text) == []
    assert re.findall(r"<script[^>]*>\s*\S+?\s*</script>", text) == []
    assert "<style" not in text
    assert all(url.startswith("/page/") for url in re.findall(r"(?:src|href)=\"([^\"]+)\"", text))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_module_says_what_it_is_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("/** ")
    assert text.count("\n") <= LONGEST


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_import_is_a_file_of_the_page(path: Path) -> None:
    text = path.read_text()
    names = re.findall(r"(?:from|import)\s*\(?\s*\"([^\"]+)\"", text)
    assert all(name.startswith("./") for name in names)
    for name in names:
        target = (PAGE / name).resolve()
        assert target.is_file(), name
        wanted = re.findall(r"import \{([^}]*)\} from \"" + re.escape(name) + '"', text)
        if target.parent == PAGE:
            own = target.read_text()
            for one in {one.strip().split(" as ")[0] for part in wanted for one in part.split(",")}:
                assert not one or re.search(
                    rf"export (async )?(function|const|class) {re.escape(one)}\b"
                    rf"|export \{{[^}}]*\b{re.escape(one)}\b",
                    own,
                ), f"{path.name}: {name} has no {one}"


def test_every_import_is_used() -> None:
    unused = []
    for path in MODULES:
        if path.name == "lib.js":
            continue
        text = path.read_text()
        for part in re.findall(r"import \{([^}]*)\} from", text):
            for one in filter(None, (one.strip() for one in part.split(","))):
                if len(re.findall(rf"\b{re.escape(one.split(' as ')[-1])}\b", text)) < 2:
                    unused.append(f"{path.name}: {one}")
    assert unused == []


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_module_is_javascript(path: Path) -> None:
    command = ["node", "--check", "--input-type=module"]
    done = subprocess.run(command, input=path.read_text(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- what is vendored ---


def test_vendored_files_are_those_of_the_record() -> None:
    records = json.loads((VENDOR / "vendored.json").read_text())
    sums = {name: digest for record in records for name, digest in record["files"].items()}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "vendored.json"
    }
    assert found == sums
    for record in records:
        assert re.fullmatch(r"\d+\.\d+\.\d+", record["version"])
        assert record["licence"]
        own = [name for name in record["files"] if name.endswith("licence.txt")]
        # Of the one that has this project's licence, the text is the project's.
        assert own or "Apache-2.0" in record["licence"]


def test_vendored_files_are_small() -> None:
    assert sum(path.stat().st_size for path in VENDOR.iterdir()) < LARGEST_VENDORED


def test_vendored_modules_ask_for_nothing_else() -> None:
    for path in VENDOR.glob("*.js"):
        text = path.read_text()
        assert re.findall(r"\bfrom\s*\"(?!\./)", text) == []
        assert "sourceMappingURL" not in text
        assert not re.search(r"new Function|\beval\(", text)


def test_the_whole_page_is_light() -> None:
    import gzip

    sent = [*MODULES, *STYLES, PAGE / "index.html", *VENDOR.glob("*.js"), *VENDOR.glob("*.css")]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in sent) < LARGEST_PAGE
