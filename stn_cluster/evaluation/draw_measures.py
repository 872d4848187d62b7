"""What is known of the images of one draw of a test set, and what it comes to over several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stn_cluster.data.distorted_images import DistortedImages
from stn_cluster.errors import UserError
from stn_cluster.evaluation.ink import Ink, ink_of
from stn_cluster.evaluation.known_pose import Pose, PoseErrors, PoseTest, mean_pose
from stn_cluster.evaluation.subjects import Look
from stn_cluster.training.activity import Progressed

BATCH = 500  # images whose poses are computed at a time


@dataclass(frozen=True)
class Draw:
    """The images of one draw, and what is the same for all networks."""

    images: DistortedImages
    ink: Ink | None
    pose: PoseTest | None
    identity: PoseErrors | None  # without any transformer

    @classmethod
    def of(
        cls,
        images: DistortedImages,
        clean: DistortedImages | None,
        pixels: Tensor,
        progressed: Progressed,
    ) -> Draw:
        """Measures a draw.

        Args:
            images: the distorted images.
            clean: the same ones undistorted; None: there is no pose to undo.
            pixels: the data set's.
            progressed: called after each batch.

        Raises:
            UserError: a plug-in's distortion does not give what it should.
        """
        ink = ink_of(images, pixels, progressed)
        pose = None if clean is None else PoseTest(images, clean)
        identity = None
        if pose is not None:
            batches = []
            for first in range(0, len(images), BATCH):
                count = min(BATCH, len(images) - first)
                batches.append(pose.identity_errors(first, count))
                progressed()
            identity = _joined(batches)
        return cls(images, ink, pose, identity)

    def pose_errors(self, look: Look, clean: Look | None) -> PoseErrors | None:
        """What a network's transformer leaves to undo.

        Args:
            look: at these images.
            clean: at the undistorted ones.
        """
        if self.pose is None or clean is None or look.points is None or clean.points is None:
            return None
        parts = zip(torch.split(look.points, BATCH), torch.split(clean.points, BATCH), strict=True)
        return _joined(
            [
                self.pose.errors(BATCH * i, points, still.to(points.device), look.size)
                for i, (points, still) in enumerate(parts)
            ]
        )


def undistorted(images: DistortedImages) -> DistortedImages | None:
    """The images, if they can be made: a plug-in's distortion need not say how it scales."""
    try:
        images.parameters()
    except UserError:
        return None
    return images


def measures(
    draws: Sequence[Draw], left: Sequence[PoseErrors | None], counted: Tensor
) -> dict[str, float | None]:
    """Columns of an evaluation: see `stn_cluster.training.outcome.MEASURES`.

    Args:
        draws: the draws, at least one.
        left: what a transformer leaves to undo in each of them.
        counted: (N,) int64, the draw of each image that counts.
    """
    ink = _counted([draw.ink for draw in draws], counted)
    similarity = draws[0].pose is not None and draws[0].pose.has_similarity
    identity = _counted([draw.identity for draw in draws], counted)
    pose = _counted(left, counted)
    return {
        "ink_lost": None if ink is None else Ink(*ink).share_lost,
        **_pose(pose, similarity).columns("pose"),
        **_pose(identity, similarity).columns("identity"),
    }


def _pose(errors: list[Tensor] | None, has_similarity: bool) -> Pose:
    return Pose() if errors is None else mean_pose([PoseErrors(*errors)], has_similarity)


def _counted(draws: Sequence[NamedTuple | None], counted: Tensor) -> list[Tensor] | None:
    """Each field of the images' counted draws; None if there are no values."""
    known = [draw for draw in draws if draw is not None]
    if not known or len(known) < len(draws):
        return None
    return [torch.stack(values).gather(0, counted[None])[0] for values in zip(*known, strict=True)]


def _joined(batches: Sequence[PoseErrors | None]) -> PoseErrors | None:
    known = list(_known(batches))
    if len(known) < len(batches):
        return None
    return PoseErrors(*(torch.cat(values).cpu() for values in zip(*known, strict=True)))


def _known(batches: Sequence[PoseErrors | None]) -> Iterator[PoseErrors]:
    return (batch for batch in batches if batch is not None)
