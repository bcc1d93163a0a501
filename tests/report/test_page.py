"""The page is whole by itself, has a section for what there is to show, and is made once."""

import csv
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np

from experiments import compare
from jaxsnn_mia import attacks, audit
from jaxsnn_mia.report import answers, glossary, page, reading, sections
from jaxsnn_mia.report.contents import Contents, Section
from jaxsnn_mia.store.files import file_sha256
from tests.report import audits


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.sections, self.links, self.labels = [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.sections += [given["id"]] if tag == "section" else []
        self.links += [given[name] for name in ("src", "href", "xlink:href") if name in given]
        self.labels += tag == "div" and given.get("role") == "img" and len(given["aria-label"]) > 20


def two_runs():
    return [audits.folder() / "leaks", audits.folder() / "private"]


def test_the_page_is_whole_by_itself(tmp_path):
    compare.compare(two_runs(), tmp_path, "A <title> & more")
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


def test_a_section_is_there_where_it_has_something_to_show(tmp_path, monkeypatch):
    """Nothing was trained here, and no threat beyond membership was run. A new section is a function and an entry."""

    def counted(contents, show):
        return Section("counted", "Variants <counted>", "Counted", [show.note(f"{len(contents.variants)} & no more")])

    monkeypatch.setattr(page, "SECTIONS", (*page.SECTIONS, counted, lambda contents, show: None))
    compare.compare(two_runs(), tmp_path, "a")
    text = (tmp_path / "report.html").read_text()
    there = ["answer", "tradeoff", "roc", "scores", "results", "exposed", "stability", "glossary", "made", "counted"]
    assert Page(text).sections == there
    assert [link for link in Page(text).links if link[1:] in there] == [f"#{name}" for name in there]
    assert "<h2>Variants &lt;counted&gt;</h2>" in text
    assert '<p class="note">2 &amp; no more</p>' in text


def test_the_page_says_of_what_and_when_it_was_made_and_its_bars_have_a_scale(tmp_path):
    compare.compare(two_runs(), tmp_path / "both of them", "a")
    text = (tmp_path / "both of them" / "report.html").read_text()
    assert re.search(r'<p class="made">both of them, 20\d\d-\d\d-\d\d \d\d:\d\d UTC</p>', text)
    assert '<span style="left:0">.5</span><span style="left:50%">.75</span><span style="left:100%">1</span>' in text
    rows = list(csv.DictReader((tmp_path / "both of them" / "results.csv").read_text().splitlines()))
    (auc, tpr) = [row for row in rows if row["metric"] in ("difference_auc", "difference_tpr@0.05")]
    line = answers.as_line(answers.differences({n: v.measured for n, v in audits.read("leaks", "private").items()},
                                               [("private", "leaks")], 0.95)[0])  # fmt: skip
    assert (auc["variant"], auc["chosen"]) == ("private/audit", "less leaks/audit, paired")
    for row, cell in ((auc, line["AUC"]), (tpr, line["TPR"])):
        assert cell == f"{float(row['value']):+.3f} [{float(row['low']):+.3f}, {float(row['high']):+.3f}]"


def test_many_figures_are_to_be_opened_and_many_variants_have_one_figure_together(unpainted):
    read = audits.read("leaks")["leaks"]
    variants = {f"a-{i}": read for i in range(9)}
    contents = Contents({}, variants, 0.95, "")
    shown = []
    show = SimpleNamespace(
        figures=lambda drawn: shown.append(len(drawn)) or "figures", details=lambda head, parts: head,
        paragraph=str, note=str,
    )  # fmt: skip
    parts = sections.roc_section(contents, show).parts
    assert parts == ["figures", "9 more figures"]
    assert shown == [2, 9]  # nine curves in two figures; then all attacks on each
    shown.clear()
    assert sections.scores_section(contents, show).parts[1:] == ["figures", "5 more figures"]
    assert shown == [4, 5]


def test_other_data_and_other_usable_targets_are_not_paired(tmp_path):
    other = audits.logits(2.0, 9)
    other = other._replace(labels_n=1 - np.minimum(other.labels_n, 1))
    audit.run(other, audits.KEEP, tmp_path, names=("lira",), settings=audits.QUICK)
    leaks, data = audits.read("leaks")["leaks"], reading.read({"d": {"metrics": tmp_path / "metrics"}})["d"]
    assert leaks.measured.splits != data.measured.splits
    assert page.against_first({"a": leaks, "b": data}) == []
    summary = {**leaks.summary, "drawn": "one target less"}
    assert page.against_first({"a": leaks, "b": leaks._replace(summary=summary)}) == [("b", "a")]
    measured = {"a": leaks.measured, "b": leaks._replace(summary=summary).measured}
    assert not answers.differences(measured, [("b", "a")], 0.95)[0].paired


def test_each_variant_is_compared_with_the_first_of_its_splits():
    leaks, private, other = audits.read("leaks", "private", "other").values()
    elsewhere = other._replace(summary={**other.summary, "splits": "of their own"})
    variants = {"a": leaks, "b": elsewhere, "c": private, "d": elsewhere, "e": private}
    assert page.against_first(variants) == [("c", "a"), ("d", "b"), ("e", "a")]


def test_a_page_is_made_once(tmp_path, unpainted):
    compare.compare(two_runs(), tmp_path, "a")
    made = (tmp_path / "summary.json").stat().st_mtime_ns
    compare.compare(two_runs(), tmp_path, "a")
    assert (tmp_path / "summary.json").stat().st_mtime_ns == made
    (tmp_path / "report.html").write_text("cut")
    compare.compare(two_runs(), tmp_path, "a")
    assert file_sha256(tmp_path / "report.html") in (tmp_path / "summary.json").read_text()


def test_every_attack_and_word_has_a_sentence():
    assert set(glossary.ATTACKS) == set(attacks.ATTACKS)
    told = glossary.lines(["lira", "own:attack"])
    assert {line["word"] for line in told} == {*glossary.WORDS, "lira"}
    assert all(line["meaning"].endswith(".") for line in told)
