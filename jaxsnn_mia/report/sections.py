"""The sections of the page. Each has a function that gives the section, or None where there is nothing to show.

A new section is one function here and one entry in `SECTIONS`. `show` has the macros of blocks.html.j2: each gives a
piece of HTML, and a section is a list of pieces.
"""

from typing import Any

import numpy as np

from jaxsnn_mia.metrics import energy
from jaxsnn_mia.report import answers, exposed, figures, glossary, plots, seeds, stability, tables, tradeoff
from jaxsnn_mia.report.contents import Contents, Section
from jaxsnn_mia.report.provenance import made_section


def answer_section(page: Contents, show: Any) -> Section | None:
    """A sentence and a bar for each variant, then the differences between variants."""
    parts = []
    if page.over_seeds:
        over = seeds.table(list(page.over_seeds))
        parts += [
            show.table("Over seeds of the splits and of training: means and intervals", over, "over-seeds"),
            show.note("Intervals are Student's over seeds. Below, each seed is by itself."),
        ]
    for dataset, variants in page.by_dataset.items():
        said = [answers.answer(name, variant.measured) for name, variant in variants.items()]
        parts += [show.heading(dataset), show.answers(said)]
    parts += [show.note(f"{name} is left out: {reason}") for name, (_, reason) in page.left_out.items()]
    parts.append(
        show.note(
            f"{page.how} Bars: AUC from .5 (guessing) to 1. Brackets: {100 * page.level:g} % intervals by a crossed "
            "bootstrap over examples and pairs of models; they speak of these splits, not of others."
        )
    )
    differences = [answers.as_line(one) for one in page.differences]
    if differences:
        parts += [
            show.heading("What changes it"),
            show.table("Differences, variant less reference", differences, "differences"),
            show.note(
                'TPR at the first of the false positive rates. "paired": both have the same examples, splits and '
                "targets, and what they share cancels. Verdicts are on the AUC, for these splits, against all "
                "comparisons of this table (Holm)."
            ),
        ]
    return Section("answer", "How much do these models give away of who was in their training set?", None, parts)


def tradeoff_section(page: Contents, show: Any) -> Section | None:
    """Privacy against accuracy, a figure for each data set."""
    drawn = tradeoff.privacy_against_accuracy(page.rows)
    if not drawn:
        return None
    return Section("tradeoff", "Privacy against accuracy", "Accuracy", [show.figures(drawn)])


def roc_section(page: Contents, show: Any) -> Section | None:
    """The ROC curves of the variants of a data set under one attack, then those of all attacks on each variant."""
    together, attack = [], tables.headline(tables.attack_names(page.rows))
    for dataset, variants in page.by_dataset.items():
        curves = {figures.short(name, dataset): one.curves[attack] for name, one in variants.items()
                  if attack in one.curves}  # fmt: skip
        if len(curves) > 1:
            together += [figures.log_log_roc(f"{dataset}, {attack}", some) for some in figures.in_several(curves)]
    alone = [
        figures.log_log_roc(name, curves)
        for name, variant in page.variants.items()
        for curves in figures.in_several(variant.curves)
    ]
    return Section("roc", "ROC curves", "ROC", [*panels(show, together), *panels(show, alone, few=not together)])


SHOWN = 4  # figures of a kind that need not be opened


def panels(show: Any, drawn: list[plots.Figure], few: bool = True) -> list[str]:
    """The first figures, and the others to be opened; all of them to be opened unless `few`."""
    shown = SHOWN if few else 0
    if len(drawn) <= max(shown, 2):
        return [show.figures(drawn)] if drawn else []
    parts = [show.figures(drawn[:shown])] if shown else []
    return [*parts, show.details(f"{len(drawn) - shown} more figures", [show.figures(drawn[shown:])])]


def scores_section(page: Contents, show: Any) -> Section | None:
    """How the scores of members and of others lie, for each variant."""
    drawn = []
    for name, variant in page.variants.items():
        attack = tables.headline(tables.attack_names(variant.rows))
        if attack in variant.histograms:
            drawn.append(figures.score_histogram(name, attack, variant.histograms[attack]))
    if not drawn:
        return None
    said = "Where the two overlap, members cannot be told from others. The ends hold all that lies beyond them."
    return Section("scores", "Scores of members and others", "Scores", [show.paragraph(said), *panels(show, drawn)])


def results_section(page: Contents, show: Any) -> Section | None:
    """A table of every attack on every variant, and one of the strongest attacks."""
    parts = [
        show.paragraph(
            "Press a head to sort. AUC is the mean over targets; TPR uses one threshold pooled over targets, and the "
            "false positive rate that was really reached stands behind it."
        ),
        show.table("Every variant and attack", tables.table(page.rows), "results"),
    ]
    strongest = tables.strongest_table(page.rows)
    if strongest:
        parts += [
            show.heading("The strongest attack"),
            show.paragraph(
                "Chosen on half of the pairs of models, measured on the other half, and the other way round, so that "
                "the best of many attacks is not best by luck."
            ),
            show.table("The strongest attack of each variant", strongest, "strongest"),
        ]
    return Section("results", "Results", "Results", parts)


def releases_section(page: Contents, show: Any) -> Section | None:
    """What is gained by an adversary who holds several releases of one model."""
    if not page.releases:
        return None
    lines = [releases_line(row) for row in page.releases]
    return Section(
        "releases",
        "Several releases of one model",
        "Releases",
        [
            show.paragraph(
                "Who holds every release of a model, such as its float and its quantized versions, attacks them "
                "together. LiRA scores each; the weights of the scores are learned on other pairs of models. A gain "
                "over the float release of about 0 says that the other releases tell nothing new."
            ),
            show.table("Each release alone, and all of them together", lines, "releases"),
        ],
    )


def releases_line(row: Any) -> dict[str, str]:
    """A line of that table, ready to print."""

    def gain(metric: str) -> str:
        more, low, high = (row[f"{metric}_{what}"] for what in ("more", "low", "high"))
        return "n/a" if more is None else f"{more:+.3f} [{low:+.3f}, {high:+.3f}]"

    def value(name: str) -> str:
        return "n/a" if row[name] is None else f"{row[name]:.3f}"

    rate = f"TPR at {100 * row['fpr']:g} %"
    return {
        "release": row["release"],
        "AUC alone": value("auc_alone"),
        "together": value("auc_together"),
        "AUC gained": gain("auc"),
        f"{rate} alone": value("tpr_alone"),
        f"{rate} together": value("tpr_together"),
        f"{rate} gained": gain("tpr"),
    }


def canary_section(page: Contents, show: Any) -> Section | None:
    """The leak of canaries beside that of natural rows."""
    lines = tables.canary_table(page.rows)
    if not lines:
        return None
    said = (
        "Canaries are rows that were made to be remembered: they show what training may do to the worst of rows. They "
        "and the natural rows beside them are each in half of the models; all others train in every model and are not "
        "attacked. Accuracies, attacks, differences and exposed examples elsewhere on this page are those of the "
        "natural rows. Bounds of epsilon, where there are any, are those of one training, from the canaries."
    )
    return Section(
        "canaries",
        "Canaries and natural rows",
        "Canaries",
        [show.paragraph(said), show.table("The leak of natural rows and of canaries", lines, "canaries")],
    )


def exposed_section(page: Contents, show: Any) -> Section | None:
    """How exposed single examples are, and the most exposed ones."""
    lists = {
        name: exposed.most_exposed(variant.examples, variant.paths.get("data") if page.shows_records else None)
        for name, variant in page.variants.items()
    }
    lists = {name: examples for name, examples in lists.items() if examples}
    if not lists:
        return None
    drawn = []
    for dataset, variants in page.by_dataset.items():
        aucs = {name: one.examples["auc"] for name, one in variants.items() if "auc" in one.examples}
        for curves in figures.in_several(aucs):
            luck = {name: luck_of(variants[name].rows[0]["n_shadows"]) for name in curves}
            drawn.append(figures.vulnerability(dataset, curves, luck))
    parts = [
        show.paragraph(
            "How well the times that an example was a member are told from the times that it was not, by the "
            "confidence of the models. Then the examples that are told from the largest share of the models trained "
            "on them, at the first of the false positive rates. With few models the top of such a list is partly "
            "luck: see Stability."
        ),
        show.figures(drawn),
        show.csv_button("exposed", plots.as_csv(exposed.as_rows(lists))),
    ]
    traced = [row for row in page.rows if row["metric"].startswith("lt_iqr_precision")]
    if traced:
        said = "; ".join(f"{row['variant']} {100 * row['value']:.1f} %" for row in traced)
        parts.append(
            show.paragraph(
                "Who is exposed can be guessed from one model, by how much the loss of an example moves along its "
                f"training (LT-IQR). Of the hundredth that one model names so, this share is the right one: {said}. By "
                "chance it is 1 %."
            )
        )
    if any(example.image or example.row for examples in lists.values() for example in examples):
        parts.append(
            show.note(
                "This page shows training examples themselves, and who of them is exposed. `report.records=False` "
                "leaves them out, for a page that is given away."
            )
        )
    for name, examples in lists.items():
        summary = f"{name}: the {len(examples)} most exposed.{exposed.tie_in_words(examples)}"
        parts.append(show.details(summary, [show.examples(examples)], opened=name == next(iter(lists))))
    return Section("exposed", "Exposed examples", "Exposed examples", parts)


def records_section(page: Contents, show: Any) -> Section | None:
    """The most exposed of an auditor's own records, by their ids."""
    if not page.records:
        return None
    lines = [
        {
            "id": row["id"],
            "rank": f"{row['rank']}" if row["tied"] == 1 else f"{row['rank']} (tied, {row['tied']})",
            "score": f"{row['score']:.4g}",
            "told from": "n/a" if np.isnan(row["caught"]) else f"{100 * row['caught']:.0f} %",
            "AUC": "n/a" if np.isnan(row["exposure"]) else f"{row['exposure']:.3f}",
            "models trained on it": f"{row['members']} of {row['members'] + row['non_members']}",
        }
        for row in page.records
    ]
    said = (
        f"The first {len(lines)} of all records by the score of {page.records[0]['attack']}: its mean over the models "
        "trained on a record less that over the others (of one model: its score). Records with the same score share "
        'a rank. "Told from": the share of the models trained on it that the attack tells at the first of the false '
        "positive rates. records.csv has all records."
    )
    return Section("records", "Records", "Records", [show.paragraph(said), show.table("Records", lines, "records")])


def luck_of(targets: int) -> float:
    """The standard deviation of the AUC of one example over so many targets, without any leak: the variance of
    `exposure.per_example` for equal numbers of members and others."""
    return float(np.sqrt((targets + 1) / 3) / targets)


def stability_section(page: Contents, show: Any) -> Section | None:
    """Whether the same examples are exposed in other models, and under other seeds."""
    halves, over_seeds = stability.halves(page.variants), stability.over_seeds(page.variants)
    if not (halves or over_seeds):
        return None
    parts = [
        show.paragraph(
            "Whether the same examples are exposed again. The top hundredth of two unrelated long lists overlaps by "
            ".005 (Jaccard)."
        )
    ]
    if halves:
        parts.append(show.table("Between two halves of the models", halves, "stability"))
    if over_seeds:
        parts.append(show.table("Between two seeds of the splits and of training", over_seeds, "seeds"))
    return Section("stability", "Stability", "Stability", parts)


def glossary_section(page: Contents, show: Any) -> Section | None:
    """What the words mean, and what each attack of the run does."""
    told = glossary.lines(tables.attack_names(page.rows))
    return Section("glossary", "What the words mean", "Words", [show.table("Words and attacks", told, "glossary")])


def training_section(page: Contents, show: Any) -> Section | None:
    """Loss and accuracy along training, a figure for each data set."""
    drawn = []
    for dataset, variants in page.by_dataset.items():
        histories = {name: one.history for name, one in variants.items() if "loss" in one.history}
        drawn += [figures.training_curves(dataset, curves) for curves in figures.in_several(histories)]
    if not drawn:
        return None
    said = (
        "On the rows that a model trains on; the line is the mean over models, the band holds the middle 90 % of them."
    )
    return Section("training", "Training curves", "Training", [show.paragraph(said), *panels(show, drawn)])


def energy_section(page: Contents, show: Any) -> Section | None:
    """Privacy, accuracy and the work of one inference side by side."""
    lines = []
    for name, variant in page.variants.items():
        measured = variant.measured
        counted = {row["metric"]: row["value"] for row in variant.rows if row["metric"] in WORK}
        if not counted:
            continue
        auc, accuracy = measured.row("strongest", "auc"), measured.row("", "test_accuracy")
        lines.append(
            {
                "model": name,
                "test accuracy": "n/a" if accuracy is None else f"{accuracy['value']:.3f}",
                "AUC of the strongest attack": "n/a" if auc is None else f"{auc['value']:.3f}",
                **{head: in_figures(counted[metric]) for metric, head in WORK.items()},
            }
        )
    if not lines:
        return None
    said = (
        "The work of one inference, a mean over models and examples. SynOps are additions that spikes cause, MACs are "
        f"products of real numbers. Energy: {energy.ADDITION} pJ an addition, {energy.MAC} pJ a MAC (45 nm, 32-bit "
        "floats; Horowitz 2014). The dynamics of neurons and memory are left out."
    )
    return Section("energy", "Energy", "Energy", [show.paragraph(said), show.table("Energy", lines, "energy")])


WORK = {"firing_rate": "spikes a neuron and step", "synops": "SynOps", "macs": "MACs", "energy_nj": "energy, nJ"}


def in_figures(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def privacy_section(page: Contents, show: Any) -> Section | None:
    """What is guaranteed of variants that were trained privately."""
    lines = tables.privacy_lines(page.rows)
    if not lines:
        return None
    said = (
        "Of each model alone, by DP-SGD on Poisson samples: an upper bound on what any attack can learn of one row. "
        "Lower bounds of attacks are in results.csv."
    )
    return Section("privacy", "Differential privacy", None, [show.paragraph(said), show.points(lines)])


def beyond_section(page: Contents, show: Any) -> Section | None:
    """Reconstruction and attribute inference: a table for each threat, and the reconstructions."""
    threats = tables.beyond_tables(page.rows)
    if not threats:
        return None
    parts = [
        show.paragraph(
            "What else a model gives away. Errors of reconstructions are in units in which the population spans "
            '[0, 1]; "member" is of examples that the model trained on, "other" of those that it did not, and the gap '
            'above 0 is what training added. "mse class mean" is the error of guessing the class\'s mean, which needs '
            "no model. Guesses of a column are set against boosted trees on the other columns, which need no model "
            "either."
        )
    ]
    for threat, lines in threats.items():
        table = show.table(f"Measures of {threat}", lines, threat.replace(" ", "-"))
        parts += [show.heading(threat), table]
    drawn = [
        figures.image_grid(f"{name}, {way.replace('_', ' ')}", images)
        for name, variant in page.variants.items()
        for way, images in variant.grids.items()
        if page.shows_records
    ]
    parts.append(show.figures(drawn))
    return Section("beyond", "Beyond membership", "Beyond membership", parts)


# in the order of the page
SECTIONS = (
    answer_section,
    tradeoff_section,
    roc_section,
    scores_section,
    results_section,
    releases_section,
    canary_section,
    exposed_section,
    records_section,
    stability_section,
    energy_section,
    training_section,
    privacy_section,
    beyond_section,
    glossary_section,
    made_section,
)
