"""Names of test distortions."""

from __future__ import annotations

import pytest

from stn_cluster.errors import UserError
from stn_cluster.evaluation.severities import DistortionAtSeverity, parse_test_distortion


@pytest.mark.parametrize(
    ("text", "name", "variant", "severity", "canonical"),
    [
        ("R", "R", "plain", 1.0, "R"),
        ("R@1", "R", "plain", 1.0, "R"),
        ("R@1.0", "R", "plain", 1.0, "R"),
        ("RTS@0", "RTS", "frame", 0.0, "RTS@0"),
        ("RTS@-0", "RTS", "frame", 0.0, "RTS@0"),
        ("RTS:frame@3", "RTS", "frame", 3.0, "RTS@3"),
        ("P:xy-enlarged@1.5", "P", "xy-enlarged", 1.5, "P@1.5"),
        ("P:xy@.123456789", "P", "xy", 0.123456789, "P:xy@0.123456789"),
        ("E@1e-5", "E", "plain", 1e-5, "E@1e-05"),
        ("clean@2", "clean", "plain", 1.0, "clean"),
    ],
)
def test_a_name_is_read_and_written(
    text: str, name: str, variant: str, severity: float, canonical: str
) -> None:
    parsed = parse_test_distortion(text)
    assert (parsed.name, parsed.variant, parsed.severity) == (name, variant, severity)
    assert str(parsed) == canonical
    assert parse_test_distortion(canonical) == parsed
    assert isinstance(parsed, DistortionAtSeverity)


@pytest.mark.parametrize(
    "amount", ["", "3.01", "-1", "-1e-9", "nan", "inf", "two", "0_1", "1e999", "٢", "1,5"]
)
def test_a_severity_is_a_number_from_0_to_3(amount: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_test_distortion(f"R@{amount}")
    assert str(refused.value) == f"severity {amount!r}: a number from 0 to 3, as in R@1.5"


@pytest.mark.parametrize("text", ["R:42", "P:xy-42", "P:xy-42@2"])
def test_a_canvas_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="without a canvas, which is that of the cell"):
        parse_test_distortion(text)


@pytest.mark.parametrize("text", ["", "@1", "Q@2", "P:nothing", "R@1@2", "R:"])
def test_what_is_no_distortion_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"distortion|variant"):
        parse_test_distortion(text)
