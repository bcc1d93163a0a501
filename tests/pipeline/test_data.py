"""What becomes of the data before anything is trained, and which settings it allows."""

import numpy as np
import pytest

from jaxsnn_mia import config, data, models
from jaxsnn_mia.config.sweep import variants
from jaxsnn_mia.data import glyphs, splits
from jaxsnn_mia.pipeline.data import chosen_rows
from jaxsnn_mia.pipeline.run import data_and_splits, run_pipeline
from jaxsnn_mia.pipeline.trained import load_inputs
from jaxsnn_mia.store.files import read_array
from jaxsnn_mia.store.stage import read_manifest
from tests.runs import scores


@pytest.fixture(autouse=True)
def few_recordings(monkeypatch):
    monkeypatch.setattr(glyphs, "N", 120)


RNG = np.random.default_rng(0)
QUICK = {"metrics": {"replicates_auc": 20, "replicates_tpr": 20}, "splits": {"n_shadows": 6}}


def prepared(tmp_path, **sections):
    return data_and_splits(config.from_dict({**QUICK, **sections}), tmp_path)["data"]


def arrays(folder):
    return [np.asarray(read_array(folder / f"{name}.npy")) for name in ("x", "y", "role")]


def test_a_range_is_that_of_the_population_and_ends_at_0_and_1(tmp_path):
    folder = prepared(tmp_path, data={"name": "wine", "standardise": "range"})
    x, _, role = arrays(folder)
    raw = data.load("wine").x
    public = raw[role == splits.POPULATION]
    low, high = public.min(0), public.max(0)
    np.testing.assert_allclose(x, np.clip((raw - low) / (high - low), 0, 1), atol=1e-6)
    assert x[role == splits.POPULATION].min(0).max() == 0
    assert read_manifest(folder)["range"] == [0, 1]


def test_some_rows_are_a_random_part_in_order(tmp_path):
    source = data.load("digits")
    for rows, expected in ((0, 1797), (5000, 1797), (300, 300)):
        assert len(arrays(prepared(tmp_path, data={"rows": rows}))[0]) == expected
    few = chosen(rows=300)
    at = [np.flatnonzero((source.x == row).all(1))[0] for row in few.x]
    assert (np.diff(at) > 0).all()
    assert at[-1] > 1500
    assert (few.y == source.y[at]).all()
    assert not np.array_equal(few.x, chosen(rows=300, seed=1).x)
    assert len(chosen(name="iris", duplicates="drop").x) == 149


def chosen(seed=0, **settings):
    return chosen_rows(config.from_dict({"data": settings, "splits": {"seed": seed}}))[0]


def test_augmentation_keeps_the_data_and_validation_rows_are_no_candidates(tmp_path):
    x, y = RNG.integers(0, 255, (90, 8, 8, 1)).astype(np.uint8), np.arange(90) % 3
    np.savez(tmp_path / "images.npz", x=x, y=y)
    shared = {"name": f"npz:{tmp_path / 'images.npz'}", "validation": 0.2}
    plain = prepared(tmp_path, data=shared)
    assert plain == prepared(tmp_path, data={**shared, "augment": "flip"})
    c = config.from_dict({**QUICK, "data": shared, "train": {"stop_at_gap": 0.1}})
    work = load_inputs(c, data_and_splits(c, tmp_path))
    x, y, role = arrays(plain)
    for found, wanted in zip(
        work.data, (splits.CANDIDATE, splits.CANDIDATE, splits.VALIDATION, splits.VALIDATION), strict=True
    ):
        assert len(found) == (role == wanted).sum()
    np.testing.assert_array_equal(work.data[2], x[role == splits.VALIDATION])
    np.testing.assert_array_equal(work.data[3], y[role == splits.VALIDATION])
    assert not work.spec.model.timed


def own_table(tmp_path, **columns):
    """An npz of 120 rows with the named columns and a random one."""
    x = np.stack([*columns.values(), RNG.normal(size=120)], 1)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(120) % 2)
    return {"name": f"npz:{tmp_path / 'own.npz'}"}


@pytest.mark.parametrize("standardise", ["dataset", "range", "per_shadow"])
def test_large_numbers_of_small_spread_stay_different(tmp_path, standardise):
    """120 Unix times a second apart, a column of 1e37, one of 1e-9: float32 has 1, an infinite and no deviation."""
    place = np.arange(120) / 120
    folder = prepared(tmp_path, data={**own_table(tmp_path, time=1.7e9 + np.arange(120), large=1e37 * place,
                                                  small=1e-9 * place), "standardise": standardise})  # fmt: skip
    x, _, role = arrays(folder)
    assert x.dtype == np.float32
    assert read_manifest(folder)["duplicates"] == 0
    candidate = x[role == splits.CANDIDATE]
    for column in range(3):
        assert len(np.unique(candidate[:, column])) > 0.9 * len(candidate)
        assert 0.1 < candidate[:, column].std() < 3


def test_a_constant_column_is_zero_and_what_float32_cannot_hold_is_refused(tmp_path):
    x, *_ = arrays(prepared(tmp_path, data=own_table(tmp_path, constant=np.full(120, 0.1))))
    assert np.abs(x[:, 0]).max() < 1e-6
    with pytest.raises(ValueError, match=r"120 rows are not finite in float32.*row 0"):
        prepared(tmp_path / "none", data={**own_table(tmp_path, huge=np.full(120, 1e300)), "standardise": "none"})


def test_series_and_float_pictures_share_what_moves_them(tmp_path):
    series = RNG.normal(3, 2, (120, 5, 2)) * [1, 10]
    np.savez(tmp_path / "own.npz", x=series, y=np.arange(120) % 2)
    shared = {"name": f"npz:{tmp_path / 'own.npz'}"}
    with pytest.raises(ValueError, match="can be read in several ways"):
        prepared(tmp_path / "asked", data=shared)
    folder = prepared(tmp_path / "series", data={**shared, "layout": "series"}, model={"time_steps": 5})
    x, _, role = arrays(folder)
    public = series[role == splits.POPULATION]
    np.testing.assert_allclose(x, (series - public.mean((0, 1))) / public.std((0, 1)), rtol=1e-5, atol=1e-6)
    assert read_manifest(folder)["timed"]
    c = config.from_dict({**QUICK, "data": {**shared, "layout": "series"}, "model": {"time_steps": 5}})
    spec = load_inputs(c, data_and_splits(c, tmp_path / "series")).spec.model
    assert (spec.timed, spec.in_shape) == (True, (5, 2))
    np.savez(tmp_path / "own.npz", x=RNG.random((120, 8, 8, 3)), y=np.arange(120) % 2)
    folder = prepared(tmp_path / "pictures", data=shared, model={"architecture": "convnet", "family": "ann"})
    assert arrays(folder)[0].shape == (120, 8, 8, 3)


def test_a_few_rows_that_miss_a_class(tmp_path):
    with pytest.raises(ValueError, match=r"have no candidate\. Set data\.rows higher"):
        prepared(tmp_path, data={"rows": 16})


@pytest.mark.parametrize("standardise", ["dataset", "range", "none"])
def test_events_stay_counts(tmp_path, standardise):
    folder = prepared(
        tmp_path,
        data={"name": "moving_glyphs:4", "rows": 400, "standardise": standardise},
        model={"time_steps": 4},
    )
    x, _, _ = arrays(folder)
    assert x.dtype == np.uint8
    assert x.shape[1:] == (4, 16, 16, 2)
    about = read_manifest(folder)
    assert about["timed"]
    c = config.from_dict(
        {
            **QUICK,
            "data": {"name": "moving_glyphs:4", "rows": 400, "standardise": standardise},
            "model": {"time_steps": 4},
        }
    )
    spec = load_inputs(c, data_and_splits(c, tmp_path)).spec.model
    assert (spec.timed, spec.in_shape) == (True, (4, 16, 16, 2))
    assert about["pixels"] == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"architecture": "vgg11"}}, r"`model\.architecture` must be 'dense' or 'recurrent' for digits"),
        ({"data": {"name": "moving_glyphs:4"}}, r"`model\.time_steps` must be 4 for moving_glyphs:4, .* got 10"),
        (
            {
                "data": {"name": "moving_glyphs:4", "standardise": "none"},
                "model": {"time_steps": 4, "encoding": "rate"},
            },
            r"`model\.encoding` must be 'direct' for moving_glyphs:4, which holds events",
        ),
        (
            {"data": {"name": "moving_glyphs:4", "augment": "flip"}, "model": {"time_steps": 4}},
            r"`data\.augment` must be 'none' for moving_glyphs:4",
        ),
        (
            {"data": {"name": "moving_glyphs:4"}, "model": {"time_steps": 4}, "attacks": {"names": ("longer", "loss")}},
            r"without \['phi_longer'\] for moving_glyphs:4, which holds events: no more steps",
        ),
        (
            {"data": {"name": "moving_glyphs:4"}, "model": {"time_steps": 4}, "signals": {"names": ("label_noise",)}},
            r"without \['label_noise'\] for moving_glyphs:4, which holds events: .* no noise of pixels",
        ),
        (
            {"data": {"standardise": "none"}, "model": {"encoding": "latency"}},
            r"`model\.encoding`='latency' needs inputs in \[0, 1\], got 0 to 16 for digits",
        ),
    ],
)
def test_settings_that_the_data_does_not_allow(tmp_path, sections, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path, **sections)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"encoding": "rate"}}, r"`data\.standardise` must be 'range' .* got 'dataset'"),
        ({"model": {"encoding": "poisson"}}, r"`model\.encoding` must be one of \['direct', 'latency', 'rate'\]"),
        ({"model": {"norm": "tdbn"}}, r"`model\.norm` must be 'group' for dense, got 'tdbn'"),
        (
            {"model": {"norm": "tdbn", "architecture": "vgg11"}, "quantization": {"mode": "ptq", "bits": 4}},
            r"'group' for quantization\.mode=ptq",
        ),
        (
            {"data": {"standardise": "range", "population": 0.0}, "attacks": {"names": ("loss",)}},
            r"above 0 for .*range",
        ),
        ({"model": {"family": "hybrid"}}, r"`model\.family` must be one of \['ann', 'snn'\] for dense"),
        (
            {"model": {"hidden": ()}, "attacks": {"names": ("rates",)}},
            r"`model\.hidden` must be one or more .* 'rates'",
        ),
        ({"data": {"rows": -1}}, r"`data\.rows` must be at least 0, got -1"),
    ],
)
def test_settings_that_do_not_go_together(sections, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(sections)


def test_names_of_variants_are_folders():
    c = config.from_dict({"sweep": {"dataset": ("moving_glyphs:10", "npz:/a/b.npz")}})
    assert next(iter(variants(c))) == "moving_glyphs-10-snn"
    assert all("/" not in name for name in variants(c))


def encodings(workdir):
    rows = [row.split(",") for row in (workdir / "results.csv").read_text().splitlines()]
    return {row[rows[0].index("encoding")] for row in rows[1:]}


@pytest.mark.long
def test_coded_inputs_run_to_the_end(tmp_path):
    c = config.from_dict({
        **QUICK,
        "data": {"rows": 400, "standardise": "range"},
        "model": {"hidden": (8,), "time_steps": 3},
        "train": {"epochs": 2},
        "attacks": {"names": ("loss", "steps")},
        "sweep": {"encoding": ("rate", "latency")},
    })  # fmt: skip
    run_pipeline(c, tmp_path)
    assert encodings(tmp_path) == {"rate", "latency"}
    assert all(np.isfinite(array).all() for array in scores(tmp_path).values())


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["recurrent", "convnet"])
def test_events_run_to_the_end(tmp_path, architecture):
    c = config.from_dict({
        **QUICK,
        "data": {"name": "moving_glyphs:4", "rows": 400},
        "model": {"architecture": architecture, "hidden": (8,), "time_steps": 4},
        "train": {"epochs": 2},
        "attacks": {"names": ("loss", "steps", "rates", "dropout")},
        "sweep": {"family": ("ann", "snn")},
    })  # fmt: skip
    run_pipeline(c, tmp_path)
    assert encodings(tmp_path) == {"events"}
    assert all(np.isfinite(array).all() for array in scores(tmp_path).values())


def test_the_list_of_architectures_says_who_needs_images():
    assert set(models.ON_IMAGES) | {"dense", *models.RECURRENT} == set(models.MODELS)
    assert set(models.NORMALISED) < set(models.ON_IMAGES)
