"""Speech: the Free Spoken Digit Dataset as events of a filter bank, and the Japanese vowels as series.

Coding of a recording: log energies of mel bands (frames of 25 ms every 10 ms, Hann window), in dB below the loudest
band of the recording, at T times that divide it; then an event for each step of 6 dB that a band rises or falls.
"""

import itertools
from pathlib import Path

import numpy as np

from jaxsnn_mia.data.dataset import Dataset, make_dataset, named_file
from jaxsnn_mia.data.events import DIGITS, time_bins
from jaxsnn_mia.store import untrusted
from jaxsnn_mia.store.files import digest, file_sha256

VERSION = 1  # of what is made of a file: part of the fingerprint
FSDD, VOWELS = "fsdd.npz", "japanese_vowels.npz"
BANDS = 16  # by default
FRAME, HOP = 0.025, 0.010  # seconds
FLOOR, STEP = -60.0, 6.0  # dB: what is less is silence; a change that is an event
TEST_TAKES = 5  # the first takes of each speaker and digit are the test split of its authors


def form(argument: str) -> tuple[int, int]:
    """(T, bands) of `T` or `TxBANDS`."""
    T, cross, bands = argument.partition("x")
    steps = time_bins("fsdd", T)
    count = int(bands) if bands.isascii() and bands.isdigit() else 0
    if cross and not 2 <= count <= 64:
        raise ValueError(f"`data.name` must be fsdd:T or fsdd:TxC with C in [2, 64] bands, got {'fsdd:' + argument!r}.")
    return steps, count or BANDS


def mel_filters(bands: int, n_fft: int, rate: float) -> np.ndarray:
    """[bands, n_fft / 2 + 1]: triangles in equal distance on the mel scale, 2595 log10(1 + f / 700), from 0 to half of
    the rate. A band narrower than a bin of the spectrum takes the nearest one."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    low, centre, high = (corners[i : i + bands, None] for i in range(3))
    f = np.linspace(0, rate / 2, n_fft // 2 + 1)[None]
    filters = np.maximum(np.minimum((f - low) / (centre - low), (high - f) / (high - centre)), 0)
    empty = ~filters.any(1)
    filters[empty, np.abs(f - centre).argmin(1)[empty]] = 1
    return filters


def decibels(samples: np.ndarray, rate: float, bands: int) -> np.ndarray:
    """[frames, bands] in [`FLOOR`, 0] dB below the loudest band of the recording; a recording shorter than a frame is
    padded with silence."""
    size, hop = round(FRAME * rate), round(HOP * rate)
    samples = np.pad(samples.astype(np.float64), (0, max(size - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop] * np.hanning(size)
    energy = (np.abs(np.fft.rfft(frames)) ** 2) @ mel_filters(bands, size, rate).T
    loudest = energy.max()
    if loudest == 0:
        return np.full(energy.shape, FLOOR)
    return np.maximum(10 * np.log10(np.maximum(energy / loudest, 1e-12)), FLOOR)


def coded(level_fc: np.ndarray, T: int) -> np.ndarray:
    """uint8 [T, bands, 2] of levels [frames, bands] in dB: how many steps a band rises (0) and falls (1) since the time
    before. Times divide the recording; before it there is silence."""
    frames = np.linspace(0, len(level_fc) - 1, T)
    at_tc = np.stack([np.interp(frames, np.arange(len(level_fc)), column) for column in level_fc.T], axis=1)
    steps_tc = np.floor((at_tc - FLOOR) / STEP).astype(int)
    change_tc = np.diff(steps_tc, axis=0, prepend=0)
    return np.stack([np.maximum(change_tc, 0), np.maximum(-change_tc, 0)], axis=-1).astype(np.uint8)


def fsdd_file(folder: str) -> Path:
    origin = "the Free Spoken Digit Dataset, packed as jaxsnn_mia.data.speech says,"
    return named_file(folder, FSDD, "fsdd", origin)


def fsdd_fingerprint(argument: str, folder: str) -> str:
    form(argument)
    return digest(["fsdd", VERSION, argument, file_sha256(fsdd_file(folder))])


def fsdd(argument: str, folder: str) -> Dataset:
    """`fsdd:T` or `fsdd:TxBANDS`: 3,000 spoken digits of 6 speakers as events uint8 [N, T, bands, 2], 10 classes; a
    group for each speaker.

    The file is an .npz of `samples` int16 (all recordings one after another), `offsets` [N + 1], `digit`, `speaker`,
    `take`, `rate`. Raises ValueError for another form of the argument and for a file that is not there or not this.
    Source: Jackson et al. 2018 (Free Spoken Digit Dataset, CC BY-SA 4.0); its test split.
    """
    (T, bands), path = form(argument), fsdd_file(folder)
    try:
        held = untrusted.npz(path)
        samples, offsets, digit, speaker, take = (
            held[name] for name in ("samples", "offsets", "digit", "speaker", "take")
        )
        rate = float(held["rate"])
        x = [coded(decibels(samples[a:b], rate, bands), T) for a, b in itertools.pairwise(offsets)]
    except untrusted.UNREADABLE as error:
        raise ValueError(f"fsdd: {path} is not the file that is described ({error}). Pack it again.") from None
    group_n = np.unique(speaker, return_inverse=True)[1]
    return make_dataset(
        np.stack(x), digit.astype(np.int32), DIGITS, "Free Spoken Digit Dataset", take < TEST_TAKES, timed=True,
        group_n=group_n,
    )  # fmt: skip


def vowels_file(folder: str) -> Path:
    origin = "the UCI repository (Japanese Vowels), packed as jaxsnn_mia.data.speech says,"
    return named_file(folder, VOWELS, "japanese_vowels", origin)


def vowels_fingerprint(argument: str, folder: str) -> str:
    return file_sha256(vowels_file(folder))


def vowels(argument: str, folder: str) -> Dataset:
    """640 utterances of 9 speakers, who are the classes: series [N, 29, 12] of cepstral coefficients, zero after their
    end, with the published test split.

    The file is an .npz of `x`, `y`, `is_train`, `class_names`. ValueError where it is not there or not this.
    Source: Kudo et al. 1999, Pattern Recognition Letters 20, 1103.
    """
    path = vowels_file(folder)
    try:
        held = untrusted.npz(path)
        x, y, is_train, names = (held[name] for name in ("x", "y", "is_train", "class_names"))
    except untrusted.UNREADABLE as error:
        raise ValueError(
            f"japanese_vowels: {path} is not the file that is described ({error}). Pack it again."
        ) from None
    return make_dataset(x, y.astype(np.int32), names, "Japanese Vowels", ~is_train, timed=True)
