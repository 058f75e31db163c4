"""Figures 1, 2, 4, 5, 6, the tables of settings, and own ranks: against plain loops, on numbers that were made up."""

import copy
import itertools
import re

import numpy as np
import pandas as pd
import pytest

from langsim import charts, papers, profiles, results, vetting
from langsim.agreement import SAME
from langsim.errors import UsageError
from langsim.lslo import demand, indexing, parameters, rows, running, setting, statements
from langsim.lslo.demand import Demand
from langsim.lslo.indexing import Weights
from langsim.lslo.weight_learning import Learned
from langsim.lslo_settings import LSLoSettings, parse_ranks

CLASSES = {
    "en": "high",
    "fr": "high",
    "zh": "medium",
    "ja": "medium",
    "gl": "very-low",
    "ne": "very-low",
    "ky": "very-low",
}
PLACES = [("encoder", kind) for kind in ("q", "fc1", "fc2")] + [("decoder", kind) for kind in ("q", "cross_q", "fc1")]


@pytest.fixture(scope="module")
def settings():
    return profiles.resolve("mini", kind=LSLoSettings)


def demands(kind, size):
    """Scores of every matrix; `size` says how large a share of it was kept beyond the rate."""
    rng, found = np.random.default_rng(0), {}
    for seed in (0, 1):
        lines = [
            {
                "stack": stack, "layer": layer, "kind": name, "module": f"{stack}.{layer}.{name}", "language": code,
                "size": 400 if name == "fc1" else 100, "share": -size(stack, layer, name, code) + rng.normal(0, 0.01),
            }
            for stack, name in PLACES
            for layer in range(4)
            for code in CLASSES
        ]  # fmt: skip
        found[seed] = pd.DataFrame(lines).assign(pruned=0).eval("score = share * size")
    return Demand(kind, found, CLASSES)


# Demand ----------------------------------------------------------------------------------------------------------


def test_demand_is_averaged_by_plain_loops():
    found = demands("lslo-ise", lambda stack, layer, kind, code: 0.1 * layer + 0.2 * (CLASSES[code] == "very-low"))

    def mean(**chosen):
        kept = weights = 0
        for frame in found.found.values():
            for row in frame.to_dict("records"):
                if all(row[key] == value for key, value in chosen.items()):
                    kept, weights = kept - row["score"], weights + row["size"]
        return kept / weights

    shown = demand.by_matrix(found)
    assert list(shown) == ["Encoder", "Decoder"] and list(shown["Decoder"].columns) == ["q", "c-q", "fc1"]
    assert list(shown["Encoder"].index) == list(CLASSES)
    assert shown["Decoder"].loc["gl", "c-q"] == pytest.approx(
        100 * mean(stack="decoder", kind="cross_q", language="gl")
    )
    layers = demand.by_layer(found)["Encoder"]
    assert list(layers.columns) == ["1", "2", "3", "4"]
    assert layers.loc["fr", "2"] == pytest.approx(100 * mean(stack="encoder", layer=1, language="fr"))
    every = demand.every_layer(found)
    assert len(every) == 8 and next(iter(every)) == "Encoder, layer 1"
    assert every["Decoder, layer 3"].loc["ne", "fc1"] == pytest.approx(
        100 * mean(stack="decoder", layer=2, kind="fc1", language="ne")
    )
    place = demand.by_place(found)["Encoder"]
    assert list(place.index) == ["layer 4", "layer 3", "layer 2", "layer 1"]
    assert place.loc["layer 4", "fc2"] == pytest.approx(100 * mean(stack="encoder", layer=3, kind="fc2"))
    single = demand.every_language(found, "decoder")
    assert list(single)[4] == "gl (very-low)" and single["gl (very-low)"].loc["layer 1", "q"] == pytest.approx(
        100 * mean(stack="decoder", layer=0, kind="q", language="gl")
    )
    tidied = demand.tidy(found, over="layer").set_index(["stack", "kind", "language"])
    assert tidied.loc[("encoder", "q", "ja"), "demand"] == pytest.approx(mean(stack="encoder", kind="q", language="ja"))
    assert (tidied["low"] <= tidied["demand"]).all() and (tidied["demand"] <= tidied["high"]).all()
    assert len(demand.tidy(found)) == 6 * 4 * len(CLASSES) and "layer" not in demand.tidy(found, over="layer")


def test_contrasts_of_languages():
    found = demands(
        "lslo-ise", lambda stack, layer, kind, code: 0.3 * (CLASSES[code] == "very-low") - 0.2 * (code == "gl")
    )
    apart = found.contrast("very-low minus high and medium")
    values = dict(zip(CLASSES, found.by_language().mean(0), strict=True))
    low, others = (
        [values[code] for code in CLASSES if (CLASSES[code] == "very-low") == wanted] for wanted in (True, False)
    )
    assert apart.estimate == pytest.approx(np.mean(low) - np.mean(others)) and apart.low > 0
    assert apart.p == pytest.approx(2 / len(list(itertools.combinations(CLASSES, 3))))
    assert demand.relatives(CLASSES) == ["gl"]  # Romance, as French
    relative = found.contrast("related minus unrelated very-low")
    assert relative.estimate == pytest.approx(values["gl"] - (values["ne"] + values["ky"]) / 2)
    assert "very-low" in demand.reading(found).text and "Between seeds" in demand.reading(found).text
    assert "gl is the only" in demand.relatives_reading(found).text and "n = 1" in demand.relatives_reading(found).text
    amounts = dict(zip(CLASSES, (9, 8, 7, 6, 3, 2, 1), strict=True))
    assert "7 languages" in demand.amount_reading(found, amounts).text
    assert "not known of enough" in demand.amount_reading(found, {"en": 1.0}).text
    with pytest.raises(UsageError, match="no scope 'x' of demand"):
        found.contrast("x")
    flat = Demand("lslo-ise", found.found, dict.fromkeys(CLASSES, "high"))
    assert demand.relatives_reading(flat).text.startswith("No very-low-resource language")
    assert flat.contrast("very-low minus high and medium") is None
    stated = statements.frame({"lslo-fig2": flat})
    assert stated["note"].str.startswith("no languages of these classes").all()


def test_contrasts_of_places():
    found = demands("lslo-lsp", lambda stack, layer, kind, code: 0.2 * kind.startswith("fc") * (1 + layer))
    apart = found.contrast("fc minus attention")
    fc = np.mean([0.2 * (1 + layer) for layer in range(4)])
    assert apart.estimate == pytest.approx(fc, abs=0.01) and apart.p == pytest.approx(2 / 2**7)
    top = found.contrast("encoder fc: top half minus bottom half")
    assert top.estimate == pytest.approx(0.4, abs=0.01)
    stated = statements.frame({"lslo-fig4": found})
    assert set(stated["verdict"]) == {SAME} and "<small>fc minus attention</small>" in statements.shown(stated).text
    assert demand.reading(found).text.index("encoder fc") < demand.reading(found).text.index("encoder q")


def test_weights_of_matrices_by_hand():
    """fc1 is four times as large as what it is weighed against: 50% of it and 0 of fc2 are 40%, or 25% alike."""
    found = demands("lslo-lsp", lambda stack, layer, kind, code: 0.5 * (kind == "fc1") * (stack == "encoder"))
    text = demand.weighting_reading(found).text
    sized, alike, *decoder = [float(one) for one in re.findall(r"(?:coder|, or) (−?[\d.]+)", text.replace("−", "-"))]
    assert (sized, alike) == pytest.approx((40, 25), abs=0.5) and decoder == pytest.approx([0, 0], abs=0.5)
    fc = {seed: one[one["kind"].isin(("fc1", "fc2"))] for seed, one in found.found.items()}
    assert "Only one of" in demand.weighting_reading(Demand("lslo-lsp", fc, found.classes)).text


# Learned weights -------------------------------------------------------------------------------------------------


def learned(bottom, top, decoder):
    pairs = [(1 - value, value) for value in (bottom, (bottom + top) / 2, top)]
    return Learned(model_type="m2m_100", kinds=("q",), encoder=pairs, decoder=[(1 - decoder, decoder)] * 3)


def test_weights_turn():
    found = Weights({0: learned(0.4, 0.7, 0.8), 1: learned(0.42, 0.69, 0.83), 2: learned(0.41, 0.72, 0.79)})
    turn = found.contrast("encoder: top minus bottom")
    assert turn.estimate == pytest.approx(np.mean([0.3, 0.27, 0.31]))
    assert found.contrast("decoder").estimate == pytest.approx(np.mean([0.3, 0.33, 0.29]))
    stated = statements.frame({"lslo-fig1": found}).set_index("id")
    assert set(stated["verdict"]) == {SAME} and stated.loc["turn-bottom", "estimate"] < 0
    text = indexing.reading(found).text
    assert "encoder: source, target, target" in text and "all seeds agree" in text and "1-9 source" in text
    frame = indexing.frame(found)
    assert len(frame) == 3 * 2 * 3 * 2 and frame["layer"].min() == 1
    shown = indexing.panels(frame)["Encoder"]
    assert list(shown["row"].unique()) == ["layer 3", "layer 2", "layer 1"]
    low = shown[(shown["row"] == "layer 1") & (shown["series"] == "target")].iloc[0]
    assert (low["low"], low["value"], low["high"]) == pytest.approx((0.4, 0.41, 0.42))
    with pytest.raises(UsageError, match="no scope 'x' of learned weights"):
        found.contrast("x")


def test_how_far_weights_can_move(settings):
    """Against Adam itself, on a logit whose gradient is always the same."""
    import torch

    logit = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimiser = torch.optim.Adam([logit], lr=1.0, betas=(0.9, 0.98))
    for update in range(1, settings.updates + 1):
        rate = settings.learning_rate * min(update / settings.warmup, (settings.warmup / update) ** 0.5)
        optimiser.param_groups[0]["lr"] = rate
        logit.grad = torch.tensor([1.0, -1.0], dtype=torch.float64)
        optimiser.step()
    assert indexing.moved(settings) == pytest.approx(logit[1].item(), rel=1e-4)
    assert 0.5 + indexing.reach(settings) == pytest.approx(logit.softmax(0)[1].item(), rel=1e-4)
    assert f"from 0.5 to about {0.5 + indexing.reach(settings):.2f}" in indexing.reach_reading(settings).text
    assert indexing.reach(settings.model_copy(update={"updates": 0})) is None


# Settings --------------------------------------------------------------------------------------------------------


def test_own_rows_may_be_pruned(settings):
    assert parse_ranks(" 2; 2;8 +GPS(0.9)") == ([2, 2, 8], 0.9) and parse_ranks("4") == ([4], None)
    own = settings.model_copy(update={"ranks": ["2;2;8+GPS(0.9)", "2;2;8"]})
    ours, printed = rows.rows(own, "lslo-table1"), rows.rows(settings, "lslo-table1")
    assert list(ours) == ["Pretrain", "Ft-all", "2;2;8+WL+GPS(0.9)", "2;2;8+WL"]
    for name in ours:
        assert ours[name] == printed[name], "the same experiment as the paper's row, and so the same cell"
    for row, message in (
        ("2;2;8+GPS(2)", "is no rank for each"),
        ("2;8+GPS(0.9)", "is no rank for each"),
        ("2;2;8+WL", "is no rank for each"),
    ):
        with pytest.raises(UsageError, match=message):
            profiles.resolve("mini", kind=LSLoSettings, ranks=[row])
    with pytest.raises(UsageError, match="prunes languages of class high or medium, but there are none"):
        profiles.resolve(
            "mini", kind=LSLoSettings, languages=["gl", "ne"], more_languages=["gl", "ne"], ranks=["8+GPS(0.5)"]
        )


def test_open_has_languages_that_the_model_has_never_seen():
    found = profiles.resolve("open", kind=LSLoSettings)
    classes = found.classes_of()
    unseen = [code for code in classes if classes[code] == "very-low"]
    assert unseen == ["wo", "sd", "ff", "ny", "sn", "yo", "zu"] == setting.untrained(found)
    loaded = running.model_of(found)
    tokens = [loaded.first_token(code) for code in classes]
    assert len(set(tokens)) == 15 and max(tokens) < loaded.model.config.vocab_size
    assert [name for name in rows.rows(found, "lslo-table1")][:2] == ["Pretrain", "Ft-all"]


def test_parameters_are_those_of_the_model_that_is_made(settings):
    counts = parameters.ours(settings, "lslo-table7")
    base = running.model_of(settings)
    for name in ("2;2;8+WL+GPS(0.9)*", "2;2;16+WL+GPS(0.9)"):
        made = rows.rows(settings, "lslo-table7")[name][0].experiment
        lslo = made.lslo(copy.deepcopy(base.model), settings.classes_of(), span=settings.span)
        assert counts[name] == sum(p.numel() for p in lslo.parameters() if p.requires_grad)
    assert counts["Pre-trained"] == 0 and counts["Ft-all"] == sum(p.numel() for p in base.model.parameters())


def test_pairs_of_table_7_have_equal_budgets_or_say_that_they_have_not(settings):
    counts = parameters.ours(settings, "lslo-table7")
    pairs = [one for one in statements.load() if one.exhibit == "lslo-table7"]
    ratios = {one.id: counts[one.row] / counts[one.baseline] for one in pairs}
    assert list(ratios) == ["place-equal-8", "place-equal-16", "place-15m", "place-26m"]
    for one in pairs:
        assert (0.8 < ratios[one.id] < 1.2) == ("unequal budget under span=full" not in one.statement)


def test_the_printed_parameters_agree_but_for_one(settings):
    counts = parameters.frame(settings)
    wrong = counts[~counts["agrees"]]
    assert len(counts) == 20 and list(zip(wrong["exhibit"], wrong["method"], strict=True)) == [
        ("lslo-table7", "2;2;16+WL+GPS(0.9)")
    ]
    assert (
        "19 of 20" in parameters.reading(counts).text
        and "The one that does not: Table 7" in parameters.reading(counts).text
    )
    assert parameters.table(counts)["conventional"].iloc[0] == "22.41M"
    own = parameters.frame(settings.model_copy(update={"ranks": ["2;2;8"]}))
    assert own["ours"].isna().all() and "small model" not in parameters.reading(own).text


def test_tables_of_settings(settings):
    table3 = setting.schedules(settings)
    assert len(table3) == 7 and (table3[["E", "k", "T"]] == [2, 8, 15]).all(axis=None)
    assert table3.iloc[-1]["percent by epoch"].split()[:3] == ["0", "0", "30"]
    assert set(setting.schedules_table(table3).columns) == {"P", "E", "k", "T", "percent by epoch"}
    shorter = setting.schedules(settings.model_copy(update={"epochs": 3}))
    assert "T ours" in setting.schedules_table(shorter)
    assert "All 15 pruned experiments" in setting.used(settings).text
    for table, size in (("lslo-table4", 12), ("lslo-table5", 30)):
        frame = setting.roles(settings, table)
        assert (frame["class_here"] != "").sum() == (frame["class_printed"] != "").sum() == size
        assert list(frame["code"])[: len(papers.matrix(table))] == list(papers.matrix(table).index)
        by_class = frame.groupby("class_here")["tokens_here"]
        assert by_class.max()["very-low"] < by_class.min()["medium"] < by_class.max()["high"]
        assert setting.roles_table(frame).iloc[0]["class here"] == "high"
        assert "of these languages are in the printed table too" in setting.roles_reading(frame).text


def test_signatures_are_vetted(settings):
    signature = setting.signature(settings)
    assert vetting.differs(signature, "mini", vetting.PART_2) == []
    assert vetting.differs(setting.signature(settings, "more_languages"), "mini", vetting.PART_2) == []
    own = settings.model_copy(update={"ranks": ["2;2;8"], "span": "slice"})
    found = vetting.differs(setting.signature(own), "mini", vetting.PART_2)
    assert found == ["ranks 2;2;8, not any", "span slice, not full"]
    assert results.parse_signature(signature)["seeds"] == "0+1+2"
    fewer = settings.model_copy(update={"languages": settings.languages[:4]})
    assert vetting.differs(setting.signature(fewer), "mini", vetting.PART_2)[0].startswith("langs 4@")


def test_setting_in_words(settings):
    text = setting.reading(settings).text
    assert (
        "not scored: one of the languages has their text in the training pools" in text and "50 items to train" in text
    )
    assert "0.4 of what" in setting.shares_reading(settings).text
    assert "as it is" in text and "in 132 directions" in text and "in 870 directions" in text
    own = settings.model_copy(update={"ranks": ["2;2;8"], "languages": ["en", "fr", "gl"]})
    text = setting.reading(own).text
    assert "changed `languages`, `ranks`" in text and "870" not in text


# Figures ---------------------------------------------------------------------------------------------------------


def test_grids_share_a_scale():
    panels = {"A": pd.DataFrame([[1.0, -20.0]], ["x"], ["q", "k"]), "B": pd.DataFrame([[5.0]], ["x"], ["q"])}
    figure = charts.grids(panels, label="what")
    first, second, bar = figure.axes
    assert [text.get_text() for text in first.texts] == ["1", "−20"] and first.get_title(loc="left") == "A"
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == (-20, 20)
    assert bar.get_xlabel() == "what"
    assert not charts.grids(panels, label="what", numbers=False, columns=2).axes[0].texts


def test_curves_have_a_band_and_a_line():
    frame = pd.DataFrame({"series": ["a", "a", "b", "b"], "x": [0, 1, 0, 1], "value": [0, 1, 0, 2]})
    frame = frame.assign(low=frame["value"] - 0.1, high=frame["value"] + 0.1)
    figure = charts.curves({"H2H": frame, "V2V": frame}, xlabel="epoch", ylabel="nats", line=0.0, words="start")
    above = figure.axes[0]
    assert {line.get_label() for line in above.lines} == {"a", "b", "start"} and len(above.collections) == 2
    assert len({(line.get_color(), line.get_marker()) for line in above.lines}) == 3
    assert figure.axes[1].get_xlabel() == "epoch" and above.get_ylabel() == "nats"


def test_the_sweep_is_shown_where_there_is_one(monkeypatch, tmp_path):
    from langsim import cells
    from langsim.lslo import sweep

    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    assert "No sweep is recorded at `mini`" in sweep.recorded("mini").text
    assert "No sweep is recorded at `paper`" in sweep.recorded("paper").text
    for id, inputs in sweep.plan("mini").items():
        rate, made = sweep.grid()[id]
        loss = abs(np.log(rate / (0.003 if made.trains == "lslo" else 0.0003)))
        cells.write(cells.Cell(sweep.KIND, id, inputs, sweep.VERSION, "mini"), {"parent_loss": 5.0, "loss": loss})
    assert sweep.best("mini") == {"lslo": 0.003, "everything": 0.0003}
    shown = sweep.recorded("mini")
    assert shown.loc["0.003", "lslo"] == "2-2-8: 0.000, 8-8-8: 0.000" and shown.loc["0.01", "everything"] == "–"


def test_costs_count_the_trainings_that_are_missing(settings, monkeypatch, tmp_path):
    from langsim import cells
    from langsim.lslo import costs, procedures

    monkeypatch.setattr(cells, "reference_dir", lambda profile: tmp_path / profile)
    number = {
        name: costs.missing(settings, f"lslo/{name}") for name in ("01_setting", "03_subspaces", "04_main_results")
    }
    jobs = [job for table in (1, 2) for row in rows.rows(settings, f"lslo-table{table}").values() for job in row]
    trained = {job.id for job in jobs if job.experiment.trains != "nothing"}
    assert number == {"01_setting": 0, "03_subspaces": 9, "04_main_results": 8 + len(trained)}, (
        "six weight learnings, and two rows of the sensitivity"
    )
    turned = learned(0.3, 0.4, 0.8).model_dump(mode="json")
    for cell in procedures.weights_cells(settings).values():
        cells.write(cell, {"learned": turned})
    assert costs.missing(settings, "lslo/04_main_results") == 2 + len(trained)
    assert costs.missing(settings, "lslo/02_weight_learning") == 3 + 3 + 3, "SRC made the learned architecture's cells"
    assert costs.missing(settings, "lslo/03_subspaces") == 3
    found = costs.estimate(settings, "lslo/03_subspaces")
    assert found.seconds > 20 + 3 * 10 and 0 < found.memory < 4e9
    more = costs.estimate(settings.model_copy(update={"watched_items": 500}), "lslo/03_subspaces")
    assert more.seconds > 2 * found.seconds, "what is scored takes time, too"
    assert costs.estimate(settings.model_copy(update={"updates": 0}), "lslo/03_subspaces").seconds is None
    own = settings.model_copy(update={"ranks": ["2;2;8"], "seeds": [0]})
    assert costs.missing(own, "lslo/04_main_results") == 2, "full fine-tuning and the row; the weights are there"
