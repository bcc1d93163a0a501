"""Speech: bands and codes by slow loops, the files, and groups of examples that are members together."""

import numpy as np
import pytest

from jaxsnn_mia import config, data
from jaxsnn_mia.data import speech
from jaxsnn_mia.data.prepared import candidates
from jaxsnn_mia.pipeline.run import data_and_splits
from jaxsnn_mia.pipeline.splits import read_keep

RATE = 8000
RNG = np.random.default_rng(0)


def test_a_tone_is_loudest_in_its_band_and_silence_is_the_floor():
    filters = speech.mel_filters(16, 200, RATE)
    assert filters.shape == (16, 101)
    assert (filters >= 0).all()
    for hertz in (300, 1000, 3000):
        tone = np.round(8000 * np.sin(2 * np.pi * hertz * np.arange(4000) / RATE)).astype(np.int16)
        level = speech.decibels(tone, RATE, 16)
        assert level.shape == (48, 16)
        assert level.max() == 0
        at = 2595 * np.log10(1 + hertz / 700) / (2595 * np.log10(1 + RATE / 2 / 700)) * 17 - 1  # place among 16 centres
        assert abs(level.mean(0).argmax() - at) <= 1
    assert (speech.decibels(np.zeros(100, np.int16), RATE, 8) == speech.FLOOR).all()
    np.testing.assert_allclose(speech.decibels(tone, RATE, 8), speech.decibels(2 * tone, RATE, 8), atol=1e-6)


def test_an_event_is_a_step_of_six_decibels():
    level = np.array([[-60.0, -60], [-50, -60], [-30, -60], [-31, -18], [-60, -18]])
    got = speech.coded(level, 5)
    steps = np.floor((level + 60) / 6).astype(int)
    last = np.zeros(2, int)
    for t in range(5):
        np.testing.assert_array_equal(got[t, :, 0], np.maximum(steps[t] - last, 0))
        np.testing.assert_array_equal(got[t, :, 1], np.maximum(last - steps[t], 0))
        last = steps[t]
    assert speech.coded(level, 9).shape == (9, 2, 2)
    assert speech.coded(level, 9)[..., 0].sum() == got[..., 0].sum()  # nothing rises twice


@pytest.fixture
def folder(tmp_path):
    """6 speakers who say each digit 8 times, in a tone of the digit."""
    sounds, digit, speaker, take = [], [], [], []
    for who in range(6):
        for d in range(10):
            for k in range(8):
                time = np.arange(900 + 20 * k + 10 * who) / RATE
                tone = 5000 * np.sin(2 * np.pi * (300 + 250 * d) * time) + RNG.normal(0, 500, len(time))
                sounds.append(np.round(tone).astype(np.int16))
                digit, speaker, take = [*digit, d], [*speaker, who], [*take, k]
    np.savez(
        tmp_path / speech.FSDD, samples=np.concatenate(sounds), offsets=np.cumsum([0, *map(len, sounds)]),
        digit=np.array(digit, np.uint8), speaker=np.array(speaker), take=np.array(take), rate=RATE,
    )  # fmt: skip
    return tmp_path


def test_spoken_digits_are_events_with_a_group_for_each_speaker(folder):
    found = data.load("fsdd:10x12", str(folder))
    assert found.x.shape == (480, 10, 12, 2)
    assert found.x.dtype == np.uint8
    assert found.timed
    assert found.test_n.sum() == 6 * 10 * 5
    assert np.bincount(found.group_n).tolist() == [80] * 6
    for bad, says in (("fsdd:0", "T"), ("fsdd:10x1", r"C in \[2, 64\]"), ("fsdd", "must be one of")):
        with pytest.raises(ValueError, match=says):
            data.load(bad, str(folder))
    np.savez(folder / speech.FSDD, samples=np.zeros(3))
    with pytest.raises(ValueError, match="is not the file that is described"):
        data.load("fsdd:10", str(folder))


def test_all_recordings_of_a_speaker_are_members_together(folder, tmp_path):
    settings = {"data": {"name": "fsdd:24x16", "dir": str(folder), "population": 0.2}, "splits": {"n_shadows": 8},
                "model": {"architecture": "recurrent", "time_steps": 24}}  # fmt: skip
    c = config.from_dict({**settings, "splits": {"n_shadows": 8, "unit": "group"}})
    paths = data_and_splits(c, tmp_path)
    x, _, unit_n = candidates(paths["data"])
    keep = read_keep(paths["splits"])
    assert len(x) == 400  # five speakers; one is the population
    assert len(np.unique(unit_n)) == 5
    for unit in np.unique(unit_n):
        assert (keep[:, unit_n == unit] == keep[:, unit_n == unit][:, :1]).all()
    assert set((keep[::2].sum(1) // 80).tolist()) == {3}  # half of five, the larger one first
    with pytest.raises(ValueError, match="whose examples have no groups"):
        data_and_splits(config.from_dict({"data": {"name": "iris"}, "splits": {"unit": "group"}}), tmp_path)
    for other, says in (
        ({"splits": {"unit": "group", "canaries": 8}}, "Canaries belong to nobody"),
        ({"splits": {"unit": "group", "rows": "iid"}}, "Bounds of epsilon are those of one row"),
        ({"splits": {"unit": "group"}, "train": {"dp_clip": 1.0}}, "Epsilon is that of one row, not of a group"),
    ):
        with pytest.raises(ValueError, match=says):
            config.from_dict(other)


def test_groups_with_a_duplicate_in_common_are_one():
    unit = np.array([0, 1, 2, 2, 3, 4])
    group = np.array([0, 0, 1, 2, 3, 3])
    assert data.united(unit, group).tolist() == [0, 0, 1, 1, 2, 2]


def test_vowels_are_series_with_the_published_split(tmp_path):
    x, y = RNG.normal(size=(20, 29, 12)).astype(np.float32), np.arange(20) % 9
    names = np.array([f"speaker{k}" for k in range(9)])
    np.savez(tmp_path / speech.VOWELS, x=x, y=y, is_train=np.arange(20) < 15, class_names=names)
    found = data.load("japanese_vowels", str(tmp_path))
    assert found.timed
    assert found.x.shape == (20, 29, 12)
    assert found.test_n.sum() == 5
