"""The predecessor's attack as released: who trains on what, what the attack sees, what each replacement changes."""

import csv

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiments.study import as_released as study
from experiments.study import run, sheet, waterfall
from jaxsnn_mia import data
from jaxsnn_mia.data import splits
from jaxsnn_mia.training.step import Norm

EQUAL = {"ann": 1e-3, "snn": 1e-3}
UNTRAINED = {"ann": 1e-30, "snn": 1e-30}  # no step changes a weight
SMALL = study.Settings(EQUAL, hidden=16, shadows=12)
# the parts of the protocol that need one target and one shadow
PAIRS = [name for name, replaced in study.REPLACED.items() if "attack" not in replaced]


def rows_of(n=160, features=6, classes=2, seed=0):
    """Rows with labels that nothing in them tells: only by heart can they be learned."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(3, 2, (n, features)), rng.permutation(np.arange(n) % classes)
    return data.make_dataset(x, y, [str(c) for c in range(classes)], "test")


TABLE = rows_of()


def within(values, expected=0.5, errors=3.0):
    """Whether the mean is within so many standard errors of what is expected."""
    values = np.asarray(values)
    return abs(values.mean() - expected) < errors * values.std(ddof=1) / len(values) ** 0.5


def columns(rows, name="auc"):
    return np.array([row[name] for row in rows])


@pytest.fixture
def fake(monkeypatch):
    """Puts made-up logits [S, N, C] in the place of trained models; gives a list of what was asked."""

    def use(logits_of):
        seen = []

        def answers(d, keep_sn, scale_sn, ids_s, s, *, family, lr, readout, names):
            seen.append({"keep": keep_sn, "scale": scale_sn, "ids": ids_s, "family": family, "lr": lr,
                         "readout": readout, "names": names})  # fmt: skip
            logits_snc = logits_of(d, keep_sn, ids_s)
            own = np.take_along_axis(logits_snc, d.y[None, :, None], 2)[..., 0]
            rest = np.where(np.arange(logits_snc.shape[2]) == d.y[:, None], -np.inf, logits_snc)
            phi_sn = own - np.log(np.exp(rest).sum(2))
            right_sn = (logits_snc.argmax(2) == d.y).astype(np.uint8)
            return {"logits": logits_snc[:, :, None], "phi": np.float32(phi_sn)[..., None],
                    "correct": right_sn[..., None]}  # fmt: skip

        monkeypatch.setattr(study, "answers", answers)
        return seen

    return use


def unrelated(d, keep_sn, ids_s):
    """Outputs that have nothing to do with rows, membership or each other."""
    return np.stack([np.random.default_rng(i).normal(size=(len(d.x), len(d.class_names))) for i in ids_s])


def of_the_row(d, keep_sn, ids_s):
    """Outputs that depend on the row alone: all models are one, which never saw any of them."""
    one = np.random.default_rng(9).normal(size=(len(d.x), len(d.class_names)))
    return np.repeat(one[None], len(ids_s), 0)


def by_heart(d, keep_sn, ids_s):
    """Members have 3 more in the logit of their label."""
    return unrelated(d, keep_sn, ids_s) + 3 * keep_sn[..., None] * np.eye(len(d.class_names))[d.y]


@pytest.mark.parametrize("n", [149, 150, 1797])
@pytest.mark.parametrize("seed", [0, 5])
def test_as_released_the_shadows_rows_are_the_targets(n, seed):
    r = study.as_released(n, np.random.default_rng(seed))
    target, target_out, shadow, shadow_out = map(set, r[:4])
    assert target | target_out == set(range(n))
    assert not target & target_out
    assert shadow < target
    assert shadow_out < target_out
    assert set(r.shadow_scale) == target
    tests = -(-n // 5)  # as sklearn's train_test_split rounds
    assert list(map(len, r)) == [n - tests, tests, int(0.8 * (n - tests)), int(0.2 * tests), n - tests]
    assert set(study.as_released(n, np.random.default_rng(seed + 1)).target) != target


@pytest.mark.parametrize("n", [149, 150, 1797])
def test_disjoint_sets_have_no_common_row(n):
    r = study.disjoint(n, np.random.default_rng(3))
    sets = list(map(set, r[:4]))
    assert sum(map(len, sets)) == len(set.union(*sets)) == n
    halves = [len(r.target) + len(r.target_out), len(r.shadow) + len(r.shadow_out)]
    assert halves == [-(-n // 2), n // 2]
    assert [len(r.target_out), len(r.shadow_out)] == [-(-half // 5) for half in halves]
    assert set(r.shadow_scale) == set(r.shadow)  # nothing of the target's


def test_duplicates_are_dropped_and_images_refused(tmp_path):
    d = study.table("iris")
    assert len(d.x) == 149 == len(np.unique(d.x, axis=0))
    np.savez(tmp_path / "images.npz", x=np.zeros((6, 4, 4, 1), np.uint8), y=np.arange(6) % 2)
    with pytest.raises(ValueError, match="must be tables of float features, got npz:"):
        study.table(f"npz:{tmp_path / 'images.npz'}")


@pytest.mark.parametrize("name", study.REPLACED)
def test_each_replacement_changes_its_part_alone(fake, name):
    seen = fake(unrelated)
    replaced = study.REPLACED[name]
    s = study.Settings({"ann": 3e-3, "membrane_last": 1e-2, "leaky_integrator": 2e-2}, shadows=12)
    rows = {family: study.block(TABLE, family, replaced, [0, 3], s) for family in study.FAMILIES}
    ann, snn = seen
    of_readout = 2e-2 if "readout" in replaced else 1e-2
    assert [ann["lr"], snn["lr"]] == ([3e-3, of_readout] if "rates" in replaced else [1e-4, 1e-3])
    assert snn["readout"] == ("leaky_integrator" if "readout" in replaced else "membrane_last")
    confidence_alone = replaced & {"readout", "attack"}
    for one in seen:
        assert one["names"] == ("phi" if confidence_alone else "logits", "correct")
        assert len(set(one["ids"])) == len(one["ids"]) == len(one["keep"])
        for what in ("keep", "scale", "ids"):
            np.testing.assert_array_equal(one[what], ann[what])  # both families: the same splits and random numbers
    keep, n = ann["keep"], len(TABLE.x)
    if "attack" in replaced:
        assert keep.shape == (24, n)
        assert (keep[::2] == ~keep[1::2]).all()
        assert (keep.sum(1) == n // 2).all()
        np.testing.assert_array_equal(ann["scale"], keep)
        assert not (keep[:12] == keep[12:]).all(1).any()
    else:
        assert keep.shape == (4, n)
        assert not (keep[:2] == keep[2:]).all(1).any()
        for k in (0, 2):
            assert (keep[k] & keep[k + 1]).sum() == (0 if "overlap" in replaced else keep[k + 1].sum())
            np.testing.assert_array_equal(ann["scale"][k + 1], keep[k + 1] if "overlap" in replaced else keep[k])
    for family, found in rows.items():
        assert [row["seed"] for row in found] == [0, 3]
        for row in found:
            equal = row["members"] == row["non_members"]
            assert equal == (family == "ann" or bool(replaced & {"balance", "attack"}))


def test_the_whole_output_or_the_confidence_alone_is_the_feature(fake, monkeypatch):
    fake(unrelated)
    shapes = []
    monkeypatch.setattr(study, "svc_auc", lambda shadow, target, *_: shapes.append(target[0].shape) or (0.5, 1, 1))
    d = rows_of(classes=5)
    for name in ("none", "readout"):
        study.block(d, "snn", study.REPLACED[name], [0], SMALL)
    assert shapes == [(160, 5), (160, 1)]


@pytest.mark.parametrize("balance", [False, True])
def test_the_attack_is_one_support_vector_machine_for_each_class(balance):
    rng = np.random.default_rng(1)
    shadow, target = (
        study.Outputs(rng.normal(size=(n, 3)) * [1, 5, 1] + 3 * member[:, None], np.arange(n) % 3, member)
        for n in (90, 120)
        for member in [np.arange(n) < 0.8 * n]
    )
    auc, members, others = study.svc_auc(shadow, target, balance, np.random.default_rng(7))
    draw, aucs, ranked = np.random.default_rng(7), [], []
    for label in range(3):
        x, y = [], []
        for side in (shadow, target):
            inside, outside = (
                np.flatnonzero((side.labels_r == label) & (side.member_r == who)) for who in (True, False)
            )
            if balance:  # the smaller side keeps all of it
                inside, outside = draw.permutation(inside)[: len(outside)], draw.permutation(outside)
            rows = sorted([*inside, *outside])
            x.append(side.features_rf[rows])
            y.append(side.member_r[rows])
        aucs.append(roc_auc_score(y[1], SVC().fit(x[0], y[0]).decision_function(x[1])))
        ranked.append((sum(y[1]), sum(~y[1])))
    np.testing.assert_allclose(auc, np.mean(aucs))
    assert (members, others) == tuple(np.sum(ranked, 0))
    assert (members == others) == balance
    assert auc > 0.6


def test_a_class_without_both_sides_is_left_out():
    rng = np.random.default_rng(2)
    labels, member = np.arange(80) % 2, np.arange(80) < 50
    shadow = study.Outputs(rng.normal(size=(80, 2)), labels, member)
    one_sided = shadow._replace(member_r=member | (labels == 1))
    auc, members, others = study.svc_auc(one_sided, shadow, False, rng)
    kept = labels == 0
    machine = SVC().fit(shadow.features_rf[kept], member[kept])
    np.testing.assert_allclose(auc, roc_auc_score(member[kept], machine.decision_function(shadow.features_rf[kept])))
    assert (members, others) == (25, 15)
    for balance in (False, True):
        with pytest.raises(ValueError, match="no class has members and non-members"):
            study.svc_auc(shadow._replace(member_r=np.ones(80, bool)), shadow, balance, rng)


@pytest.mark.parametrize("name", study.REPLACED)
def test_outputs_without_membership_have_an_auc_of_a_half(fake, name):
    fake(unrelated)
    for family in study.FAMILIES:
        assert within(columns(study.block(TABLE, family, study.REPLACED[name], range(24), SMALL)))


@pytest.mark.parametrize("name", study.REPLACED)
def test_members_that_are_known_by_heart_are_found(fake, name):
    """LiRA needs fewer of them than a support vector machine, whose ranking by one feature need not be monotonic."""
    fake(by_heart)
    d = TABLE if "attack" in study.REPLACED[name] else rows_of(1500)
    for family in study.FAMILIES:
        rows = study.block(d, family, study.REPLACED[name], range(4), SMALL)
        assert columns(rows).mean() > (0.8 if d is TABLE else 0.65)
        assert columns(rows, "train_accuracy").mean() > 0.95
        assert columns(rows, "test_accuracy").mean() < 0.6


def test_overlap_alone_is_taken_for_leakage(fake):
    """A model that learned nothing answers for a row as its shadow does, which the attack has seen beside its label."""
    fake(of_the_row)

    def auc(name, d):
        return columns(study.block(d, "snn", study.REPLACED[name], range(12), SMALL))

    d = rows_of(400, classes=4)
    assert auc("none", d).mean() > 0.57
    assert auc("balance", d).mean() > 0.57
    assert within(auc("overlap", d))
    assert (auc("attack", TABLE) == 0.5).all()


def test_a_diverged_target_is_an_error_and_a_diverged_shadow_is_left_out(fake):
    fake(lambda d, keep_sn, ids_s: np.where((ids_s == 1000)[:, None, None], np.nan, by_heart(d, keep_sn, ids_s)))
    with pytest.raises(ValueError, match=r"seed 1: the snn diverged.*--rates"):
        study.block(TABLE, "snn", study.REPLACED["none"], [0, 1], SMALL)
    lame, whole = study.block(TABLE, "snn", study.REPLACED["attack"], [1, 2], SMALL)
    assert lame["auc"] > 0.8
    assert whole["auc"] > 0.8


def test_inputs_are_standardised_by_the_rows_that_are_named(monkeypatch):
    rng = np.random.default_rng(0)
    keep_sn, scale_sn = rng.random((2, 2, len(TABLE.x))) < 0.5
    norm = study.moments(TABLE.x, scale_sn)
    oracle = [StandardScaler().fit(np.float64(TABLE.x[rows])) for rows in scale_sn]
    np.testing.assert_allclose(norm.mean, [one.mean_ for one in oracle], rtol=1e-5)
    np.testing.assert_allclose(norm.std, [one.scale_ for one in oracle], rtol=1e-5)
    assert (study.moments(np.ones((9, 2), np.float32), np.ones((1, 9), bool)).std == 1).all()
    how = {"family": "ann", "lr": 1e-2, "readout": "membrane_last", "names": ("logits",)}
    s = SMALL._replace(epochs=3)

    def logits(d, *rows):
        return study.answers(d, *rows, np.array([4, 5]), s, **how)["logits"]

    got, own = logits(TABLE, keep_sn, scale_sn), logits(TABLE, keep_sn, keep_sn)
    monkeypatch.setattr(study, "moments", lambda x, rows_sn: Norm(*np.float32([x[:2] * 0, x[:2] * 0 + 1])))
    for i, one in enumerate(oracle):
        ready = data.make_dataset(one.transform(np.float64(TABLE.x)), TABLE.y, TABLE.class_names, "test")
        np.testing.assert_allclose(got[i], logits(ready, keep_sn, scale_sn)[i], rtol=1e-3, atol=1e-4)
        assert np.abs(got[i] - own[i]).max() > 1e-2


LEARNED = study.Settings({"ann": 2e-2, "snn": 2e-2}, {"ann": 2e-2, "snn": 2e-2}, hidden=64, epochs=100, shadows=8)


@pytest.mark.parametrize("family", ["ann", pytest.param("snn", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name", ["none", *(pytest.param(n, marks=pytest.mark.long) for n in study.REPLACED if n != "none")]
)
def test_trained_by_heart_is_found_and_untrained_is_not(family, name):
    d, replaced = rows_of(240), study.REPLACED[name]
    rows = study.block(d, family, replaced, range(8), LEARNED)
    assert columns(rows, "train_accuracy").min() > 0.9
    assert columns(rows).mean() > 0.6
    untrained = LEARNED._replace(rates=UNTRAINED, released=UNTRAINED)
    null = [row for k in (0, 8) for row in study.block(d, family, replaced, range(k, k + 8), untrained)]  # one program
    assert within(columns(null))
    assert within(columns(null, "train_accuracy"), errors=4)


@pytest.mark.long
@pytest.mark.parametrize("name", ["none", "overlap", "all"])
def test_a_seed_gives_the_same_numbers_beside_others(name):
    d = study.table("wine")
    for family in study.FAMILIES:
        together = study.block(d, family, study.REPLACED[name], range(3), SMALL)
        assert study.block(d, family, study.REPLACED[name], [1], SMALL) == [together[1]]


@pytest.mark.long
def test_the_attack_by_lira_is_that_of_the_pipeline():
    """The same halves as `splits.make`, and a network that learns real data leaks through them."""
    d = study.table("digits")
    row = study.block(d, "ann", study.REPLACED["attack"], [2], SMALL._replace(released={"ann": 1e-2}, hidden=64))[0]
    keep = splits.make(jax.random.key(2), d.y, 8)
    assert (row["members"], row["non_members"]) == (keep[0].sum(), (~keep[0]).sum())
    assert row["auc"] > 0.55
    assert row["train_accuracy"] > row["test_accuracy"] > 0.85


@pytest.fixture
def counted(monkeypatch):
    """Blocks that cost nothing, and a list of those that were asked for."""
    calls = []

    def block(d, family, replaced, seeds, s):
        calls.append((family, replaced, list(seeds)))
        numbers = [(seed, 0.5 + 0.01 * seed, 1.0, 0.9, 9, 9, 2) for seed in seeds]
        return [dict(zip(study.COLUMNS[3:10], row, strict=True)) for row in numbers]

    monkeypatch.setattr(study, "block", block)
    return calls


def test_what_is_finished_is_not_computed_again(counted, tmp_path):
    path = study.add(tmp_path, "iris", range(2), SMALL)
    assert len(counted) == 2 * len(study.REPLACED)
    before = path.read_bytes(), path.stat().st_mtime_ns
    study.add(tmp_path, "iris", range(2), SMALL)
    assert len(counted) == 2 * len(study.REPLACED)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    counted.clear()
    study.add(tmp_path, "iris", range(4), SMALL)
    assert [seeds for *_, seeds in counted] == [[2, 3]] * 2 * len(study.REPLACED)
    study.add(tmp_path, "wine", range(2), SMALL)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == study.COLUMNS
    keys = {(r["dataset"], r["family"], r["replaced"], r["seed"]) for r in rows}
    assert len(keys) == len(rows) == 2 * len(study.REPLACED) * (4 + 2)
    with pytest.raises(study.StoreError, match="epochs is 20 there and 3 here"):
        study.add(tmp_path, "iris", range(4), SMALL._replace(epochs=3))


def test_a_run_that_dies_leaves_what_it_finished(counted, tmp_path, monkeypatch):
    whole = study.block

    def dies(d, family, *rest):
        if family == "snn":
            raise RuntimeError("killed")
        return whole(d, family, *rest)

    monkeypatch.setattr(study, "block", dies)
    with pytest.raises(RuntimeError, match="killed"):
        study.add(tmp_path, "iris", range(2), SMALL)
    rows = sheet.read(tmp_path / "as_released.csv")
    assert {row["family"] for row in rows} == {"ann"}
    monkeypatch.setattr(study, "block", whole)
    counted.clear()
    study.add(tmp_path, "iris", range(2), SMALL)
    assert {family for family, *_ in counted} == {"snn"}
    assert len(sheet.read(tmp_path / "as_released.csv")) == 2 * len(rows)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--datasets=irs"], "`data.name` must be one of"),
        (["--datasets=iris", "--rates=1e-3"], "must be two numbers, ANN,SNN, got '1e-3'"),
        (["--datasets=iris", "--rates=1e-3,fast"], "got '1e-3,fast'"),
    ],
)
def test_bad_flags_are_one_line_and_exit_code_2(flags, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study.os, "cpu_count", lambda: 4)  # the devices that there are: no backend starts twice
    with pytest.raises(SystemExit) as stopped:
        study.main([*flags, "--seeds=1", f"--workdir={tmp_path}"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_rates_are_those_that_the_search_chose(tmp_path):
    found = [
        {"dataset": "iris", "family": family, "readout": readout, "lr": lr, "metric": "validation_accuracy",
         "value": 1 - abs(lr - best)}
        for family, readout, best in (
            ("ann", "", 1e-3), ("snn", "membrane_last", 3e-3), ("snn", "leaky_integrator", 1e-2)
        )
        for lr in (1e-3, 3e-3, 1e-2)
    ]  # fmt: skip
    sheet.write(tmp_path / "rates.csv", found, run.COLUMNS)
    want = {"ann": 1e-3, "membrane_last": 3e-3, "leaky_integrator": 1e-2}
    assert study.chosen_rates("", "iris", tmp_path) == want
    assert study.chosen_rates("1e-3,2e-3", "iris", tmp_path) == {"ann": 1e-3, "snn": 2e-3}


# the waterfall

RNG = np.random.default_rng(4)
SEEDS = 8
AUC = {
    (family, name): RNG.normal(0.6 if family == "ann" else 0.55, 0.05, SEEDS)
    for family in study.FAMILIES
    for name in study.REPLACED
}


def made(auc=AUC, dataset="iris"):
    return [
        {"dataset": dataset, "family": family, "replaced": name, "seed": str(seed), "auc": repr(float(value)),
         "train_accuracy": "0.75" if family == "ann" else "0.625", "test_accuracy": "0.5"}
        for (family, name), values in auc.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_parts_are_paired_t_intervals_over_seeds():
    rows = made()
    order = np.random.default_rng(0).permutation(len(rows))  # the order of the file does not matter
    steps = dict(waterfall.waterfall([rows[i] for i in order], "iris", level=0.9))
    assert list(steps) == list(waterfall.LABELS)
    difference = {name: AUC["ann", name] - AUC["snn", name] for name in study.REPLACED}
    for name, e in steps.items():
        if name == "interaction":
            sample, against = (
                difference["all"] - difference["none"],
                sum(difference[part] - difference["none"] for part in study.PARTS),
            )
        elif name in ("none", "all"):
            sample, against = AUC["ann", name], AUC["snn", name]
        else:
            sample, against = difference[name], difference["none"]
        oracle = stats.ttest_rel(sample, against).confidence_interval(0.9)
        np.testing.assert_allclose(e, (np.mean(sample - against), *oracle, SEEDS), err_msg=name)


def test_known_parts_come_out():
    """Readout takes .04 of the difference away, rates .01; together .06: an interaction of -.01."""
    shift = dict.fromkeys(study.REPLACED, 0.0) | {"readout": -0.04, "rates": -0.01, "all": -0.06}
    snn = RNG.normal(0.55, 0.05, SEEDS)
    auc = {("snn", name): snn for name in shift} | {("ann", name): snn + 0.05 + by for name, by in shift.items()}
    steps = waterfall.waterfall(made(auc), "iris")
    got = {step.name: step.effect.mean for step in steps}
    want = {"none": 0.05, "balance": 0, "rates": -0.01, "readout": -0.04, "overlap": 0, "attack": 0,
            "interaction": -0.01, "all": -0.01}  # fmt: skip
    np.testing.assert_allclose([got[name] for name in want], list(want.values()), atol=1e-12)
    bottoms, tops = waterfall.bars(steps)
    np.testing.assert_allclose(bottoms, [0, 0.05, 0.05, 0.04, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(tops, [0.05, 0.05, 0.04, 0, 0, 0, -0.01, -0.01], atol=1e-12)


def test_bars_lead_from_as_released_to_all_replaced():
    steps = waterfall.waterfall(made(), "iris")
    bottoms, tops = waterfall.bars(steps)
    np.testing.assert_allclose(tops[:-1][1:] - bottoms[1:-1], [step.effect.mean for step in steps[1:-1]])
    np.testing.assert_allclose(bottoms[1:-1], tops[:-2])
    np.testing.assert_allclose(tops[-2], tops[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [r for r in rows if r["replaced"] != "readout"], r"readout: seeds \[\], but \[0, 1, "),
        (lambda rows: rows[1:], r"none: the ANN has seeds \[1, .* the SNN \[0, 1"),
        (lambda rows: [*rows, rows[0]], "seed 0 is there twice"),
        (lambda rows: [r for r in rows if r["seed"] == "0"], "K at least 2"),
    ],
)
def test_rows_that_do_not_pair_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        waterfall.waterfall(change(made()), "iris")


def test_figure_and_table(tmp_path, capsys):
    rows = made() + made({key: value[:3] for key, value in AUC.items()}, "wine")
    path = tmp_path / "as_released.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    waterfall.main([str(path), f"--out={tmp_path / 'a'}"])
    text = (tmp_path / "a/waterfall.md").read_text()
    assert text == capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) == 2 + 2 * len(waterfall.LABELS)
    assert len({line.count("|") for line in lines}) == 1
    e = waterfall.waterfall(rows, "wine")[3].effect
    ann, snn = (np.mean(AUC[family, "readout"][:3]) for family in study.FAMILIES)
    cells = f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}] | {ann:.3f}, {snn:.3f} | 0.750, 0.625 | 0.500, 0.500 | 3 |"
    assert f"| wine | readout alone | {cells}" in lines
    svg = (tmp_path / "a/waterfall.svg").read_text()
    assert all(label in svg for label in (*waterfall.LABELS.values(), "iris, 8 seeds", "wine, 3 seeds"))
    waterfall.main([str(path), f"--out={tmp_path / 'b'}"])
    assert (tmp_path / "b/waterfall.svg").read_text() == svg
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(SystemExit):
        waterfall.main([str(path), f"--out={tmp_path / 'a'}"])
    assert "has no rows" in capsys.readouterr().err
