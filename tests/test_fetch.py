"""`langsim data fetch` against a local server: right, wrong, cut off, gone, offline, resumed, two at once."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from langsim import cli, corpora, fetch, open_data, paths
from langsim.errors import Failure

REAL = os.environ.get("LANGSIM_DATA", "")
CONTENT = {"one.txt": b"twelve bytes", "two.txt": bytes(range(256)) * 600, "drei.txt": "drei Sätze\n".encode()}
COMMIT = "c" * 40


class Site:
    """A server: path -> content, and what is wrong with it."""

    def __init__(self) -> None:
        self.content = {f"/org/repo/{COMMIT}/data/{name}": content for name, content in CONTENT.items()}
        self.asked: list[tuple[str, str]] = []  # (file name, the range asked for)
        self.ranges = True
        self.breaks: dict[str, list[int]] = {}  # file name -> the bytes after which its next answers end
        self.statuses: list[int] = []  # of the next answers
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self):
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                wanted = self.headers.get("Range", "")
                site.asked.append((PurePosixPath(self.path).name, wanted))
                content = site.content.get(self.path)
                status = site.statuses.pop(0) if site.statuses else 200 if content is not None else 404
                if status != 200:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges else 0
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                breaks = site.breaks.get(PurePosixPath(self.path).name)
                end = breaks.pop(0) if breaks else len(content)
                self.wfile.write(content[start:end])
                self.close_connection = end < len(content)

        return Handler


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server with three files, the table that describes them as the corpus xquad, and no folder yet."""
    (tmp_path / "facts").mkdir()
    with open(tmp_path / "facts" / "open_corpora.tsv", "w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter="\t", lineterminator="\n")
        table.writerow(open_data.COLUMNS)
        for name, content in CONTENT.items():
            digest = hashlib.sha256(content).hexdigest()
            table.writerow([f"xquad/{name}", len(content), digest, "org/repo", COMMIT, f"data/{name}", "CC0"])
    site = Site()
    monkeypatch.setattr(paths, "DATA", tmp_path / "facts")
    monkeypatch.setattr(fetch, "PAUSE", 0)
    monkeypatch.setenv("LANGSIM_MIRROR", site.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LANGSIM_DATA", str(tmp_path / "open"))
    yield site
    site.stop()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "open" / "xquad"


def there(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failure() -> str:
    with pytest.raises(Failure) as caught:
        fetch.fetch("xquad")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_file_comes_once_and_quietly(site, folder, capfd):
    done = fetch.fetch("xquad")
    assert (done.folder, done.downloaded, done.kept) == (folder, 3, 0)
    assert there(folder) == CONTENT
    assert sorted(site.asked) == sorted((name, "") for name in CONTENT)
    assert (fetch.fetch("xquad").downloaded, len(site.asked)) == (0, 3)  # nothing is asked for again
    assert capfd.readouterr() == ("", "")


def test_only_what_is_missing_or_damaged_is_fetched_again(site, folder):
    fetch.fetch("xquad")
    (folder / "one.txt").write_bytes(b"twelve BYTES")
    (folder / "drei.txt").unlink()
    site.asked.clear()
    done = fetch.fetch("xquad")
    assert (done.downloaded, done.kept) == (2, 1) and there(folder) == CONTENT
    assert sorted(name for name, _ in site.asked) == ["drei.txt", "one.txt"]


def test_a_folder_that_has_everything_is_not_written_to(site, folder, monkeypatch):
    fetch.fetch("xquad")
    monkeypatch.setattr(fetch, "_download_all", None)
    assert fetch.fetch("xquad").kept == 3


def test_another_content_of_the_same_length_is_refused(site, folder):
    site.content[f"/org/repo/{COMMIT}/data/one.txt"] = b"twelve BYTES"
    assert "one.txt has another content than data/open_corpora.tsv says; nothing of it was kept" in failure()
    assert there(folder) == {} and site.asked == [("one.txt", "")]


def test_another_length_is_refused(site, folder):
    site.content[f"/org/repo/{COMMIT}/data/one.txt"] = b"ten bytes."
    assert "one.txt has 10 bytes, expected 12; check LANGSIM_MIRROR" in failure()
    assert there(folder) == {} and site.asked == [("one.txt", "")]


def test_a_file_that_is_gone_is_named(site, folder):
    del site.content[f"/org/repo/{COMMIT}/data/one.txt"]
    assert f"{site.url}/org/repo/{COMMIT}/data/one.txt is not there (404)" in failure()
    assert site.asked == [("one.txt", "")]


def test_a_broken_connection_is_taken_up_where_it_broke(site, folder):
    site.breaks = {"two.txt": [100_000, 120_000]}
    fetch.fetch("xquad")
    assert there(folder) == CONTENT
    first, *resumed = [wanted for name, wanted in site.asked if name == "two.txt"]
    assert first == "" and [round(int(wanted[6:-1]), -4) for wanted in resumed] == [100_000, 120_000]


def test_a_server_that_always_cuts_off_is_given_up_and_the_next_call_continues(site, folder):
    site.ranges = False
    site.breaks = {"two.txt": [100_000] * fetch.TRIES}
    said = failure()
    part = (folder / "two.txt.part").read_bytes()
    assert f"broke after {len(part):,} of the 153,600 bytes of xquad/two.txt; give the same command again" in said
    assert CONTENT["two.txt"].startswith(part) and 90_000 < len(part) <= 100_000
    assert not (folder / "two.txt").exists() and len(site.asked) == 1 + fetch.TRIES
    site.ranges, site.asked = True, []
    fetch.fetch("xquad")
    assert there(folder) == CONTENT and site.asked[0] == ("two.txt", f"bytes={len(part)}-")


def test_a_server_without_ranges_starts_again(site, folder):
    folder.mkdir(parents=True)
    (folder / "one.txt.part").write_bytes(b"twelv")
    site.ranges = False
    fetch.fetch("xquad")
    assert there(folder) == CONTENT and site.asked[0] == ("one.txt", "bytes=5-")


@pytest.mark.parametrize("left", [b"WRONG", b"twelve BYTES", b"far more than twelve bytes", b""])
def test_a_damaged_part_is_thrown_away(site, folder, left):
    folder.mkdir(parents=True)
    (folder / "one.txt.part").write_bytes(left)
    fetch.fetch("xquad")
    assert there(folder) == CONTENT


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(site, folder):
    site.statuses = [503, 429]
    fetch.fetch("xquad")
    assert there(folder) == CONTENT and len(site.asked) == 5
    (folder / "one.txt").unlink()
    site.statuses = [503] * fetch.TRIES
    assert "one.txt answers 503 Service Unavailable; give the same command again" in failure()
    site.statuses, site.asked = [403], []
    assert "one.txt answers 403 Forbidden" in failure() and len(site.asked) == 1


def test_offline(site, folder):
    site.stop()
    said = failure()
    assert said.startswith("no connection to 127.0.0.1:") and "is this machine offline?" in said
    assert there(folder) == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_with_one_line_and_leaves_no_half_file(site, folder):
    folder.mkdir(parents=True)
    (folder / "one.txt.part").symlink_to("/dev/full")
    assert "one.txt.part: the disk is full; free some space" in failure()
    assert there(folder) == {}


def test_a_place_that_cannot_be_written_is_named(site, folder, tmp_path):
    (tmp_path / "open").write_text("a file")
    assert f"cannot write {folder}: " in failure()


def test_two_processes_do_not_fetch_into_one_folder(site, folder):
    folder.mkdir(parents=True)
    program = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); input()"
    lock = str(folder.parent / ".xquad.lock")
    with subprocess.Popen(
        [sys.executable, "-c", program, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        assert f"another process is fetching into {folder}; wait until it has finished" in failure()
        other.communicate("\n")
    assert site.asked == [] and fetch.fetch("xquad").downloaded == 3


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


def test_the_commands_list_and_fetch(site, folder, capsys):
    (row,) = [row for row in json.loads(call(capsys, "data", "list", "--json")[1]) if row["corpus"] == "xquad"]
    size = sum(map(len, CONTENT.values()))
    assert row == {**row, "licence": "CC0", "size": size, "files": "0 of 3", "where": str(folder)}
    assert call(capsys, "data", "fetch", "xquad") == (0, "", f"xquad: 3 files fetched, 0 kept ({folder})\n")
    status, out, _ = call(capsys, "data", "list")
    assert status == 0 and "3 of 3" in out and "0.2 MB" in out


def test_an_unknown_name_is_answered_by_the_nearest_before_anything_is_fetched(site, folder, capsys):
    status, out, err = call(capsys, "data", "fetch", "xquad", "ntrx")
    assert (status, out) == (2, "") and err == "langsim: open corpus: unknown 'ntrx' (did you mean 'ntrex'?)\n"
    assert site.asked == [] and not folder.exists()


def test_no_network_library_is_loaded_before_it_is_needed():
    program = (
        "import sys\nfrom langsim import cli, corpora, fetch, open_data, profiles\n"
        "try:\n    cli.main(['data', 'list', '--json'])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(sorted({'requests', 'urllib3', 'filelock', 'datasets'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=paths.ROOT, check=True)
    assert done.stderr == "[]\n"


def test_the_table_of_facts_is_sane():
    every = [file for name in open_data.COLLECTIONS for file in open_data.files(name)]
    counts = {name: len(open_data.files(name)) for name in open_data.COLLECTIONS}
    assert counts == {"ntrex": 59, "ud": 39, "uner": 22, "xquad": 9}
    with open(paths.DATA / "open_corpora.tsv", encoding="utf-8") as stream:
        assert len(stream.readlines()) - 1 == len({file.file for file in every}) == len(every)
    for file in every:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", file.file) and ".." not in file.file + file.path
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256) and re.fullmatch(r"[0-9a-f]{40}", file.commit)
        assert re.fullmatch(r"[\w-]+/[\w-]+", file.repository) and 0 < file.size < 50e6
        assert file.licence.startswith("CC-BY")
    assert {file.licence for file in open_data.files("ntrex")} == {"CC-BY-SA-4.0"}


@pytest.mark.skipif(not REAL, reason="LANGSIM_DATA is not set")
def test_the_table_of_facts_is_true_of_the_files():
    for name in open_data.COLLECTIONS:
        for file in open_data.files(name):
            path = Path(REAL).expanduser() / file.file
            assert (path.stat().st_size, paths.sha256_file(path)) == (file.size, file.sha256)


@pytest.mark.skipif(not REAL, reason="LANGSIM_DATA is not set")
def test_the_real_ntrex_comes_through(monkeypatch, tmp_path):
    here = corpora.load("ntrex")
    site = Site()
    for file in open_data.files("ntrex"):
        site.content[f"/{file.repository}/{file.commit}/{file.path}"] = (Path(REAL) / file.file).read_bytes()
    monkeypatch.setenv("LANGSIM_MIRROR", site.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LANGSIM_DATA")
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path))
    assert fetch.fetch("ntrex").downloaded == 59
    site.stop()
    assert corpora.load("ntrex").digest == here.digest
