"""The rows of the second paper's tables as data: against the printed names and counts, and what they make."""

import pytest
from lslo_models import tiny

from langsim import languages, papers
from langsim.errors import Failure, UsageError
from langsim.lslo import architecture, counting, experiment
from langsim.lslo.experiment import Experiment, experiments
from langsim.lslo.projections import FEED_FORWARD
from langsim.lslo.schedule import published
from langsim.lslo.weight_learning import Learned

TABLES = ["lslo-table1", "lslo-table2", "lslo-table6", "lslo-table7"]
ROLES = {"lslo-table1": "lang12-mini", "lslo-table2": "lang30-mini"}
PRINTED = {"High": "high", "Medium": "medium", "Low": "low", "Very-Low": "very-low"}


@pytest.mark.parametrize("table", TABLES)
def test_all_printed_rows_in_order(table):
    found = experiments(table)
    assert [one.name for one in found] == list(dict.fromkeys(papers.published(table)["method"]))
    trained = [one for one in found if one.trains == "lslo"]
    assert [one.trains for one in found[:2]] == ["nothing", "everything"] and len(trained) == len(found) - 2
    for one, row in zip(trained, counting.rows(table), strict=True):
        assert one.name == row.method and list(one.ranks.values()) == list(row.ranks.values())
        assert list(one.ranks) == [PRINTED[name] for name in row.ranks]
        assert experiment.MODULES[one.modules] == row.kinds
        assert f"+{one.indexing}" in one.name
        if "GPS" in one.name:
            assert f"GPS({one.pruning.schedule.ratio:g})" in one.name and one.pruning.schedule in published("LSLo")
            assert one.pruning.classes == ("high", "medium")
        else:
            assert one.pruning is None


def test_estimations():
    for exhibit, name, scope in (("lslo-fig2", "ISE", "layer"), ("lslo-fig4", "LSP", "language")):
        (one,) = experiments(exhibit)
        assert (one.name, one.pruning.scope, one.pruning.matrices) == (name, scope, "B")
        assert set(one.ranks.values()) == {8} and one.pruning.schedule == published(name)[0]


@pytest.mark.parametrize("table", ["lslo-table1", "lslo-table2"])
def test_they_fit_the_languages_at_mini(table):
    classes = {member.code: member.resource_class for member in languages.role_members(ROLES[table])}
    for one in experiments(table)[2:]:
        lslo = one.lslo(tiny(), classes, span="slice")
        assert lslo.settings.ranks == {code: one.ranks[name] for code, name in classes.items()}
        assert lslo.settings.span == "slice" and lslo.settings.architecture == architecture.default(tiny())
        pruning = one.pruning_of(classes)
        if one.pruning is None:
            assert pruning is None
            continue
        assert pruning.languages == tuple(code for code, name in classes.items() if name in ("high", "medium"))
        pruning.apply(lslo, 0.5)
        counts = pruning.counts(lslo)
        assert set(counts["matrix"]) == {"A", "B"} and (counts["pruned"] == (counts["size"] / 2).round()).all()


def test_architectures():
    base = tiny()
    by_name = {one.name: one for one in experiments("lslo-table6") + experiments("lslo-table7")}
    for name in ("WL", "SRC", "TGT"):
        found = by_name[f"2;2;8+{name}+GPS(0.9)"].architecture(base)
        assert found == architecture.strategy(base, name)
    fc = by_name["2;2;64+WL+GPS(0.9)"]
    assert fc.architecture(base) == architecture.strategy(base, "WL", FEED_FORWARD)
    pairs = {"encoder": ((0.1, 0.9), (0.9, 0.1)), "decoder": ((0.1, 0.9), (0.2, 0.8))}
    learned = Learned(model_type="m2m_100", kinds=("q",), **pairs)
    sides = ["target", "source"]
    assert fc.architecture(base, learned) == architecture.by_layer(base, sides, ["target"] * 2, FEED_FORWARD)
    mixed = learned.model_copy(update={"decoder": ((0.9, 0.1), (0.2, 0.8))})
    for name, side in (("SRC", "source"), ("TGT", "target")):
        one = by_name[f"2;2;8+{name}+GPS(0.9)"]
        assert one.architecture(base, learned) == architecture.strategy(base, name)
        expected = architecture.by_layer(base, [side] * 2, ["source", "target"])
        assert one.architecture(base, mixed) == expected, "the encoder is the strategy's, the decoder the learned one"
        assert one.sides(mixed) == {"encoder": (side,) * 2, "decoder": ("source", "target")}


def test_initial_values_may_be_the_row_s():
    plain, kaiming = experiments("lslo-init")[2:]
    assert (plain.init, kaiming.init) == ("", "kaiming") and set(plain.ranks.values()) == {64}
    classes = {"en": "high", "zh": "medium", "ne": "very-low"}
    largest = [
        max(layer.lora_A.abs().max().item() for _, layer in one.lslo(tiny(), classes, init="gaussian").layers())
        for one in (plain, kaiming, kaiming.model_copy(update={"init": ""}))
    ]
    assert largest[0] == largest[2] != largest[1] <= 1 / 64**0.5 + 1e-6, (
        "uniform from -1 to 1 over the root of the rank"
    )


def test_refusals(monkeypatch, tmp_path):
    for values, message in [
        ({"name": "x", "trains": "lslo"}, "experiment: .*ranks are for what trains lslo"),
        ({"name": "x", "trains": "nothing", "ranks": {"high": 2}}, "experiment: .*ranks are for"),
        ({"name": "x", "trains": "nothing", "rank": 2}, "experiment: rank: "),
    ]:
        with pytest.raises(UsageError, match=message):
            Experiment.of(**values)
    one = experiments("lslo-table1")[-1]
    broken = one.model_dump() | {"ranks": {"high": 2, "very-low": 8}}
    with pytest.raises(UsageError, match="class 'medium' is pruned, but has no rank"):
        Experiment.of(**broken)
    with pytest.raises(UsageError, match=r"class of .fr.: unknown .hihg. \(did you mean .high."):
        one.ranks_of({"en": "high", "fr": "hihg"})
    with pytest.raises(UsageError, match="prunes languages of class high or medium, but there are none"):
        one.pruning_of({"wo": "very-low"})
    with pytest.raises(UsageError, match="'Ft-all' has no LSLo: it trains everything"):
        experiments("lslo-table1")[1].architecture(tiny())
    with pytest.raises(UsageError, match="exhibit with experiments: unknown 'lslo-table3'"):
        experiments("lslo-table3")
    text = experiment.PATH.read_text().replace("high=4", "high=four")
    (tmp_path / "it.csv").write_text(text)
    monkeypatch.setattr(experiment, "PATH", tmp_path / "it.csv")
    experiment._rows.cache_clear()
    with pytest.raises(Failure, match=r"it\.csv, line 4: "):
        experiments("lslo-table1")
    experiment._rows.cache_clear()
