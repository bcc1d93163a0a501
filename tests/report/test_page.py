"""The report: figures, sentences, differences and examples from rows and arrays, and the page that they make."""

import dataclasses
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from experiments import compare
from jaxsnn_mia import audit, metrics
from jaxsnn_mia.metrics import comparisons, exposure
from jaxsnn_mia.report import answers, exposed, figures, page, plots, reading, stability, tables, tradeoff
from jaxsnn_mia.settings import Metrics
from jaxsnn_mia.store.files import file_sha256
from tests.attacks import planted

S, N, C = 12, 240, 3
KEEP = planted.pairs(S, N)
QUICK = Metrics(fprs=(0.05,), replicates_auc=200, replicates_tpr=100)


def rows(bits):
    for dataset in ("digits", "iris"):
        for family in ("ann", "snn"):
            for width in bits:
                common = {"variant": f"{dataset}-{family}-{width}", "dataset": dataset, "family": family,
                          "bits": width, "quantized": "both"}  # fmt: skip
                yield {**common, "attack": "", "metric": "test_accuracy", "value": 0.99, "low": 0.9, "high": 1.0}
                for attack in ("loss", "lira"):
                    yield {**common, "attack": attack, "metric": "auc", "value": 0.6, "low": 0.55, "high": 0.66}


def test_a_figure_per_data_set_and_a_curve_per_family_over_bit_widths():
    found = tradeoff.privacy_against_accuracy(list(rows((2, 8, 32))))
    assert [f.caption.partition(":")[0] for f in found] == ["digits", "iris"]
    for needle in ("2 bits", "8 bits", "float", "ann", "snn", "AUC of lira", "Pareto front"):
        assert needle in found[1].svg
    assert "weights and activations" in found[1].caption
    assert "AUC of loss" not in found[1].svg
    assert len(found[1].csv.splitlines()) == 1 + 6


def test_another_setting_in_the_sweep_is_a_curve_of_its_own():
    some = [dict(row) for row in rows((2, 32)) if row["dataset"] == "digits" and row["family"] == "ann"]
    both = []
    for row in some:
        for lr in ("0.001", "0.01"):
            both.append(row | {"variant": f"digits-ann-bits{row['bits']}-quantizeboth-lr{lr}"})
    (found,) = tradeoff.privacy_against_accuracy(both)
    assert "ann-lr0.001" in found.svg
    assert "ann-lr0.01<" in found.svg


def test_a_point_per_variant_where_the_width_is_one():
    found = tradeoff.privacy_against_accuracy(list(rows((32,))))
    assert "bits" not in found[0].svg
    assert "snn-32" in found[0].svg
    assert all("digits" in line for line in found[0].csv.splitlines()[1:])


def test_the_front_is_what_nothing_dominates():
    points = [tuple(point) for point in np.random.default_rng(0).integers(0, 50, size=(60, 2)).tolist()]
    want = {
        p for p in points
        if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)
    }  # fmt: skip
    assert tradeoff.front(points) == sorted(want)
    assert len(want) > 2


# Machado, Oliveira and Fernandes 2009, IEEE Transactions on Visualization and Computer Graphics 15, table 1, severity 1
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("dark", [False, True])
def test_the_colours_are_told_apart_by_colour_blind_readers_and_from_the_page(dark):
    css = (Path(figures.__file__).parent / "style.css").read_text()
    assert css.count("{") == css.count("}")
    block = css.split("prefers-color-scheme: dark")[1] if dark else css
    colours = re.findall(r"--c\d: (#\w+)", block)[:7]
    assert dark or tuple(colours) == plots.COLOURS
    card = re.findall(r"--card: (#\w+)", block)[0]
    for seen in BLIND.values():
        for a, b in itertools.combinations(colours, 2):
            assert np.linalg.norm(lab(np.array(seen) @ linear(a)) - lab(np.array(seen) @ linear(b))) > 15, (a, b)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for colour in colours:
        light = sorted((weights @ linear(colour) + 0.05, weights @ linear(card) + 0.05))
        assert light[1] / light[0] > 3  # WCAG 2.2, 1.4.11


def logits(effect, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(1).integers(C, size=N)
    out = rng.normal(size=(S, N, C)) + 0.8 * np.random.default_rng(2).normal(size=(1, N, C))
    out[:, np.arange(N), labels] += 1 + effect * KEEP
    return audit.Models(out.astype(np.float32), labels)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two audits of the same examples and splits, one that leaks and one that does not; and one of other splits."""
    folder = tmp_path_factory.mktemp("runs")
    for name, effect in (("leaks", 2.0), ("private", 0.0)):
        audit.run(logits(effect), KEEP, folder / name, names=("loss", "lira"), settings=QUICK)
    other = dataclasses.replace(QUICK, seed=1)
    audit.run(logits(2.0, 5), KEEP, folder / "other", names=("loss", "lira"), settings=other)
    return folder


def variants(runs, *names):
    return reading.read({name: {"metrics": runs / name / "metrics"} for name in names})


def test_a_sentence_says_how_much_at_which_rate_and_how_sure(runs):
    read = variants(runs, "leaks", "private")
    leaks, private = (answers.answer(name, variant.measured) for name, variant in read.items())
    tpr = read["leaks"].measured.row("lira", "tpr@0.05")
    assert f"At 5 % false positives, lira finds {100 * tpr['value']:.1f} % [" in leaks.sentence
    assert f"{tpr['value'] / tpr['realised_fpr']:.1f} times what guessing finds" in leaks.sentence
    assert f"AUC of lira {leaks.auc:.3f} [{leaks.low:.3f}, {leaks.high:.3f}]" in leaks.sentence
    assert "cannot be told from guessing" in private.sentence
    assert leaks.percent(0.5) == 0
    assert leaks.percent(0.75) == 50


def test_paired_differences_are_those_of_the_scores_themselves(runs):
    read = variants(runs, "leaks", "private")
    (found,) = answers.differences({n: v.measured for n, v in read.items()}, [("leaks", "private")], 0.95)
    scores = [
        audit.scores("lira", logits(effect), KEEP, np.arange(S) ^ 1, None) for effect in (2.0, 0.0)
    ]  # fmt: skip
    shared = (KEEP, np.arange(N), np.arange(S) // 2)
    want = comparisons.auc_difference(*scores, *shared, replicates=200, seed=0)
    assert found.auc[:3] == pytest.approx(want[:3], abs=1e-6)
    want = comparisons.tpr_difference(*scores, *shared, 0.05, replicates=100, seed=0)
    assert found.tpr[:3] == pytest.approx(want[:3], abs=1e-6)
    assert found.paired
    assert found.verdict == "leaks more"
    assert found.auc.p < 0.01
    (back,) = answers.differences({n: v.measured for n, v in read.items()}, [("private", "leaks")], 0.95)
    assert back.verdict == "leaks less"
    assert back.auc.difference == -found.auc.difference


def test_other_draws_are_not_paired_and_their_spreads_add_up(runs):
    read = variants(runs, "leaks", "other")
    (found,) = answers.differences({n: v.measured for n, v in read.items()}, [("other", "leaks")], 0.95)
    assert not found.paired
    assert found.verdict == "cannot be told apart"
    spread = np.hypot(*(np.std(variant.drawn["lira auc"]) for variant in read.values()))
    assert (found.auc.high - found.auc.low) / (2 * 1.96) == pytest.approx(spread, rel=0.25)
    one = read["leaks"].measured  # the very replicates, of other examples by chance: they do not cancel
    (found,) = answers.differences({"a": one, "b": one._replace(draws="others")}, [("b", "a")], 0.95)
    spread = 2**0.5 * np.std(one.drawn["lira auc"])
    assert (found.auc.high - found.auc.low) / (2 * 1.96) == pytest.approx(spread, rel=0.25)


def test_equal_variants_cannot_be_told_and_many_are_corrected(runs):
    found = {f"v{i}": variants(runs, "leaks")["leaks"].measured for i in range(4)}
    same = answers.differences(found, [(f"v{i}", "v0") for i in range(1, 4)], 0.95)
    assert {one.verdict for one in same} == {"cannot be told apart"}
    assert {one.auc.difference for one in same} == {0.0}


def test_by_deviation_is_the_t_test_of_the_replicates():
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.3, 0.1, size=4000)
    assert comparisons.by_deviation(0.3, drawn, 30) == pytest.approx(0.0057, abs=0.0012)  # t of 3 with 29 degrees
    assert comparisons.by_deviation(0.0, drawn, 30) == pytest.approx(1.0)
    assert np.isnan(comparisons.by_deviation(0.0, np.zeros(9), 5))
    assert np.isnan(comparisons.by_deviation(0.3, np.full(9, np.nan), 5))
    assert comparisons.by_deviation(1.0, np.ones(9), 5) == 2 / 2**5


def test_the_most_exposed_examples_are_those_that_the_attack_finds(runs):
    held = variants(runs, "leaks")["leaks"].examples
    scores = audit.scores("lira", logits(2.0), KEEP, np.arange(S) ^ 1, None)
    caught = exposure.exposure(scores, KEEP, 0.05, np.arange(S) // 2)
    np.testing.assert_allclose(held["caught"], caught)
    np.testing.assert_array_equal(held["members"], KEEP.sum(0))
    phi = logits(2.0).signal("phi")[:, :, 0]
    np.testing.assert_allclose(held["auc"], [metrics.auc(phi[:, n], KEEP[:, n]) for n in range(N)])
    shown = exposed.most_exposed(held, None)
    assert [one.caught for one in shown] == sorted(caught.tolist(), reverse=True)[: exposed.SHOWN]
    assert caught[shown[0].number] == shown[0].caught == caught.max()


def test_examples_are_shown_as_images_where_they_are():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(exposed.picture(image), image)
    np.testing.assert_array_equal(exposed.picture(image[..., :1]), image[..., 0])
    pixels = exposed.picture(np.array([0.0, 1.0, 2.0, 4.0]), ["pixel_0_0", "pixel_0_1", "pixel_1_0", "pixel_1_1"])
    np.testing.assert_array_equal(pixels, [[0, 63], [127, 255]])
    assert exposed.picture(np.zeros(4), ["a", "b", "c", "d"]) is None
    events = np.zeros((3, 4, 5, 2), np.uint8)  # [T, H, W, polarity]
    events[:, 1, 2, 0] = 1
    shown = exposed.picture(events)
    assert shown.shape == (4, 5, 3)
    assert shown[1, 2].tolist() == [255, 0, 0]
    assert exposed.as_png(shown).startswith("data:image/png;base64,iVBOR")
    table = np.random.default_rng(0).normal(size=(50, 5))
    table[7, 3] = 9.0
    (z_d,) = exposed.in_deviations(table, np.array([7]))
    np.testing.assert_allclose(z_d, (table[7] - table.mean(0)) / table.std(0))
    assert exposed.in_words(z_d, ["a", "b", "c", "d", "e"]).startswith(f"d {z_d[3]:+.1f} sd, ")
    assert exposed.in_words(z_d).startswith("column 3 +")
    assert exposed.in_deviations(events, np.array([0])) is None


def test_stability_between_halves_and_over_seeds(runs):
    (line,) = stability.halves(variants(runs, "leaks"))
    phi, pair = logits(2.0).signal("phi")[:, :, 0], np.arange(S) // 2
    both = [exposure.per_example(phi, KEEP, pair % 2 == half) for half in (0, 1)]
    rank, overlap = exposure.stability(*both)
    assert (line["rank correlation"], line["overlap of the top 1 %"]) == (f"{rank:.2f}", f"{overlap:.2f}")
    read = variants(runs, "leaks", "private")
    (over,) = stability.over_seeds({"a-seed0-b": read["leaks"], "a-seed1-b": read["private"]}, 0.95)
    low, high = sorted(v.measured.row("lira", "auc")["value"] for v in read.values())
    half = 12.706 * (high - low) / 2  # t of one degree of freedom, of two values
    assert over["variant"] == "a-b"
    assert over["AUC of lira"].startswith(f"{(low + high) / 2:.3f} [{(low + high) / 2 - half:.3f}, ")
    assert over["rank correlation"] == "n/a"  # nobody knows which examples these are


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.labels = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("src", "href", "xlink:href") if name in given]
        self.labels += tag == "div" and given.get("role") == "img" and len(given["aria-label"]) > 20


def test_the_page_is_whole_by_itself(runs, tmp_path):
    compare.compare([runs / "leaks", runs / "private"], tmp_path, "A <title> & more")
    text = (tmp_path / "report.html").read_text()
    whole = Page(text)
    assert "<title>A &lt;title&gt; &amp; more</title>" in text
    assert all(link.startswith(("#", "data:")) for link in whole.links)
    assert len(whole.ids) == len(set(whole.ids))
    assert set(link[1:] for link in whole.links if link.startswith("#") and "-" not in link) <= set(whole.ids)
    assert whole.tags.count("figure") == whole.labels == whole.tags.count("template") - 1 >= 4
    assert whole.tags.count("h1") == 1
    assert "its complementary model" in text
    for needle in (">nan", "nan%", ">None", "{{", "https://"):
        assert needle not in text


def test_runs_are_compared_by_name_and_what_cannot_be_is_said(runs, tmp_path):
    assert compare.names_of([Path("a/x"), Path("b/x")]) == ["a x", "b x"]
    assert compare.names_of([Path("a/x"), Path("a/y")]) == ["x", "y"]
    compare.compare([runs / "private", runs / "leaks", runs / "other"], tmp_path, "three")
    read = reading.read(compare_paths(runs, "private", "leaks", "other"))
    pairs = [("leaks/audit", "private/audit"), ("other/audit", "private/audit")]
    assert compare.pairs_of(read, "private") == pairs
    assert {row["variant"] for row in store_rows(tmp_path)} == {"private/audit", "leaks/audit", "other/audit"}
    with pytest.raises(ValueError, match="at least two different runs are needed"):
        compare.compare([runs / "leaks", runs / "leaks"], tmp_path, "")
    with pytest.raises(ValueError, match="--out must be another folder"):
        compare.compare([runs / "leaks", runs / "other"], runs / "leaks", "")
    with pytest.raises(ValueError, match="holds no report of this version"):
        compare.compare([runs / "leaks", tmp_path / "nothing"], tmp_path, "")


def compare_paths(runs, *names):
    return {f"{name}/audit": {"metrics": runs / name / "metrics"} for name in names}


def store_rows(folder):

    return tables.read(folder)


@pytest.mark.parametrize(
    ("value", "low", "high", "realised", "said"),
    [
        (0.3, 0.28, 0.32, 0.0, "6.0 times what guessing finds"),  # ties: no rate between 0 and 5 %
        (0.02, 0.01, 0.03, 0.049, "fewer than guessing finds"),
        (0.06, 0.04, 0.08, 0.049, "which cannot be told from guessing"),
    ],
)
def test_sentences_of_ties_and_of_less_than_guessing(runs, value, low, high, realised, said):
    found = variants(runs, "leaks")["leaks"].measured
    tpr = {"value": value, "low": low, "high": high, "realised_fpr": realised}
    rows = [row | tpr if row["metric"].startswith("tpr@") else row for row in found.rows]
    assert said in answers.answer("a", found._replace(rows=rows)).sentence


def test_other_data_and_other_usable_targets_are_not_paired(runs, tmp_path):
    other = logits(2.0, 9)
    audit.run(
        other._replace(labels_n=1 - np.minimum(other.labels_n, 1)), KEEP, tmp_path, names=("lira",), settings=QUICK
    )
    leaks, data = variants(runs, "leaks")["leaks"], reading.read({"d": {"metrics": tmp_path / "metrics"}})["d"]
    assert leaks.measured.splits != data.measured.splits
    assert page.against_first({"a": leaks, "b": data}) == []
    summary = {**leaks.summary, "drawn": "one target less"}
    assert page.against_first({"a": leaks, "b": leaks._replace(summary=summary)}) == [("b", "a")]
    found = {"a": leaks.measured, "b": leaks._replace(summary=summary).measured}
    assert not answers.differences(found, [("b", "a")], 0.95)[0].paired


def test_many_curves_are_several_figures():
    assert [len(part) for part in figures.in_several(dict.fromkeys(range(16)))] == [7, 7, 2]
    assert figures.in_several({}) == []


def test_a_page_is_made_once(runs, tmp_path):
    folders = [runs / "leaks", runs / "private"]
    compare.compare(folders, tmp_path, "a")
    made = (tmp_path / "summary.json").stat().st_mtime_ns
    compare.compare(folders, tmp_path, "a")
    assert (tmp_path / "summary.json").stat().st_mtime_ns == made
    (tmp_path / "report.html").write_text("cut")
    compare.compare(folders, tmp_path, "a")
    assert file_sha256(tmp_path / "report.html") in (tmp_path / "summary.json").read_text()
