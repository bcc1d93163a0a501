import json
import shutil

import jax
import pytest

from jaxsnn_mia import config
from jaxsnn_mia.models import ModelSpec
from jaxsnn_mia.pipeline import train
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.training import loop, probe
from jaxsnn_mia.training.ensemble import make_ensemble
from jaxsnn_mia.training.plan import agreed_plan, fixed_width, group_plan, make_plan, read_plan, write_plan
from jaxsnn_mia.training.probe import Probe, fastest, largest_group, state_bytes
from jaxsnn_mia.training.spec import TrainSpec
from tests.runs import assert_same_scores, small


@pytest.mark.parametrize(
    ("shadows", "group_size", "members", "world", "groups", "size"),
    [
        (64, 64, 1, 1, 1, 64),
        (64, 64, 5, 1, 1, 64),  # of each member
        (64, 12, 1, 1, 8, 8),  # six groups would do, but the last would be another program
        (256, 64, 1, 3, 4, 64),
        (8, 4, 1, 1, 2, 4),
        (8, 64, 1, 3, 4, 2),  # at least a group for each process
        (62, 16, 1, 1, 4, 16),  # 31 pairs: the last group is shorter
        (6, 2, 9, 1, 3, 2),
    ],
)
def test_groups_are_whole_pairs_of_one_size_where_that_is_near(shadows, group_size, members, world, groups, size):
    c = config.from_dict({"splits": {"n_shadows": shadows}, "ensemble": {"group_size": group_size}})
    plan = group_plan(c, world, members)
    assert (plan["groups"], plan["group_size"]) == (groups, size)
    assert (groups - 1) * size < shadows <= groups * size


def test_groups_fit_in_memory():
    c = config.from_dict({"splits": {"n_shadows": 64}})
    assert group_plan(c, fits=20) == {"group_size": 16, "groups": 4}
    assert group_plan(c, members=4, fits=20)["group_size"] == 4
    assert group_plan(c, fits=0)["group_size"] == 64  # nothing fits: what is asked for is tried
    devices, sizes = jax.devices(), []
    for hidden in (64, 128):
        spec = TrainSpec(ModelSpec("ann", (100,), 10, hidden=(hidden,)), rows=64)
        parameters = 100 * hidden + hidden + hidden * 10 + 10
        assert state_bytes(spec) == 4 * 3 * parameters + 2 * 4  # two moments, two counters
        sizes.append(largest_group(spec, devices))
    assert sizes[0] > 1.9 * sizes[1] > 0


GROUPS = {"group_size": 4, "groups": 2}


@pytest.mark.parametrize("damage", ["cut", "not json", "null", "another size", "text"])
def test_a_damaged_plan_is_named_and_nothing_is_trained_by_it(tmp_path, damage):
    write_plan(tmp_path, make_plan(GROUPS, 1))
    path = tmp_path / "plan.json"
    content = path.read_text()
    path.write_text({
        "cut": content[:40], "not json": "group_size: 4", "null": "null", "text": '"plan"',
        "another size": content.replace('"group_size": 4', '"group_size": 2'),
    }[damage])  # fmt: skip
    with pytest.raises(StoreError, match=rf"{path} is damaged or was changed.* remove {tmp_path}: "):
        agreed_plan(tmp_path, pytest.fail, lambda group_size: None)
    path.write_text(content)
    assert read_plan(tmp_path)["group_size"] == 4
    held = json.loads(content)
    del held["digest"]
    path.write_text(json.dumps(held))  # of an earlier version
    assert read_plan(tmp_path) == held


def test_a_width_that_is_named_is_taken_also_for_a_plan_that_is_there(tmp_path, caplog):
    c = config.from_dict({"ensemble": {"width": 100_000}})
    assert fixed_width(c, 8) == 8  # no more than the group has
    write_plan(tmp_path, make_plan(GROUPS, 8))

    def agreed(width):
        return agreed_plan(tmp_path, pytest.fail, lambda group_size: width)

    assert agreed(8) == agreed(None) == make_plan(GROUPS, 8)
    assert agreed(1) == read_plan(tmp_path)
    assert (agreed(1)["width"], agreed(1)["not_bitwise"]) == (1, [{"width_before": 8}])
    assert "the results will not be bitwise those of one run" in caplog.text
    assert [agreed(width)["width"] for width in (8, 1, 8, 1)] == [8, 1, 8, 1]  # also what was asked for before
    write_plan(tmp_path, {**make_plan(GROUPS, 4), "not_bitwise": [{"width": 8}]})  # 8 had no memory
    assert agreed(8)["width"] == 4


@pytest.mark.parametrize(
    ("seconds", "memory", "chosen"),
    [
        ({1: 8, 2: 4, 4: 2, 8: 1, 16: 0.5}, {}, 16),
        ({1: 1, 2: 2, 4: 4}, {}, 1),
        ({1: 8, 2: 9, 4: 3, 8: 3, 16: 3}, {}, 4),  # one worse width is passed over, a third of a tie is not taken
        ({1: 8, 2: 4, 4: 2}, {4: 10**18}, 2),
    ],
)
def test_the_fastest_width_that_fits(monkeypatch, seconds, memory, chosen):
    def measured(members, width, devices, most):
        if width not in seconds:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return Probe(width, 0.0, seconds[width], memory.get(width, 1), width)

    monkeypatch.setattr(probe, "probe", measured)
    assert fastest([], jax.devices(), 16).width == chosen


def test_a_width_that_does_not_run_is_left_out_whatever_the_error_and_the_first_must_run(monkeypatch, caplog):
    def measured(members, width, devices, most):
        if width > refused:
            raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: no algorithm for this convolution")
        return Probe(width, 0.0, 1 / width, 1, width)

    monkeypatch.setattr(probe, "probe", measured)
    refused = 2
    with caplog.at_level("WARNING"):
        assert fastest([], jax.devices(), 16).width == 2
    assert "width 4 does not run here, 2 is kept: UNIMPLEMENTED" in caplog.text
    refused = 0
    with pytest.raises(jax.errors.JaxRuntimeError, match="UNIMPLEMENTED"):
        fastest([], jax.devices(), 16)


@pytest.mark.long
def test_a_probed_width_is_kept(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(probe, "ENOUGH_SECONDS", 0.01)
    c = small(ensemble={"group_size": 8, "width": "auto"})
    with caplog.at_level("INFO", logger="absl"):
        run_pipeline(c, tmp_path, until="train")
    plan = json.loads(next(tmp_path.glob("*/train-*/plan.json")).read_text())
    assert plan["width"] in (1, 2)  # eight models on four devices
    assert f"4 cpu device(s) x width {plan['width']}, 1 group(s) of 8 shadows" in caplog.text
    (kept,) = json.loads((tmp_path / "probe.json").read_text()).values()
    assert kept[0] == plan["width"]
    assert all(value > 0 for value in kept)


@pytest.mark.long
def test_out_of_memory_halves_the_width_and_goes_on(tmp_path, monkeypatch, caplog):
    make = make_ensemble

    def too_wide(spec, *, seed, width, devices):
        def fails(*_):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")

        made = make(spec, seed=seed, width=width, devices=devices)
        return made if width == 1 else made._replace(run=fails)

    run_pipeline(small(), tmp_path / "narrow")
    monkeypatch.setattr(loop, "make_ensemble", too_wide)
    run_pipeline(small(ensemble={"group_size": 4, "width": 4}), tmp_path / "wide")
    said = [record.message for record in caplog.records if "out of memory" in record.message]
    assert said == ["out of memory at width 4: going on with 2", "out of memory at width 2: going on with 1"]
    plan = json.loads(next(tmp_path.glob("wide/*/train-*/plan.json")).read_text())
    assert plan["width"] == 1
    assert plan["not_bitwise"] == [{"width": 4}, {"width": 2}]
    assert_same_scores(tmp_path / "wide", tmp_path / "narrow")


def test_what_neither_memory_nor_disk_holds_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    huge = small(model={"hidden": (50_000, 50_000)})
    with pytest.raises(ValueError, match=r"`model\.hidden`=\(50000, 50000\) needs 30 GB with its optimizer"):
        run_pipeline(huge, tmp_path / "memory", until="train")
    monkeypatch.setattr(train.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(ValueError, match=r"the checkpoints of 8 models need .* GB, and .* has 1e-06 GB left"):
        run_pipeline(small(), tmp_path / "disk", until="train")
    assert not list(tmp_path.glob("*/*/train-*/group-*"))
