"""Data similarity of A.3: sentence vectors, the nearest few, samples, families; against scikit-learn and loops."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from checkpoints import BUILD, train_pieces
from hypothesis import given, settings, strategies
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix
from scipy.stats import permutation_test, spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize
from tiny import save_names, save_tiny_m2m

from langsim import data_families, data_similarity, data_study, models, pipeline, profiles, sentences
from langsim.agreement import OPPOSITE, SAME, UNDECIDED
from langsim.corpora.base import Pair
from langsim.data_similarity import Items, Sampling, nearest_cosines, similarity
from langsim.data_study import Study
from langsim.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # Marian's; not needed here

CODES = ["fa", "hi", "de", "sv"]


def naive(t, s, nearest):
    """Steps 3 and 4 of A.3, a sentence at a time."""
    found = []
    for row in cosine_similarity(t, s):
        found.append(sum(np.sort(row)[::-1][:nearest]) / nearest)
    return np.array(found)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cells", [1, 60, 1 << 24])
@pytest.mark.parametrize("nearest", [1, 5, 20])
def test_nearest_is_sorting_whatever_the_blocks(monkeypatch, sparse, cells, nearest):
    monkeypatch.setattr(data_similarity, "_CELLS", cells)
    rng = np.random.default_rng(0)
    t, s = (rng.normal(size=(n, 6)) * (rng.random((n, 6)) < 0.5) for n in (13, 20))  # some rows may be zero
    expected = naive(t, s, nearest)
    t, s = normalize(t), normalize(s)
    if sparse:
        t, s = csr_matrix(t), csr_matrix(s)
    assert nearest_cosines(t, s, nearest) == pytest.approx(expected, abs=1e-12)
    assert similarity(t, s, nearest) == pytest.approx(expected.mean(), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(arrays(float, (7, 3), elements=strategies.integers(-3, 3).map(float)), strategies.randoms())
def test_what_data_similarity_has_to_be(rows, random):
    vectors = normalize(rows)
    there = (vectors**2).sum(axis=1) > 0
    own = nearest_cosines(vectors, vectors, 1)
    assert own[there] == pytest.approx(1) and (own[~there] == 0).all()  # a sentence is nearest to itself
    values = [similarity(vectors, vectors[:6], nearest) for nearest in range(1, 7)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(values))  # further ones are not nearer
    assert -1 - 1e-12 <= values[-1] <= values[0] <= 1 + 1e-12
    order = random.sample(range(6), 6)
    assert similarity(vectors, vectors[:6][order], 3) == pytest.approx(values[2])


def test_too_few_sentences_have_no_nearest():
    with pytest.raises(UsageError, match="3 sentences have no 5 nearest"):
        nearest_cosines(np.eye(3), np.eye(3), 5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"share": 0}, "sample: a share of the sentences in"),
        ({"share": 1.5}, "sample: "),
        ({"share": "0.1"}, "not '0.1'"),
        ({"nearest": 0}, "nearest: a whole number from 1"),
        ({"nearest": 2.5}, "nearest: "),
        ({"draws": True}, "draws: "),
    ],
)
def test_each_mistake_says_what_to_do(wrong, words):
    with pytest.raises(UsageError, match=words) as caught:
        Sampling(**{"share": 0.1, "nearest": 5, "draws": 10, **wrong})
    assert "\n" not in str(caught.value)


def test_all_mistakes_at_once_and_a_sample_too_small():
    with pytest.raises(UsageError, match=r"sample: .*; nearest: .*; draws: "):
        Sampling(2, 0, 0)
    assert Sampling(0.1, 5, 1).size(50) == 5
    with pytest.raises(UsageError, match=r"10 % of 30 sentences are 3, fewer than the 5 nearest.*raise sample"):
        Sampling(0.1, 5, 1).size(30)


def pairs_of(items, text="{}"):
    return [Pair(item, text.format(item), item, "text", item) for item in items]


def test_languages_with_the_same_items_are_sampled_alike():
    ids = [f"i{n}" for n in range(40)]
    given = {"fa": pairs_of(ids), "ko": pairs_of(ids[::-1]), "ja": pairs_of(ids[:20])}
    items, sampling = Items.numbered(given), Sampling(0.25, 5, 1)
    drawn = data_similarity.sample(items, sampling, np.random.default_rng(0))
    chosen = {code: {given[code][i].id for i in found} for code, found in drawn.items()}
    assert chosen["fa"] == chosen["ko"] and len(chosen["fa"]) == 10 and len(chosen["ja"]) == 5
    assert chosen["fa"] & {pair.id for pair in given["ja"]} <= chosen["ja"]
    again = data_similarity.sample(items, sampling, np.random.default_rng(1))
    assert {given["fa"][i].id for i in again["fa"]} != chosen["fa"]


def test_every_sentence_is_drawn_as_often_as_any_other():
    items = Items.numbered({"fa": pairs_of(map(str, range(30)))})
    counts, draws = np.zeros(30), 2000
    for draw in range(draws):
        counts[data_similarity.sample(items, Sampling(0.2, 5, 1), np.random.default_rng(draw))["fa"]] += 1
    assert counts.sum() == 6 * draws
    assert np.abs(counts / draws - 0.2).max() < 5 * math.sqrt(0.2 * 0.8 / draws)


def test_draws_are_those_of_a_loop():
    rng = np.random.default_rng(4)
    given = {code: pairs_of([f"i{n}" for n in range(30)]) for code in CODES}
    vectors = {code: normalize(rng.normal(size=(30, 4))) for code in CODES}
    sampling, items = Sampling(0.3, 4, 6), Items.numbered(given)
    found = data_similarity.draws(vectors, items, "hi", sampling, seed=7)
    assert found.shape == (6, 3) and "hi" not in found
    ids = sorted({pair.id for pair in given["fa"]})
    for draw in range(6):
        parts = []
        for side in (0, 1):
            lots = np.random.default_rng([7, draw, side]).random(30)
            lowest = sorted(range(30), key=lots.__getitem__)[:9]
            parts.append([[pair.id for pair in given["fa"]].index(ids[i]) for i in lowest])
        for code in found:
            expected = naive(vectors[code][parts[0]], vectors["hi"][parts[1]], 4).mean()
            assert found.loc[draw, code] == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return save_names(tmp_path_factory.mktemp("names") / "names.tsv")


@pytest.fixture(scope="module")
def corpus_pairs(names):
    plain = profiles.resolve(model="organisation/name", corpus="files", data=str(names), languages=CODES, max_items=50)
    return pipeline.match_text(plain, pipeline.load_corpus(plain)).pairs


@pytest.fixture(scope="module")
def pieces(names):
    return train_pieces(names.read_text().replace("\t", "\n").splitlines())


@pytest.mark.parametrize("kind", ["m2m100", "marian", "t5"])
def test_model_vectors_are_means_of_a_sentence_alone(kind, corpus_pairs, pieces, names, tmp_path):
    text = names.read_text().replace("\t", "\n").splitlines()
    loaded = models.load(str(BUILD[kind](tmp_path / kind, text, *pieces)))
    given = {code: found[:12] for code, found in corpus_pairs.items() if code in ("fa", "de")}
    found = sentences.vectors(loaded, given, "en", size=5)
    for code, some in given.items():
        ids = [loaded.encode(pair.source_text, pair.target_text, code, "en")[0] for pair in some]
        common = set(ids[0]).intersection(*ids)
        assert common, "at least the end of the sentence"
        for row, one in enumerate(ids):
            own = [i for i, token in enumerate(one) if token not in common]
            with torch.no_grad():
                states = loaded.model.get_encoder()(input_ids=torch.tensor([one])).last_hidden_state[0, own]
                embedded = loaded.model.get_input_embeddings().weight[torch.tensor(one)][own]
            for name, expected in (("encoder", states), ("embeddings", embedded)):
                mean = expected.double().mean(dim=0).numpy()
                assert found[name][code][row] == pytest.approx(mean / np.linalg.norm(mean), abs=2e-5)


def test_a_sentence_of_common_tokens_alone_still_has_a_vector(corpus_pairs, pieces, names, tmp_path):
    loaded = models.load(str(BUILD["m2m100"](tmp_path / "m", names.read_text().split(), *pieces)))
    same = [corpus_pairs["fa"][0]] * 3
    found = sentences.vectors(loaded, {"fa": same}, "en")
    assert np.linalg.norm(found["encoder"]["fa"], axis=1) == pytest.approx(1, abs=1e-5)


def test_characters_are_tf_idf_over_all_languages(corpus_pairs):
    found = sentences.characters(corpus_pairs)
    texts = [pair.source_text for code in CODES for pair in corpus_pairs[code]]
    expected = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(texts).toarray()
    stacked = np.concatenate([found[code].toarray() for code in CODES])
    assert stacked == pytest.approx(expected, abs=1e-6)


def values_of(means, draws=40, spread=1.0, seed=0):
    """(draws, auxiliaries) around given means; the noise of a draw is common to all, as samples are."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, spread, (draws, 1))
    return pd.DataFrame(
        np.array(list(means.values())) + common + rng.normal(0, 0.1, (draws, len(means))), columns=list(means)
    )


MEANS = {"ko": 40.0, "bn": 41.0, "hi": 45.0, "tr": 30.0, "de": 20.0, "sv": 21.0, "id": 22.0}


def study_of(means, **changes):
    parts = {
        "target": "fa",
        "measure": "overlap",
        "sampling": Sampling(0.1, 5, 40),
        "draws": {"encoder": values_of(means)},
        "fisher": pd.Series({code: value / 100 for code, value in means.items()}),
        "families": {
            "Overlap, ours": ("hi", "bn"),
            "Overlap, published": ("tr", "ko", "id"),
            "traditional (LF)": ("hi", "bn"),
        },
        "relatives": ("hi", "bn"),
        "picked": ("hi", "bn"),
        "printed": data_study.printed("fa", list(means)),
        "sentences": 37,
        "translated": 0.1,
    }
    return Study(**{**parts, **changes})


def test_published_numbers_are_the_printed_ones():
    assert data_study.printed("fa", ["hi", "ko", "bn", "tr"]).to_dict() == {"ko": 32.6, "bn": 32.6, "hi": 33.5}
    assert data_study.printed("fa", ["tr"]).empty and data_study.printed("hi", ["ko"]).empty


@pytest.mark.parametrize(("hindi", "verdict"), [(45.0, SAME), (35.0, OPPOSITE), (40.0, UNDECIDED)])
def test_claims_follow_the_draws(hindi, verdict):
    found = study_of({**MEANS, "hi": hindi}, nulls={"untrained encoder": values_of(dict.fromkeys(MEANS, 9.0))})
    table = data_study.claims_frame(found)
    assert table.loc["encoder, %", "hi above ko (A.3)"].startswith(f"**{verdict}**: ")
    assert table.loc["published, %", "hi above ko (A.3)"] == "0.9"
    assert table.loc["encoder, %", "ko above all others (3.3)"].startswith(f"**{SAME}**")
    assert table.loc["untrained encoder, %", "hi above ko (A.3)"].startswith(f"**{UNDECIDED}**")
    head = data_study.claims_table(found).text.splitlines()[0]
    assert head == "| difference | hi above ko (A.3) | hi above bn (A.3) | ko above all others (3.3) |"


def test_one_draw_decides_nothing():
    one = study_of(MEANS, draws={"encoder": values_of(MEANS, draws=1)}, sampling=Sampling(0.1, 5, 1))
    assert data_study.claims_frame(one).loc["encoder, %", "hi above ko (A.3)"].startswith(f"**{UNDECIDED}**")
    assert "nan" not in data_study.claims_table(one).text
    assert "One draw" not in data_study.sampling_reading(one).text


def test_korean_beside_the_relatives():
    text = data_study.korean(study_of(MEANS)).text
    assert "−0.45 points" in text and "encoder −3.0 (" in text and "place 3 of 7" in text


def test_other_languages_have_nothing_printed():
    means = {"it": 50.0, "fr": 40.0, "pt": 30.0, "de": 20.0}
    found = study_of(means, target="es", families={"Overlap, ours": ("it",)}, relatives=(), picked=("it",))
    found = Study(**{**found.__dict__, "printed": data_study.printed("es", list(means))})
    assert "prints nothing for es" in data_study.claims_table(found).text
    assert "nothing of the kind is printed" in data_study.korean(found).text
    assert (
        "published" not in data_study.languages_table(found)
        and "published" not in data_study.languages_panels(found)[0]
    )


def test_languages_are_ordered_and_marked():
    found = study_of(MEANS, picked=("hi", "tr"))
    table = data_study.languages_table(found)
    assert list(table.index) == ["hi", "bn", "ko", "tr", "id", "sv", "de", "mean of all"]
    assert table["family"].to_list()[:4] == ["both", "traditional", "neither", "pseudo"]
    panels, lines = data_study.languages_panels(found)
    assert list(panels) == ["encoder", "published"] and list(panels["published"]["row"]) == ["hi", "bn", "ko"]
    assert lines["encoder"] == pytest.approx(found.draws["encoder"].to_numpy().mean())


def test_a_null_is_tested_and_saved_but_not_drawn():
    found = study_of(MEANS, nulls={"untrained encoder": values_of(dict.fromkeys(MEANS, 90.0))})
    tested = data_families.tested_families(found)
    frame = data_families.frame(found, tested)
    assert frame["vectors"].value_counts().to_dict() == {"encoder": 10, "untrained encoder": 10}
    assert "untrained encoder, %" in data_families.table(found, tested)
    assert list(data_study.fisher_follows(found).index) == ["encoder", "untrained encoder"]
    assert "untrained encoder" in data_study.korean(found).text
    assert "Untrained encoder: none of the 3" in data_families.reading(found, tested).text
    assert list(data_study.languages_panels(found)[0]) == ["encoder", "published"]
    assert list(data_families.panels(found, tested)[0]) == ["encoder"]
    assert "untrained encoder, %" not in data_study.languages_table(found)


def test_random_families_are_all_subsets():
    values = values_of(MEANS)
    found = data_families.against_random(values, ["hi", "bn"])
    means = values.mean()
    every = [means[list(pair)].mean() for pair in itertools.combinations(MEANS, 2)]
    own = means[["hi", "bn"]].mean()
    exact = np.mean(np.abs(np.array(every) - means.mean()) >= abs(own - means.mean()) - 1e-9)
    assert found.value == pytest.approx(own) and found.expected == pytest.approx(np.mean(every))
    assert found.p_value == pytest.approx(exact, abs=0.01)
    assert min(every) <= found.chance_low < found.chance_high <= max(every)
    assert found.low == pytest.approx(np.quantile(values[["hi", "bn"]].mean(axis=1), 0.025))
    assert data_families.against_random(values, list(MEANS)).p_value == 1


def test_verdicts_on_families():
    means = {f"l{i}": float(i) for i in range(40)}
    families = {"KL, ours": ("l39", "l38", "l37"), "MSE, ours": ("l0", "l1", "l2"), "Overlap, ours": ("l5", "l35")}
    found = study_of(means, families=families)
    tested = data_families.tested_families(found)
    assert [tested["encoder", name].verdict for name in families] == [
        "more similar", "less similar", "not measurably different",
    ]  # fmt: skip
    text = data_families.reading(found, tested).text
    assert "**more similar** than random families of the same size: *KL, ours*; **less similar**" in text
    assert "The other 1 of 3" in text
    flat = study_of({code: 50.0 for code in means}, families=families)
    assert "none of the 3 families" in data_families.reading(flat, data_families.tested_families(flat)).text


def test_equal_families_are_one_test():
    found = study_of(MEANS)
    tested = data_families.tested_families(found)
    twice = tested["encoder", "Overlap, ours"], tested["encoder", "traditional (LF)"]
    assert twice[0] == twice[1]
    p_values = sorted([twice[0].p_value, tested["encoder", "Overlap, published"].p_value])
    assert sorted([twice[0].adjusted, tested["encoder", "Overlap, published"].adjusted])[0] == 2 * p_values[0]


def test_frame_has_languages_and_families():
    found = study_of(MEANS)
    frame = data_families.frame(found, data_families.tested_families(found))
    assert len(frame) == len(MEANS) + 3
    row = frame.set_index("name").loc["hi"]
    assert row["published"] == 33.5 and row["similarity"] == pytest.approx(found.draws["encoder"]["hi"].mean())
    assert (frame["low"] < frame["similarity"]).all() and (frame["similarity"] < frame["high"]).all()
    assert set(data_families.TOLERANCES) <= set(frame.columns)


def test_each_kind_of_vector_stands_beside_print_by_itself():
    rows = [
        {"vectors": kind, "of": "language", "name": code, "similarity": value, "low": value - 1, "high": value + 1,
         "published": {"hi": 33.5, "ko": 32.6}.get(code, np.nan)}
        for kind, base in (("encoder", 80.0), ("characters", 2.0))
        for code, value in (("hi", base + 1), ("ko", base + 2), ("tr", base + 6))
    ]  # fmt: skip
    rows.append({"vectors": "encoder", "of": "family", "name": "KL, ours", "similarity": 99.0, "published": np.nan})
    here = pd.DataFrame(rows)
    there = here.assign(similarity=here["similarity"] + 3, low=np.nan, high=np.nan)
    lines = data_study.elsewhere(here, {"At open": there}, "mini").text.splitlines()
    assert lines[0] == "| similarity, % | published | `mini` | At open |"
    assert lines[2:] == [
        "| hi (encoder) | 33.5 | 81.0 (80.0 to 82.0) | 84.0 |",
        "| ko (encoder) | 32.6 | 82.0 (81.0 to 83.0) | 85.0 |",
        "| mean of all (encoder) | – | 83.0 | 86.0 |",
        "| hi (characters) | 33.5 | 3.00 (2.00 to 4.00) | 6.00 |",
        "| ko (characters) | 32.6 | 4.00 (3.00 to 5.00) | 7.00 |",
        "| mean of all (characters) | – | 5.00 | 8.00 |",
    ]
    assert data_study.elsewhere(here, {}, "mini").text == ""


def test_rank_test_is_spearmans_permutation_test():
    rng = np.random.default_rng(5)
    x = pd.Series(rng.normal(size=16), [f"l{i}" for i in range(16)])
    y = (0.5 * x + pd.Series(rng.normal(size=16), x.index))[::-1]  # another order of the languages
    value, chance = data_study._rank_test(x, y)
    ordered = y[x.index]
    expected = permutation_test(
        (x,), lambda a: spearmanr(a, ordered).statistic, permutation_type="pairings", n_resamples=1999, rng=0
    )
    assert value == pytest.approx(expected.statistic) and chance == pytest.approx(expected.pvalue, abs=0.03)
    assert math.isnan(data_study._rank_test(x[:3], y)[0])


def test_the_whole_page_on_a_real_model(names, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGSIM_CACHE", str(tmp_path / "cache"))
    folder = save_tiny_m2m(tmp_path / "model", names.read_text().replace("\t", "\n").splitlines())
    run = profiles.resolve(
        model=str(folder), corpus="files", data=str(names), languages=CODES, targets=["hi", "fa"], max_items=60
    )
    vectors = pipeline.fisher_vectors(run, jobs=1)
    matrix = pipeline.compare(vectors)
    found = data_study.study(vectors, matrix, Sampling(0.2, 5, 8))
    assert found.target == "hi" and found.auxiliaries == ["fa", "de", "sv"] and found.relatives == ("fa",)
    assert found.sentences == 12 and found.translated == 0.2 and found.printed.empty
    assert set(found.every) == set(sentences.KINDS) and set(found.nulls) == {sentences.UNTRAINED}
    null = models.randomised(models.load(str(folder)), run.seed)
    of = sentences.vectors(null, vectors.matched.pairs, "en")["encoder"]
    slow = 100 * data_similarity.draws(of, Items.numbered(vectors.matched.pairs), "hi", Sampling(0.2, 5, 8), seed=0)
    assert found.nulls[sentences.UNTRAINED].to_numpy() == pytest.approx(slow.to_numpy(), abs=1e-3)
    assert found.picked == pipeline.families(matrix, ["hi"])["hi"].family.members
    assert found.fisher.to_dict() == matrix.matrix.loc["hi"].drop("hi").to_dict()
    tested = data_families.tested_families(found)
    frame = data_families.frame(found, tested)
    assert frame["similarity"].between(-100, 100).all() and len(frame) == 4 * (3 + len(found.families))
    again = data_study.study(vectors, matrix, Sampling(0.2, 5, 8))
    assert all(again.every[kind].equals(found.every[kind]) for kind in found.every)
    assert "sample:0.2|target:hi" in found.signature(matrix)
    with pytest.raises(UsageError, match="raise sample"):
        data_study.study(vectors, matrix, Sampling(0.01, 5, 8))
