"""Tables on a console fit 120 characters, and lose what is least needed first."""

from experiments import compare
from jaxsnn_mia.report import console
from tests.report import audits

LINE = {
    "dataset": "digits", "model": "snn-seed0-bits4-quantizeboth-lr0.001", "train acc": "1.000", "test acc": "0.900",
    "gap": "0.100", "attack": "lira_multivariate", "AUC [95 %]": "0.650 [0.500, 0.700]",
    "TPR @ 1 % FPR": "5.00 [4.00, 6.00] % (at 0.800 %)", "TPR @ 0.1 % FPR": "n/a", "bal. acc": "0.550",
    "non-members (distinct)": "40 (10)",
}  # fmt: skip


def test_a_table_fits_and_loses_what_is_least_needed_first():
    for most in (300, 120, 100):
        text = console.for_console([LINE, LINE | {"attack": "loss"}], most)
        assert max(map(len, text.splitlines())) <= most
        assert "0.650 [0.500, 0.700]" in text
        assert "5.00 [4.00, 6.00] %" in text
        assert "(at" not in text
        assert ("non-members" in text) == (most == 300)
        assert text.count("snn-seed0-bits4-quantizeboth-lr0.001") == (2 if most == 300 else 1)
    assert text.splitlines()[1:] == [
        "snn-seed0-bits4-quantizeboth-lr0.001",
        "  0.900     lira_multivariate  0.650 [0.500, 0.700]  5.00 [4.00, 6.00] %  n/a",
        "  0.900     loss               0.650 [0.500, 0.700]  5.00 [4.00, 6.00] %  n/a",
    ]


def test_a_run_is_summed_up_with_its_differences(tmp_path):
    compare.compare([audits.folder() / "leaks", audits.folder() / "private"], tmp_path, "a")
    text = console.summary(tmp_path)
    assert max(map(len, text.splitlines())) <= 120
    assert text.startswith("Every variant and attack\n")
    assert "Differences" in text
    assert "Over seeds" not in text
