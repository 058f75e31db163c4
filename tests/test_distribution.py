"""Where masks and Fisher mass lie: against concatenating and sorting, on synthetic vectors and a real tiny model."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies
from scipy.stats import bootstrap
from tiny import save_names, save_tiny_m2m
from transformers import BertConfig, BertForMaskedLM, M2M100Config, M2M100ForConditionalGeneration

from langsim import distribution, distribution_study, fisher, groups, instrument, models, pipeline, profiles
from langsim.distribution import FFN, RANDOM, TRAINED, Distribution
from langsim.errors import UsageError
from langsim.store import FisherStore

TED = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi"]
PLACES = pd.DataFrame(
    {
        "name": ["e0.q", "e0.fc", "e1.fc", "d0.q", "d0.c", "d0.fc", "emb"],
        "group": ["E_a", "E_f", "E_f", "D_a", "D_c", "D_f", "embedding"],
        "layer": pd.array([0, 0, 1, 0, 0, 0, pd.NA], dtype="Int64"),
    }
)
SHAPES = {"e0.q": (5, 4), "e0.fc": (7, 3), "e1.fc": (30,), "d0.q": (2, 8), "d0.c": (12,), "d0.fc": (9, 2), "emb": (40,)}
SIZES = {name: math.prod(shape) for name, shape in SHAPES.items()}
SCOPE = [name for name in SHAPES if name != "emb"]


def stored(folder, code, values, terms=1):
    layout, offset = [], 0
    for name, shape in SHAPES.items():
        layout.append((name, shape, offset))
        offset += SIZES[name]
    FisherStore(folder).put(f"{code}-{terms}", values.astype(np.float32), layout, {"n_terms": terms})
    return FisherStore(folder).get(f"{code}-{terms}")


def random_values(rng, ties):
    values = rng.exponential(size=sum(SIZES.values())) ** 3
    return (np.round(values, 1) if ties else values).astype(np.float32)


def naive(values, scope, k, recipe):
    """Tensor name -> entries in the mask, by sorting everything."""
    offsets = np.cumsum([0, *SIZES.values()])
    parts = {name: values[start : start + SIZES[name]] for name, start in zip(SIZES, offsets, strict=False)}
    flat = np.concatenate([parts[name] for name in scope])
    if recipe == "paper":
        active = np.zeros(flat.size, bool)
        active[np.argsort(-flat, kind="stable")[: math.floor(k * flat.size + 0.5)]] = True
    else:
        active = flat >= np.percentile(flat.astype(np.float64), 100 * (1 - k))
    counts, position = {}, 0
    for name in scope:
        counts[name] = int(active[position : position + SIZES[name]].sum())
        position += SIZES[name]
    return counts, {name: float(parts[name].astype(np.float64).sum()) for name in scope}


@pytest.mark.parametrize("recipe", ["paper", "authors_code"])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("scope", [SCOPE, list(SHAPES), ["e0.fc", "d0.c", "emb"]])
def test_counts_are_those_of_sorting(tmp_path, monkeypatch, recipe, ties, scope):
    monkeypatch.setattr(distribution, "_BLOCK", 7)  # tensors in several pieces
    rng = np.random.default_rng(1)
    values = {code: random_values(rng, ties) for code in TED[:3]}
    vectors = {code: [stored(tmp_path, code, one)] for code, one in values.items()}
    found = distribution.distribution(vectors, PLACES, k=0.37, scope=scope, recipe=recipe)
    assert list(found.tensors.index) == scope
    for code, one in values.items():
        counts, mass = naive(one, scope, 0.37, recipe)
        assert found.active[code].to_dict() == counts
        assert found.mass[code].to_dict() == pytest.approx(mass)


def test_parts_of_a_text_are_pooled_by_how_many_squares_they_hold(tmp_path):
    rng = np.random.default_rng(2)
    first, second = random_values(rng, False), random_values(rng, False)
    parts = [stored(tmp_path, "fa", first, terms=3), stored(tmp_path, "fa", second, terms=5)]
    found = distribution.distribution({"fa": parts}, PLACES, k=0.4)
    whole = ((3 * first.astype(float) + 5 * second) / 8).astype(np.float32)
    counts, mass = naive(whole, list(SHAPES), 0.4, "paper")
    assert found.active["fa"].to_dict() == counts and found.mass["fa"].to_dict() == pytest.approx(mass, rel=1e-6)


def by_hand(active, mass):
    """A distribution from entries in the mask and mass by tensor; {language: [...]} in the order of `SCOPE`."""
    tensors = PLACES.set_index("name").loc[SCOPE].assign(size=[SIZES[name] for name in SCOPE])
    return Distribution(tensors, pd.DataFrame(active, SCOPE), pd.DataFrame(mass, SCOPE, dtype=float))


def test_shares_and_enrichment_by_hand():
    found = by_hand({"fa": [10, 10, 5, 0, 5, 10]}, {"fa": [1, 2, 3, 0, 0, 4]})
    assert list(found.mask.index) == ["E_f", "D_f", "E_a", "D_a", "D_c", FFN]
    assert found.mask["fa"].to_dict() == {
        "E_f": 15 / 40, "D_f": 10 / 40, "E_a": 10 / 40, "D_a": 0, "D_c": 5 / 40, FFN: 25 / 40,
    }  # fmt: skip
    assert found.parameters["E_f"] == 51 / 117 and found.parameters[FFN] == 69 / 117
    assert found.enrichment().loc[FFN, "fa"] == pytest.approx(25 / 40 * 117 / 69)
    assert found.enrichment("fisher_mass").loc["D_f", "fa"] == pytest.approx(0.4 * 117 / 18)
    layers = found.by_layer().set_index(["group", "layer"])
    assert layers.loc[("E_f", 1), "mask"] == 5 / 40 and layers.loc[("E_f", 1), "parameters"] == 30 / 117
    assert layers["mask"].sum() == pytest.approx(1) and len(layers) == 6


@settings(max_examples=40, deadline=None)
@given(strategies.lists(strategies.integers(0, 12), min_size=6, max_size=6).filter(any))
def test_shares_add_up_and_enrichment_is_one_on_average(active):
    found = by_hand({"fa": active}, {"fa": active})
    own = found.groups
    assert found.mask.loc[own, "fa"].sum() == pytest.approx(1)
    assert found.mask.loc[FFN, "fa"] == pytest.approx(found.mask.loc[["E_f", "D_f"], "fa"].sum())
    assert found.enrichment().loc[own, "fa"] @ found.parameters[own] == pytest.approx(1)


def test_the_papers_model_by_arithmetic():
    found, d = distribution.paper_model(), 1024
    sizes = {"E_f": 2 * d * 4 * d, "D_f": 2 * d * 4 * d, "E_a": 4 * d * d, "D_a": 4 * d * d, "D_c": 4 * d * d}
    assert found.drop(FFN).to_dict() == pytest.approx({group: n / sum(sizes.values()) for group, n in sizes.items()})
    assert found[FFN] == pytest.approx(16 / 28)
    full = distribution.paper_model("authors_code")
    biased = {"E_f": 8 * d * d + 5 * d, "E_a": 4 * d * d + 4 * d, "E_norm": 4 * d, "D_norm": 6 * d}
    total = 2 * biased["E_f"] + 3 * biased["E_a"] + 10 * d
    assert full["E_f"] == pytest.approx(biased["E_f"] / total) and full["D_norm"] == pytest.approx(6 * d / total)


def test_an_encoder_alone_has_no_decoder_groups(tmp_path):
    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=30, max_position_embeddings=10, **shape))
    names = groups.select(model, "layers")
    tensors = {name: p for name, p in model.named_parameters() if name in names}
    layout, offset = [], 0
    for name, tensor in tensors.items():
        layout.append((name, tuple(tensor.shape), offset))
        offset += tensor.numel()
    rng, store = np.random.default_rng(0), FisherStore(tmp_path)
    for code in TED:
        store.put(code, rng.random(offset).astype(np.float32), layout, {"n_terms": 1})
    vectors = {code: [store.get(code)] for code in TED}
    found = distribution.distribution(vectors, groups.describe(model), k=0.4)
    assert found.groups == ["E_f", "E_a"] and found.parameters[FFN] == found.parameters["E_f"]
    both, plain = {TRAINED: found, RANDOM: found}, profiles.resolve("mini", languages=TED)
    text = distribution_study.reading(both, plain).text
    assert "not measurably" in text and "The encoder," not in text and "same direction" not in text
    assert list(distribution_study.bars(both, plain)[0]) == ["E_f", "E_a"]
    assert set(distribution_study.layers(both, plain)["In Fisher mass"]["place"]) == {"E1", "E2"}


def test_mean_and_interval_are_those_of_the_percentile_bootstrap():
    values = pd.Series(np.random.default_rng(3).normal(1, 0.2, 17))
    found = distribution_study.mean(values)
    expected = bootstrap((values.to_numpy(),), np.mean, method="percentile", n_resamples=20000, rng=0)
    low, high = expected.confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))
    assert found.side(0.5) == 1 and found.side(1.5) == -1 and found.side(values.mean()) == 0
    few = distribution_study.mean(values[:3])
    assert math.isnan(few.low) and few.side() == 0 and few.told() == f"{few.value:.2f}"


EVEN = 69 / 117  # the FFN's share of the parameters


def study(share, codes=TED):
    """Trained and random distributions in which the FFN has about `share` of the mask, and about `EVEN` of it."""

    def one(centre, period):
        signs = [1 if (i // period) % 2 else -1 for i in range(len(codes))]
        forward = {code: (centre + 0.01 * sign) * 100 for code, sign in zip(codes, signs, strict=True)}
        return {code: [(100 - f) / 3, f / 3, f / 3, (100 - f) / 3, (100 - f) / 3, f / 3] for code, f in forward.items()}

    trained, random = one(share, 1), one(EVEN, 2)
    return {TRAINED: by_hand(trained, trained), RANDOM: by_hand(random, random)}


@pytest.mark.parametrize(
    ("share", "words", "verdict"),
    [
        (0.75, "**more** than its size gives it", "it is more here too: **same direction**"),
        (0.40, "**less** than its size gives it", "here it is less: **opposite direction**"),
        (EVEN, "**not measurably** more or less", "**undecided**"),
    ],
)
def test_the_verdict_follows_the_enrichment(share, words, verdict):
    text = distribution_study.reading(study(share), profiles.resolve("mini", languages=TED)).text
    assert words in text.splitlines()[0] and verdict in text
    assert "over 60.0 %" in text and "57.1 %" in text and "at least 1.05" in text
    apart = next(line for line in text.splitlines() if "Trained minus random" in line)
    expected = {0.75: "**more** than the arch", 0.4: "**less** than the arch", EVEN: "**not measurably** different"}
    assert expected[share] in apart


def test_other_languages_have_nothing_published():
    romance = ["fr", "it", "es", "pt", "de"]  # German alone is in the figure
    found, given_settings = study(0.75, romance), profiles.resolve("mini", languages=romance)
    text = distribution_study.reading(found, given_settings).text
    assert "nothing published to compare with" in text and "direction" not in text
    assert list(distribution_study.bars(found, given_settings)[1]) == ["FFN's share of the parameters"]
    assert distribution_study.frame(found, given_settings)["published"].isna().all()


def test_few_languages_have_no_interval_and_no_verdict():
    codes = ["fa", "hi"]
    text = distribution_study.reading(study(0.9, codes), profiles.resolve("mini", languages=codes)).text
    assert "too few languages" in text and "nothing published" in text and "nan" not in text


def test_only_the_papers_languages_are_compared_with_its_figure():
    codes = [*TED[:4], "fr", "it", "es", "pt"]
    found = study(0.75, codes)
    found[TRAINED].active.loc[:, "fr":] = np.array([1, 0, 0, 1, 1, 0])[:, None]  # theirs is all attention
    text = distribution_study.reading(found, profiles.resolve("mini", languages=codes)).text
    assert "**same direction**" in text and "**not measurably** more or less" in text.splitlines()[0]


@pytest.mark.parametrize("params", ["all", "re:fc1"])
def test_other_parameters_are_not_compared_with_the_figure(params):
    plain = profiles.resolve("mini", languages=TED, params=params)
    assert "nothing published to compare with" in distribution_study.reading(study(0.75), plain).text


def test_frame_is_tidy_and_whole():
    found = study(0.75)
    frame = distribution_study.frame(found, profiles.resolve("mini", languages=TED))
    whole = frame[frame["layer"].isna()]
    assert len(whole) == 2 * len(TED) * 6
    row = whole.set_index(["weights", "language", "group"]).loc[(TRAINED, "fa", FFN)]
    assert row["mask"] == pytest.approx(found[TRAINED].mask.loc[FFN, "fa"]) and row["published"] == 0.6
    assert row["enrichment"] == pytest.approx(row["mask"] / row["parameters"])
    assert whole["published"].notna().sum() == len(TED)
    layers = frame[frame["layer"].notna()]
    assert layers.groupby("weights")["mask"].sum().to_numpy() == pytest.approx([1, 1])
    assert set(layers["language"]) == {distribution_study.MEAN} and layers["layer"].min() == 1
    assert len(distribution_study.figure2(frame)) == len(TED) * 6


def test_other_profiles_stand_beside_print_with_enrichment_and_random_weights():
    settings = profiles.resolve("mini", languages=TED)
    here, there = (distribution_study.frame(study(share), settings) for share in (0.40, 0.75))
    lines = distribution_study.elsewhere(here, {"At open": there}, settings).text.splitlines()
    assert lines[0] == "| what | published | `mini` | At open |"
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines[2:]}
    assert "| over 60.0 % | 40." in rows["FFN: mask"] and "75." in rows["FFN: mask"]
    assert "| over 1.05 | 0.68 (" in rows["FFN: enrichment"]
    slow = here[(here["weights"] == RANDOM) & (here["group"] == "D_f") & here["layer"].isna()]["enrichment"].mean()
    assert f"| – | {slow:.2f} (" in rows["D_f: enrichment, random weights"]
    assert rows["FFN as in print?"].endswith("| **opposite direction** | **same direction** |")
    assert len(rows) == 5 + 5 * 2 and distribution_study.elsewhere(here, {}, settings).text == ""


def test_one_group_alone_is_refused():
    found = by_hand({"fa": [0, 1, 1, 0, 0, 1]}, {"fa": [0, 1, 1, 0, 0, 1]})
    only = Distribution(found.tensors.iloc[1:3], found.active.iloc[1:3], found.mass.iloc[1:3])
    with pytest.raises(UsageError, match="all of these parameters are of the group E_f"):
        distribution_study.refuse_without_groups(only)
    distribution_study.refuse_without_groups(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny model on 60 territory names in four languages."""
    folder = tmp_path_factory.mktemp("given")
    data = save_names(folder / "names.tsv")
    model = save_tiny_m2m(
        folder / "model", data.read_text().replace("\t", "\n").splitlines(), seed=1
    )  # 0 is the null's
    parameters = {"model": str(model), "corpus": "files", "data": str(data), "languages": ["fa", "hi", "de", "sv"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGSIM_CACHE", str(folder / "cache"))
        yield profiles.resolve(**parameters, max_items=60, estimator="per_example")


def test_random_weights_are_the_instrument_checks_and_of_the_whole_text(run, monkeypatch):
    vectors = pipeline.fisher_vectors(run, jobs=1)
    parts = distribution.random_weights(vectors)
    assert all(len(halves) == 2 for halves in parts.values()) and list(parts) == list(vectors.keys)

    def nothing(*arguments, **options):
        raise AssertionError("estimated again")

    with monkeypatch.context() as patch:
        patch.setattr(fisher, "estimate", nothing)
        instrument.check(vectors, instrument.RANDOM)
    torch.manual_seed(run.seed)  # as freshly drawn as theirs
    loaded = models.load(run.model)
    model = M2M100ForConditionalGeneration(M2M100Config.from_pretrained(run.model)).eval()
    pairs = vectors.matched.pairs["hi"]
    whole = fisher.estimate(model, loaded.batches(pairs, "hi"), estimator="per_example", selection="layers")
    pooled = distribution._pooled(parts["hi"], 0, len(whole.values))
    assert pooled == pytest.approx(whole.values, rel=1e-3, abs=1e-9 + 1e-5 * float(whole.values.max()))


def test_measured_on_a_real_model(run):
    vectors = pipeline.fisher_vectors(run, jobs=1)
    found = distribution.measured(vectors)
    values, layout = vectors.open()["fa"].values, vectors.open()["fa"].layout
    active = np.zeros(values.size, bool)
    active[np.argsort(-values, kind="stable")[: round(run.k * values.size)]] = True
    inside = sum(int(active[o : o + math.prod(s)].sum()) for name, s, o in layout if ".fc" in name)
    assert found[TRAINED].mask.loc[FFN, "fa"] == pytest.approx(inside / active.sum())
    assert found[TRAINED].parameters[FFN] == pytest.approx(
        sum(math.prod(s) for name, s, _ in layout if ".fc" in name) / values.size
    )
    assert not np.allclose(found[TRAINED].mask, found[RANDOM].mask, atol=1e-3)
    table = distribution_study.table(found, run)
    assert list(table.index) == [FFN, "E_f", "D_f", "E_a", "D_a", "D_c"] and table.notna().all(axis=None)
    assert "parts of layers" in distribution_study.layers_reading(found).text
