"""Any checkpoint in the layout of the hub, through the command and a notebook: every supported architecture, with
randomly drawn weights and a real tokenizer of its own."""

import json
import re

import nbformat
import numpy as np
import pytest
import torch
from checkpoints import BUILD, CODES, folders
from tiny import save_names

from langsim import cli, models, paths, pipeline, profiles, runner

LANGUAGES = ["fa", "de", "ja"]
ENCODERS = ("xlmr", "bert")
TRANSLATORS = [kind for kind in BUILD if kind not in ENCODERS]

# How an architecture writes "weight matrix within a layer", and which of these are feed-forward: written down from
# the state dicts, independently of `langsim.groups`.
MATRICES = r"\.(fc1|fc2|q_proj|k_proj|v_proj|out_proj|q|k|v|o|wi|wi_0|wi_1|wo)\.weight$"
FEED_FORWARD = r"\.(fc1|fc2|wi|wi_0|wi_1|wo)\.weight$"

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # Marian's; not needed here


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_names(tmp_path_factory.mktemp("data") / "names.tsv", CODES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    text = [word for line in data.read_text().splitlines()[1:] for word in line.split("\t")[2:]]
    return folders(tmp_path_factory.mktemp("checkpoints"), text)


@pytest.fixture
def options(data, tmp_path, monkeypatch):
    """Options of the command, with an empty cache."""
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    given = {"corpus": "files", "data": data, "languages": ",".join(LANGUAGES), "max-items": 24, "jobs": 1}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def square(loaded, batch):
    """Of every weight matrix of the layers, the squared gradient of a batch: mean loss, and summed over tokens."""
    loaded.model.zero_grad()
    loaded.model(**batch).loss.backward()
    n_tokens = int((batch["labels"] != -100).sum())
    named = [(name, p.grad.double()) for name, p in loaded.model.named_parameters() if re.search(MATRICES, name)]
    return {name: np.array([(g**2).numpy().ravel(), ((n_tokens * g) ** 2).numpy().ravel()]) for name, g in named}


def naive_overlap(folder, data, estimator):
    """Overlap by a plain loop over autograd, and sorting."""
    loaded = models.load(str(folder))
    wanted = {"model": str(folder), "corpus": "files", "data": str(data), "languages": LANGUAGES, "max_items": 24}
    settings = profiles.resolve(**wanted)
    pairs = pipeline.match_text(settings, pipeline.load_corpus(settings)).pairs
    masks = {}
    for code in LANGUAGES:
        size = settings.batch_size if estimator == "batch" else 1
        total = {}
        for batch in loaded.batches(pairs[code], code, "en", size=size):
            for name, squares in square(loaded, batch).items():
                total[name] = total.get(name, 0) + squares[int(estimator != "batch")]
        flat = np.concatenate(list(total.values()))
        kept = np.concatenate([np.full(v.size, bool(re.search(FEED_FORWARD, name))) for name, v in total.items()])
        active = np.zeros(flat.size, bool)
        active[np.argsort(-flat, kind="stable")[: round(settings.k * flat.size)]] = True
        masks[code] = active & kept
    return np.array([[(masks[t] & masks[a]).sum() / masks[t].sum() for a in LANGUAGES] for t in LANGUAGES])


@pytest.mark.parametrize("estimator", ["batch", "per_example"])
@pytest.mark.parametrize("kind", TRANSLATORS)
def test_the_command_on_any_translation_model(capsys, folder, data, options, kind, estimator):
    status, out, err = call(capsys, "similarity", "--json", "--model", folder(kind), *options, "--estimator", estimator)
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert f"model:{kind}@" in told["signature"] and f"fisher:{estimator}|" in told["signature"]
    ours = np.array([[told["matrix"][t][a] for a in LANGUAGES] for t in LANGUAGES])
    expected = naive_overlap(folder(kind), data, estimator)
    np.testing.assert_allclose(ours, expected, atol=4e-3)  # in float32 an entry of a mask may fall the other way
    assert np.ptp(ours) > 0.01 and len(np.unique(ours[~np.eye(3, dtype=bool)])) > 3


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_model_that_does_not_translate_is_refused_in_one_line(capsys, folder, options, kind):
    status, out, err = call(capsys, "similarity", "--json", "--model", folder(kind), *options)
    assert (status, out) == (2, "")
    assert err.startswith("langsim: ") and err.count("\n") == 1
    assert "has no decoder to read pairs with: choose a translation model" in err


def test_a_language_without_a_token_is_named(capsys, folder, data, options):
    more = save_names(data.with_name("more.tsv"), (*CODES, "hi"))
    given = {"--model": folder("nllb"), "--data": more, "--languages": "fa,de,hi"}
    words = [str(word) for pair in given.items() for word in pair]
    status, out, err = call(capsys, "similarity", "--json", *options, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "has no token for the language 'hi'; leave it out" in err


def test_the_dry_run_knows_what_a_checkpoint_costs(capsys, folder, data):
    parameters = {"model": folder("t5"), "corpus": "files", "data": data, "languages": "[fa, de, ja]"}
    words = [str(word) for name, value in parameters.items() for word in ("-p", name, value)]
    status, out, err = call(capsys, "run", "02_similarity", "03_families", "--dry-run", *words)
    assert (status, err) == (0, "")
    assert out.count("to run (new)") == 2 and "unknown" not in out


def test_a_notebook_on_another_architecture(folder, data, tmp_path, monkeypatch):
    """The whole second notebook, on a T5: every cell runs, and the results are of that model."""
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    parameters = {"model": str(folder("t5")), "corpus": "files", "data": str(data), "max_items": 24}
    parameters |= {"languages": [*LANGUAGES], "targets": ["fa"]}
    (item,) = runner.plan(["02_similarity"], parameters, out=str(tmp_path / "out"))
    assert runner.run(item)
    cells = nbformat.read(item.output, as_version=4).cells
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    text = json.dumps([cell.get("outputs", []) for cell in cells], ensure_ascii=False)
    assert "model:t5@" in text and "mini-m2m" not in text
    loaded = models.load(str(folder("t5")))
    assert loaded.digest[:12] in text
    assert type(loaded.model).__name__ == "T5ForConditionalGeneration" and isinstance(loaded.model, torch.nn.Module)
    assert not list(paths.DATA.rglob("*.part"))
