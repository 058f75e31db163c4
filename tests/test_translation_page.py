"""The page on translation with other targets than the paper's, on a user's own file; and what it hands on."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace

import jupytext
import nbformat
import pandas as pd
import pytest

from langsim import (
    bootstrap,
    corpora,
    detectable,
    drawn_families,
    exhibits,
    hypotheses,
    models,
    paths,
    profiles,
    results,
    runner,
    systems,
    table2_elsewhere,
    translation_study,
    tuning,
)
from langsim.errors import UsageError
from langsim.profiles import Tuning

PAGE = paths.ROOT / "notebooks" / "pseudo_families" / "04_translation.md"
FEW = {"targets": ["gl"], "languages": ["gl", "es", "pt"], "seeds": [0], "draws": 1, "updates": 2, "beam_size": 1}
SAVED = {"pf-table2", "pf-k", *(f"pf-table2-{name}" for name in ("gains", *table2_elsewhere.BESIDE))}
MINI = profiles.resolve("mini", kind=Tuning)


def run_page(**parameters):
    """The page's cells in their order, with parameters in place of the defaults: what they leave behind, and what each
    showed."""
    namespace, shown = {}, []
    for cell in (cell for cell in jupytext.read(PAGE).cells if cell.cell_type == "code"):
        body = ast.parse(cell.source).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), PAGE.name, "exec"), namespace)
        if "parameters" in cell.metadata.get("tags", []):
            namespace |= parameters
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), PAGE.name, "eval"), namespace))
    return namespace, shown


@pytest.fixture(scope="module")
def own(own_cache, one_thread, tmp_path_factory):
    """The page run on a file as the page "add your language" describes it: a line an item, no pools."""
    codes, folder = ["en", *FEW["languages"]], tmp_path_factory.mktemp("own")
    corpus = corpora.load("catalogs")
    items = [i for i in corpus.select(domain="names") if all(i in corpus.texts[code] for code in codes)][:100]
    lines = [codes, *([corpus.texts[code][item] for code in codes] for item in items)]
    (folder / "my_text.tsv").write_text("\n".join(map("\t".join, lines)) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGSIM_RESULTS", str(folder / "results"))
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        yield run_page(corpus="files", data=str(folder / "my_text.tsv"), **FEW)


def test_the_page_runs_with_other_targets_on_own_files(own):
    found, shown = own
    assert found["settings"].targets == ["gl"] and found["settings"].corpus == "files"
    folder = results.output_dir(found["settings"])
    assert folder.name.startswith("mini-") and {path.stem for path in folder.glob("*.csv")} == SAVED
    table = results.read_result(folder / "pf-table2.csv")
    assert "corpus:files@" in table.signature and "targets:gl" in table.signature
    assert len(table.frame) == 9 * 2 * 3 and set(table.frame["target"]) == {"gl", "Avg."}
    assert table.frame["value"].notna().all() and table.frame["published"].isna().all()
    assert "parameters of its own" in str(shown[-1]), "results of whole profiles don't stand beside other targets"
    assert not [one for one in shown if isinstance(one, pd.DataFrame) and one.empty]


def test_papermill_runs_the_page_to_the_same_table(own, tmp_path):
    """What `langsim run` does: in a kernel, parameters injected; no auxiliary alone this time. Its systems are kept."""
    settings = own[0]["settings"]
    given = {"corpus": "files", "data": settings.data, **FEW, "singles": "none"}
    (item,) = runner.plan([str(PAGE)], given, out=str(tmp_path))
    assert runner.run(item)
    executed = nbformat.read(item.output, as_version=4)
    assert executed.metadata["papermill"]["parameters"] == given
    assert {one.output_type for cell in executed.cells for one in cell.get("outputs", [])} <= {
        "execute_result",
        "display_data",
    }
    tables = [
        results.read_result(results.output_dir(found) / "pf-table2.csv").frame for found in (settings, item.settings)
    ]
    assert results.output_dir(settings) != results.output_dir(item.settings)
    pd.testing.assert_frame_equal(*tables)


def test_nothing_shown_is_cut_off(own):
    """pandas ends what is longer than a column's width in three dots."""
    tables = [one for one in own[1] if isinstance(one, pd.DataFrame)]
    assert tables and not [one for one in tables if "...</t" in one._repr_html_() or one.shape[1] > 10]
    (said,) = [str(one) for one in own[1] if "fine-tuning on Overlap families" in str(one)]
    assert "fine-tuning on Overlap families gains 1.7 BLEU over traditional families |" in said


def test_tables_have_one_header_row_with_what_they_show_in_its_corner(own):
    tables = [one for one in own[1] if isinstance(one, pd.DataFrame)]
    assert all(one.index.names == [None] for one in tables)
    corners = [one.columns.name for one in tables]
    for name, count in {"BLEU": 3, "chrF2": 3, "spBLEU": 1, "K": 1, "learning rate": 1}.items():
        assert corners.count(name) == count  # scores, least differences, statements


def test_the_catalogs_have_text_for_other_targets(own_cache):
    """Those of the issue and of the page "add your language": they join the seventeen."""
    settings = profiles.resolve("mini", kind=Tuning, targets=["gl", "mk", "ur"])
    assert len(settings.languages) == 20 and settings.languages[-3:] == ["gl", "mk", "ur"]
    tuning.check(settings)


def test_the_random_families_are_listed(own):
    found = own[0]["study"]
    drawn = drawn_families.frame(found)
    (system,) = found.plan.rows[systems.RANDOM]["gl"]
    (row,) = drawn.to_dict("records")
    assert row["auxiliaries"].split() == list(system.stages[0].auxiliaries) and row["draw"] == 1
    assert row["bleu"] == found.scores[system.id]["test"]["bleu"]
    assert drawn_families.table(drawn).loc["gl", "random family"] == row["auxiliaries"]


def test_the_least_difference_is_that_of_the_bootstrap(own):
    """2.8 standard errors of the difference, from replicates of the two rows drawn alike."""
    found, least = own[0]["study"], own[0]["least"]
    rows = least.set_index(["method", "target", "measure"])
    for method, scope, measure in (("KL", "gl", "chrf"), ("All", "Avg.", "bleu")):
        ours, base = (found.interval(one, scope, measure).replicates for one in (method, "FT"))
        expected = bootstrap.DETECTABLE * (ours - base).std(ddof=1)
        assert rows.loc[(method, scope, measure), "detectable"] == pytest.approx(expected)
        weak = expected > {"bleu": 1.5, "chrf": 1.0}[measure]
        assert rows.loc[(method, scope, measure), "underpowered"] == weak


def test_underpowered_rows_are_named():
    numbers = {("KL", "Avg."): 0.9, ("KL", "fa"): 2.0, ("MSE", "Avg."): 0.5, ("MSE", "fa"): 0.6}
    numbers |= {("All", "Avg."): 1.1, ("All", "fa"): 3.0}
    rows = [(*key, "chrf", value, value > 1) for key, value in numbers.items()]
    least = pd.DataFrame(rows, columns=["method", "target", "measure", "detectable", "underpowered"])
    shown = detectable.table(least, "chrf")
    assert list(shown["underpowered for"]) == ["fa", "none", "all"] and shown.loc["KL", "fa"] == "2.0"
    told = str(detectable.reading(pd.concat([least, least.assign(measure="bleu")])))
    assert "1 of 3 in chrF2 on averages; 2 of 3 in chrF2 on single targets" in told


def test_a_few_rows_alone_as_the_page_on_reruns_says(own, monkeypatch, capsys):
    found, page = own[0]["study"], (paths.ROOT / "book" / "rerun.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "tuning.obtain" in block)
    asked = {}
    monkeypatch.setattr(profiles, "resolve", lambda profile, **given: asked.update(given) or found.settings)
    exec(code.replace('["fa"]\n', '["gl"]\n').replace('rows[row]["fa"]', 'rows[row]["gl"]'), {})
    assert asked["kind"] is Tuning and asked["updates"] == 40_000
    scores = [found.scores[found.plan.rows[row]["gl"][0].id]["test"]["bleu"] for row in ("FT", "LF", "Overlap")]
    shown = zip(("FT", "LF", "Overlap"), scores, strict=True)
    assert capsys.readouterr().out == "".join(f"{row} [{score}]\n" for row, score in shown)


def test_translations_as_plain_text(own, tmp_path):
    found = own[0]["study"]
    system = found.plan.rows["FT"]["gl"][0]
    texts = ["two\nlines ", *found.scores[system.id]["hypotheses"][1:]]
    broken = replace(found, scores={**found.scores, system.id: {**found.scores[system.id], "hypotheses": texts}})
    written = hypotheses.write(broken, tmp_path)
    assert set(written) == {path for path in tmp_path.rglob("*") if path.is_file()}
    test = tuning.pairs(found.settings, "gl", "TEST")
    for name, side in (("source", "source_text"), ("reference", "target_text")):
        assert (tmp_path / "gl" / f"{name}.txt").read_text().splitlines() == [getattr(pair, side) for pair in test]
    lines = (tmp_path / "gl" / f"{system.id}.txt").read_text().split("\n")
    assert lines[0] == "two lines" and len(lines) == len(test) + 1
    index = pd.read_csv(tmp_path / "systems.csv", keep_default_na=False)
    assert {f"gl/{one.id}.txt" for one in found.plan.systems()} == set(index["file"])
    assert {*systems.METHODS, *systems.CONTROLS, "K = 40%", "single auxiliary es"} <= set(index["row"])


def test_the_command_that_writes_them(own, tmp_path):
    settings = own[0]["settings"]
    given = {"corpus": "files", "data": settings.data, **FEW}
    cli = [
        sys.executable,
        "-m",
        "langsim.cli",
        "results",
        "hypotheses",
        str(tmp_path / "texts"),
        "-y",
        json.dumps(given),
    ]
    done = subprocess.run(cli, capture_output=True, text=True, cwd=paths.ROOT)
    written = [path for path in (tmp_path / "texts").rglob("*") if path.is_file()]
    assert done.returncode == 0 and done.stderr.endswith(f"texts: {len(written)} files\n")
    assert len(written) == len(own[0]["study"].plan.systems()) + 3


# What can't be ----------------------------------------------------------------------------------------------------


@pytest.fixture
def user_file(own_cache, tmp_path):
    """A function that writes a user's file: languages, by pool the number of items; `longest` words are in each."""

    def write(codes, pools, longest=1):
        lines = ["\t".join(("pool", *codes))]
        for pool, count in pools.items():
            words = [f"{pool} {n}" + " word" * (longest - 1) for n in range(count)]
            lines += ["\t".join((pool, *(f"{text} {code}" for code in codes))) for text in words]
        path = tmp_path / f"{longest}.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


POOLS = {"FINETUNE": 20, "DEV": 5, "TEST": 5}


@pytest.mark.parametrize(
    ("codes", "pools", "given", "expected"),
    [
        ("gl es pt", POOLS, {"languages": ["gl", "es", "ca"], "targets": ["ca"]}, "corpus 'files' has no text in 'ca'"),
        ("gl es pt", POOLS, {"languages": ["gl", "gl", "es"]}, "'gl' and 'gl' are one language (gl): name it once"),
        ("gl es pt", {**POOLS, "TEST": 0}, {}, "corpus 'files' has no text in the pool TEST, only in DEV, FINETUNE"),
        ("gl es pt", {"TEST": 5}, {}, "no text in the pool FINETUNE, only in TEST; systems are trained on FINETUNE"),
        ("gl es pt", POOLS, {"target_language": "gl"}, "'gl' is the language translated into; leave it out"),
        ("gl es pt", POOLS, {"languages": ["gl", "es", "en"]}, "'en' is the language translated into; leave it out"),
        ("gl es pt", POOLS, {"targets": ["fr"]}, "targets: 'fr' not among the languages"),
    ],
    ids=[
        "no data",
        "auxiliary is the target",
        "empty test set",
        "too little",
        "into itself",
        "from English",
        "no target",
    ],
)
def test_bad_input_is_one_line_before_anything_is_computed(user_file, monkeypatch, codes, pools, given, expected):
    monkeypatch.setattr(translation_study.table2, "estimate_families", None)
    file = user_file(["en", *codes.split()], pools)
    with pytest.raises(UsageError) as caught:
        translation_study.study(
            profiles.resolve("mini", kind=Tuning, corpus="files", data=str(file), **{**FEW, **given})
        )
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_text_in_one_language_has_no_direction(user_file, monkeypatch):
    """No English, no pairs."""
    monkeypatch.setattr(translation_study.table2, "estimate_families", None)
    file = user_file(["gl", "es", "pt"], POOLS)
    with pytest.raises(UsageError, match="corpus 'files' has no text in 'en'; it has"):
        translation_study.study(profiles.resolve("mini", kind=Tuning, corpus="files", data=str(file), **FEW))


def test_sentences_that_the_model_can_not_hold_are_counted(user_file):
    """They are cut, and the page says how many."""
    for words, expected in ((5, 0), (400, 3 * 20 + 5 + 5)):  # FINETUNE of all three, DEV and TEST of the target
        file = user_file(["en", "gl", "es", "pt"], POOLS, words)
        settings = profiles.resolve("mini", kind=Tuning, corpus="files", data=str(file), **FEW)
        assert tuning.too_long(settings) == expected


# Other profiles ----------------------------------------------------------------------------------------------------


@pytest.fixture
def committed(own, tmp_path, monkeypatch):
    """The page's results as they would be committed at `open`, and those that the same page hands to the panel."""
    ours = own[0]["ours"]
    ours = {**ours, "pf-table2-floor": ours["pf-table2-floor"].drop(columns="text")}
    exhibits.all_exhibits()  # cached before the data folder changes
    digest = models.shipped_digest("mini-m2m")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")

    def commit(name, frame, digest=digest, **parts):
        known = {"model": results.named("mini-m2m", digest), "corpus": "ntrex@0123", "seeds": "0+1+2", **parts}
        folder = tmp_path / "data" / "results" / "open"
        return results.write_result(name, frame, signature=results.signature(known), folder=folder)

    return ours, commit


def test_where_nothing_is_committed_a_sentence_says_so(committed):
    text = str(table2_elsewhere.shown(committed[0], MINI))
    assert "No Table 2 at `open` is committed yet; `make accept-open` puts it here." in text
    assert "No Table 2 at `paper`" in text


def test_what_is_committed_stands_beside_this_run(committed):
    ours, commit = committed
    for name, frame in ours.items():
        commit(name, frame)
    shown = table2_elsewhere.shown(ours, MINI)
    text, tables = str(shown), shown.tables
    assert "Table 2 at `open`" in text and "text `ntrex`, 3 seeds" in text and "No Table 2 at `open`" not in text
    averages = tables[0]
    assert list(averages) == ["BLEU", "BLEU, open", "BLEU, printed", "chrF2", "chrF2, open"]
    assert list(averages.index) == [*systems.METHODS, *systems.CONTROLS]
    assert (averages["BLEU"] == averages["BLEU, open"]).all()
    assert tables[1].equals(translation_study.table(ours["pf-table2"], "bleu"))
    assert any("underpowered for" in table for table in tables), "what the test set could have shown"
    assert any("verdict, mini" in table for table in tables), "statements"
    assert any("adjusted p, open" in table for table in tables), "validity"
    assert "14 of 14 are decided as at `mini`" in text
    assert "nan" not in shown._repr_markdown_()


def test_rows_that_do_not_translate_there_are_told_before_the_statements(committed):
    ours, commit = committed
    for name, frame in ours.items():
        commit(name, frame.assign(**{"chrF2, Constant": 99.0}) if name == "pf-table2-floor" else frame)
    text = str(table2_elsewhere.shown(ours, MINI))
    assert text.count("in chrF2 score less than the constant text") == 1
    assert text.index("score less than the constant text") < text.index("The paper's statements at `open`")


def test_results_of_another_run_than_the_tables_are_left_out(committed):
    ours, commit = committed
    commit("pf-table2", ours["pf-table2"])
    commit("pf-k", ours["pf-k"], updates="7")
    text = str(table2_elsewhere.shown(ours, MINI))
    assert "`pf-k` at `open` is not committed with it" in text and "The search for K" not in text


def test_a_table_of_a_replaced_model_is_not_shown(committed):
    ours, commit = committed
    commit("pf-table2", ours["pf-table2"], digest="0" * 64)
    shown = table2_elsewhere.shown(ours, MINI)
    assert "Table 2 at `open` is not shown" in str(shown) and not shown.tables
