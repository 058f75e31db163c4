"""Faults, end to end: killed, damaged, several at once, a full disk. Real processes on a real tiny model.

The processes are forked from a server that has the libraries loaded, which saves their start. What goes wrong goes
wrong in the kernel: SIGKILL, a limit on file sizes, a small file system that is full.
"""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import save_names, save_tiny_m2m

from langsim import cli, fisher, paths
from langsim.store import FisherStore

CODES = ("fa", "hi", "de", "sv")
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["langsim.pipeline", "langsim.models", "transformers.models.m2m_100"])

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and signals as Linux has them")


# What may happen to a process, at the third language of four ------------------------------------------------------


def at_the_third_file(happens):
    """`happens(vector)` just before the third vector is stored."""
    real, stored = FisherStore.put, []

    def put(store, key, vector, *arguments, **options):
        stored.append(key)
        if len(stored) == 3:
            happens(vector)
        return real(store, key, vector, *arguments, **options)

    FisherStore.put = put


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_while_estimating():
    real, begun = fisher.estimate, []

    def dying(batches):
        yield next(batches)
        die()

    def estimate(model, batches, *, key, **options):
        begun.append(key)
        return real(model, dying(batches) if len(begun) == 3 else batches, key=key, **options)

    fisher.estimate = estimate


def dies_while_writing():
    """Killed by the kernel when half of the vector is written."""

    def happens(vector):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        limit_files(vector.nbytes // 2)

    at_the_third_file(happens)


def dies_before_renaming():
    at_the_third_file(lambda vector: setattr(os, "replace", die))


def finds_the_disk_full():
    at_the_third_file(lambda vector: limit_files(vector.nbytes // 2))


def notes_what_it_estimates():
    real = fisher.estimate

    def estimate(model, batches, *, key, **options):
        with open(Path(os.environ["LANGSIM_CACHE"]).parent / "estimated", "a") as notes:
            notes.write(f"{key}\n")
        return real(model, batches, key=key, **options)

    fisher.estimate = estimate


def limit_files(size):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# Running `langsim` ------------------------------------------------------------------------------------------------


def langsim(folder, arguments, sabotage=None, barrier=None):
    """The body of a process: the command with its own cache (in `folder`) and standard streams."""
    os.environ["LANGSIM_CACHE"] = str(folder / "cache")
    for number in (1, 2):
        file = folder / f"{os.getpid()}.{number}"
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    if sabotage:
        sabotage()
    if barrier:
        barrier.wait()
    cli.main(arguments)


def run(folder, arguments, *sabotages):
    """Run one process for each sabotage, all at once: [(exit status, stdout, stderr)]."""
    barrier = PROCESSES.Barrier(len(sabotages))
    processes = [PROCESSES.Process(target=langsim, args=(folder, arguments, each, barrier)) for each in sabotages]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    texts = [[(folder / f"{process.pid}.{number}").read_text() for number in (1, 2)] for process in processes]
    return [(process.exitcode, *text) for process, text in zip(processes, texts, strict=True)]


def stored(folder):
    """Name -> (inode, time of writing, content) of every vector there is."""
    found = sorted((folder / "cache" / "fisher").rglob("[!.]*.safetensors"))
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def contents(folder):
    return {name: content for name, (_, _, content) in stored(folder).items()}


def halves(folder):
    return list((folder / "cache").rglob("*.part"))


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    data = save_names(folder / "names.tsv")
    model = save_tiny_m2m(folder / "model", data.read_text().replace("\t", "\n").splitlines())
    given = {"model": model, "corpus": "files", "data": data, "languages": ",".join(CODES), "max-items": 60, "jobs": 1}
    return ["fisher", "--json", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, arguments):
    """A folder in which all went well, and what was printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    [(status, out, err)] = run(folder, arguments, None)
    assert (status, err) == (0, "") and len(stored(folder)) == 4
    return folder, told(out)


def told(out):
    """What the command printed, without the folder."""
    printed = json.loads(out)
    return {**printed, "folder": Path(printed["folder"]).name}


@pytest.mark.parametrize(
    ("sabotage", "by", "n_halves"),
    [
        (dies_while_estimating, signal.SIGKILL, 0),
        (dies_while_writing, signal.SIGXFSZ, 1),
        (dies_before_renaming, signal.SIGKILL, 1),
    ],
)
def test_a_killed_run_is_finished_by_the_next(undisturbed, arguments, tmp_path, sabotage, by, n_halves):
    [(status, out, _)] = run(tmp_path, arguments, sabotage)
    finished = stored(tmp_path)
    assert (status, out, len(finished)) == (-by, "", 2)
    assert len(halves(tmp_path)) == n_halves
    [(status, out, err)] = run(tmp_path, arguments, None)
    assert (status, err) == (0, "")
    assert {name: stored(tmp_path)[name] for name in finished} == finished, "a finished language was done again"
    assert contents(tmp_path) == contents(undisturbed[0]) and told(out) == undisturbed[1]
    assert not halves(tmp_path), "what the dead process left must be gone"


def test_damaged_files_are_noticed_and_made_again(undisturbed, arguments, tmp_path):
    shutil.copytree(undisturbed[0] / "cache", tmp_path / "cache")
    before = stored(tmp_path)
    flipped, cut, empty, _ = sorted((tmp_path / "cache" / "fisher").rglob("*.safetensors"))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-5000])
    empty.write_bytes(b"")
    assert contents(tmp_path) != contents(undisturbed[0])
    [(status, out, err)] = run(tmp_path, arguments, None)
    assert (status, err) == (0, "")
    assert contents(tmp_path) == contents(undisturbed[0]) and told(out) == undisturbed[1]
    same = [name for name, told_ in stored(tmp_path).items() if told_ == before[name]]
    assert len(same) == 1, "the sound one must be left alone, the others replaced"


def test_several_processes_share_a_cache_though_one_dies(undisturbed, arguments, tmp_path):
    one, other, dead = run(tmp_path, arguments, None, None, dies_while_writing)
    assert dead[0] in (-signal.SIGXFSZ, 0)  # 0 where the others left it fewer than three languages to do
    for status, out, err in (one, other):
        assert (status, err) == (0, "") and told(out) == undisturbed[1]
    assert contents(tmp_path) == contents(undisturbed[0])
    assert len(halves(tmp_path)) <= 1, "the living ones leave none"


def test_processes_that_share_a_cache_do_nothing_twice(undisturbed, arguments, tmp_path):
    for status, out, err in run(tmp_path, arguments, notes_what_it_estimates, notes_what_it_estimates):
        assert (status, err) == (0, "") and told(out) == undisturbed[1]
    assert sorted((tmp_path / "estimated").read_text().split()) == sorted(CODES)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(undisturbed, arguments, tmp_path):
    [(status, out, err)] = run(tmp_path, arguments, finds_the_disk_full)
    assert (status, out) == (1, "")
    assert err.startswith("langsim: cannot write ") and err.count("\n") == 1
    assert "; free some space or set LANGSIM_CACHE" in err
    finished = stored(tmp_path)
    assert len(finished) == 2 and not halves(tmp_path)
    [(status, out, err)] = run(tmp_path, arguments, None)
    assert (status, err, told(out)) == (0, "", undisturbed[1])
    assert {name: stored(tmp_path)[name] for name in finished} == finished
    assert contents(tmp_path) == contents(undisturbed[0])


ON_A_FULL_DISK = """
import os, subprocess, sys
from langsim import cli

cache = os.environ["LANGSIM_CACHE"]
for size in ("100k", "16m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", cache], check=True)
    try:
        cli.main(sys.argv[1:])
    except SystemExit as stop:
        files = [name for _, _, names in os.walk(cache) for name in names]
        print(stop.code, len(files), sum(name.endswith(".safetensors") for name in files))
"""


def test_a_file_system_that_is_really_full(undisturbed, arguments, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(cache)]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    program = [sys.executable, "-c", ON_A_FULL_DISK, *arguments]
    environment = {**os.environ, "LANGSIM_CACHE": str(cache)}
    done = subprocess.run([*inside, *program], capture_output=True, text=True, env=environment, cwd=paths.ROOT)
    lines = done.stdout.splitlines()
    assert lines[0] == "1 2 2", "two languages fit, and nothing else is there"
    assert told(lines[1]) == undisturbed[1] and lines[2] == "0 4 4"
    assert done.stderr.startswith("langsim: cannot write ") and done.stderr.count("\n") == 1
    assert "No space left on device; free some space or set LANGSIM_CACHE" in done.stderr
