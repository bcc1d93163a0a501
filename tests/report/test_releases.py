"""The section on several releases of one model: its lines, what is not resolved, and when it is there."""

from types import SimpleNamespace

from jaxsnn_mia.report import sections

ROW = {
    "release": "digits-ann-bits4", "fpr": 0.01, "level": 0.95, "auc_alone": 0.6, "auc_together": 0.7, "auc_more": 0.1,
    "auc_low": 0.05, "auc_high": 0.15, "tpr_alone": 0.02, "tpr_together": None, "tpr_more": None, "tpr_low": None,
    "tpr_high": None,
}  # fmt: skip


def test_a_line_says_what_is_gained_and_with_which_interval():
    assert sections.releases_line(ROW) == {
        "release": "digits-ann-bits4",
        "AUC alone": "0.600",
        "together": "0.700",
        "AUC gained": "+0.100 [+0.050, +0.150]",
        "TPR at 1 % alone": "0.020",
        "TPR at 1 % together": "n/a",
        "TPR at 1 % gained": "n/a",
    }


def test_the_section_is_there_where_releases_were_attacked():
    shown = []

    def table(caption, lines, name):
        shown.append((caption, lines, name))
        return "<table>"

    show = SimpleNamespace(paragraph=lambda text: text, table=table)
    assert sections.releases_section(SimpleNamespace(releases=()), show) is None
    section = sections.releases_section(SimpleNamespace(releases=[ROW]), show)
    assert (section.id, section.parts[1]) == ("releases", "<table>")
    assert shown == [("Each release alone, and all of them together", [sections.releases_line(ROW)], "releases")]
    assert sections.releases_section in sections.SECTIONS
