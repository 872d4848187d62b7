"""Names of test distortions: 'P:xy@1.5' is the distortion P:xy at severity 1.5."""

from __future__ import annotations

from dataclasses import dataclass

from stn_cluster.errors import UserError
from stn_cluster.evaluate_config import CLEAN, LARGEST_SEVERITY
from stn_cluster.registry import parse_distortion


@dataclass(frozen=True)
class DistortionAtSeverity:
    """A test distortion. The canvas is that of the cell that is tested."""

    distortion: str  # as a config names it, without a canvas: 'R', 'P:xy'
    name: str  # of the registered distortion: 'P'
    variant: str  # always given, even if it is the default
    severity: float = 1.0  # 0 to 3; 1 is as strong as in training

    def __str__(self) -> str:
        """What `parse_test_distortion` reads; severity 1 is left out."""
        amount = repr(self.severity).removesuffix(".0")
        return self.distortion if self.severity == 1 else f"{self.distortion}@{amount}"


def parse_test_distortion(text: str) -> DistortionAtSeverity:
    """Parses 'NAME', 'NAME:VARIANT', 'NAME@SEVERITY' or all three, as in 'P:xy@1.5'.

    `clean` is the same at every severity.

    Raises:
        UserError: there is no such distortion or variant, a canvas is named, or the severity is not
            a number from 0 to 3.
    """
    named, at, amount = text.rpartition("@") if "@" in text else (text, "", "")
    if any(character.isdecimal() for character in named.partition(":")[2]):
        raise UserError(
            f"test distortion {text!r}: expected NAME, NAME:VARIANT or either with @SEVERITY, as "
            "in P:xy@1.5, without a canvas, which is that of the cell"
        )
    severity = parse_severity(amount) if at else 1.0
    name, variant, _, distortion = parse_distortion(named)
    return DistortionAtSeverity(distortion, name, variant, 1.0 if name == CLEAN else severity)


def parse_severity(text: str) -> float:
    """A severity, 0 to 3.

    Raises:
        UserError: it is none.
    """
    try:
        severity = float(text) if text.isascii() and "_" not in text else -1.0
    except ValueError:
        severity = -1.0
    if not 0 <= severity <= LARGEST_SEVERITY:  # NaN is not, either
        raise UserError(f"severity {text!r}: a number from 0 to {LARGEST_SEVERITY:g}, as in R@1.5")
    return severity + 0.0  # no -0
