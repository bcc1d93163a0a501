"""What the page is made from, and what each of its sections is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxsnn_mia.report.answers import Difference
from jaxsnn_mia.report.reading import Variant


class Contents(NamedTuple):
    """What the page is about."""

    settings: Mapping[str, Any]  # of the run, or of each run
    variants: Mapping[str, Variant]
    level: float  # of the intervals, in (0, 1)
    how: str  # a sentence: what was left out with a target
    releases: Sequence[Mapping[str, Any]] = ()  # of models of which several versions are attacked together
    left_out: Mapping[str, tuple[Mapping[str, Any], str]] = {}  # variants that are not here: labels and the reason
    records: Sequence[Mapping[str, Any]] = ()  # the most exposed of an auditor's own, with their ids
    differences: Sequence[Difference] = ()  # between variants
    over_seeds: Sequence[dict[str, Any]] = ()  # rows of means, see `report.seeds`

    @property
    def shows_records(self) -> bool:
        """Whether training examples themselves may be on the page."""
        return bool(self.settings.get("report", {}).get("records", True))

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for variant in self.variants.values() for row in variant.rows]

    @property
    def rows_left_out(self) -> list[dict[str, Any]]:
        """A row for each variant that is left out: the metric is "diverged", the value n/a, "chosen" has the reason."""
        return [
            {**labels, "variant": name, "attack": "", "metric": "diverged", "value": float("nan"), "chosen": reason}
            for name, (labels, reason) in self.left_out.items()
        ]

    @property
    def rows_of_differences(self) -> list[dict[str, Any]]:
        """A row for each measure of each difference; its metric begins with "difference_"."""
        rows = []
        for one in self.differences:
            variant = self.variants[one.variant]
            labels = {**variant.rows[0], "variant": one.variant, "realised_fpr": "", "level": self.level}
            labels["chosen"] = f"less {one.reference}{', paired' if one.paired else ''}"
            for attack, metric, apart in (
                (one.attack, "auc", one.auc),
                (one.attack, variant.measured.first_tpr, one.tpr),
                ("", "test_accuracy", one.accuracy),
            ):
                if apart is not None:
                    own = {"value": apart.difference, "low": apart.low, "high": apart.high}
                    rows.append({**labels, "attack": attack, "metric": f"difference_{metric}", **own})
        return rows

    @property
    def by_dataset(self) -> dict[str, dict[str, Variant]]:
        """data set -> its variants by name."""
        grouped: dict[str, dict[str, Variant]] = {}
        for name, variant in self.variants.items():
            grouped.setdefault(variant.dataset, {})[name] = variant
        return grouped


class Section(NamedTuple):
    """A section of the page: its anchor, its heading, its name in the navigation (None: not linked), its HTML."""

    id: str
    head: str
    link: str | None
    parts: list[str]
