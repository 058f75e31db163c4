"""Directions, settings, rows and cells of part II: against hand-made examples, and once from text to scores."""

import json

import pandas as pd
import pytest
from tiny import save_tiny_m2m

from langsim import cells, languages, profiles
from langsim.errors import Failure, UsageError
from langsim.lslo import directions, experiment, procedures, rows, running, sweep
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import LSLoSettings, classes_of
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
    )  # fmt: skip


def test_text_is_the_same_items_for_all(small):
    assert running.check(small)["languages"] == {"training": 66, "watched": 3, "scored": 7}
    found = running.text(small, "languages", ["TEST"])
    assert len(found) == 20 and len({tuple(pair.id for pair in pairs) for pairs in found.values()}) == 1
    drawn = running.text(small, "languages", ["TEST"], [("ne", "en")], 4)["ne", "en"]
    assert len(drawn) == 4 and set(drawn) < set(found["ne", "en"])
    for changes, message in (
        ({"languages": ["en", "de"], "classes": [*OWN, "de=high"]}, "has no text in 'de'.*leave it out"),
        ({"domain": "weather"}, "domain of corpus"),
    ):
        with pytest.raises(UsageError, match=message):
            running.check(small.model_copy(update=changes))


def test_from_weight_learning_to_rows(small, monkeypatch):
    found = procedures.row_scores(small, jobs=1)
    assert list(found) == ["lang5.pretrain", "lang5.everything.s0", "lang5.1-1-2.WL.all.s0"]
    loaded = load(small.model)
    base, whole, lslo = found.values()
    assert base["parameters"] == 0 and base["curve"] == [] and len(base["nll"]) == 20
    assert whole["parameters"] == sum(p.numel() for p in loaded.model.parameters()) > lslo["parameters"] > 0
    for scores in (whole, lslo):
        assert [point["epoch"] for point in scores["curve"]] == [0, 1, 2, 3] and scores["updates"] == 6
        assert scores["curve"][-1]["watched"]["AVG"] < scores["curve"][0]["watched"]["AVG"]
        assert sum(scores["nll"]) < sum(base["nll"])
        some = ["-".join(one) for one in directions.chosen(small.classes_of())]
        assert scores["translated"] == some and len(scores["hypotheses"]) == len(scores["chrf"]) == len(some)
        assert {len(texts) for texts in scores["hypotheses"]} == {7}
    learned = procedures.weights(small)[0]
    signed = procedures.row_cells(small, learned)["lang5.1-1-2.WL.all.s0"]
    turned = learned.model_copy(update={"encoder": tuple((b, a) for a, b in learned.encoder)})
    assert procedures.row_cells(small, turned)["lang5.1-1-2.WL.all.s0"].inputs != signed.inputs
    monkeypatch.setattr(procedures, "compute", None)  # what is there is read
    assert procedures.row_scores(small, jobs=1) == found


def test_estimations_have_scores_that_cancel_out(small):
    for kind, group in (("lslo-ise", ["stack", "layer"]), ("lslo-lsp", ["language"])):
        (frame,) = procedures.estimates(small, kind, jobs=1).values()
        assert set(frame["language"]) == set(CODES) and frame["pruned"].sum() > 0
        assert (frame.groupby(group)["score"].sum().abs() <= 0.5).all()
        assert frame["score"].nunique() > 5


def test_a_profile_plans_its_own_cells(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    settings = profiles.resolve("mini", kind=LSLoSettings)
    weights = procedures.weights_plan("mini")
    assert list(weights) == ["lang12.s0", "lang12.s1", "lang12.s2"]
    with pytest.raises(Failure, match=r"cell mini/lslo-weights/lang12.s0 is missing; .*langsim reproduce"):
        procedures.rows_plan("mini")
    learned = Learned(model_type="m2m_100", kinds=("q",), encoder=((0.6, 0.4),) * 4, decoder=((0.4, 0.6),) * 4)
    for cell in procedures.weights_cells(settings).values():
        cells.write(cell, {"learned": learned.model_dump(mode="json")})
    planned = procedures.rows_plan("mini")
    assert set(planned) == set(rows.jobs(settings))
    assert "architecture" in planned["lang12.2-2-8.WL.all.s0"]
    assert "architecture" not in planned["lang12.2-2-8.SRC.all.gps0.9.s0"]
    assert len(procedures.estimates_plan("lslo-ise", "mini")) == 3
    assert json.loads(json.dumps(planned)) == planned


def test_the_sweep_is_of_other_seeds_and_of_no_rate(monkeypatch):
    grid, settings = sweep.grid(), profiles.resolve("mini", kind=LSLoSettings)
    assert len(grid) == 9 and sweep.SEED not in settings.seeds and sweep.plan("paper") == {}
    faster = settings.model_copy(update={"learning_rate": 0.5})
    plan = sweep.plan("mini")
    monkeypatch.setattr(profiles, "resolve", lambda *args, **options: faster)
    assert sweep.plan("mini") == plan, "the rate that it chose does not make it stale"
