"""From languages to scores: systems are trained, scored, kept and read; what a page needs of them."""

import itertools
import json
from dataclasses import replace
from math import comb

import numpy as np
import pandas as pd
import pytest
import sacrebleu

from langsim import (
    cells,
    corpora,
    k_search,
    profiles,
    readings,
    systems,
    table2,
    translation_claims,
    translation_study,
    trivial,
    tuning,
)
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.errors import Failure, UsageError
from langsim.profiles import Tuning
from langsim.systems import Stage, System, stage

pytestmark = pytest.mark.usefixtures("one_thread")

CODES = ("fa", "hi", "bn", "id")
SMALL = {
    "languages": list(CODES),
    "targets": ["fa", "hi"],
    "seeds": [0, 1],
    "draws": 2,
    "updates": 3,
    "validate_every": 3,
    "tokens_per_batch": 256,
    "beam_size": 1,
}


def settings_of(data, **changes):
    """A user's own file, and as little training as there can be."""
    return profiles.resolve("mini", kind=Tuning, corpus="files", data=str(data), **{**SMALL, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few names in five languages, in pools."""
    corpus, lines = corpora.load("catalogs"), ["\t".join(("pool", "en", *CODES))]
    for pool, count in (("FINETUNE", 60), ("DEV", 12), ("TEST", 16)):
        items = [i for i in corpus.select(domain="names", pool=pool) if all(i in corpus.texts[c] for c in CODES)]
        lines += ["\t".join((pool, corpus.texts["en"][i], *(corpus.texts[c][i] for c in CODES))) for i in items[:count]]
    path = tmp_path_factory.mktemp("data") / "names.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def studied(own_cache, data):
    return translation_study.study(settings_of(data), jobs=1)


def test_a_system_is_trained_scored_and_signed(own_cache, data):
    settings = settings_of(data)
    system = System("fa", (stage(["hi"], "temperature(1.5)"), Stage()), 1)
    found = tuning.scores(settings, system)
    assert len(found["best_updates"]) == len(found["curves"]) == 2
    assert found["loss"] < found["parent_loss"]
    references = [pair.target_text for pair in tuning.pairs(settings, "fa", "TEST")]
    assert len(found["hypotheses"]) == len(references)
    expected = sacrebleu.CHRF().corpus_score(found["hypotheses"], [references]).score
    assert found["test"]["chrf"] == pytest.approx(expected)
    assert "tok:13a" in found["test"]["bleu_signature"] and "tok:spm-mini-m2m@" in found["test"]["spbleu_signature"]
    assert json.loads(json.dumps(found))["test"] == found["test"]
    assert not list((own_cache / "tuning").glob("*"))  # weights are not kept
    again = tuning.scores(settings, system)
    assert {**again, "curves": None} == {**found, "curves": None}


def test_the_model_as_it_came_is_a_system_without_a_stage(own_cache, data):
    found = tuning.scores(settings_of(data), System("hi"))
    assert found["loss"] == found["parent_loss"] and found["curves"] == []


def test_a_profile_reads_its_own_cells_and_a_changed_run_computes_what_is_not_there(
    own_cache, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    plain = profiles.resolve("mini", kind=Tuning)
    other = profiles.resolve("mini", kind=Tuning, targets=["tr"])  # the same in all that decides a system's scores
    system = System("tr", (Stage(),), 0)
    own = tuning.cell_of(plain, system)
    assert own.path.is_relative_to(tmp_path)
    with pytest.raises(Failure, match=r"is missing; .* run: langsim reproduce"):
        tuning.obtain(plain, [system])
    assert tuning.cell_of(other, system).path.is_relative_to(own_cache)  # no command of the profile would ever make it
    cells.write(own, {"x": 1})
    assert tuning.cell_of(other, system) == own and tuning.obtain(other, [system]) == {system.id: {"x": 1}}
    changed = profiles.resolve("mini", kind=Tuning, learning_rate=0.1)
    assert tuning.cell_of(changed, system).path.is_relative_to(own_cache)
    assert tuning.cell_of(changed, system).path != tuning.cell_of(settings_of(data), system).path


def test_what_is_there_is_read_and_not_trained_again(own_cache, studied, monkeypatch):
    def trained(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(tuning, "scores", trained)
    wanted = studied.plan.systems()
    assert tuning.obtain(studied.settings, wanted, jobs=1) == studied.scores
    damaged = tuning.cell_of(studied.settings, wanted[0])
    before = damaged.path.read_bytes()
    damaged.path.write_bytes(before[:100])
    with pytest.raises(AssertionError, match="trained again"):
        tuning.obtain(studied.settings, wanted, jobs=1)
    damaged.path.write_bytes(before)


def test_the_plan_has_all_rows_controls_and_questions(studied):
    plan, settings = studied.plan, studied.settings
    assert set(plan.rows) == {*systems.METHODS, "Random", "All"}
    assert all(set(row) == {"fa", "hi"} for row in plan.rows.values())
    families = comb(3, len(studied.pseudo["overlap"]["fa"]))  # so many are possible
    assert len(plan.rows["Random"]["fa"]) == min(2, families) and len(plan.rows["FT"]["fa"]) == 2
    assert len(plan.rows["Vanilla"]["fa"]) == 1
    assert {s.stages[0].auxiliaries for s in plan.rows["All"]["hi"]} == {("bn", "fa", "id")}
    assert set(plan.singles["fa"]) == {"hi", "bn", "id"}
    assert set(plan.by_k) == set(table2.KS)
    ids = [system.id for system in plan.systems()]
    assert len(ids) == len(set(ids)) and set(ids) == set(studied.scores)
    assert studied.pseudo["overlap"] == studied.pseudo[table2.key_of(settings.k)]
    sampled = plan.rows["Overlap"]["hi"][0].stages[0].sampling
    assert sampled == "temperature(1.5)"  # aligned with LF, as the paper has it
    equal = table2.plan_of(settings.model_copy(update={"aligned": []}), studied.pseudo)
    assert equal.rows["Overlap"]["hi"][0].stages[0].sampling == "equal"


def test_the_families_are_those_of_the_page_on_families(studied):
    from langsim import pipeline

    matrix = pipeline.similarities(studied.settings)
    for target, family in pipeline.families(matrix).items():
        assert studied.pseudo["overlap"][target] == family.members


def test_published_families(own_cache):
    settings = profiles.resolve("mini", kind=Tuning, families="paper")
    assert table2.table1(settings)["kl"]["fa"] == ("id", "sv", "de")
    with pytest.raises(UsageError, match="Table 1 has none for 'tr'"):
        table2.table1(settings.model_copy(update={"targets": ["tr"]}))
    with pytest.raises(UsageError, match=r"Table 1 has .* for 'fa'; add it to languages"):
        table2.table1(settings.model_copy(update={"languages": ["fa", "hi"], "targets": ["fa"]}))


def test_table_2(studied):
    frame = translation_study.tidy(studied)
    assert (
        len(frame) == 9 * 3 * 3 and (frame["low"] <= frame["value"]).all() and (frame["value"] <= frame["high"]).all()
    )
    row = frame.set_index(["method", "target", "measure"]).loc["FT", "fa", "chrf"]
    scores = [studied.scores[system.id]["test"]["chrf"] for system in studied.plan.rows["FT"]["fa"]]
    assert row["value"] == pytest.approx(np.mean(scores))
    mean = frame.set_index(["method", "target", "measure"])["value"]
    assert mean["KL", "Avg.", "bleu"] == pytest.approx((mean["KL", "fa", "bleu"] + mean["KL", "hi", "bleu"]) / 2)
    shown = translation_study.table(frame, "bleu")
    assert shown.loc["Overlap, published", "fa"] == "36.9" and list(shown.columns) == ["Avg.", "fa", "hi"]


def test_differences_and_statements(studied):
    one = studied.difference("FT", "Vanilla", "fa", "chrf")
    values = [studied.scores[s.id]["test"]["chrf"] for s in studied.plan.rows["FT"]["fa"]]
    vanilla = studied.scores["fa.vanilla"]["test"]["chrf"]
    assert one.estimate == pytest.approx(np.mean(values) - vanilla)
    same = studied.difference("FT", "FT", "Avg.", "bleu")
    assert same.estimate == 0
    frame = translation_claims.frame(studied)
    assert set(frame["scope"]) == {"average", "fa", "hi"} and set(frame["verdict"]) <= {SAME, OPPOSITE, UNDECIDED}
    assert (frame["underpowered"] == (frame["detectable"] > frame["measure"].map({"bleu": 1.5, "chrf": 1.0}))).all()
    assert len(translation_claims.table(frame, "bleu")) == len(frame) / 2
    assert "80%" in str(translation_claims.power_reading(frame))


def test_an_average_redraws_what_targets_share_together(studied):
    """Against a slow loop that draws clusters of all targets at once, from the same random numbers."""
    from langsim import bootstrap

    settings, measure = studied.settings, studied.measures["chrf"]
    units = [unit for target in settings.targets for unit in studied.units[target]]
    clusters, rng = bootstrap.Clusters(units), np.random.default_rng(settings.seed)
    weights = clusters.draw(rng, translation_study.REPLICATES)
    row = studied.interval("Vanilla", "Avg.", "chrf")
    for drawn, replicate in zip(weights[:5], row.replicates[:5], strict=True):
        count = dict(zip(clusters.names.tolist(), drawn.tolist(), strict=True))
        scores = []
        for target in settings.targets:
            hypotheses, references = studied.scores[f"{target}.vanilla"]["hypotheses"], studied.references[target]
            repeated = [
                pair
                for unit, *pair in zip(studied.units[target], hypotheses, references, strict=True)
                for _ in range(count[unit])
            ]
            scores.append(measure.corpus(*map(list, zip(*repeated, strict=True))))
        assert replicate == pytest.approx(np.mean(scores))
    assert len(set(units)) < len(units)  # the two targets do share items


def test_the_constant_is_the_best_of_its_kind(studied):
    """Against sacreBLEU's own scores; a target's best text on DEV says the same of every test text."""
    frame = trivial.constant(studied)
    assert list(frame["target"]) == studied.settings.targets
    for row in frame.itertuples():
        texts = {pair.target_text for pair in tuning.pairs(studied.settings, row.target, "FINETUNE")}
        dev = [pair.target_text for pair in tuning.pairs(studied.settings, row.target, "DEV")]
        scores = {text: sacrebleu.corpus_bleu([text] * len(dev), [dev]).score for text in texts}
        assert scores[row.text] == pytest.approx(max(scores.values()))
        references = studied.references[row.target]
        expected = sacrebleu.corpus_bleu([row.text] * len(references), [references]).score
        assert frame.set_index("target").loc[row.target, "BLEU, Constant"] == pytest.approx(expected)
    assert "hardly translate" in str(trivial.reading(frame))
    assert "hardly translate" not in str(trivial.reading(frame.assign(exact=0.9)))
    lines = str(trivial.examples(studied)).splitlines()
    assert len(lines) == 2 + sum(min(trivial.SHOWN, len(of)) for of in studied.references.values())
    assert list(trivial.table(frame)) == studied.settings.targets and trivial.table(frame).index[-1] == "exact"
    assert trivial.table(frame.drop(columns="text")).equals(trivial.table(frame))  # as the results have it
    assert len(str(trivial.texts(frame)).splitlines()) == 2 + len(frame)


def test_rows_below_the_constant_text_are_told():
    floor = pd.DataFrame(
        {"target": ["fa", "hi"], "exact": 0.0, "BLEU, Constant": [2.0, 2.0], "chrF2, Constant": [9, 14]}
    )
    cells = itertools.product(("Vanilla", "FT", "LF"), ("fa", "hi", "average"), ("bleu", "chrf"))
    rows = pd.DataFrame(cells, columns=["method", "target", "measure"]).assign(value=10.0)
    shown = {"bleu": "BLEU", "chrf": "chrF2"}
    assert trivial.below(rows, floor, shown) is None, "half of the rows are no majority"
    rows.loc[(rows["measure"] == "chrf") & (rows["method"] == "LF"), "value"] = 8.0
    assert "3 of 4 in chrF2 score less" in str(trivial.below(rows, floor, shown))
    rows.loc[(rows["method"] == "Vanilla") | (rows["target"] == "average"), "value"] = 0.0
    assert "3 of 4 in chrF2 score less" in str(trivial.below(rows, floor, shown)), "only trained rows, target by target"


def test_what_markdown_would_take_for_its_own_is_text():
    from markdown_it import MarkdownIt

    text = "a | b *c* `{0}` [q](r) <b> &amp; $x$ \\d_e_ ~f~\n\ng"
    table = readings.grid(pd.DataFrame({"text": [trivial._plain(text)]}, index=["fa"]))
    tokens = MarkdownIt("commonmark").enable("table").parse(str(table))
    (cells,) = [t.children for t in tokens if t.type == "inline" and "b" in t.content and t.content != "text"]
    assert {t.type for t in cells} <= {"text", "text_special"}
    assert "".join(t.content for t in cells) == "a | b *c* `{0}` [q](r) <b> &amp; $x$ \\d_e_ ~f~ g"


def test_families_beside_the_traditional_ones(studied):
    told = translation_study.families_table(studied)
    for target in studied.settings.targets:
        assert set(told.loc[target, "Overlap"].split()) == set(
            studied.plan.rows["Overlap"][target][0].stages[0].auxiliaries
        )
    alike = replace(studied, plan=replace(studied.plan, rows={**studied.plan.rows, "KL": studied.plan.rows["LF"]}))
    assert "KL's for fa hi" in str(translation_study.families_reading(alike))
    same = translation_claims.frame(alike).query("row == 'KL' and baseline == 'LF'")
    assert same["same_systems"].all() and (same["difference"] == 0).all()
    assert (translation_claims.table(same, "chrf")["verdict"] == "none: the same systems").all()
    assert "| the same systems for fa hi |" in str(translation_claims.statements(alike, same))


def test_a_statement_on_one_family_says_that_it_is_about_sampling(studied):
    """Overlap's family made LF's, sampled by Overlap's rule: for fa; hi keeps its own."""
    lf, rows = studied.plan.rows["LF"], dict(studied.plan.rows["Overlap"])
    rows["fa"] = [System("fa", (stage(one.stages[0].auxiliaries),), one.seed) for one in lf["fa"]]
    rows["hi"] = [System("hi", (stage(["id"]),), one.seed) for one in rows["hi"]]
    others = dict.fromkeys(("KL", "MSE"), studied.plan.rows["All"])
    found = replace(studied, plan=replace(studied.plan, rows={**studied.plan.rows, **others, "Overlap": rows}))
    frame = translation_claims.frame(studied)
    told = str(translation_claims.statements(found, frame)).splitlines()
    assert len(told) == 2 + frame["id"].nunique()
    for line, row in zip(told[2:], frame.drop_duplicates("id").itertuples(), strict=True):
        assert row.statement in line
        asked = (row.row, row.baseline) == ("Overlap", "LF") and row.scope in ("average", "fa")
        assert line.endswith("| the same family, sampled by another rule, for fa |") == asked


def test_k_and_single_auxiliaries(studied):
    frame = k_search.frame(studied)
    assert len(frame) == len(table2.KS) * 3
    assert "40%" in str(k_search.reading(frame))
    assert "40%" not in str(k_search.reading(frame[frame["k"] > 0.4]))
    assert list(k_search.table(frame).columns) == ["fa", "hi", "Avg."]
    gains = translation_study.singles(studied)
    base = np.mean([studied.scores[f"fa.alone.s{seed}"]["test"]["chrf"] for seed in studied.settings.seeds])
    assert gains.loc["fa", "bn"] == studied.scores["fa.equal=bn.s0"]["test"]["chrf"] - base
    assert np.isnan(gains.loc["hi", "hi"])


def test_a_row_that_did_not_learn_is_marked(studied):
    def with_losses(*losses):
        changed = dict(studied.scores)
        for system, loss in zip(studied.plan.rows["FT"]["fa"], losses, strict=True):
            changed[system.id] = {**changed[system.id], "parent_loss": 5.0, "loss": loss}
        return replace(studied, scores=changed)

    assert translation_study.did_train(studied, "Vanilla", "fa")
    assert translation_study.did_train(with_losses(4.0, 4.1), "FT", "fa")
    assert not translation_study.did_train(with_losses(4.0, 5.0), "FT", "fa")  # within the noise of the seeds
    assert not translation_study.did_train(with_losses(5.0, 5.0), "FT", "fa")


def test_bad_input_is_one_line(own_cache, data):
    with pytest.raises(UsageError, match="corpus 'files' has no text in 'tr'"):
        translation_study.study(settings_of(data, languages=["fa", "tr"], targets=["tr"]))
    without = data.with_name("without.tsv")
    without.write_text("\n".join(line for line in data.read_text().splitlines() if not line.startswith("TEST")))
    with pytest.raises(UsageError, match="corpus 'files' has no text in the pool TEST, only in DEV, FINETUNE; systems"):
        translation_study.study(settings_of(without))
    with pytest.raises(UsageError, match="domain of corpus 'files': unknown"):
        tuning.pairs(settings_of(data, adaptation="nams"), "fa", "TEST")
    with pytest.raises(UsageError, match="auxiliary 'fa' is the target language itself"):
        tuning.scores(settings_of(data), System("fa", (stage(["fa"]),), 0))
    plain = profiles.resolve("mini", kind=Tuning)
    with pytest.raises(
        Failure, match=r"cell mini/tuned/tr\.alone\.s77 is missing; about .* min; run: langsim reproduce"
    ):
        tuning.obtain(plain, [System("tr", (Stage(),), 77)])


def test_the_words_of_a_translation_are_kept_and_not_compared():
    old = {"hypotheses": ["a", "b"], "curves": [1, 2, 3], "test": {"bleu": 10.0, "chrf": 20.0}}
    new = {"hypotheses": ["x"], "curves": [1], "test": {"bleu": 11.0, "chrf": 25.0}}
    assert cells._differences(new, old, tuning.TOLERANCES) == ["test.chrf: 25.0 instead of 20.0 (tolerance 2)"]


def test_other_values_of_k_are_tested_against_the_papers(studied):
    """With the systems of the table in the place of those of K: the same ones, worse ones, none at 40%."""
    rows = {name: {t: of[0] for t, of in studied.plan.rows[name].items()} for name in ("FT", "Vanilla")}
    texts = {of.id: studied.references[t] for t, of in rows["FT"].items()}
    scores = {id: {**one, "hypotheses": texts.get(id, one["hypotheses"])} for id, one in studied.scores.items()}

    def told(by_k):
        return str(k_search.on_test(replace(studied, plan=replace(studied.plan, by_k=by_k), scores=scores)))

    better = told({0.3: rows["Vanilla"], 0.4: rows["FT"], 0.5: rows["FT"]})
    assert "Measurably different from 40%: 30%." in better and "The very systems of 40%: 50%." in better
    assert "30% −" in better and "One seed each" in better
    assert "No other K differs measurably" in told({0.4: rows["FT"], 0.5: rows["FT"]})
    assert "nothing to test" in told({0.3: rows["FT"]})


def test_where_the_scores_are_from_and_what_was_cut_short(studied):
    text = str(translation_study.provenance(studied))
    assert f"those of {len(studied.plan.systems())} systems" in text and "Audited" not in text and "Read:" not in text
    tuned = [system.id for system in studied.plan.systems() if system.stages]
    for late in (3, 0):
        scores = {
            id: {**studied.scores[id], "curves": [[[1, 2.0], [9, 1.0]]], "best_updates": [9 if n < late else 1]}
            for n, id in enumerate(tuned)
        }
        told = str(translation_study.cut_short(replace(studied, scores=scores)))
        assert told.startswith(f"{late} of the {len(tuned)} fine-tuned systems")
        assert ("what 3 updates do" in told) == (late > 0)
