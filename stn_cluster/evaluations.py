"""Evaluations: work items beside cells, each a trained cell on a test set."""

from __future__ import annotations

from functools import cached_property

from stn_cluster.grid import Cell, Frozen, Needs, hash_test_set, short_hash

REVISION = 1  # of how an evaluation is computed beyond the classes: known pose, lost ink

# Costs are in the units of training: a step takes about three times as long as a test.
TEST_IMAGES = 10_000  # assumed number, as the real one is known where the data set is
STEP = 3


class EvaluationSet(Frozen):
    """A test set for a cell; cells with the same name share it."""

    cell: Cell  # of this distortion; its frame is the one that the distortion acts on
    severity: float = 1.0  # 0 to 3: multiplies what was drawn, so that the same images get worse
    moves: float = 1.0  # multiplies the standard deviation of P's moves
    worst_of: int = 1  # number of draws of each image; draw 0 is the plain one

    @property
    def name(self) -> str:
        """Id of the test set, 16 hex digits: the cell's own one's is `Cell.test_set`."""
        cell, name = self.cell, self.cell.distortion_name
        return hash_test_set(
            dataset=cell.dataset,
            dataset_revision=cell.revisions[f"dataset:{cell.dataset}"],
            distortion=name,
            distortion_revision=cell.revisions[f"distortion:{name}"],
            variant=cell.variant,
            canvas=cell.canvas,
            frame=cell.data.frame,
            severity=self.severity,
            worst_of=self.worst_of,
            moves=self.moves,
        )

    @property
    def one_draw(self) -> EvaluationSet:
        """The same images, of the first draw alone."""
        return self if self.worst_of == 1 else self.model_copy(update={"worst_of": 1})


class Evaluation(Frozen):
    """A trained cell on a test set: a work item, of which the queue needs the same as of a cell."""

    cell: Cell  # as it was trained
    test: EvaluationSet
    on: str  # what was asked for, as in 'RTS@2'

    @cached_property
    def key(self) -> str:
        """16 hex digits: a hash of the weights, the test set and the revisions.

        It does not tell the attempt whose weights they are: after a rerun it is due again.
        """
        identity = {
            "cell": self.cell.key,
            "weights": self.weights,
            "test_set": self.test.name,
            "severity": float(self.test.severity),
            "worst_of": self.test.worst_of,
            "revision": REVISION,
        }
        return short_hash(identity, digits=16)

    @property
    def evaluates(self) -> str:
        """Key of its cell."""
        return self.cell.key

    @property
    def weights(self) -> str:
        """The cell's key, or the digest of its file of weights."""
        network = self.cell.network
        return self.cell.key if network is None or not network.digest else network.digest

    @property
    def tested_on(self) -> str:
        """The test set for people: 'RTS@2', 'R of fashion-mnist, worst of 10'."""
        dataset = self.test.cell.dataset
        other = f" of {dataset}" if dataset != self.cell.dataset else ""
        worst = f", worst of {self.test.worst_of}" if self.test.worst_of > 1 else ""
        return f"{self.on}{other}{worst}"

    @property
    def label(self) -> str:
        """Name for people: 'ST-CNN/tps/R/seed0 on RTS@2'."""
        return f"{self.cell.label} on {self.tested_on}"

    @property
    def base(self) -> Cell:
        """The cell, of the data set that it is tested on."""
        tested, cell = self.test.cell, self.cell
        if tested.dataset == cell.dataset:
            return cell
        name = f"dataset:{tested.dataset}"
        revisions = {c: r for c, r in cell.revisions.items() if not c.startswith("dataset:")}
        update = {
            "dataset": tested.dataset,
            "revisions": revisions | {name: tested.revisions[name]},
            "data": tested.data.model_copy(update={"frame": cell.data.frame}),
            "plugins": self.plugins,
        }
        return cell.model_copy(update=update)

    @property
    def is_own_test(self) -> bool:
        """Whether it is the cell's own plain test, whose predictions are stored."""
        return self.test.name == self.cell.test_set

    @property
    def stream(self) -> tuple[str | int, ...]:
        """Name that evaluations of one pack share: of cells that see the same images."""
        cell = self.cell
        place = (cell.dataset, cell.distortion_name, cell.variant, cell.canvas)
        return ("tested on others", *place, self.test.cell.dataset)

    @property
    def digests(self) -> set[str]:
        """See `Cell.digests`; also of the test set."""
        return self.cell.digests | self.test.cell.digests

    @property
    def plugins(self) -> tuple[str, ...]:
        """See `Cell.plugins`; also of the test set."""
        return tuple(sorted({*self.cell.plugins, *self.test.cell.plugins}))

    @property
    def recipe(self) -> str:
        """The cell's."""
        return self.cell.recipe

    @property
    def needs(self) -> Needs:
        """The cell's."""
        return self.cell.needs

    @property
    def no_progress_seconds(self) -> float | None:
        """The cell's."""
        return self.cell.no_progress_seconds

    @property
    def cost(self) -> float:
        """Estimated time in the units of `Cell.cost`."""
        images = self.cell.iterations * self.cell.batch_size
        of_an_image = self.cell.cost / images / STEP if images else self.cell.cost
        return of_an_image * TEST_IMAGES * self.test.worst_of

    @property
    def iterations(self) -> int:
        """It is one step."""
        return 1

    @property
    def batch_size(self) -> int:
        """No training images."""
        return 0

    def renamed(self, recipe: str) -> Evaluation:
        """Copy with another name of the recipe, which is not part of the key."""
        return self.model_copy(update={"cell": self.cell.renamed(recipe)})

    @property
    def spec(self) -> str:
        """All of its fields as JSON."""
        return self.model_dump_json()

    def with_key(self, key: str) -> Evaluation:
        """See `Cell.with_key`."""
        self.__dict__["key"] = key
        return self


WorkItem = Cell | Evaluation
