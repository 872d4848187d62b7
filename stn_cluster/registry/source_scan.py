"""What a Python source names: the modules that it imports, and what may be files beside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 255  # characters of a file's name
_PLACEHOLDER = re.compile(r"%[-+ #0-9.]*[a-z]|\{[^{}]*\}")
_IMPORTS = ("import_module", "__import__", "find_spec")
_LISTS = {"iterdir": "*", "listdir": "*", "scandir": "*", "glob": "*", "iglob": "*"}
_LISTS_DEEP = {"walk": "**", "rglob": "**"}
_SUFFIX = re.compile(r"\.\w+")
_REGISTERS = re.compile(r"register_(model|transform|distortion|dataset|recipe)")


@dataclass(frozen=True)
class Named:
    """What a source names."""

    modules: frozenset[str] = frozenset()  # dotted names, absolute; also those imported lazily
    files: frozenset[str] = frozenset()  # texts that may be paths; `*` where a part is computed
    words: frozenset[str] = frozenset()  # names of variables, attributes and imported modules


@lru_cache(maxsize=1024)  # a plug-in's sources are scanned for each component that it registers
def scan(source: bytes, package: str = "") -> Named:
    """Modules that a source imports anywhere, also in functions, and texts that may be paths.

    Args:
        source: the file's content; one that is not Python names nothing.
        package: package of the module, which relative imports begin at.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Named()
    modules: set[str] = set()
    skipped: set[int] = set()  # constants that are names of components
    files: set[str] = set()
    words: set[str] = set()
    listed: set[str] = set()  # how deep folders are listed, as patterns
    for node in ast.walk(tree):
        modules.update(_imported(node, package))
        if isinstance(node, ast.Attribute | ast.Name):
            words.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        if isinstance(node, ast.Call):
            listed.update(filter(None, [(_LISTS | _LISTS_DEEP).get(_called(node))]))
        if isinstance(node, ast.Call) and _REGISTERS.fullmatch(_called(node)):
            skipped.update(id(argument) for argument in node.args)
        elif isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            files.add(_text(node))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            files.add(_text(node))
        elif isinstance(node, ast.Constant) and id(node) not in skipped:
            files.add(_PLACEHOLDER.sub("*", node.value) if isinstance(node.value, str) else "")
    # What is listed is chosen by its suffix: `[p for p in HERE.iterdir() if p.suffix == ".csv"]`.
    files |= {f"{pattern}{text}" for pattern in listed for text in files if _SUFFIX.fullmatch(text)}
    words.update(part for module in modules for part in module.split("."))
    return Named(frozenset(modules), frozenset(filter(_may_be_a_path, files)), frozenset(words))


def _text(node: ast.AST) -> str:
    """The text that an expression makes, with `*` for what is computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return re.sub(r"\*+", "*", _text(node.left) + _text(node.right))
    return "*"


def _may_be_a_path(text: str) -> bool:
    if not text or len(text) > LONGEST or any(c < " " for c in text):
        return False
    return "*" not in text or len(re.findall(r"\w", text)) >= 2


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package)
        if base:
            yield base
        for alias in node.names:  # each may be a submodule
            yield f"{base}.{alias.name}" if base else alias.name
    elif isinstance(node, ast.Call) and _called(node) in _IMPORTS and node.args:
        name, star, _ = _text(node.args[0]).partition("*")
        name = name.rpartition(".")[0] if star else name  # f"nets.{name}" is in nets
        if name.strip("."):
            yield _absolute(name, package)


def _absolute(name: str, package: str) -> str:
    """Dotted name without leading dots: '..nets' in 'pack.sub' is 'pack.nets'."""
    rest = name.lstrip(".")
    level = len(name) - len(rest)
    if not level:
        return name
    parts = package.split(".") if package else []
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, *filter(None, [rest])])


def _called(call: ast.Call) -> str:
    """Last part of a called function's name: 'import_module' for `importlib.import_module`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
