"""An object store stood in for by fsspec's memory file system, reached by the same paths as a real one."""

import errno

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jaxsnn_mia.pipeline import signals as pipeline_signals
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.store import remote
from jaxsnn_mia.store.files import StoreError, TransientError
from jaxsnn_mia.store.stage import is_done
from tests.runs import assert_same_scores, small

pytestmark = pytest.mark.usefixtures("unpainted")


class Bucket(MemoryFileSystem):
    """s3:// paths in memory."""

    protocol = ("s3",)
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012


@pytest.fixture
def bucket():
    fsspec.register_implementation("s3", Bucket, clobber=True)
    Bucket.store.clear()
    yield "s3://bucket/run"
    Bucket.store.clear()


def names():
    return {name.rpartition("/")[2] for name in Bucket.store}


@pytest.mark.long
def test_a_run_in_a_store_goes_on_elsewhere_and_equals_a_local_one(bucket, tmp_path):
    with remote.opened(bucket) as first:
        run_pipeline(small(), first, until="train")
    assert not first.exists()
    assert {"config.json", "manifest.json", "sha256.json"} <= names()
    assert not any(name.startswith(".") or name.endswith(".claim") for name in names())
    trained = {name: file.modified for name, file in Bucket.store.items() if "/train-" in name}
    with remote.opened(bucket) as second:
        run_pipeline(small(), second)
        run_pipeline(small(), tmp_path)
        assert_same_scores(second, tmp_path)
    assert "report.html" in names()
    assert trained == {name: file.modified for name, file in Bucket.store.items() if "/train-" in name}


@pytest.mark.long
def test_what_a_failed_run_finished_is_in_the_store(bucket, monkeypatch):
    def fails(*_, **__):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(pipeline_signals, "run", fails)
    with pytest.raises(TransientError, match="broken"), remote.opened(bucket) as workdir:
        run_pipeline(small(), workdir)
    with remote.opened(bucket) as again:
        assert all(is_done(path) for path in again.glob("*/train-*"))
        assert list(again.glob("*/train-*"))


def test_what_makes_a_stage_count_is_copied_last_and_what_is_gone_is_removed(tmp_path, bucket):
    from etils import epath

    root, copied = epath.Path(bucket), {}
    for name in ("a/manifest.json", "a/keep.npy", "z.npy", ".hidden", "b.claim"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    remote.push(tmp_path, root, copied)
    assert list(copied) == ["a/keep.npy", "z.npy", "a/manifest.json"]
    (tmp_path / "z.npy").unlink()
    remote.push(tmp_path, root, copied)
    assert {name.removeprefix("s3://bucket/run/") for name in Bucket.store} == {"a/keep.npy", "a/manifest.json"}


def test_processes_that_share_groups_need_a_shared_folder():
    with (
        pytest.raises(ValueError, match="all processes share, got gs://bucket"),
        remote.opened("gs://bucket", alone=False),
    ):
        pass


def test_a_store_without_its_client_is_one_error():
    with pytest.raises(StoreError, match="Install gcsfs and give it credentials"), remote.opened("gs://b/c"):
        pass
