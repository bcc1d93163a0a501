"""A folder of images, a subfolder for each class."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxsnn_mia import data

RNG = np.random.default_rng(0)


def write_images(root, sizes=((5, 4),), modes=("RGB",), n=3, suffix="png"):
    """n images of each class; image i has size and mode i of those given, cyclically. Gives their arrays."""
    arrays = []
    for name in ("a", "b"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            shape = sizes[i % len(sizes)]
            image = Image.fromarray(RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)).convert(modes[i % len(modes)])
            image.save(root / name / f"{i}.{suffix}")
            arrays.append(np.asarray(image))
    return np.stack(arrays) if len(sizes) == len(modes) == 1 else arrays


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("1", 1)])
def test_an_image_folder(tmp_path, mode, channels):
    plain = write_images(tmp_path, modes=(mode,))
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    found = data.load(f"folder:{tmp_path}")
    assert found.x.dtype == np.uint8
    np.testing.assert_array_equal(found.x, plain.reshape(6, 5, 4, channels) * (255 if mode == "1" else 1))
    assert found.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.class_names == ("a", "b")
    assert found.test_n is None


def test_grey_images_among_coloured_ones_have_three_equal_channels(tmp_path):
    plain = write_images(tmp_path, modes=("RGB", "L"))
    x = data.load(f"folder:{tmp_path}").x
    np.testing.assert_array_equal(x[0], plain[0])
    np.testing.assert_array_equal(x[1], np.stack([plain[1]] * 3, -1))


def test_an_image_folder_with_a_split_of_its_own(tmp_path):
    train = write_images(tmp_path / "train", suffix="bmp")
    test = write_images(tmp_path / "test", n=1, suffix="PNG")
    found = data.load(f"folder:{tmp_path}")
    np.testing.assert_array_equal(found.x, np.concatenate([train, test]))
    assert found.test_n.tolist() == [False] * 6 + [True] * 2
    assert found.y.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]


def test_classes_may_be_called_train_and_test(tmp_path):
    write_images(tmp_path)
    for old, new in (("a", "train"), ("b", "test")):
        (tmp_path / old).rename(tmp_path / new)
    found = data.load(f"folder:{tmp_path}")
    assert found.class_names == ("test", "train")
    assert found.test_n is None


def test_a_fingerprint_of_a_folder_sees_names_sizes_and_times(tmp_path):
    write_images(tmp_path)
    seen = {data.fingerprint(f"folder:{tmp_path}")}
    file = tmp_path / "a" / "0.png"
    os.utime(file, (1, 1))
    seen.add(data.fingerprint(f"folder:{tmp_path}"))
    file.write_bytes(file.read_bytes() + b"x")
    os.utime(file, (1, 1))
    seen.add(data.fingerprint(f"folder:{tmp_path}"))
    file.rename(tmp_path / "a" / "z.png")
    seen.add(data.fingerprint(f"folder:{tmp_path}"))
    assert len(seen) == 4
    tmp_path = tmp_path.rename(tmp_path.with_name("moved"))
    assert data.fingerprint(f"folder:{tmp_path}") in seen


def test_faults_of_an_image_folder_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no such folder\. Put images .* into DIR/CLASS"):
        data.load("folder:nowhere")
    with pytest.raises(ValueError, match="no images in any subfolder"):
        data.load(f"folder:{tmp_path}")
    write_images(tmp_path / "sizes", sizes=((9, 4), (5, 4), (5, 4)))
    with pytest.raises(ValueError, match=r"expected 5x4 \(height x width\) as most, got 9x4 in .*a/0\.png"):
        data.load(f"folder:{tmp_path / 'sizes'}")
    write_images(tmp_path / "broken")
    file = tmp_path / "broken" / "b" / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cannot read .*b/1\.png"):
        data.load(f"folder:{tmp_path / 'broken'}")
    Image.fromarray(np.full((5, 4), 40_000, np.uint16)).save(file)
    with pytest.raises(ValueError, match=r"b/1\.png \(expected 8 bits per channel, got mode I;16"):
        data.load(f"folder:{tmp_path / 'broken'}")
    (tmp_path / "broken" / "c").mkdir()
    with pytest.raises(ValueError, match=r"no images in \['c'\]"):
        data.load(f"folder:{tmp_path / 'broken'}")
    for split in ("train", "test"):
        write_images(tmp_path / "split" / split)
    (tmp_path / "split" / "val").mkdir()
    with pytest.raises(ValueError, match=r"train and test must stand alone, got also \['val'\]"):
        data.load(f"folder:{tmp_path / 'split'}")
    (tmp_path / "split" / "val").rmdir()
    shutil.rmtree(tmp_path / "split" / "test" / "b")
    with pytest.raises(ValueError, match=r"the same classes, got \[\['a', 'b'\], \['a'\]\]"):
        data.load(f"folder:{tmp_path / 'split'}")


@pytest.mark.parametrize("suffix", ["webp", "tif"])
def test_other_formats_of_eight_bits(tmp_path, suffix):
    write_images(tmp_path, suffix=suffix)
    assert data.load(f"folder:{tmp_path}").x.shape == (6, 5, 4, 3)


def test_a_photograph_is_turned_as_its_exif_says(tmp_path):
    write_images(tmp_path, sizes=((5, 4),))
    upright = np.asarray(Image.open(tmp_path / "a" / "0.png"))
    turned = Image.fromarray(np.rot90(upright))  # as a camera on its side stores it: to be turned back by 90 degrees
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a" / "0.png", exif=exif)
    np.testing.assert_array_equal(data.load(f"folder:{tmp_path}").x[0], upright)


@pytest.mark.parametrize("extra", ["a/deeper/0.png", "a/clip.gif"])
def test_what_would_be_left_out_silently_is_refused(tmp_path, extra):
    write_images(tmp_path)
    (tmp_path / extra).parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / extra)
    with pytest.raises(ValueError, match=r"a folder within a class|no image that can be read"):
        data.load(f"folder:{tmp_path}")
