"""What a source names: modules that it imports, texts that may be files."""

from __future__ import annotations

import pytest

from stn_cluster.registry.source_scan import scan


@pytest.mark.parametrize(
    ("source", "package", "modules"),
    [
        ("import a, b.c", "", {"a", "b.c"}),
        ("from a import b", "", {"a", "a.b"}),
        ("def f():\n    import a", "", {"a"}),
        ("try:\n    import a\nexcept ImportError:\n    a = None", "", {"a"}),
        ("class A:\n    from . import b", "p.q", {"p.q", "p.q.b"}),
        ("from ..b import c", "p.q", {"p.b", "p.b.c"}),
        ("import importlib\nimportlib.import_module('a.b')", "", {"importlib", "a.b"}),
        ("import_module('.b', __package__)", "p", {"p.b"}),
        ("__import__('a')", "", {"a"}),
        ("import_module(name)", "", set()),
        ("this is no Python", "", set()),
    ],
)
def test_modules_are_found_wherever_they_are_imported(
    source: str, package: str, modules: set[str]
) -> None:
    assert scan(source.encode(), package).modules == modules


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("x = HERE / 'data' / 'w.pt'", {"data", "w.pt"}),
        ("open(f'fold{n}.csv')", {"fold*.csv"}),
        ("open(f'{name}/w.pt')", {"*/w.pt"}),
        ("open('fold%d.csv' % n)", {"fold*.csv"}),
        ("open('fold{}.csv'.format(n))", {"fold*.csv"}),
        ("HERE.glob('*.npz')", {"*.npz"}),
        ("print(f'{x}')", set()),
        ("HERE.glob('*')", set()),
        ("register_model('data')(make)", set()),
        ("'two\\nlines'", set()),
    ],
)
def test_texts_that_may_be_files_are_found(source: str, files: set[str]) -> None:
    assert scan(source.encode()).files == files


def test_names_of_variables_attributes_and_modules_are_found() -> None:
    assert scan(b"import a.b\nfrom c import d\ne.f(g)").words == set("abcdefg")
