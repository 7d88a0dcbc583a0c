"""The cache's directory: whole entries or none, the least used go first, and nobody's entry is taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearse.dataset.cache import Cache, Kept, cache_from, complete, copy_files
from rehearse.errors import EnvironmentFailure, InputError

KEYS = [f"{n:032x}" for n in range(1, 6)]
KEPT = Kept("shop", 12, {"plan": "p"})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache" / "datasets", 10_000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "pgdata"
    (made / "base" / "1").mkdir(parents=True)
    (made / "pg_notify").mkdir()  # empty, and still needed
    (made / "base" / "1" / "1259").write_bytes(bytes(range(256)) * 8)
    (made / "postmaster.pid").write_text("1")
    return made


def store(cache: Cache, key: str, data: Path) -> str:
    return cache.store(key, data, KEPT, lambda path: path == "postmaster.pid")


def test_what_is_stored_is_read_back_whole(cache: Cache, data: Path, tmp_path: Path) -> None:
    assert cache.entries() == []
    assert not cache.root.exists()
    assert store(cache, KEYS[0], data) in {"reflink", "copy"}
    with cache.reading(KEYS[0]) as entry:
        assert entry is not None
        assert (entry.name, entry.rows, entry.size_bytes, entry.notes) == ("shop", 12, 2048, {"plan": "p"})
        copied, _ = copy_files(entry.data, tmp_path / "again")
        assert complete(entry, copied)
    assert (tmp_path / "again/base/1/1259").read_bytes() == (data / "base/1/1259").read_bytes()
    assert (tmp_path / "again/pg_notify").is_dir()
    assert not (tmp_path / "again/postmaster.pid").exists()
    with cache.reading(KEYS[1]) as other:
        assert other is None


def test_a_second_maker_of_the_same_entry_leaves_the_first(cache: Cache, data: Path) -> None:
    store(cache, KEYS[0], data)
    before = cache.entries()
    assert store(cache, KEYS[0], data) == ""
    assert cache.entries() == before


def test_a_damaged_entry_is_none(cache: Cache, data: Path, tmp_path: Path) -> None:
    store(cache, KEYS[0], data)
    (cache.root / KEYS[0] / "data/base/1/1259").write_bytes(b"short")
    with cache.reading(KEYS[0]) as entry:
        assert entry is not None
        copied, _ = copy_files(entry.data, tmp_path / "again")
        assert not complete(entry, copied)
    (cache.root / KEYS[0] / "entry.json").write_text('{"format": 1, "na')
    assert cache.entries() == []
    assert store(cache, KEYS[1], data)  # which sweeps
    assert not (cache.root / KEYS[0]).exists()


def test_the_least_used_go_first(cache: Cache, data: Path) -> None:
    for place, key in enumerate(KEYS[:4]):  # of 2,048 bytes each, and there is room for four
        store(cache, key, data)
        os.utime(cache.root / key / "entry.json", (place, place))
    with cache.reading(KEYS[0]):
        pass
    assert store(cache, KEYS[4], data)
    assert {entry.key for entry in cache.entries()} == {KEYS[0], KEYS[2], KEYS[3], KEYS[4]}
    assert [entry.key for entry in cache.prune(10_000, older_than_s=3600)] == [KEYS[2], KEYS[3]]
    assert len(cache.prune(-1)) == 2
    assert list(cache.root.iterdir()) == []


def test_what_is_being_read_stays(cache: Cache, data: Path) -> None:
    store(cache, KEYS[0], data)
    with cache.reading(KEYS[0]) as entry:
        assert cache.prune(-1) == []
        assert entry is not None
        assert (entry.data / "base/1/1259").exists()
    assert len(cache.prune(-1)) == 1


def test_what_is_larger_than_the_limit_is_not_kept(cache: Cache, data: Path) -> None:
    (data / "large").write_bytes(bytes(20_000))
    assert store(cache, KEYS[0], data) == ""
    assert cache.entries() == []


def test_a_link_is_not_followed(cache: Cache, data: Path, tmp_path: Path) -> None:
    (data / "pg_tblspc").mkdir()
    (data / "pg_tblspc/16384").symlink_to(tmp_path)
    with pytest.raises(EnvironmentFailure, match="tablespaces"):
        store(cache, KEYS[0], data)
    assert cache.entries() == []
    assert list(cache.root.iterdir()) == []


KILLED = """
import sys
from pathlib import Path
from rehearse.dataset.cache import Cache, Kept

def skip(path):
    print("writing", flush=True)
    sys.stdin.read()

Cache(Path(sys.argv[1]), 10_000).store(sys.argv[2], Path(sys.argv[3]), Kept("x", 1, {}), skip)
"""


def test_a_run_killed_while_it_writes_leaves_no_entry(cache: Cache, data: Path) -> None:
    argv = [sys.executable, "-c", KILLED, str(cache.root), KEYS[0], str(data)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        # while it lives its part is its own
        assert store(cache, KEYS[1], data)
        assert len(list(cache.root.glob(".part-*"))) == 1
        child.kill()
    assert [entry.key for entry in cache.entries()] == [KEYS[1]]
    assert store(cache, KEYS[0], data)
    assert list(cache.root.glob(".part-*")) == []


def test_the_environment_says_where_and_how_much(tmp_path: Path) -> None:
    assert cache_from({"REHEARSE_CACHE": "off"}) is None
    named = cache_from({"REHEARSE_CACHE": str(tmp_path), "REHEARSE_CACHE_SIZE": "1.5GB"})
    assert named == Cache(tmp_path / "datasets", 3 * 1024**3 // 2)
    usual = cache_from({"XDG_CACHE_HOME": "/x"})
    assert usual == Cache(Path("/x/rehearse/datasets"), 10 * 1024**3)
    with pytest.raises(InputError, match="REHEARSE_CACHE_SIZE is not a size: much"):
        cache_from({"REHEARSE_CACHE_SIZE": "much"})
