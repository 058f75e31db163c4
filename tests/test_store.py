"""Fisher vectors on disk: what comes back, what is noticed, what is left behind."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from langsim import layout as layouts
from langsim import paths
from langsim.errors import Failure, UsageError
from langsim.store import FisherStore

LAYOUT = [("encoder.fc1.weight", (3, 4), 0), ("encoder.fc1.bias", (3,), 12), ("scale", (), 15)]
META = {"signature": "model:x@1|k:0.4", "n_batches": 3, "n_tokens": 120}


def vector(seed=0, size=16):
    return np.random.default_rng(seed).random(size, dtype=np.float32)


@pytest.fixture
def store(tmp_path):
    return FisherStore(tmp_path / "fisher")


def test_round_trip_keeps_values_layout_and_metadata(store):
    path = store.put("fa", vector(), LAYOUT, META)
    stored = store.get("fa")
    assert np.array_equal(stored.values, vector())
    assert stored.values.dtype == np.float32
    assert stored.layout == LAYOUT
    assert stored.metadata == META and stored.signature == META["signature"]
    assert np.array_equal(stored.tensor("encoder.fc1.weight"), vector()[:12].reshape(3, 4))
    assert stored.tensor("scale").shape == ()
    assert stored.path == path and store.keys() == ["fa"]
    with pytest.raises(UsageError, match="no parameter 'fc9'"):
        stored.tensor("fc9")


def test_any_safetensors_reader_opens_the_file(store):
    path = store.put("fa", vector(), LAYOUT, META)
    tensors = load_file(path)
    assert set(tensors) == {name for name, _, _ in LAYOUT}
    assert np.array_equal(tensors["encoder.fc1.bias"], vector()[12:15])


def test_values_are_mapped_read_only_and_survive_a_release(store):
    store.put("fa", vector(), LAYOUT)
    stored = store.get("fa")
    with pytest.raises(ValueError, match="read-only"):
        stored.values[0] = 1
    total = stored.values.sum()
    stored.release()
    assert stored.values.sum() == total


def test_opening_does_not_load_the_vector(store):
    size = 6_000_000  # 24 MB
    store.put("fa", vector(size=size), [("w", (size,), 0)])
    code = f"""
        import resource
        from langsim.store import FisherStore
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stored = FisherStore({str(store.folder)!r}).get("fa")
        stored.values[::100_000].sum()
        stored.release()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    grown = int(run(code).stdout)  # kB on Linux, bytes on macOS
    limit = 18_000 if sys.platform == "linux" else 22_000_000
    assert grown < limit + 16_000, f"{grown}: the buffer of the checksum is 16 MB, the vector 24 MB"


def damage_byte(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "flipped bit in the data": lambda path: damage_byte(path, -5),
    "flipped bit in the metadata": lambda path: damage_byte(path, path.read_bytes().index(b"n_tokens") + 12),
    "flipped bit in a name": lambda path: damage_byte(path, path.read_bytes().index(b"fc1") + 2),
    "flipped bit in the length": lambda path: damage_byte(path, 0),
    "huge header": lambda path: damage_byte(path, 6),
    "truncated data": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "truncated header": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"xxxx"),
    "not ours": lambda path: save_file({"w": np.ones(3, np.float32)}, path),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_noticed_and_put_repairs_it(store, damage):
    path = store.put("fa", vector(), LAYOUT, META)
    store.put("hi", vector(1), LAYOUT, META)
    assert store.has("fa", META["signature"])  # also: verified once, and still noticed below
    damage(path)
    assert not store.has("fa") and not store.has("fa", META["signature"])
    with pytest.raises(Failure) as caught:
        store.get("fa")
    message = str(caught.value)
    assert str(path) in message and "delete it" in message and "\n" not in message
    assert list(store.verify()) == ["fa"]
    store.put("fa", vector(), LAYOUT, META)
    assert np.array_equal(store.get("fa").values, vector())


def test_a_truncated_file_is_told_from_its_size(store):
    path = store.put("fa", vector(), LAYOUT)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Failure, match=f"{size - 4} bytes where {size} belong"):
        store.get("fa")


def test_a_checked_file_is_not_hashed_again(store, monkeypatch):
    path = store.put("fa", vector(), LAYOUT)
    store.get("fa")
    monkeypatch.setattr("hashlib.sha256", forbid_data_hash(path.stat().st_size))
    assert np.array_equal(store.get("fa").values, vector())


def forbid_data_hash(_size):
    import hashlib

    real = hashlib.sha256

    def header_only(data=b""):
        assert data, "a streaming digest was started: the data is being hashed again"
        return real(data)

    return header_only


def test_has_compares_signatures(store):
    assert not store.has("fa")
    store.put("fa", vector(), LAYOUT, META)
    assert store.has("fa") and store.has("fa", META["signature"])
    assert not store.has("fa", "model:y@2|k:0.4")


def test_missing_says_how_to_make_it(store):
    with pytest.raises(Failure, match=r"no Fisher vector 'fa'.*langsim fisher"):
        store.get("fa")
    store.put("fa", vector(), LAYOUT)
    store.delete("fa")
    store.delete("fa")
    assert store.keys() == []


@pytest.mark.parametrize("key", ["../fa", "a/b", "", ".fa", "a..b", "fa\n", "/etc/x", "a b", "x" * 200, None])
def test_keys_cannot_leave_the_folder(store, key):
    with pytest.raises(UsageError, match="can't name a Fisher vector"):
        store.put(key, vector(), LAYOUT)


@pytest.mark.parametrize("key", ["fa", "zh-Hans", "sr_Latn", "ted.fa", "fa@half1", "C++"])
def test_ordinary_keys_are_fine(store, key):
    store.put(key, vector(), LAYOUT)
    assert store.keys() == [key] and store.has(key)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_values_must_be_finite_and_not_negative(store, bad):
    values = vector()
    values[7] = bad
    with pytest.raises(Failure, match=r"'fa' has a negative, NaN or infinite value"):
        store.put("fa", values, LAYOUT)
    assert store.keys() == []


def test_types_layouts_and_metadata_are_checked(store):
    with pytest.raises(UsageError, match="1-D float32, not 1-D float64"):
        store.put("fa", vector().astype(float), LAYOUT)
    with pytest.raises(UsageError, match="1-D float32, not 2-D"):
        store.put("fa", vector().reshape(4, 4), LAYOUT)
    with pytest.raises(UsageError, match="not plain JSON"):
        store.put("fa", vector(), LAYOUT, {"model": object()})
    for layout, message in [
        ([("a", (16,), 0), ("a", (0,), 16)], "twice"),
        ([("a", (8,), 0), ("b", (7,), 9)], "9 where 8 comes next"),
        ([("a", (8,), 0)], "covers 8 elements but the vector has 16"),
    ]:
        with pytest.raises(UsageError, match=message):
            store.put("fa", vector(), layout)


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        **options,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_a_full_disk_ends_with_one_line_and_leaves_nothing(store):
    store.put("fa", vector(), LAYOUT, META)
    code = f"""
        import resource, numpy as np
        from langsim.errors import Failure
        from langsim.store import FisherStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the kernel refuses to write more
        try:
            FisherStore({str(store.folder)!r}).put("fa", np.ones(1_000_000, np.float32), [("w", (1_000_000,), 0)])
        except Failure as failure:
            print(failure)
    """
    result = run(code)
    assert result.stdout.count("\n") == 1 and "cannot write" in result.stdout, result.stderr
    assert os.listdir(store.folder) == ["fa.safetensors"]
    assert np.array_equal(store.get("fa").values, vector()), "the old file must stay whole"


def test_two_processes_writing_one_key_never_show_a_mixture(store):
    size = 200_000
    layout = [("w", (size,), 0)]
    store.put("fa", np.full(size, 1, np.float32), layout)
    code = """
        import sys, numpy as np
        from langsim.store import FisherStore
        value = float(sys.argv[2])
        for _ in range(15):
            FisherStore(sys.argv[1]).put("fa", np.full(200_000, value, np.float32), [("w", (200_000,), 0)])
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    writers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(store.folder), str(value)], env=environment)
        for value in (1, 2)
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        values = store.get("fa").values
        seen.add((float(values[0]), float(values[-1])))
        assert values.min() == values.max()
    assert all(writer.returncode == 0 for writer in writers)
    assert seen <= {(1.0, 1.0), (2.0, 2.0)}
    assert os.listdir(store.folder) == ["fa.safetensors"]


def test_what_a_killed_writer_left_is_ignored_and_swept(store):
    """A living writer's file stays: the kernel knows, for a dead one holds no lock."""
    store.put("fa", vector(), LAYOUT)
    dead = [store.folder / f".{key}.safetensors.x.part" for key in ("fa", "hi")]
    for leftover in dead:
        leftover.write_bytes(b"half")
    with paths.atomic_write(store.path("fa")) as living:
        assert not dead[0].exists() and dead[1].exists(), "of the same file only: other files may be another program's"
        assert store.keys() == ["fa"]
        store.put("fa", vector(1), LAYOUT)
        assert sorted(store.folder.iterdir()) == sorted([living, store.path("fa")])
        living.write_bytes(b"whole")
    assert store.path("fa").read_bytes() == b"whole"
    assert os.listdir(store.folder) == ["fa.safetensors"]


def test_where_files_cannot_be_locked_age_tells(store, monkeypatch):
    store.put("fa", vector(), LAYOUT)
    old, young = (store.folder / f".fa.safetensors.{name}.part" for name in ("old", "young"))
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (time.time() - 200_000,) * 2)
    monkeypatch.setattr(paths, "_locked", lambda handle: None)
    store.put("fa", vector(1), LAYOUT)
    assert not old.exists() and young.exists(), "a young one may belong to a living writer"


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(store, monkeypatch):
    real, seen = paths._locked, []

    def swept(handle):
        if not seen:  # another process was quicker than this one, between making the file and locking it
            seen.extend(store.folder.glob(".*.part"))
            seen[0].unlink()
        return real(handle)

    monkeypatch.setattr(paths, "_locked", swept)
    store.put("fa", vector(), LAYOUT)
    assert len(seen) == 1 and os.listdir(store.folder) == ["fa.safetensors"]
    assert np.array_equal(store.get("fa").values, vector())


def test_spans_merge_neighbours_and_name_what_is_missing():
    layout = [("a", (2,), 0), ("b", (3,), 2), ("c", (4,), 5), ("d", (1,), 9)]
    assert layouts.spans(layout) == [(0, 10)]
    assert layouts.spans(layout, ["d", "a", "b"]) == [(0, 5), (9, 10)]
    assert list(layouts.pieces([(0, 5), (9, 10)], 2)) == [(0, 2), (2, 4), (4, 5), (9, 10)]
    assert layouts.covered([(0, 5), (9, 10)]) == 6
    with pytest.raises(UsageError, match="no parameter 'x'"):
        layouts.spans(layout, ["a", "x"])
    with pytest.raises(UsageError, match="empty"):
        layouts.spans(layout, [])
