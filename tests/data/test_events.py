"""Event sources: binning, files in the published formats, tonic's and Spyx's readers beside ours, generated glyphs.

Over 300 lines: the readers share the files that are written for them.
"""

import importlib
import sys
import types
from pathlib import Path

import h5py
import numpy as np
import pytest

from jaxsnn_mia import data
from jaxsnn_mia.data import events, fetch, shd

RNG = np.random.default_rng(0)


NO_TONIC = "tonic is not installed (extra [events])"


def made(n, shape=(34, 34, 2), end=300_000):
    """n events at random, in order of time."""
    height, width, polarities = shape
    columns = (RNG.integers(0, limit, n) for limit in (width, height, polarities))
    return events.as_events(np.sort(RNG.integers(0, end, n)), *columns)


def counted(found, shape, T, window=None, factor=1):
    """Slow: one event after another."""
    height, width, polarities = shape
    out = np.zeros((T, height // factor, width // factor, polarities), int)
    for t, x, y, p in found.tolist():
        start, end = window or (found["t"].min(), found["t"].max())
        if window and not start <= t < end:
            continue
        inside = [k for k in range(T) if t - start >= k * (end - start) / T]
        out[inside[-1], y // factor, x // factor, p] += 1
    return np.minimum(out, 255)


def nmnist_bytes(found, *, overflow=False):
    """5 bytes an event: x, y, polarity and 23 bits of time, big endian; or 13 bits of it, and a y of 240 each time the
    clock passes 2^13 us."""
    rows, passed = [], 0
    for t, x, y, p in found.tolist():
        while overflow and t - passed >= 2**13:
            rows.append(bytes([0, 240, 0, 0, 0]))
            passed += 2**13
        rows.append(bytes([x, y]) + (p << 23 | t - passed).to_bytes(3, "big"))
    return b"".join(rows)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def nmnist(tmp_path):
    """(folder, recordings in order of their files): 2 classes, 3 training recordings and 2 of test."""
    found = [made(n) for n in (200, 0, 30, 400, 50)]
    places = ("Train/0/00002.bin", "Train/0/00022.bin", "Train/7/00001.bin", "Test/0/00004.bin", "Test/7/00009.bin")
    for place, recording in zip(places, found, strict=True):
        write(tmp_path / "NMNIST" / place, nmnist_bytes(recording, overflow=place.startswith("Test")))
    return tmp_path, found


@pytest.fixture
def gesture(tmp_path):
    found = [made(n, (128, 128, 2), 6000) for n in (300, 500, 40)]
    places = ("Train/user02_led/0.npy", "Train/user02_led/10.npy", "Test/user24_lab/3.npy")
    for place, recording in zip(places, found, strict=True):
        path = tmp_path / "DVSGesture" / f"ibmGesture{place}"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack([recording[field] for field in "xypt"], 1).astype(float))  # t in ms
        recording["t"] *= 1000
    return tmp_path, found


def write_shd(path, recordings, labels, times=np.float16):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, dtype, column in (("times", times, 0), ("units", np.uint16, 1)):
            rows = file.create_dataset(f"spikes/{name}", (len(recordings),), dtype=h5py.vlen_dtype(dtype))
            for i, recording in enumerate(recordings):
                rows[i] = recording[column].astype(dtype)
        file["labels"] = np.asarray(labels, np.uint16)
        file["extra/keys"] = np.array([b"zero", b"one", b"null"])
        file["extra/speaker"] = np.zeros(len(recordings), np.uint16)


@pytest.fixture
def spoken(tmp_path):
    found = [(np.sort(RNG.uniform(0, 1.3, n)), RNG.integers(0, 700, n)) for n in (300, 0, 80)]
    write_shd(tmp_path / "SHD" / "shd_train.h5", found[:2], [2, 0])
    write_shd(tmp_path / "SHD" / "shd_test.h5", found[2:], [1])
    return tmp_path, found


@pytest.mark.parametrize("T", [1, 3, 10, 64])
@pytest.mark.parametrize(("window", "factor"), [(None, 1), (None, 2), ((50_000, 250_000), 1), ((0, 400_000), 17)])
def test_bins_are_counts_one_event_at_a_time(T, window, factor):
    found = made(300)
    found["x"][:100], found["y"][:100] = 3, 5
    binned = events.bins(found, (34, 34, 2), T, window=window, factor=factor)
    assert binned.dtype == np.uint8
    np.testing.assert_array_equal(binned, counted(found, (34, 34, 2), T, window, factor))
    np.testing.assert_array_equal(
        events.bins(RNG.permutation(found), (34, 34, 2), T, window=window, factor=factor), binned
    )


def test_edges_of_bins():
    at = events.as_events([5, 14, 15, 24, 25], [0, 1, 2, 3, 4])
    assert events.bins(at, (5,), 2).tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]  # the last event in the last slice
    assert events.bins(at, (5,), 2, window=(5, 25)).tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]]
    assert events.bins(at[:1], (5,), 3).tolist() == [[1, 0, 0, 0, 0], [0] * 5, [0] * 5]
    assert events.bins(at[:0], (6,), 2, factor=3).tolist() == [[0, 0], [0, 0]]
    many = events.as_events(np.zeros(700), np.repeat([0, 1, 2], [300, 255, 145]))
    assert events.bins(many, (3,), 1).tolist() == [[255, 255, 145]]
    assert events.bins(made(40), (34, 34, 2), 4).sum() == 40
    with pytest.raises(ValueError, match=r"`factor` must divide the sensor's \(34, 34, 2\), got 4"):
        events.bins(made(4), (34, 34, 2), 4, factor=4)
    for field in "xyp":
        for wrong in (-1, 34):
            outside = made(4)
            outside[field][2] = wrong
            with pytest.raises(ValueError, match=rf"{field} of every event must lie in \[0, (33|1)\], got {wrong}"):
                events.bins(outside, (34, 34, 2), 4)


def test_bins_against_tonic():
    to_frame = pytest.importorskip("tonic.transforms", reason=NO_TONIC).ToFrame
    found = made(2000)
    found["t"][0], found["t"][-1] = 0, 300_000
    found["t"][-3:] = 300_000
    frames = to_frame(sensor_size=(34, 34, 2), n_time_bins=10)(found).transpose(0, 2, 3, 1)
    # tonic leaves out the events at the last time, which are in our last slice
    last = events.bins(found[-3:], (34, 34, 2), 1)
    frames[-1] += last[0]
    np.testing.assert_array_equal(events.bins(found, (34, 34, 2), 10), frames)
    frames = to_frame(sensor_size=(34, 34, 2), time_window=20_000, start_time=0, end_time=200_000)(found)
    window = events.bins(found, (34, 34, 2), 10, window=(0, 200_000))
    np.testing.assert_array_equal(window, frames.transpose(0, 2, 3, 1))


def test_nmnist(nmnist):
    folder, found = nmnist
    paths, test_n = events.listed("nmnist", str(folder))
    for path, recording in zip(paths, found, strict=True):
        np.testing.assert_array_equal(events.read_nmnist(path), recording)
    loaded = data.load("nmnist:6", str(folder))
    assert loaded.x.shape == (5, 6, 34, 34, 2)
    assert loaded.timed
    assert loaded.class_names == tuple("0123456789")
    assert loaded.y.tolist() == [0, 0, 7, 0, 7]
    assert loaded.test_n.tolist() == test_n.tolist() == [False] * 3 + [True] * 2
    for x, recording in zip(loaded.x, found, strict=True):
        np.testing.assert_array_equal(x, counted(recording, (34, 34, 2), 6))


def test_dvs_gesture(gesture):
    folder, found = gesture
    for path, recording in zip(events.listed("dvs_gesture", str(folder))[0], found, strict=True):
        np.testing.assert_array_equal(events.read_gesture(path), recording)
    loaded = data.load("dvs_gesture:5", str(folder))
    assert loaded.x.shape == (3, 5, 32, 32, 2)
    assert len(loaded.class_names) == 11
    assert loaded.y.tolist() == [0, 10, 3]
    assert loaded.test_n.tolist() == [False, False, True]
    for x, recording in zip(loaded.x, found, strict=True):
        np.testing.assert_array_equal(x, counted(recording, (128, 128, 2), 5, factor=4))


@pytest.mark.parametrize("times", [np.float16, np.float32])
def test_shd(spoken, times):
    folder, found = spoken
    late = np.append(found[2][0], [1.39, 1.41, 1.5, np.nan, np.inf]), np.append(found[2][1], [7] * 5)
    write_shd(folder / "SHD" / "shd_test.h5", [late], [1], times)
    loaded = data.load("shd:7", str(folder))
    assert loaded.x.shape == (3, 7, 700)
    assert loaded.class_names == ("zero", "one", "null")
    assert loaded.y.tolist() == [2, 0, 1]
    assert loaded.test_n.tolist() == [False, False, True]
    for x, (t, unit) in zip(loaded.x[:2], found[:2], strict=True):
        expected = np.zeros((7, 700), int)
        for at, channel in zip((t.astype(np.float16).astype(float) * 1e6).astype(int), unit, strict=True):
            expected[at * 7 // 1_400_000, channel] += 1
        np.testing.assert_array_equal(x, expected)
    assert loaded.x[2].sum() == len(found[2][0]) + 1
    fewer = data.load("shd:7x140", str(folder))
    np.testing.assert_array_equal(fewer.x, loaded.x.reshape(3, 7, 140, 5).sum(-1))


@pytest.mark.parametrize("argument", ["0", "-1", "2.5", "ten", "10x140", "\u0663", "1e3"])
@pytest.mark.parametrize("name", ["nmnist", "dvs_gesture", "moving_glyphs"])
def test_bad_numbers_of_bins(name, argument, tmp_path):
    for function in (data.load, data.fingerprint):
        with pytest.raises(ValueError, match=rf"`data.name` must be {name}:T .*, got '{name}:{argument}'"):
            function(f"{name}:{argument}", str(tmp_path))


@pytest.mark.parametrize("argument", ["0", "7x", "7x0", "7x300", "x140", "7x-5", "7x140x2", "7x\u0667"])
def test_bad_forms_of_shd(argument, spoken):
    with pytest.raises(ValueError, match=rf"`data.name` must be shd:T.*, got 'shd:{argument.partition('x')[0]}"):
        data.load(f"shd:{argument}", str(spoken[0]))


@pytest.mark.parametrize(
    ("name", "what", "where"),
    [
        ("nmnist", r"Train/\*/\*\.bin", "NMNIST"),
        ("shd", r"shd_train\.h5", "SHD"),
        ("dvs_gesture", r"ibmGestureTrain/\*/\*\.npy", "DVSGesture"),
    ],
)
def test_missing_files_are_named_with_the_command(name, what, where, tmp_path, monkeypatch):
    monkeypatch.delenv("JAXSNN_MIA_DATA", raising=False)
    with pytest.raises(ValueError, match=f"{name}: {what} not found in {tmp_path / where}.*data.fetch {name} --dir "):
        data.load(f"{name}:4", str(tmp_path))
    with pytest.raises(ValueError, match=r"--dir FOLDER.*data\.dir=FOLDER"):
        data.fingerprint(f"{name}:4", "")
    with pytest.raises(ValueError, match=f"{name}:T"):
        data.check_name(name)


def test_one_split_alone_is_not_enough(nmnist):
    folder, _ = nmnist
    for path in (folder / "NMNIST" / "Test").rglob("*.bin"):
        path.unlink()
    with pytest.raises(ValueError, match=r"nmnist: Test/\*/\*\.bin not found"):
        data.load("nmnist:4", str(folder))


def test_broken_recordings_are_named(nmnist, gesture, spoken):
    folder = nmnist[0]
    file = folder / "NMNIST/Train/7/00001.bin"
    whole = file.read_bytes()
    for content, message in (
        (whole[:-2], "148 bytes are no whole number"),
        (bytes([34]) + whole[1:], "x of every event"),
        (whole[:1] + bytes([34]) + whole[2:], "y of every event"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"nmnist: {file} is no published recording .{message}.*again"):
            data.load("nmnist:4", str(folder))
    file.write_bytes(whole)
    write(folder / "NMNIST/Train/seven/00001.bin", whole)
    with pytest.raises(ValueError, match=r"seven/00001\.bin is no published"):
        data.load("nmnist:4", str(folder))

    file = folder / "DVSGesture/ibmGestureTest/user24_lab/3.npy"
    whole = file.read_bytes()
    for content in (whole[:-9], b"", whole[:50]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"dvs_gesture: {file} is no published recording"):
            data.load("dvs_gesture:4", str(folder))
    for array in (np.zeros((3, 3)), np.full((3, 4), 128.0), np.array([{"pickled": 1}])):
        np.save(file, array)
        with pytest.raises(ValueError, match=f"dvs_gesture: {file} is no published recording"):
            data.load("dvs_gesture:4", str(folder))

    file = folder / "SHD/shd_test.h5"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"shd: {file} is not the published file"):
        data.load("shd:4", str(folder))
    write_shd(file, [(np.zeros(2), np.array([1, 2])), (np.zeros(1), np.array([700]))], [0, 1])
    with pytest.raises(ValueError, match=r"shd: .*x of every event .* got 700; after 1 recordings"):
        data.load("shd:4", str(folder))
    with h5py.File(file, "a") as opened:
        del opened["labels"]
    with pytest.raises(ValueError, match=f"shd: {file} is not the published file"):
        data.load("shd:4", str(folder))


def test_frames_are_kept_and_read_back(nmnist, monkeypatch):
    folder = nmnist[0]
    first = data.load("nmnist:4", str(folder))
    (kept,) = folder.glob("frames-nmnist-4-*.npz")

    def refuse(path):
        raise AssertionError(path)

    with monkeypatch.context() as patched:
        patched.setitem(events.FILES, "nmnist", events.NMNIST._replace(read=refuse))
        again = data.load("nmnist:04", str(folder))
        assert again.sha256 == first.sha256
        with pytest.raises(AssertionError):
            data.load("nmnist:5", str(folder))
        kept.write_bytes(kept.read_bytes()[:-200])
        with pytest.raises(AssertionError):
            data.load("nmnist:4", str(folder))
    assert data.load("nmnist:4", str(folder)).sha256 == first.sha256
    with np.load(kept) as arrays:
        np.testing.assert_array_equal(arrays["x"], first.x)
    write(folder / "NMNIST/Test/3/00001.bin", nmnist_bytes(made(10)))
    assert data.load("nmnist:4", str(folder)).y.tolist() == [0, 0, 7, 0, 3, 7]  # frames of other files are not used


def test_a_folder_that_cannot_be_written(spoken):
    folder = spoken[0]
    first = data.load("shd:4", str(folder))
    (kept,) = folder.glob("frames-shd-4x700-*.npz")
    kept.unlink()
    kept.mkdir()  # renaming a file to it fails, also for root
    assert data.load("shd:4", str(folder)).sha256 == first.sha256
    assert kept.is_dir()
    assert not list(folder.glob(".frames*"))


def test_fingerprints_follow_the_files(nmnist, spoken, gesture):
    folder = nmnist[0]

    def prints():
        return [data.fingerprint(f"{name}:4", str(folder)) for name in ("nmnist", "shd", "dvs_gesture")]

    before = prints()
    assert prints() == before
    file = folder / "NMNIST/Train/0/00002.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the same size
    assert [a == b for a, b in zip(prints(), before, strict=True)] == [False, True, True]
    file.write_bytes(whole)
    assert prints() == before
    write(folder / "NMNIST/Train/0/00099.bin", b"")
    write(folder / "DVSGesture/ibmGestureTest/user24_lab/._3.npy", b"of another file system")
    assert [a == b for a, b in zip(prints(), before, strict=True)] == [False, True, True]
    file = folder / "DVSGesture/ibmGestureTest/user24_lab/3.npy"
    file.rename(file.with_stem("4"))
    write_shd(folder / "SHD" / "shd_test.h5", [(np.zeros(1), np.ones(1))], [0])
    assert not any(a == b for a, b in zip(prints(), before, strict=True))
    first = data.load("dvs_gesture:4", str(folder))
    assert first.y.tolist() == [0, 10, 4]


def test_tonic_reads_the_same_events(nmnist, gesture, spoken, monkeypatch):
    datasets = pytest.importorskip("tonic.datasets", reason=NO_TONIC)
    folder = str(nmnist[0])
    for name in fetch.CLASSES.values():  # tonic asks for the archives and for thousands of files
        monkeypatch.setattr(getattr(datasets, name), "_check_exists", lambda self: True)
    for name, (_, found), label in (("nmnist", nmnist, [0, 0, 7, 0, 7]), ("dvs_gesture", gesture, [0, 10, 3])):
        parts = [getattr(datasets, fetch.CLASSES[name])(save_to=folder, train=train) for train in (True, False)]
        theirs = [pair for part in parts for pair in (part[i] for i in range(len(part)))]
        if name == "dvs_gesture":  # in the order that the file system gives
            theirs = sorted(theirs[:2], key=lambda pair: pair[1]) + theirs[2:]
        assert [target for _, target in theirs] == label
        for (their, _), ours in zip(theirs, found, strict=True):
            for field in "txyp":
                np.testing.assert_array_equal(their[field], ours[field])
    for train, file in ((True, "shd_train.h5"), (False, "shd_test.h5")):
        theirs = datasets.SHD(save_to=folder, train=train)
        ours = list(shd.recordings(Path(folder) / "SHD" / file))
        assert len(theirs) == len(ours)
        for (their, target), (our, label) in zip((theirs[i] for i in range(len(theirs))), ours, strict=True):
            assert target == label
            np.testing.assert_array_equal(their["t"], our["t"])
            np.testing.assert_array_equal(their["x"], our["x"])


def test_spyx_rasters_the_same_events(spoken, monkeypatch):
    """Spyx's frames are ours over one second, one or none instead of counts, packed along time."""
    datasets = pytest.importorskip("tonic.datasets", reason=NO_TONIC)
    loaders = importlib.import_module("spyx.data")
    monkeypatch.setattr(datasets.SHD, "_check_exists", lambda self: True)
    folder = spoken[0]
    found = [(np.sort(RNG.uniform(0, 1.3, n)), RNG.integers(0, 700, n)) for n in (300, 200, 80)]
    write_shd(folder / "SHD" / "shd_train.h5", found, [2, 0, 1])
    loader = loaders.SHD_loader(batch_size=3, sample_T=16, channels=700, download_dir=str(folder), worker_count=0)
    packed, labels = loader.prestage("train")
    theirs = np.unpackbits(np.asarray(packed)[0], axis=1)
    assert np.asarray(labels)[0].tolist() == [2, 0, 1]
    for their, (recording, _) in zip(theirs, shd.recordings(folder / "SHD" / "shd_train.h5"), strict=True):
        ours = events.bins(recording, (700,), 16, window=(0, 1_000_000))
        np.testing.assert_array_equal(their, np.minimum(ours, 1))


def test_fetch_calls_tonic_for_both_splits(tmp_path, monkeypatch, capsys):
    calls = []
    fake = types.ModuleType("tonic")
    fake.datasets = types.SimpleNamespace(SHD=lambda save_to, train: calls.append((save_to, train)))
    monkeypatch.setitem(sys.modules, "tonic", fake)
    monkeypatch.setattr(sys, "argv", ["fetch", "shd", "--dir", str(tmp_path)])
    fetch.main()
    assert calls == [(str(tmp_path), True), (str(tmp_path), False)]
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(SystemExit, match="2"):
        fetch.main()
    assert "pip install -e '.[events]' -c launch/constraints.txt" in capsys.readouterr().err


def test_fetch_with_tonic_leaves_what_the_source_reads(tmp_path, monkeypatch):
    datasets = pytest.importorskip("tonic.datasets", reason=NO_TONIC)

    def download(self):
        split = Path(self.location_on_system) / self.folder_name
        for label in (1, 2):
            write(split / str(label) / "00001.bin", nmnist_bytes(made(20)))

    monkeypatch.setattr(datasets.NMNIST, "download", download)
    fetch.fetch("nmnist", str(tmp_path))
    assert data.load("nmnist:3", str(tmp_path)).x.shape == (4, 3, 34, 34, 2)


def test_as_many_times_as_events_are_needed():
    """One time would be broadcast to all events of a recording whose times were cut."""
    with pytest.raises(ValueError, match="1 times of 3 events"):
        events.as_events([5], [0, 1, 2])
