"""The scripts of experiments/examples run, and say what they should."""

import jax
import pytest

from experiments.examples import dropout_module, kernels_elsewhere, one_target, spike_series, torch_like_logits

pytestmark = pytest.mark.long


def test_logits_of_another_framework(tmp_path):
    auc = torch_like_logits.main(tmp_path)
    assert auc["lira"] > 0.6
    assert "patient 0" in (tmp_path / "records.csv").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "A clinic's classifiers" in page.replace("&#39;", "'")
    assert "one random model of the other side" in page


def test_one_target_with_references_of_others(tmp_path):
    auc = one_target.main(tmp_path)
    assert auc["lira_offline"] > 0.7
    assert not {"lira", "lira_pooled"} & auc.keys()


def test_spike_trains_in_a_recurrent_network(tmp_path):
    auc = spike_series.main(tmp_path)
    assert {family for family, _ in auc} == {"ann", "snn"}
    assert auc["snn", "lira"] > 0.5


def test_a_module_with_dropout_and_bits(tmp_path):
    auc = dropout_module.main(tmp_path)
    assert {bits for bits, _ in auc} == {32, 2}
    assert auc[32, "lira"] != auc[2, "lira"]


def test_kernels_in_other_projects():
    with jax.numpy_rank_promotion("allow"):  # flax's own Dense adds its bias so
        by_decay, by_weight = kernels_elsewhere.main()
    assert by_decay > 0
    assert by_weight == pytest.approx(by_weight)
    assert by_weight != 0
