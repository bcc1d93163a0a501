"""Settings that are refused, each with its name, what was expected and what came."""

import pytest

from jaxsnn_mia import config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantization": {"bitz": 4}}, 'unknown setting "quantization.bitz"; did you mean `config.quantization.bits`'),
        ({"modle": {}}, "did you mean `config.model`"),
        ({"quantization": {"bits": 1}}, r"`quantization\.bits` must be an int in \[2, 16\] or None, got 1"),
        ({"model": {"time_steps": 0}}, r"`model\.time_steps` must be in \[1, 1000\], got 0"),
        (
            {"attacks": {"names": ("rmia_tuned",)}, "splits": {"n_shadows": 6}},
            r"`splits\.n_shadows` must be at least 8 for",
        ),
        (
            {"attacks": {"names": ("rmia_tuned", "loss", "combine")}, "splits": {"n_shadows": 10}},
            r"`splits\.n_shadows` must be at least 12 for",
        ),
        ({"model": {"family": "cnn"}}, r"one of \['ann', 'hybrid', 'snn'\], got 'cnn'"),
        ({"model": {"readout": "membrane_lst"}}, 'Did you mean "membrane_last"'),
        ({"model": {"beta": 1.5}}, r"`model\.beta` must be in \[0, 1\], got 1\.5"),
        ({"splits": {"n_shadows": 7}}, r"even and in \[6, 100000\], got 7"),
        ({"splits": {"n_shadows": 4}}, r"even and in \[6, 100000\], got 4"),
        (
            {"splits": {"poison": 2}},
            r"`splits\.poison` must be 0 without splits\.canaries, got 2\. Set splits\.canaries",
        ),
        ({"splits": {"natural": 9}}, r"`splits\.natural` must be 0 without splits\.canaries, got 9"),
        ({"splits": {"canary_kind": "noise"}}, r"must be 'mislabelled' without splits\.canaries, got 'noise'"),
        ({"splits": {"canaries": 8, "canary_kind": "nois"}}, 'Did you mean "noise"'),
        ({"splits": {"canaries": 2}}, r"`splits\.canaries` must be 0 or at least 4, got 2"),
        (
            {"splits": {"canaries": 8}, "inversion": {"names": ("black",)}},
            r"`inversion\.names` must be empty with splits\.canaries",
        ),
        (
            {"splits": {"canaries": 8}, "attacks": {"names": ("shokri_predecessor",)}},
            "without 'shokri_predecessor' with splits.canaries",
        ),
        ({"data": {"name": "mnist"}}, "`data.name` must be one of breast_cancer"),
        ({"attacks": {"names": ("lyra",)}}, 'Did you mean "lira"'),
        ({"signals": {"names": ("psi",)}}, r"must be among .*'phi'"),
        ({"train": {"stop_at_gap": 0.1}}, r"`data\.validation` must be above 0 for train\.stop_at_gap"),
        ({"train": {"stop_at_gap": 0.1, "stop_at_train_accuracy": 0.9}}, "0 where stop_at_train_accuracy is set"),
        ({"train": {"stop_at_train_accuracy": 1.5}}, r"in \[0, 1\], 0 for never, got 1\.5"),
        ({"train": {"lr": -1.0}}, r"`train\.lr` must be above 0"),
        ({"train": {"lr": "fast"}}, r"`train\.lr` must be of type float, got 'fast'"),
        ({"train": {"epochs": 1.5}}, r"`train\.epochs` must be of type int"),
        ({"train": {"snapshot_epochs": (99,)}}, r"snapshot_epochs` must be in \[1, 40\], got 99"),
        ({"data": {"population": 0.0}}, "above 0 for rmia, data.standardise=dataset"),
        ({"sweep": {"family": ("ann", "cnn")}}, "got 'cnn'"),
        ({"attacks": {"names": ("lira", "trajectory")}}, "one or more epochs for the trajectory"),
        ({"attacks": {"names": ("lira", "combine")}}, "two or more attacks beside 'combine'"),
        (
            {"attacks": {"names": ("attack_p",)}, "data": {"population": 0.0, "standardise": "none"}},
            "above 0 for attack_p",
        ),
        ({"metrics": {"priors": (0.0,)}}, "metrics.priors"),
        ({"metrics": {"fprs": (0.0,)}}, r"`metrics\.fprs` must be in \(0, 1\)"),
        ({"sweep": {"family": ("ann", "ann")}}, "repeated"),
        ({"data": {"name": "iris"}, "sweep": {"dataset": ("wine",)}}, r"Pass --config\.sweep\.dataset instead"),
        ({"attacks": {"names": ()}}, "one or more of"),
        ({"metrics": {"fprs": ()}}, "one or more rates"),
        ({"train": {"seed": -1}}, r"`train\.seed` must be in"),
        ({"data": {"population": 0.5, "validation": 0.5}}, "at most 0.8"),
        ({"ensemble": {"chunk_seconds": float("inf")}}, "chunk_seconds"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(values, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(values)
