"""Tasks, cells, gold scores against predictions: once from files to a ranking."""

import json
import math
import multiprocessing
import os
import signal
import sys

import numpy as np
import pandas as pd
import pytest
import regex
import torch
from scipy import stats
from sklearn.metrics import ndcg_score
from xsns_tiny import CODES, save, sentences, tokenizer, words_task

from langsim import cells, profiles, ranking, results
from langsim.errors import Failure, UsageError
from langsim.xsns import (
    evidence,
    instrument,
    labelled,
    measuring,
    mixtures,
    procedures,
    ranking_study,
    subnetworks,
    texts,
    transfer,
)
from langsim.xsns.procedures import BASELINES, MIXTURES, SUBNETWORKS, TRANSFER, Job
from langsim.xsns.settings import XSNSSettings

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint in a folder."""
    return save(tmp_path_factory.mktemp("models") / "small-xlmr", "xlmr")


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks")
    task = words_task(n=18)
    for code in CODES:
        for split, examples in task.splits[code].items():
            lines = ["\n".join(f"{w}\t{t}" for w, t in zip(one.words, one.tags, strict=True)) for one in examples]
            (path / f"{split}.{code}.conll").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    write_general(path)
    return path


def write_general(path):
    """Aligned text beside the tasks' folder."""
    rows = zip(*(sentences(code, 60) for code in CODES), strict=True)
    lines = ["\t".join(CODES), *("\t".join(row) for row in rows)]
    (path.parent / f"{path.name}-general.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def made(model, task_folder):
    return resolved(model, task_folder)


def resolved(model, folder, **more):
    own = {"tasks": ["mine"], "tasks_from": "files", "tasks_path": str(folder), "other_models": []}
    own |= {"low_resource_tasks": [], "kinds": ["task-lm", "task-head"], "text_items": 16, "text_grid": [4, 8]}
    own |= {"text_items_others": 10}
    own |= {"p_grid": [0.1, 0.5], "seeds": [0, 1], "training_seeds": [0, 1], "epochs": 2, "learning_rate": 3e-3}
    own |= {
        "batch_size": 8,
        "replicates": 60,
        "corpus": "files",
        "data": str(folder.parent / f"{folder.name}-general.tsv"),
    }
    return profiles.resolve("mini", kind=XSNSSettings, model=model, **{**own, **more})


# Tasks -------------------------------------------------------------------------------------------------------------


def test_sizes_are_equal_and_as_asked(made):
    task = labelled.load(made, "mine")
    assert set(task.languages) == set(CODES) and task.sizes()["de"] == {"train": 18, "validation": 18, "test": 18}
    fewer = labelled.at_most(task, {"train": 5, "validation": 0, "test": 3})
    assert fewer.sizes()["fr"] == {"train": 5, "validation": 18, "test": 3}


def test_too_few_languages_and_odd_labels_are_told(made, tmp_path, model):
    write_general(tmp_path)
    for code in ("en", "de"):
        (tmp_path / f"test.{code}.conll").write_text("a\tX\n")
    with pytest.raises(UsageError, match="has data in 2 languages \\(de, en\\); a ranking needs 3"):
        labelled.load(resolved(model, tmp_path), "mine")
    (tmp_path / "test.fr.conll").write_text("a\tY\n")
    with pytest.raises(UsageError, match="label sets differ between languages"):
        labelled.load(resolved(model, tmp_path, tasks=["other"]), "other")


def test_general_text_is_shared_or_warned_of():
    items = pd.DataFrame({"domain": "x", "unit": [f"u{i}" for i in range(130)], "pool": "FINETUNE"})
    items.index = [f"i{i}" for i in range(130)]
    from langsim.corpora import Corpus

    own = {code: {f"i{i}": f"{code} {i}" for i in range(130)} for code in CODES}
    corpus = Corpus("small", items, own)
    found = texts.of_corpus(corpus, CODES, 50, pool="FINETUNE", seed=3)
    assert not found.warnings and {tuple(line.split()[1] for line in t) for t in found.texts.values()} != set()
    assert len({tuple(line.split()[1] for line in t) for t in found.texts.values()}) == 1 and found.size == 50
    packed = texts.of_corpus(corpus, CODES, 50, pool="FINETUNE", seed=3, pack=3)
    single = texts.of_corpus(corpus, CODES, 129, pool="FINETUNE", seed=3)
    assert packed.size == 43 and packed.texts["de"][1] == " ".join(single.texts["de"][3:6])

    def count(lines):
        return [len(line.split()) for line in lines]

    assert texts.packing({"a": ["x " * 6], "b": ["x " * 10]}, {"a": ["x x"], "b": ["x x x"]}, count) == 3
    assert texts.packing({"a": ["x"]}, {"a": ["x x x x"]}, count) == 1, "a long text is not cut"
    corpus = Corpus("small", items, {**own, "fr": {f"i{i}": "x" for i in range(40)}})
    found = texts.of_corpus(corpus, CODES, 50)
    assert found.size == 40 and "Only 40 items are there in all 4 languages" in found.warnings[0]
    with pytest.raises(UsageError, match="corpus 'small' has no text in ja"):
        texts.of_corpus(corpus, ["de", "ja"], 10)


def test_general_text_is_as_long_as_the_tasks(made):
    """By the settings: of lines of six words, and of single words."""
    parent = procedures.model_of(made.model, "cpu")

    def count(lines):
        return subnetworks.lengths(parent, lines, 64)

    own = texts.of_settings(made, "mine", "task", count, size=16)
    whole = texts.of_settings(made, "mine", "general", count, size=16)
    mean = {
        name: np.mean([np.mean(count(t)) for t in one.texts.values()]) for name, one in (("own", own), ("w", whole))
    }
    assert whole.size == 16 and not any("A text is" in line for line in whole.warnings)
    assert abs(np.log(mean["own"] / mean["w"])) < np.log(1.5), "lines of like length stay as they are"
    longer = texts.of_settings(made, "mine", "general", _Longer(count), size=10)
    assert "A text is 3 items of general text, to be about as long as the task's." in longer.warnings
    assert longer.texts["de"][0].startswith(whole.texts["de"][0]) and longer.size == 10
    assert sum(count(longer.texts["de"])) > 2 * sum(count(whole.texts["de"][:10]))


class _Longer:
    """Counts the texts that come first, the task's, as three times as long as they are."""

    def __init__(self, count):
        self.count, self.calls = count, 0

    def __call__(self, lines):
        self.calls += 1
        return [1.0 if self.calls > len(CODES) else 3.0 for _ in self.count(lines)]


# Cells -------------------------------------------------------------------------------------------------------------


def test_from_files_to_a_ranking(made, own_cache):
    matrices = ranking_study.gold(made, "mine")
    assert len(matrices) == 2 and matrices[0].shape == (4, 4) and set(matrices[0].columns) == set(CODES)
    assert not matrices[0].equals(matrices[1]) and np.isfinite(matrices[0].to_numpy()).all()
    other = ranking_study.gold(made, "mine", metric="sentence_accuracy")
    assert not other[0].equals(matrices[0])
    with pytest.raises(UsageError, match="metric: task 'mine' has entity_f1, token_f1, sentence_accuracy, not 'bleu'"):
        ranking_study.gold(made, "mine", metric="bleu")
    predicted = ranking_study.predictions(made, "mine")
    assert {
        "X-SNS",
        "X-SNS, centred",
        "X-SNS, random head",
        "L2V",
        "LEX",
        "SuE",
        "EMB",
        "script",
        "family",
        "random",
    } <= set(predicted)
    assert {"null: random weights", "null: shuffled text"} <= set(predicted) and len(predicted["X-SNS"]) == 2
    for name in ("null: random weights", "null: shuffled text", "LEX", "EMB", "LEX, centred", "EMB, centred"):
        one, other = predicted[name]  # a matrix a seed, as X-SNS
        assert not one.equals(other), name
    residuals = predicted["EMB, centred"][0].to_numpy()
    assert np.nanmean(residuals, axis=0) == pytest.approx(0, abs=1e-6), "no source is near to all"
    cell = procedures.obtain(made, SUBNETWORKS, [Job(made.model, "mine", "task-lm", 0)])
    few = measuring.matrix(next(iter(cell.values())), items=8)  # 16 texts against the other kinds' 10
    assert (
        predicted["X-SNS, as many texts"][0].at["de", "sv"]
        == few.at["de", "sv"]
        != predicted["X-SNS"][0].at["de", "sv"]
    )
    assert all(np.isnan(np.diag(one.loc[list(CODES), list(CODES)])).all() for one in predicted["X-SNS"])
    found = ranking_study.study(matrices, predicted, replicates=60)
    direct = ranking.ranking(matrices, predicted["X-SNS"]).mean
    own = found.table.query("predictor == 'X-SNS'").set_index("metric")["value"]
    assert own.to_dict() == pytest.approx(direct)
    assert set(found.unranked) <= {"script", "SuE"}, "all four are written in the Latin script"
    assert found.wide().loc["LEX", "ndcg3"] == pytest.approx(
        100 * ranking.ranking(matrices, predicted["LEX"]).mean["ndcg3"]
    )
    assert list((own_cache / "cells").iterdir()), "an override's cells lie in the cache, not among the profile's"


def test_ranking_is_scikit_learns(made):
    matrices, predicted = ranking_study.gold(made, "mine"), ranking_study.predictions(made, "mine")
    gold, ours = sum(matrices) / 2, sum(predicted["X-SNS"]) / 2
    rho, gains = [], []
    for target in gold.index:
        keep = [s for s in gold.columns if s != target]
        g, o = gold.loc[target, keep], ours.loc[target, keep]
        if g.nunique() > 1:
            rho.append(stats.spearmanr(g, o).statistic)
        gains.append(ndcg_score([stats.rankdata(g)], [stats.rankdata(o)], k=3))
    table = ranking_study.study(matrices, predicted, replicates=20).table
    own = table.query("predictor == 'X-SNS'").set_index("metric")["value"]
    assert own["spearman"] == pytest.approx(np.mean(rho)) and own["ndcg3"] == pytest.approx(np.mean(gains))


def test_cells_are_kept_and_bad_ones_are_made_again(made, monkeypatch):
    job = Job(made.model, "mine", "de", 0)
    cell = procedures.cell_of(made, TRANSFER, job)
    procedures.obtain(made, TRANSFER, [job])
    kept, calls = cell.path.read_bytes(), []
    real = procedures.compute
    monkeypatch.setattr(procedures, "compute", lambda *a: (calls.append(a[2].id), real(*a))[1])
    procedures.obtain(made, TRANSFER, [job])
    assert not calls, "what is there is read"
    cell.path.write_bytes(kept.replace(b"entity_f1", b"entity_f2", 1))
    assert cells.problem(cell) == "is damaged"
    procedures.obtain(made, TRANSFER, [job])
    assert calls == ["small-xlmr.mine.de.s0"] and cell.path.read_bytes() == kept, "and equal, byte by byte"
    other = made.model_copy(update={"epochs": 1})
    assert cells.problem(procedures.cell_of(other, TRANSFER, job)) == "is missing"
    same = made.model_copy(update={"replicates": 7, "p": 0.3})
    assert not cells.problem(procedures.cell_of(same, TRANSFER, job)), "what decides nothing does not sign"
    assert cells.problem(procedures.cell_of(same, SUBNETWORKS, Job(made.model, "mine", "task-lm", 0)))


def test_an_interrupted_call_keeps_what_is_done(made, monkeypatch):
    settings = made.model_copy(update={"epochs": 1, "training_seeds": [7]})
    wanted, real, done = [Job(made.model, "mine", code, 7) for code in CODES], procedures.compute, []

    def dies(settings, kind, job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job)
        return real(settings, kind, job)

    monkeypatch.setattr(procedures, "compute", dies)
    with pytest.raises(KeyboardInterrupt):
        procedures.obtain(settings, TRANSFER, wanted)
    there = [job for job in wanted if not cells.problem(procedures.cell_of(settings, TRANSFER, job))]
    assert there and set(there) <= set(done)
    again = []
    monkeypatch.setattr(procedures, "compute", lambda *a: (again.append(a[2]), real(*a))[1])
    assert set(procedures.obtain(settings, TRANSFER, wanted)) == set(wanted)
    assert set(again) == set(wanted) - set(there)


def fill(folder, settings, wanted, barrier=None, dies_after=math.inf):
    """The body of a process: cells of gold transfer into a cache of its own, killed at the end of one of them."""
    os.environ["LANGSIM_CACHE"] = str(folder)
    torch.set_num_threads(1)
    real, done = cells.write, []

    def write(cell, scores):
        if len(done) == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(cell.id)
        return real(cell, scores)

    cells.write = write
    if barrier:
        barrier.wait()
    procedures.obtain(settings, TRANSFER, wanted)


def matrix(folder):
    """File -> (time of writing, content) of the cells in a cache, halves too."""
    found = [path for path in sorted((folder / "cells").rglob("*")) if path.is_file()]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


@pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")
def test_a_gold_matrix_survives_a_kill_and_two_that_fill_it_at_once(made, tmp_path):
    settings = made.model_copy(update={"epochs": 1, "training_seeds": [7]})
    wanted = [Job(made.model, "mine", code, 7) for code in CODES]
    processes = multiprocessing.get_context("forkserver")

    def run(folder, *options):
        barrier = processes.Barrier(len(options))
        given = [{"args": (folder, settings, wanted), "kwargs": {"barrier": barrier, **more}} for more in options]
        started = [processes.Process(target=fill, **each) for each in given]
        for process in started:
            process.start()
        for process in started:
            process.join(120)
        return [process.exitcode for process in started]

    assert run(tmp_path / "killed", {"dies_after": 2}) == [-signal.SIGKILL]
    finished = matrix(tmp_path / "killed")
    assert len(finished) == 2
    assert run(tmp_path / "killed", {}) == [0]
    resumed = matrix(tmp_path / "killed")
    assert len(resumed) == len(CODES) and {name: resumed[name] for name in finished} == finished, "done is done"
    assert run(tmp_path / "two", {}, {}) == [0, 0]
    assert {name: content for name, (_, content) in matrix(tmp_path / "two").items()} == {
        name: content for name, (_, content) in resumed.items()
    }


def test_a_cell_made_with_other_threads_is_within_the_tolerance(made):
    job = Job(made.model, "mine", "de", 0)
    found = procedures.repeated(made.model_copy(update={"epochs": 1}), job)
    assert set(found) == {"entity_f1", "token_f1", "sentence_accuracy"} and max(found.values()) <= procedures.REPEATED
    assert {procedures.TOLERANCES[name] for name in found} == {procedures.REPEATED} and procedures.REPEATED <= 5
    assert procedures.repeated(made.model_copy(update={"epochs": 1}), job, (1, 1)) == dict.fromkeys(found, 0.0)


def test_plans_name_every_cell_once_and_readably(made, monkeypatch):
    monkeypatch.setattr(procedures, "_settings", lambda profile: made)
    plans = {kind: procedures.plan(kind, "mini") for kind in (TRANSFER, SUBNETWORKS, BASELINES)}
    assert len(plans[TRANSFER]) == 4 * 2 and "small-xlmr.mine.sv.s1" in plans[TRANSFER]
    assert set(plans[SUBNETWORKS]) == {
        *(f"small-xlmr.mine.{kind}.s{seed}" for kind in ("task-lm", "task-head") for seed in (0, 1)),
        *(f"small-xlmr.mine.task-lm.{null}.s{seed}" for null in measuring.NULLS for seed in (0, 1)),
    }
    assert list(plans[BASELINES]) == ["small-xlmr.mine"]
    assert {"model", "task", "settings"} <= set(plans[TRANSFER]["small-xlmr.mine.sv.s1"])
    for kind, plan in plans.items():  # the work of a cell is read from its id
        by_id = {job.id: job for job in procedures.jobs(made, kind)}
        assert {id: procedures.job_of(made, id) for id in plan} == by_id
    with pytest.raises(Failure, match=r"cell other\.mine\.sv\.s1 is of no model and task"):
        procedures.job_of(made, "other.mine.sv.s1")
    monkeypatch.setattr(procedures, "jobs", lambda *a: pytest.fail("nothing is planned again"))
    cell = cells.Cell(TRANSFER, "small-xlmr.mine.sv.s1", plans[TRANSFER]["small-xlmr.mine.sv.s1"], procedures.VERSION)
    assert procedures.transfer_cell_scores(cell)["targets"].keys() == set(CODES)


def test_a_cell_of_subnetworks_has_every_share_and_size(made):
    job = Job(made.model, "mine", "task-lm", 0)
    scores = procedures.obtain(made, SUBNETWORKS, [job])[job]
    assert [row["p"] for row in scores["shares"]] == [0.1, 0.15, 0.5]
    assert [row["items"] for row in scores["sizes"]] == [4, 8, 16] and scores["items"] == 16
    assert measuring.matrix(scores, p=0.15).equals(measuring.matrix(scores, items=16))
    matrix = measuring.matrix(scores, p=0.5)
    assert (matrix.to_numpy() == matrix.to_numpy().T).all() and (np.diag(matrix) == 1).all()
    with pytest.raises(Failure, match=r"no sub-networks at p = 0\.2; there are 0\.1, 0\.15, 0\.5"):
        measuring.matrix(scores, p=0.2)
    json.dumps(scores, allow_nan=False)
    other = Job(made.model, "mine", "task-head", 0)
    assert procedures.obtain(made, SUBNETWORKS, [other])[other]["items"] == 10, "text_items_others"


def test_a_cell_compares_the_halves_of_its_text_and_counts_tokens(made):
    """By estimating both halves anew, in the same parts, and with sets."""
    job = Job(made.model, "mine", "task-lm", 1)
    scores = procedures.obtain(made, SUBNETWORKS, [job])[job]
    parent, task = procedures.model_of(made.model, "cpu"), labelled.load(made, "mine")
    text = texts.of_task(task, task.languages, 16, seed=1)
    halves = []
    for parts in (((0, 4), (4, 8)), ((8, 16),)):
        found = {}
        for code in task.languages:
            vectors = [
                subnetworks.of_text(parent, text.texts[code][a:b], seed=1000 + a, max_length=made.max_length)
                for a, b in parts
            ]
            total = vectors[0] if len(vectors) == 1 else measuring.added(*vectors)
            order = np.argsort(-total.values, kind="stable")[: round(0.15 * total.values.size)]
            found[code] = set(order.tolist())
        halves.append(found)
    cross = measuring.halves(scores)
    assert scores["halves"]["items"] == 8
    for one in task.languages:
        for other in task.languages:
            a, b = halves[0][one], halves[1][other]
            assert cross.at[one, other] == pytest.approx(len(a & b) / len(a | b), abs=1e-3)
    ids = {code: tokenizer("xlmr")(own, add_special_tokens=False)["input_ids"] for code, own in text.texts.items()}
    assert [row["tokens"]["fr"] for row in scores["sizes"]] == [sum(map(len, ids["fr"][:n])) for n in (4, 8, 16)]
    kinds = {code: {i for row in rows for i in row} for code, rows in ids.items()}
    shared = len(kinds["de"] & kinds["sv"]) / len(kinds["de"] | kinds["sv"])
    assert measuring.overlaps(scores).at["de", "sv"] == pytest.approx(shared, abs=1e-6)


def test_the_check_of_the_instrument_reads_the_halves(made, tmp_path):
    one = evidence.gather(made)["mine"]
    frame = instrument.frame({"mine": one}).set_index("series")
    cells_ = [
        procedures.obtain(made, SUBNETWORKS, [job])[job]
        for job in (Job(made.model, "mine", "task-lm", s) for s in (0, 1))
    ]
    cross = sum(measuring.halves(cell) for cell in cells_) / 2
    own = frame.loc["X-SNS"]
    assert own["found"] == sum(cross.loc[code].idxmax() == code for code in cross.index) and own["languages"] == 4
    similar = sum(measuring.matrix(cell, p=0.15) for cell in cells_) / 2
    pairs = [(a, b) for i, a in enumerate(CODES) for b in CODES[:i]]
    shared = [sum(measuring.overlaps(cell).at[pair] for cell in cells_) for pair in pairs]
    assert own["overlap"] == pytest.approx(stats.spearmanr([similar.at[pair] for pair in pairs], shared).statistic)
    assert set(frame.index) == {"X-SNS", "null: random weights", "null: shuffled text"}
    told = str(instrument.reading(frame.reset_index()))
    assert f"**mine**: {own['found']} of 4 languages are found again" in told
    table = instrument.texts({"mine": one}).set_index("language")
    assert table.loc["de", "nats"] == pytest.approx(np.mean([cell["nats"]["de"] for cell in cells_]))
    assert list(instrument.texts_shown(table.reset_index()).columns) == ["tokens", "nats", "unknown, %"]
    for kept in (frame.reset_index(), table.reset_index()):
        (path,) = results.write_if_any("x", kept, signature="model:m", folder=tmp_path)
        saved = results.read_result(path)
        assert results.compare(kept, saved.frame, saved.tolerances) == []
    assert instrument.shown(frame.reset_index()).loc["mine: X-SNS", "found again"] == f"{own['found']} of 4"


def test_evenness_is_of_the_tasks_own_training_text(made):
    given = labelled.load(made, "mine")
    found = measuring._segmented(given, ["de"])["de"]
    said = {word for one in given.examples("de", "train") for word in one.words}
    assert {"".join(pieces) for pieces in found} == {regex.sub(r"\p{P}", "", word) for word in said}


def test_several_sources_are_trained_on_together(made, monkeypatch):
    settings = made.model_copy(update={"mixed_tasks": ["mine"], "mixed_sources": 2, "mixed_seeds": [1]})
    one = evidence.gather(settings)["mine"]
    wanted = procedures.jobs(settings, MIXTURES)
    assert {job.seed for job in wanted} == {1} and all(len(job.what.split("+")) == 2 for job in wanted)
    frame = mixtures.frame({"mine": one}, settings)
    assert set(frame["method"]) >= {"X-SNS", "LEX", "BEST-2", "BEST-1", "random"} and frame["value"].notna().all()
    job, seen = wanted[0], []
    real = transfer.fine_tune
    monkeypatch.setattr(transfer, "fine_tune", lambda *a, **k: (seen.append(list(a[2])), real(*a, **k))[1])
    assert procedures.compute(settings, MIXTURES, job)["targets"].keys() == set(CODES)
    assert seen == [job.what.split("+")]
    monkeypatch.setattr(procedures, "_settings", lambda profile: settings)
    assert set(procedures.plan(MIXTURES, "mini")) == {job.id for job in wanted}
    lost = procedures.cell_of(settings, BASELINES, Job(made.model, "mine"))
    kept = lost.path.read_bytes()
    lost.path.unlink()
    assert procedures.plan(MIXTURES, "mini") == {}, "what chooses is not there yet"
    lost.path.write_bytes(kept)
