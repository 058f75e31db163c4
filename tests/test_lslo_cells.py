"""Directions, settings, rows and cells of part II: against hand-made examples, and once from text to scores."""

from dataclasses import replace

import pandas as pd
import pytest
from tiny import save_tiny_m2m

from langsim import cells, languages, profiles
from langsim.errors import UsageError
from langsim.lslo import directions, experiment, procedures, rows, running, statements, study, sweep
from langsim.lslo.curves import Curves
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import LSLoSettings, classes_of
from langsim.matching import rank
from langsim.models import load

pytestmark = pytest.mark.usefixtures("one_thread")

CODES = ("en", "fr", "sv", "gl", "ne")
OWN = ["en=high", "fr=high", "sv=medium", "gl=very-low", "ne=very-low"]


def of_role(role):
    return {member.code: member.resource_class for member in languages.role_members(role)}


# Directions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["lang12-mini", "lang30-mini"])
def test_the_fixed_directions_are_two_of_every_pair_of_classes(role):
    classes = of_role(role)
    found = directions.chosen(classes)
    assert found == directions._fixed()[role] == directions.rule(classes), "chosen by rule, whatever came of it"
    labels = pd.Series([directions.label(one, classes) for one in found])
    kinds = len(set(classes.values()))
    assert len(set(found)) == len(found) == 2 * kinds**2 and (labels.value_counts() == 2).all()
    for side in (0, 1):
        often = pd.Series([one[side] for one in found]).value_counts().reindex(list(classes), fill_value=0)
        spread = often.groupby(classes).agg(lambda counts: counts.max() - counts.min())
        assert (spread <= 1).all(), "languages of a class are used equally often"
    assert len(directions.everything(classes)) == {12: 132, 30: 870}[len(classes)]


def test_all_directions_of_figure_3_are_watched():
    classes = of_role("lang12-mini")
    found, named = directions.watched(classes), directions.labels(classes)
    counts = pd.Series([named[one] for one in found]).value_counts()
    assert counts["H2H"] == counts["V2V"] == 12 and (counts.drop(["H2H", "V2V"]) == 2).all() and len(counts) == 9
    assert set(directions.chosen(classes)) <= set(found) and len(set(found)) == len(found)


def test_of_other_sets_they_follow_from_the_rule():
    classes = {"en": "high", "fr": "high", "ne": "very-low"}
    assert directions.chosen(classes) == [
        ("en", "fr"),
        ("fr", "en"),
        ("en", "ne"),
        ("fr", "ne"),
        ("ne", "en"),
        ("ne", "fr"),
    ]


def test_averages_weigh_directions():
    classes = {"a": "high", "b": "high", "c": "low"}
    found = directions.averages({("a", "b"): 1, ("b", "a"): 3, ("a", "c"): 10, ("c", "b"): 20}, classes)
    assert found.to_dict() == pytest.approx(
        {"H2H": 2, "H2L": 10, "L2H": 20, "AVG": (2 * 2 + 2 * 10 + 2 * 20) / 6, "plain": 32 / 3}
    )
    with pytest.raises(UsageError, match="no direction L2H has a value"):
        directions.averages({("a", "b"): 1, ("a", "c"): 1}, classes)


def test_the_printed_average_is_that_over_directions():
    from langsim import papers

    table = papers.matrix("lslo-table1")
    classes = {member.code: member.resource_class for member in languages.pool_members("lang12")}
    labels = directions.labels(classes)
    row = table.loc["Ft-all"]
    values = {one: float(row[name]) for one, name in labels.items()}
    assert directions.averages(values, classes)["AVG"] == pytest.approx(float(row["AVG"]), abs=0.005)


def test_classes_of_one_initial_keep_their_names():
    assert directions.label(("a", "b"), {"a": "high", "b": "huge"}) == "high2huge"


# Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["mini", "open", "paper"])
def test_every_profile_has_every_setting(profile):
    settings = profiles.resolve(profile, kind=LSLoSettings)
    assert set(profiles.defaults(profile, LSLoSettings)) == set(LSLoSettings.model_fields) - {"profile", "data"}
    assert profiles.overrides(settings) == {} and settings.sides == [settings]
    expected = {"languages": 15 if profile == "open" else 12, "more_languages": 30}
    for which, size in expected.items():
        assert len(settings.classes_of(which)) == size == len(getattr(settings, which))
    assert set(settings.classes_of().values()) == {"high", "medium", "very-low"}
    assert set(settings.classes_of("more_languages").values()) == {"high", "medium", "low", "very-low"}


def test_the_parameters_tell_the_kind():
    assert profiles.kind_of(["profile", "languages", "classes"]) is LSLoSettings
    empty = {"profile": "mini", "languages": [], "classes": [], "ranks": []}
    assert profiles.from_notebook(empty) == profiles.resolve("mini", kind=LSLoSettings)
    own = profiles.from_notebook({**empty, "languages": ["fra", "ne", "en"], "ranks": ["2;8"]})
    assert own.languages == ["fr", "ne", "en"] and own.classes_of() == {"fr": "high", "en": "high", "ne": "very-low"}


def test_later_classes_count_and_languages_stand_by_class():
    found = classes_of(["ne", "en", "sw", "fr"], ["lang30-mini", "sw=very-low", "en=top"])
    assert list(found.items()) == [("ne", "very-low"), ("sw", "very-low"), ("en", "top"), ("fr", "high")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": ["fr", "sw"]}, "classes: 'sw' has no class; add 'sw=low'"),
        ({"classes": ["lang31"]}, "classes: unknown 'lang31' .*lang30"),
        ({"classes": ["lang30-mini", "fr="]}, "classes: 'fr=' names no class"),
        ({"languages": ["fr"]}, "languages: a direction has two languages"),
        ({"ranks": ["2;8"]}, "ranks: '2;8' is no rank for each of high, medium, very-low; write 2;2;8"),
        ({"ranks": ["2;x;8"]}, "ranks: '2;x;8'"),
        ({"sampling": "equal"}, "sampling: equal shares every batch"),
        ({"sampling": "temperature"}, "needs a number"),
        ({"updates": 3}, "updates: 3 are fewer than the 15 epochs"),
        ({"precision": "fp16"}, "precision: fp16 needs a GPU"),
        ({"languages": ["fr", "xx"]}, "languages: .*'xx'"),
        ({"rank": 3}, "parameter: unknown 'rank' .*ranks"),
    ],
)
def test_bad_settings_are_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as told:
        profiles.resolve("mini", kind=LSLoSettings, **changes)
    assert "\n" not in str(told.value)


# Rows ------------------------------------------------------------------------------------------------------------


def test_rows_of_one_experiment_are_one_job():
    settings = profiles.resolve("mini", kind=LSLoSettings)
    jobs = rows.jobs(settings)
    tables = {exhibit: rows.rows(settings, exhibit) for exhibit in rows.TABLES}
    for exhibit, found in tables.items():
        assert list(found) == [made.name for made in experiment.experiments(exhibit)]
        assert all(jobs[job.id] == job for row in found.values() for job in row)
    assert len(tables["lslo-table1"]) + len(tables["lslo-table6"]) - 3 == 16  # SRC and TGT are new
    assert tables["lslo-table6"]["2;2;8+WL+GPS(0.9)"] == tables["lslo-table1"]["2;2;8+WL+GPS(0.9)"]
    assert tables["lslo-table7"]["Pre-trained"] == tables["lslo-table1"]["Pretrain"]
    assert tables["lslo-table7"]["2;2;16+WL+GPS(0.9)*"] == tables["lslo-table1"]["2;2;16+WL+GPS(0.9)"]
    assert len({(job.which, job.experiment.model_dump_json(), job.seed) for job in jobs.values()}) == len(jobs)
    seeds = {name: len(found) for name, found in tables["lslo-table1"].items()}
    assert seeds["Pretrain"] == seeds["2;2;8+WL+GPS(0.5)"] == 1 and seeds["2;2;8+WL"] == seeds["Ft-all"] == 3
    assert "lang12.2-2-16.WL.fc.gps0.9.s2" in jobs and "lang30.pretrain" in jobs


def test_own_ranks_are_rows():
    settings = profiles.resolve(
        "mini", kind=LSLoSettings, languages=["fr", "en", "ne"], ranks=["2;8", "4;4"], seeds=[3]
    )
    assert list(rows.jobs(settings)) == [
        f"lang3.{name}" for name in ("pretrain", "everything.s3", "2-8.WL.all.s3", "4-4.WL.all.s3")
    ]
    made = rows.rows(settings, "lslo-table1")["2;8+WL"][0].experiment
    assert made.ranks_of(settings.classes_of()) == {"fr": 2, "en": 2, "ne": 8}


def test_the_mean_of_several_weight_learnings():
    one, other = (
        Learned(model_type="m2m_100", kinds=("q",), encoder=((a, 1 - a),), decoder=((0.2, 0.8),)) for a in (0.7, 0.4)
    )
    found = procedures.mean([one, other])
    assert found.encoder[0] == pytest.approx((0.55, 0.45)) and found.sides("encoder") == ("source",)


# Cells -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(own_cache, tmp_path_factory):
    """A tiny model, a user's own file with three pools, little training."""
    import babel

    names = {code: dict(babel.Locale.parse(code).territories) for code in CODES}
    shared = sorted(set.intersection(*map(set, names.values())))
    lines = ["\t".join(("pool", *CODES))]
    for i, key in enumerate(shared[:80]):
        pool = "TEST" if i < 8 else "DEV" if i < 14 else "FINETUNE"
        lines.append("\t".join((pool, *(names[code][key] for code in CODES))))
    lines[3] = "\t".join((*lines[3].split("\t")[:-1], ""))  # an item that one language lacks
    folder = tmp_path_factory.mktemp("small")
    (folder / "names.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = save_tiny_m2m(folder / "model", [text for table in names.values() for text in table.values()])
    running._corpus.cache_clear()
    return profiles.resolve(
        "mini", kind=LSLoSettings, model=str(model), corpus="files", data=str(folder / "names.tsv"),
        languages=list(CODES), more_languages=list(CODES), classes=OWN, seeds=[0], updates=6, epochs=3,
        tokens_per_batch=300, scored_items=0, watched_items=3, beam_size=1, ranks=["1;1;2"],
        training_items=0, weight_seeds=[0],
    )  # fmt: skip


def test_text_is_the_same_items_for_all(small):
    counts = {"training": 66, "watched": 3, "scored": 7, "left out": 0}
    assert running.check(small)["languages"] == counts
    found = running.text(small, "languages", "scored")
    assert len(found) == 20 and len({tuple(pair.id for pair in pairs) for pairs in found.values()}) == 1
    drawn = running.text(small.model_copy(update={"scored_items": 4}), "languages", "scored", [("ne", "en")])
    assert len(drawn["ne", "en"]) == 4 and set(drawn["ne", "en"]) < set(found["ne", "en"])
    for changes, message in (
        ({"languages": ["en", "de"], "classes": [*OWN, "de=high"]}, "has no text in 'de'.*leave it out"),
        ({"domain": "weather"}, "domain of corpus"),
    ):
        with pytest.raises(UsageError, match=message):
            running.check(small.model_copy(update=changes))


def test_what_is_trained_on_is_drawn_by_ids(small):
    """So many items, those with the least hashes, the same for all languages and whatever else there is."""
    few = small.model_copy(update={"training_items": 10})
    everything = running.items(small, "languages", "training")
    ten = running.items(few, "languages", "training")
    assert ten == [item for item in everything if item in sorted(everything, key=lambda one: rank(one, 0))[:10]]
    assert {tuple(pair.id for pair in pairs) for pairs in running.text(few, "languages", "training").values()} == {
        tuple(ten)
    }
    assert procedures.inputs(few) != procedures.inputs(small), "signed"
    two_pools = few.model_copy(update={"training_pools": ["FINETUNE", "DEV"]})
    assert len(running.items(two_pools, "languages", "training")) == 10, "of both together"


def test_text_of_the_training_pools_is_not_scored(small, monkeypatch):
    corpus = running.corpus_of(small)
    test, train = (running.items(small, "languages", part) for part in ("scored", "training"))
    texts = {code: dict(own) for code, own in corpus.texts.items()}
    texts["ne"][test[2]] = texts["ne"][train[5]]  # in one language only
    texts["sv"][test[4]] = texts["fr"][train[0]]  # of another language: no matter
    monkeypatch.setattr(running, "_corpus", lambda *options: replace(corpus, texts=texts))
    assert running.items(small, "languages", "scored") == [item for item in test if item != test[2]]
    few = small.model_copy(update={"training_items": 1})
    assert running.items(few, "languages", "scored") == running.items(small, "languages", "scored"), "drawn or not"
    assert running.left_out(small, "languages") == running.check(small)["languages"]["left out"] == 1


def test_from_weight_learning_to_rows(small, monkeypatch):
    found = procedures.row_scores(small, jobs=1)
    assert list(found) == ["lang5.pretrain", "lang5.everything.s0", "lang5.1-1-2.WL.all.s0"]
    loaded = load(small.model)
    base, whole, lslo = found.values()
    assert base["parameters"] == 0 and base["curve"] == [] and len(base["nll"]) == 20
    assert whole["parameters"] == sum(p.numel() for p in loaded.model.parameters()) > lslo["parameters"] > 0
    for scores in (whole, lslo):
        assert [point["epoch"] for point in scores["curve"]] == [0, 1, 2, 3] and scores["updates"] == 6
        assert scores["passes"] == pytest.approx(scores["tokens"] / trained_tokens(small, loaded))
        watched = scores["curve"][1]["watched"]
        inside = [f"{a}-{b}" for a, b in (("en", "fr"), ("fr", "en"), ("gl", "ne"), ("ne", "gl"))]
        assert set(inside) <= set(watched), "every direction of Figure 3"
        assert watched["V2V"] == pytest.approx((watched["gl-ne"] + watched["ne-gl"]) / 2, abs=1e-4)
        assert scores["curve"][-1]["watched"]["AVG"] < scores["curve"][0]["watched"]["AVG"]
        assert sum(scores["nll"]) < sum(base["nll"])
        some = ["-".join(one) for one in directions.chosen(small.classes_of())]
        assert scores["translated"] == some and len(scores["hypotheses"]) == len(scores["chrf"]) == len(some)
        assert {len(texts) for texts in scores["hypotheses"]} == {7}
    learned = procedures.weights(small)[0]
    for scores in found.values():
        by_cluster(scores)
    signed = procedures.row_cells(small, learned)["lang5.1-1-2.WL.all.s0"]
    turned = learned.model_copy(update={"encoder": tuple((b, a) for a, b in learned.encoder)})
    assert procedures.row_cells(small, turned)["lang5.1-1-2.WL.all.s0"].inputs != signed.inputs
    monkeypatch.setattr(procedures, "compute", None)  # what is there is read
    assert procedures.row_scores(small, jobs=1) == found
    whole = study.study(small, "lslo-table1", jobs=1)
    assert whole.difference("Ft-all", "Pretrain", "AVG", "nll").estimate > 0 and whole.twins == {}
    assert whole.passes("Ft-all") == found["lang5.everything.s0"]["passes"]
    stated = statements.frame({"lslo-table1": whole, "lslo-fig3": Curves(whole)}).set_index(["id", "measure"])
    assert stated.loc["full-verylow", "nll"]["low"] < stated.loc["full-verylow", "nll"]["high"]
    assert stated.loc["overfit-full-high", "nll"]["verdict"] == statements.UNTESTABLE, "less than a pass of the text"


def trained_tokens(small, loaded):
    data = running.text(small, "languages", "training")
    return sum(len(loaded.encode(p.source_text, p.target_text, *d)[1]) for d, pairs in data.items() for p in pairs)


def by_cluster(scores):
    """Sums by cluster give what each direction has, and means what averages have."""
    kept = scores["clusters"]
    assert kept["groups"] == scores["directions"] and len(kept["units"]) == len(set(kept["units"])) > 1
    for sums, counts, nll, tokens in zip(
        kept["sums"], kept["counts"], scores["nll"], scores["tokens_scored"], strict=True
    ):
        nats, number = [float(x) for x in sums.split()], [int(x) for x in counts.split()]
        assert len(nats) == len(number) == len(kept["units"]) and sum(number) == tokens
        assert sum(nats) / tokens == pytest.approx(nll, abs=0.01)
    assert scores["means"]["nll"]["AVG"] == pytest.approx(sum(scores["nll"]) / len(scores["nll"]))


def test_many_directions_are_kept_by_pair_of_classes(small, monkeypatch):
    loaded = load(small.model)
    single = running._scored(small, "languages", loaded, loaded.model)
    monkeypatch.setattr(running, "SINGLE", 3)
    found = running._scored(small, "languages", loaded, loaded.model)["clusters"]
    named = directions.labels(small.classes_of())
    assert set(found["groups"]) == set(named.values())
    for place, name in enumerate(found["groups"]):
        own = [
            [float(x) for x in line.split()]
            for text, line in zip(single["directions"], single["clusters"]["sums"], strict=True)
            if named[tuple(text.split("-"))] == name
        ]
        assert [float(x) for x in found["sums"][place].split()] == pytest.approx(
            [*map(sum, zip(*own, strict=True))], abs=0.1
        )


def test_threads_are_those_of_the_settings(small, monkeypatch):
    """Of rows, of weight learning and estimations (one function) and of the sweep; whatever was set before."""
    import torch

    seen = []
    monkeypatch.setattr(running, "row_scores", lambda *a, **k: seen.append(torch.get_num_threads()) or {})
    monkeypatch.setattr(running, "weight_scores", lambda *a, **k: seen.append(torch.get_num_threads()) or {})
    monkeypatch.setattr(running, "fit", lambda *a, **k: seen.append(torch.get_num_threads()) or 1 / 0)
    own = small.model_copy(update={"threads": 3})
    monkeypatch.setattr(profiles, "resolve", lambda *a, **k: own)
    learned = Learned(model_type="m2m_100", kinds=("q",), encoder=((0.6, 0.4),) * 2, decoder=((0.4, 0.6),) * 2)
    monkeypatch.setattr(procedures, "learned_of", lambda settings: learned)
    before = torch.get_num_threads()
    procedures.row_cell_scores(procedures.row_cells(own, learned)["lang5.pretrain"])
    procedures.weights_cell_scores(procedures.weights_cells(own)[0])
    with pytest.raises(ZeroDivisionError):
        sweep.sweep_scores(cells.Cell(sweep.KIND, "8-8-8.0.001", {}, 1))
    assert seen == [3, 3, 3] and torch.get_num_threads() == before


def test_estimations_have_scores_that_cancel_out(small):
    for kind, group in (("lslo-ise", ["stack", "layer"]), ("lslo-lsp", ["language"])):
        (frame,) = procedures.estimates(small, kind, jobs=1).values()
        assert set(frame["language"]) == set(CODES) and frame["pruned"].sum() > 0
        assert (frame.groupby(group)["score"].sum().abs() <= 0.5).all()
        assert frame["score"].nunique() > 5
    (cell,) = procedures.estimate_cells(small, procedures.learned_of(small), "lslo-lsp").values()
    means = cells.read(cell)["means"]
    for place, value in means["place"].items():
        own = frame[(frame["stack"] + " " + frame["kind"]) == place]
        assert value == pytest.approx(own["score"].sum() / own["size"].sum()) and len(means["place"]) == 13
    assert set(means["language"]) == set(CODES)
