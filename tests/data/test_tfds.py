"""tensorflow-datasets, read without TensorFlow: ArrayRecord files, the cache, and the command that prepares them."""

import errno
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import config, data
from jaxsnn_mia.pipeline.run import run_pipeline

FIXTURES = Path(__file__).parents[1] / "fixtures"


RNG = np.random.default_rng(0)


@pytest.fixture
def glyphs(tmp_path):
    """The folder of the committed ArrayRecord set, copied: reading writes a cache beside it."""
    shutil.copytree(FIXTURES / "tfds", tmp_path / "tfds")
    return tmp_path / "tfds"


def test_tfds_reads_array_records_and_then_its_cache_without_tensorflow(glyphs):
    code = f"""
import sys
from jaxsnn_mia import data
dataset = data.load("tfds:glyphs", {str(glyphs)!r})
assert dataset.x.shape == (32, 8, 8, 1) and dataset.x.dtype == "uint8", (dataset.x.shape, dataset.x.dtype)
assert dataset.class_names == ("bar", "box") and dataset.test_n.sum() == 8
centre = dataset.x[:, 2:6, 5, 0].mean(1) > 128  # a box is bright there, a bar is not
assert (centre == dataset.y).all()
assert "tensorflow" not in sys.modules
print(dataset.sha256, data.fingerprint("tfds:glyphs", {str(glyphs)!r}))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    before = set(sys.modules)
    shutil.rmtree(glyphs / "glyphs" / "1.0.0")
    found = data.load("tfds:glyphs", str(glyphs))  # from the cache, which is enough by itself
    assert [found.sha256, *data.fingerprint("tfds:glyphs", str(glyphs)).split()] == out
    assert found.x.dtype == np.uint8
    assert not {"tensorflow", "tensorflow_datasets"} & (set(sys.modules) - before)


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 64
    path.write_bytes(content)


def test_a_damaged_or_outdated_cache_is_made_again_or_refused(glyphs, caplog):
    whole = data.load("tfds:glyphs", str(glyphs))
    cache = glyphs / "glyphs" / "1.0.0.npz"
    good = cache.read_bytes()
    for at in RNG.integers(0, len(good), 12):
        flipped(cache, at)
        assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256
        cache.write_bytes(good)
    with np.load(cache) as arrays:
        stored = dict(arrays)
    np.savez(cache, **{**stored, "x": stored["x"][::-1]})  # a whole file of other content
    caplog.clear()
    assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256
    assert "stored sha256" in caplog.text
    np.savez(cache, **{**stored, "about": '{"name": "glyphs/1.0.0", "state": "another"}'})
    caplog.clear()
    assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256
    assert "out of date" in caplog.text
    caplog.clear()
    assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256  # it was written again
    assert not caplog.text
    prepared = data.fingerprint("tfds:glyphs", str(glyphs))
    (glyphs / "glyphs" / "1.0.0" / "label.labels.txt").write_text("bar\nsquare\n")
    assert data.fingerprint("tfds:glyphs", str(glyphs)) != prepared
    assert data.load("tfds:glyphs", str(glyphs)).class_names == ("bar", "square")
    shutil.rmtree(glyphs / "glyphs" / "1.0.0")
    cache.write_bytes(good[: len(good) // 2])
    for ask in (data.load, data.fingerprint):
        with pytest.raises(ValueError, match=r"1\.0\.0\.npz is damaged .*jaxsnn_mia\.data\.tfds glyphs --dir"):
            ask("tfds:glyphs", str(glyphs))


def test_a_flip_anywhere_in_the_arrays_of_a_cache_is_seen(glyphs):
    """No record to fall back on: whatever is given is what was cached."""
    whole = data.load("tfds:glyphs", str(glyphs))
    shutil.rmtree(glyphs / "glyphs" / "1.0.0")
    cache = glyphs / "glyphs" / "1.0.0.npz"
    good, refused = cache.read_bytes(), 0
    for at in RNG.integers(0, len(good), 60):
        flipped(cache, at)
        try:
            assert data.load("tfds:glyphs", str(glyphs)).sha256 == whole.sha256  # padding, dates of the zip
        except ValueError as error:
            assert "is damaged" in str(error)  # noqa: PT017
            refused += 1
        cache.write_bytes(good)
    assert refused > 30


def test_a_read_only_folder_is_read_without_a_cache(glyphs, monkeypatch, caplog):
    def refuse(*paths):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    assert data.load("tfds:glyphs", str(glyphs)).x.shape == (32, 8, 8, 1)
    assert "Read-only file system" in caplog.text
    assert sorted(path.name for path in (glyphs / "glyphs").iterdir()) == ["1.0.0"]


def test_versions_and_configs_of_tfds(glyphs, tmp_path):
    place = glyphs / "glyphs"
    for version in ("9.0.0", "10.0.0"):
        shutil.copytree(place / "1.0.0", place / version)
        info = place / version / "dataset_info.json"
        info.write_text(info.read_text().replace('"1.0.0"', f'"{version}"'))
    assert data.fingerprint("tfds:glyphs", str(glyphs)).startswith("glyphs/10.0.0 ")
    assert data.fingerprint("tfds:glyphs:9.0.0", str(glyphs)).startswith("glyphs/9.0.0 ")
    with pytest.raises(ValueError, match=r"no prepared data set of version 2\.0\.0 in"):
        data.load("tfds:glyphs:2.0.0", str(glyphs))
    (tmp_path / "other" / "glyphs").mkdir(parents=True)
    shutil.copytree(place / "1.0.0", tmp_path / "other" / "glyphs" / "small" / "1.0.0")
    with pytest.raises(ValueError, match=r"It has the configs \['small'\]: name one, as in tfds:glyphs/small"):
        data.load("tfds:glyphs", str(tmp_path / "other"))
    assert len(data.load("tfds:glyphs/small", str(tmp_path / "other")).x) == 32


def rewrite(folder, change):
    """Lets change(i, features of the proto) act on every training example of the glyphs in `folder`."""
    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    path = folder / "glyphs" / "1.0.0" / "glyphs-train.array_record-00000-of-00001"
    reader = ArrayRecordReader(str(path))
    examples = [tf_example_pb2.Example.FromString(record) for record in reader.read_all()]
    reader.close()
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for i, example in enumerate(examples):
        change(i, example.features.feature)
        writer.write(example.SerializeToString())
    writer.close()


def test_tfds_rows_without_a_label_are_left_out(glyphs):
    def unlabel(i, features):
        if i < 5:
            features["label"].int64_list.value[0] = -1

    before = data.load("tfds:glyphs", str(glyphs))
    rewrite(glyphs, unlabel)
    after = data.load("tfds:glyphs", str(glyphs))
    np.testing.assert_array_equal(after.x, before.x[5:])
    np.testing.assert_array_equal(after.y, before.y[5:])
    assert after.test_n.sum() == 8


def test_tfds_images_of_several_sizes_are_refused(glyphs):
    def widen(i, features):
        if i == 3:
            out = io.BytesIO()
            Image.fromarray(np.zeros((8, 9), np.uint8)).save(out, "PNG")
            features["image"].bytes_list.value[0] = out.getvalue()

    rewrite(glyphs, widen)
    described = glyphs / "glyphs" / "1.0.0" / "features.json"
    described.write_text(re.sub(r'"8",\s*"8",\s*"1"', '"-1", "-1", "1"', described.read_text()))
    with pytest.raises(ValueError, match=r"one shape, got \(8, 8, 1\) and \(8, 9, 1\) in train\. Resize them"):
        data.load("tfds:glyphs", str(glyphs))


def test_a_tfds_that_is_not_prepared_or_of_another_format_says_how(glyphs, monkeypatch):
    with pytest.raises(ValueError, match=r"in .*mnist\. .*`python -m jaxsnn_mia\.data\.tfds mnist --dir .*data\.dir"):
        data.load("tfds:mnist", str(glyphs))
    monkeypatch.setenv("TFDS_DATA_DIR", str(glyphs))
    assert len(data.load("tfds:glyphs").x) == 32
    (glyphs / "glyphs" / "1.0.0.npz").unlink()
    info = glyphs / "glyphs" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"holds tfrecord files, array_record is needed\. Remove .*--dir"):
        data.load("tfds:glyphs", str(glyphs))


def test_only_sets_of_one_dense_input_and_a_label():
    from tensorflow_datasets import features as f

    label, image, vector = f.ClassLabel(num_classes=2), f.Image(shape=(4, 4, 1)), f.Tensor(shape=(3,), dtype=np.float32)

    def key(**features):
        return data.tfds.input_key("set", f.FeaturesDict(features))

    assert key(image=image, label=label, id=f.Text(), coarse_label=label) == "image"
    assert key(features=vector, label=label) == "features"
    assert key(image=f.Image(), label=label, mask=vector) == "image"
    for refused in (
        {"text": f.Text(), "label": label},
        {"image": image, "label": vector},
        {"image": image},
        {"a": vector, "b": vector, "label": label},
        {"tokens": f.Tensor(shape=(None,), dtype=np.int64), "label": label},
        {"boxes": f.Sequence(vector), "label": label},
        {"names": f.Tensor(shape=(3,), dtype=np.str_), "label": label},
        {"age": f.Scalar(np.float32), "label": label},
    ):
        with pytest.raises(
            ValueError, match=r"tfds:set: only classification sets with one dense input .*npz:PATH, got"
        ):
            key(**refused)


BUILDER = """
import numpy as np
import tensorflow_datasets as tfds

class Marks(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["row", "column"])
        features = {"image": tfds.features.Image(shape=(6, 6, 3)), "id": tfds.features.Text(), "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 10), "test": self._generate_examples(10, 14)}

    def _generate_examples(self, start, end):
        for i in range(start, end):
            yield i, {"image": np.arange(108, dtype=np.uint8).reshape(6, 6, 3) + i, "id": str(i), "label": i % 2}
"""


@pytest.mark.tfds
@pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="needs the extra [tfds], which brings TensorFlow"
)
def test_the_command_prepares_generated_images_that_later_runs_read(tmp_path):
    (tmp_path / "marks.py").write_text(BUILDER)
    folder = tmp_path / "prepared"
    command = [sys.executable, "-m", "jaxsnn_mia.data.tfds", "marks", "--imports", "marks", "--dir", str(folder)]
    env = os.environ | {"PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert f"prepared: --config.data.name=tfds:marks --config.data.dir={folder}\n" in done.stdout
    cached = data.load("tfds:marks", str(folder))
    (folder / "marks" / "2.0.0.npz").unlink()
    from_records = data.load("tfds:marks", str(folder))
    assert cached.sha256 == from_records.sha256
    offset = from_records.x[:, 0, 0, 0].astype(int)  # tensorflow-datasets shuffles
    np.testing.assert_array_equal(from_records.x, np.arange(108).reshape(1, 6, 6, 3) + offset[:, None, None, None])
    np.testing.assert_array_equal(from_records.y, offset % 2)
    np.testing.assert_array_equal(from_records.test_n, offset >= 10)
    assert sorted(offset) == list(range(14))
    assert "tensorflow" not in sys.modules


def test_the_command_without_tensorflow_is_one_line(tmp_path):
    code = """
import sys
sys.modules["tensorflow"] = None  # as where the extra is absent
from jaxsnn_mia.data.tfds import __main__
__main__.main(["mnist"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: preparing mnist needs TensorFlow")
    assert "pip install -e '.[tfds]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tfds_images_reach_the_data_stage_as_bytes(glyphs, tmp_path):
    c = config.from_dict({"data": {"name": "tfds:glyphs", "dir": str(glyphs)}, "splits": {"n_shadows": 6}})
    run_pipeline(c, tmp_path / "run", until="data")
    x = np.load(next((tmp_path / "run").glob("data-*/x.npy")))
    np.testing.assert_array_equal(x, data.load("tfds:glyphs", str(glyphs)).x)
