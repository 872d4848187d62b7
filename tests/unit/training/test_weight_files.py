"""Files of weights: what is read, what is unwrapped, what is refused, in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stn_cluster.errors import UserError
from stn_cluster.training.weight_files import load_into, read_weights


def a_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def kept(path: Path, saved: Any) -> list[str]:
    """Saves, loads into another model and compares; what was said of it."""
    torch.save(saved, path)
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    remarks = load_into(other, read_weights(path), "model 'Mine'")
    for name, value in a_model().state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    return remarks


def prefixed(prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in a_model().state_dict().items()}


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda state: state, None),
        (lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}}, "its part 'st"),
        (lambda state: {"model": state, "attributes": [], "n_classes": 2}, "its part 'model' is"),
        (lambda state: {f"module.{k}": v for k, v in state.items()}, "begin with 'module.', which"),
        (lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()}, "'_orig_mod.'"),
        (lambda state: {k: v.double() for k, v in state.items()}, None),
    ],
    ids=["plain", "nested", "a store's", "DataParallel", "compiled", "float64"],
)
def test_state_dicts_are_found_where_there_is_no_doubt(
    tmp_path: Path, wrap: Any, told: str | None
) -> None:
    remarks = kept(tmp_path / "w.pt", wrap(a_model().state_dict()))
    assert (told is None and remarks == []) or told in remarks[0]
    assert all(remark.startswith("w.pt: ") for remark in remarks)


def test_both_formats_are_told_apart_by_their_contents(tmp_path: Path) -> None:
    state = dict(a_model().state_dict())
    save_file(state, tmp_path / "w.pt")  # a name that says something else
    assert read_weights(tmp_path / "w.pt").state.keys() == state.keys()
    torch.save(state, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "old.safetensors").state.keys() == state.keys()


class Evil:
    def __reduce__(self) -> Any:
        return Path("made").write_text, ("",)


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ({"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}}, "there are several: a, b"),
        ({"epoch": 3}, "holds no state dict, only epoch"),
        ([torch.ones(1)], "holds list, not a state dict"),
        ({"x": Evil()}, "is not a state dict that can be read without running its code"),
        (nn.Linear(2, 2), "is not a state dict that can be read without running its code"),
        ({}, "holds no state dict"),
    ],
    ids=["several", "none", "a list", "code", "a module", "empty"],
)
def test_what_is_no_state_dict_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Any, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(saved, tmp_path / "w.pt")
    with pytest.raises(UserError) as raised:
        read_weights(tmp_path / "w.pt")
    assert told in str(raised.value)
    assert "w.pt" in str(raised.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("cut", [0, 3, 200])
def test_damaged_files_are_refused(tmp_path: Path, cut: int) -> None:
    torch.save(a_model().state_dict(), tmp_path / "w.pt")
    save_file(dict(a_model().state_dict()), tmp_path / "w.safetensors")
    for path in (tmp_path / "w.pt", tmp_path / "w.safetensors"):
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(UserError, match=path.name):
            read_weights(path)


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    state = dict(a_model().state_dict())
    state["0.weight"] = torch.ones(2, 4)
    state["extra"] = state.pop("1.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError) as raised:
        load_into(a_model(), read_weights(tmp_path / "w.safetensors"), "model 'Mine'")
    assert str(raised.value) == (
        "weights w.safetensors do not fit model 'Mine': missing: 1.bias; left over: extra; "
        "of another shape: 0.weight (2x4, not 2x3)"
    )


def test_heads_of_training_alone_are_left_out(tmp_path: Path) -> None:
    state = a_model().state_dict() | {"AuxLogits.fc.weight": torch.ones(1)}
    assert "auxiliary heads" in kept(tmp_path / "w.pt", state)[0]
