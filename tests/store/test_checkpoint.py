import json
from typing import NamedTuple

import numpy as np
import pytest

from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError


class Tree(NamedTuple):
    params: dict
    count: np.ndarray


def tree(value):
    return Tree({"layers": {0: {"kernel": np.full((4, 3), value, np.float32)}}}, np.full(4, value, np.int32))


def test_round_trip_in_the_structure_asked_for(tmp_path):
    checkpoint.save(tmp_path, 3, tree(7))
    restored = checkpoint.restore(tmp_path, 3, tree(0))
    assert type(restored) is Tree
    np.testing.assert_array_equal(restored.params["layers"][0]["kernel"], 7)
    np.testing.assert_array_equal(restored.count, 7)
    with pytest.raises(StoreError, match=r"does not fit the model.*count"):
        checkpoint.restore(tmp_path, 3, {"params": tree(0).params})


def test_the_last_two_and_the_snapshots_are_kept(tmp_path):
    for epoch in (1, 2, 3, 4):
        checkpoint.save(tmp_path, epoch, tree(epoch), keep=(1,))
    assert checkpoint.epochs(tmp_path) == [1, 3, 4]


def test_what_a_killed_save_leaves_behind_is_no_checkpoint(tmp_path):
    checkpoint.save(tmp_path, 1, tree(1))
    (tmp_path / "epoch-000002.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.latest(tmp_path) == 1
    checkpoint.save(tmp_path, 2, tree(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000001", "epoch-000002"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "no digest", "digest"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
    checkpoint.save(tmp_path, 1, tree(1))
    checkpoint.save(tmp_path, 2, tree(2))
    path = checkpoint.step_path(tmp_path, 2)
    digests = json.loads((path / checkpoint.DIGESTS).read_text())
    largest = max((path / name for name in digests), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 16
        largest.write_bytes(content)
    elif damage == "truncate":
        largest.write_bytes(content[:-1])
    elif damage == "no digest":
        (path / checkpoint.DIGESTS).unlink()
    else:
        (path / checkpoint.DIGESTS).write_text("{")
    assert checkpoint.latest(tmp_path) == 1
    assert "damaged or incomplete" in caplog.text


def test_a_damaged_snapshot_is_trained_again_from_before_it(tmp_path):
    for epoch in (1, 2, 3, 4):
        checkpoint.save(tmp_path, epoch, tree(epoch), keep=(1, 2))
    assert checkpoint.epochs(tmp_path) == [1, 2, 3, 4]
    (checkpoint.step_path(tmp_path, 2) / checkpoint.DIGESTS).write_text("[]")
    assert checkpoint.latest(tmp_path) == 4
    assert checkpoint.latest(tmp_path, (1, 2)) == 1
    assert checkpoint.latest(tmp_path, (1, 2, 9)) == 1  # one that is yet to come is not missed
    checkpoint.save(tmp_path, 2, tree(2), keep=(1, 2))
    assert checkpoint.epochs(tmp_path) == [1, 2]
    assert checkpoint.latest(tmp_path, (1, 2)) == 2


def test_a_checkpoint_of_other_models_or_shapes_is_refused(tmp_path):
    checkpoint.save(tmp_path / "train" / "group-00001", 1, tree(1), shadows=range(4, 8))
    group = tmp_path / "train" / "group-00001"
    checkpoint.restore(group, 1, tree(0), [4, 5, 6, 7])
    with pytest.raises(StoreError, match=rf"holds the models 4 to 7, not 2 to 3: .* remove {tmp_path / 'train'}: "):
        checkpoint.restore(group, 1, tree(0), [2, 3])
    wider = tree(0)._replace(params={"layers": {0: {"kernel": np.zeros((4, 5), np.float32)}}})
    with pytest.raises(StoreError, match=r"does not fit the model.*kernel"):
        checkpoint.restore(group, 1, wider)


def test_a_save_takes_its_place_when_it_is_whole_and_still_wanted(tmp_path):
    checkpoint.save(tmp_path, 1, tree(1))

    def overtaken():
        assert checkpoint.latest(tmp_path) == 1
        raise KeyError("overtaken")

    with pytest.raises(KeyError, match="overtaken"):
        checkpoint.save(tmp_path, 1, tree(2), check=overtaken)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001"]
    np.testing.assert_array_equal(checkpoint.restore(tmp_path, 1, tree(0)).count, 1)
