"""Options of this machine are refused where a service has its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.refusals import assert_refused, make_command

from stn_cluster.cli.options import DATA_VARIABLE, refuse_with_server
from stn_cluster.errors import UserError

SERVER = ("--server", "http://127.0.0.1:1")


@pytest.mark.parametrize("command", [["table"], ["table", "--interval"], ["rerun"]])
def test_a_data_root_is_refused(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = make_command(monkeypatch, capsys)
    told = call(*command, *SERVER, "--data-root", tmp_path)
    assert_refused(told, "--data-root: not with --server: the service has its own")


def test_one_from_the_environment_is_no_option_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    refuse_with_server({"data_root": tmp_path})
    refuse_with_server({"data_root": None})
    monkeypatch.setenv(DATA_VARIABLE, f"{tmp_path}//")  # written in another way
    refuse_with_server({"data_root": tmp_path})
    with pytest.raises(UserError, match="--workers, --data-root: not with --server"):
        refuse_with_server({"workers": 2, "data_root": tmp_path / "other"})
