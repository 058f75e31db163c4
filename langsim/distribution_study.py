"""Figure 2 as a page reads it: shares of the mask beside shares of the parameters, with intervals over languages."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from langsim import papers, readings
from langsim.agreement import DRAWS, FEWEST, OPPOSITE, SAME, UNDECIDED
from langsim.distribution import FFN, RANDOM, TRAINED, Distribution, paper_model
from langsim.profiles import Settings
from langsim.readings import Prose, number

NAMES = {
    FFN: "the whole FFN",
    "E_f": "encoder, feed-forward",
    "D_f": "decoder, feed-forward",
    "E_a": "encoder, self-attention",
    "D_a": "decoder, self-attention",
    "D_c": "decoder, cross-attention",
    "E_norm": "encoder, layer norms",
    "D_norm": "decoder, layer norms",
}
MEAN = "mean"  # in the place of a language
PARAMETERS = "parameters"  # the bar without Fisher information
TOLERANCES = {"mask": 0.001, "enrichment": 0.02, "fisher_mass": 0.001}


@dataclass(frozen=True)
class Mean:
    """A mean over languages.

    Attributes:
        low, high: percentile interval (95%) over languages drawn with replacement; NaN below `FEWEST` languages. The
            languages share a model and one side of the text: it says how the mean moves with the choice of
            languages, not with the model or the text.
    """

    value: float
    low: float
    high: float

    def side(self, of: float = 0.0) -> int:
        """1: measurably above, -1: measurably below, 0: not to be told apart (or no interval)."""
        return int(self.low > of) - int(self.high < of)

    def told(self, digits: int = 2, scale: float = 1.0, unit: str = "") -> str:
        """`0.88 (0.87 to 0.89)`."""
        text = f"{number(self.value * scale, digits)}{unit}"
        if math.isnan(self.low):
            return text
        return f"{text} ({number(self.low * scale, digits)} to {number(self.high * scale, digits)})"

    @property
    def percent(self) -> str:
        """`50.2 % (49.9 to 50.4)`."""
        return self.told(1, 100, " %")


def mean(values: pd.Series, seed: int = 0) -> Mean:
    """The mean of one number a language, (L,)."""
    given = values.to_numpy(dtype=float)
    if len(given) < FEWEST:
        return Mean(float(given.mean()), math.nan, math.nan)
    counts = np.random.default_rng(seed).multinomial(len(given), np.full(len(given), 1 / len(given)), size=DRAWS)
    low, high = np.quantile(counts @ given / len(given), [0.025, 0.975])
    return Mean(float(given.mean()), float(low), float(high))


def refuse_without_groups(found: Distribution) -> None:
    """Nothing to do where there are groups to compare.

    Raises:
        UsageError: all parameters are of one group.
    """
    from langsim.errors import UsageError

    if len(found.groups) < 2:
        raise UsageError(
            f"params: all of these parameters are of the group {found.groups[0]}, so there is nothing to compare; "
            "choose ffn, attention or all"
        )


def table(found: Mapping[str, Distribution], settings: Settings) -> pd.DataFrame:
    """One row a group: its share of the parameters, here and in the paper's model, of the mask, and of the mass."""
    trained, random = found[TRAINED], found[RANDOM]
    paper = paper_model(settings.recipe)
    rows = {}
    for group in _ordered(trained):
        rows[group] = {
            "what": NAMES.get(group, group),
            "share of parameters": _percent(trained.parameters[group]),
            "of m2m100_418M": _percent(paper[group]) if group in paper else "–",
            "share of the mask": mean(trained.mask.loc[group]).percent,
            "enrichment": mean(trained.enrichment().loc[group]).told(),
            f"enrichment, {RANDOM}": mean(random.enrichment().loc[group]).told(),
            "share of Fisher mass": mean(trained.fisher_mass.loc[group]).percent,
            f"share of Fisher mass, {RANDOM}": mean(random.fisher_mass.loc[group]).percent,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="group")


def _percent(share: float) -> str:
    return f"{number(100 * share, 1)} %"


def _ordered(found: Distribution) -> list[str]:
    """The FFN as a whole, then the groups."""
    return [*([FFN] if FFN in found.parameters else []), *found.groups]


def printed_share() -> float:
    """What the paper says the FFN holds at least of the mask: a share of one."""
    printed = papers.published("pf-fig2").set_index("part")["value"]
    return float(printed[FFN]) / 100


def comparable(settings: Settings) -> list[str]:
    """Those of the languages that the paper's figure has; none where they are fewer than `FEWEST`, or where the top K
    is taken from other parameters than the layers'."""
    printed = set(papers.published("pf-fig1")["language"])
    found = [code for code in settings.languages if code in printed]
    layers = settings.params != "all" and not settings.params.startswith("re:")
    return found if layers and len(found) >= FEWEST else []


def bars(found: Mapping[str, Distribution], settings: Settings) -> tuple[pd.DataFrame, dict[str, float]]:
    """(rows, G) of shares: of the parameters, of the mask of each language, and of the mask with random weights; and
    the places of the lines: the FFN's share of the parameters, and what the paper prints."""
    trained = found[TRAINED]
    shares = pd.DataFrame(
        {
            PARAMETERS: trained.parameters[trained.groups],
            RANDOM: found[RANDOM].mask.loc[trained.groups].mean(axis=1),
            **{code: trained.mask.loc[trained.groups, code] for code in trained.mask},
        }
    ).T
    lines = {}
    if FFN in trained.parameters and 0 < trained.parameters[FFN] < 1:
        lines["FFN's share of the parameters"] = float(trained.parameters[FFN])
        if comparable(settings):
            lines["published: the FFN holds more than this"] = printed_share()
    return shares, lines


def ratios(found: Mapping[str, Distribution], settings: Settings) -> dict[str, pd.DataFrame]:
    """Title to rows for `charts.dots`: the enrichment of every group, by mask and by mass, trained and random."""
    titles = {"mask": f"In the mask (top {100 * settings.k:g} %)", "fisher_mass": "In Fisher mass"}
    panels = {}
    for of, title in titles.items():
        lines = []
        for group in _ordered(found[TRAINED]):
            for name, one in found.items():
                got = mean(one.enrichment(of).loc[group])
                lines.append({"row": group, "series": name, "value": got.value, "low": got.low, "high": got.high})
        panels[title] = pd.DataFrame(lines)
    return panels


def layers(found: Mapping[str, Distribution], settings: Settings) -> dict[str, pd.DataFrame]:
    """Title to lines for `charts.by_layer`: the enrichment of every group in every layer, mean over languages."""
    titles = {"mask": f"In the mask (top {100 * settings.k:g} %)", "fisher_mass": "In Fisher mass"}
    tables = {name: _layer_means(one) for name, one in found.items()}
    panels = {}
    for of, title in titles.items():
        parts = [
            one.assign(place=one["side"] + one["layer"].add(1).astype(str), series=name, value=one[of])
            for name, one in tables.items()
        ]
        whole = pd.concat(parts).sort_values(["side", "layer"], key=lambda c: c.map({"E": 0, "D": 1}).fillna(c))
        panels[title] = whole[["place", "group", "series", "value"]]
    return panels


def _layer_means(one: Distribution) -> pd.DataFrame:
    """group, layer, side (E, D), and the mean enrichment over languages by mask and by mass; layers' groups alone."""
    given = one.by_layer()
    for of in ("mask", "fisher_mass"):
        given[of] /= given["parameters"]
    means = given.groupby(["group", "layer"], sort=False)[["mask", "fisher_mass"]].mean().reset_index()
    means.insert(2, "side", means["group"].str[0])
    return means[means["side"].isin(["E", "D"])]


def frame(found: Mapping[str, Distribution], settings: Settings) -> pd.DataFrame:
    """The tidy result: weights, language, group, layer, then shares of the parameters, mask and Fisher mass, and the
    enrichment of the mask; `published`: what the FFN holds at least.

    Rows without a layer are whole groups, one a language; rows with a layer (counted from 1) are means over languages.
    """
    printed, there = printed_share(), set(comparable(settings))
    parts = []
    for weights, one in found.items():
        whole = pd.concat({"mask": one.mask.stack(), "fisher_mass": one.fisher_mass.stack()}, axis=1)
        whole = whole.rename_axis(index=["group", "language"]).reset_index()
        whole["parameters"] = whole["group"].map(one.parameters)
        compared = (whole["group"] == FFN) & whole["language"].isin(there) & (weights == TRAINED)
        whole["published"] = np.where(compared, printed, np.nan)
        within = one.by_layer().groupby(["group", "layer"], sort=False).mean(numeric_only=True).reset_index()
        within["layer"] += 1
        parts.append(pd.concat([whole, within.assign(language=MEAN)], ignore_index=True).assign(weights=weights))
    table = pd.concat(parts, ignore_index=True).astype({"layer": "Int64"})
    table["enrichment"] = table["mask"] / table["parameters"]
    order = ["weights", "language", "group", "layer", "parameters", "mask", "enrichment", "fisher_mass", "published"]
    return table[order]


def figure2(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `frame` that are Figure 2: whole groups of the trained model, one a language."""
    return table[(table["weights"] == TRAINED) & table["layer"].isna()]


def elsewhere(here: pd.DataFrame, frames: Mapping[str, pd.DataFrame], settings: Settings) -> Prose:
    """What was published, this run, and results at other profiles (title to tidy frame), side by side: one row a
    number, enrichment and random weights included. Empty without another profile."""
    if not frames:
        return Prose("")
    base, printed = float(paper_model(settings.recipe)[FFN]), printed_share()
    columns = {
        "published": {
            f"{FFN}: {PARAMETERS}": _percent(base),
            f"{FFN}: mask": f"over {_percent(printed)}",
            f"{FFN}: enrichment": f"over {number(printed / base)}",
        },
        **{title: _numbers(frame) for title, frame in {f"`{settings.profile}`": here, **frames}.items()},
    }
    return readings.grid(pd.DataFrame(columns).reindex(list(_numbers(here))).fillna("–").rename_axis(columns="what"))


def _numbers(frame: pd.DataFrame) -> dict[str, str]:
    """Row to number of one result: means over languages, with intervals; of the FFN all there is, of its parts and the
    others the enrichment."""
    whole = frame[frame["layer"].isna()]
    trained, random = (whole[whole["weights"] == weights] for weights in (TRAINED, RANDOM))
    rows = {}
    for group in [FFN, *(name for name in dict.fromkeys(trained["group"]) if name != FFN)]:
        own = trained[trained["group"] == group]
        if own.empty:
            continue
        if group == FFN:
            rows[f"{group}: {PARAMETERS}"] = _percent(float(own["parameters"].iloc[0]))
            rows[f"{group}: mask"] = mean(own["mask"]).percent
            compared = own.loc[own["published"].notna(), "enrichment"]
            rows |= {"FFN as in print?": f"**{_verdict(mean(compared))}**"} if len(compared) else {}
        rows[f"{group}: enrichment"] = mean(own["enrichment"]).told()
        rows[f"{group}: enrichment, {RANDOM}"] = mean(random.loc[random["group"] == group, "enrichment"]).told()
    return rows


def _verdict(rich: Mean) -> str:
    """Does the FFN hold more than its size gives it, as in print?"""
    return {1: SAME, -1: OPPOSITE}.get(rich.side(1.0), UNDECIDED)


def reading(found: Mapping[str, Distribution], settings: Settings) -> Prose:
    """Is the FFN over-represented, or merely large? With the paper's number, the null, and the mass beside."""
    trained, random = found[TRAINED], found[RANDOM]
    if FFN not in trained.parameters or trained.parameters[FFN] == 1:
        return readings.prose("Without feed-forward weights beside others here, there is nothing to compare with.")
    rich, poor = mean(trained.enrichment().loc[FFN]), mean(random.enrichment().loc[FFN])
    apart = mean(trained.enrichment().loc[FFN] - random.enrichment().loc[FFN])
    heavy, light = (mean(one.enrichment("fisher_mass").loc[FFN]) for one in (trained, random))
    return readings.bullets(
        f"The FFN holds {mean(trained.mask.loc[FFN]).percent} of the mask and {_percent(trained.parameters[FFN])} of "
        f"the parameters, an enrichment of {rich.told()}: {_represented(rich)}.",
        _published(trained, settings),
        f"With random weights (one draw of them) the enrichment is {poor.told()}: {_represented(poor)}, by "
        f"architecture alone. Trained minus random it is {apart.told()}: {_beside_random(apart)}.",
        f"By Fisher mass the enrichment is {heavy.told()}, {_represented(heavy)}; with random weights {light.told()}.",
        _extremes(trained),
        _sides(trained, random),
        _languages(trained),
    )


def _represented(one: Mean) -> str:
    """What an enrichment says, by its interval."""
    if math.isnan(one.low):
        return "too few languages to say more or less"
    words = {1: "**more** than its size gives it", -1: "**less** than its size gives it"}
    return words.get(one.side(1.0), "**not measurably** more or less than its size gives it")


def _beside_random(apart: Mean) -> str:
    if math.isnan(apart.low):
        return "too few languages to say whether that is a difference"
    told = {1: "**more** than the architecture alone gives", -1: "**less** than the architecture alone gives"}
    return told.get(apart.side(), "**not measurably** different from what the architecture gives")


def _published(trained: Distribution, settings: Settings) -> str:
    """The paper's sentence beside ours, on the languages that its figure has."""
    codes = comparable(settings)
    if not codes:
        other = settings.params == "all" or settings.params.startswith("re:")
        why = "takes its top K from other parameters" if other else f"has fewer than {FEWEST} of these languages"
        return f"Figure 2 {why}: there is nothing published to compare with."
    rich = mean(trained.enrichment().loc[FFN, codes])
    base, printed = float(paper_model(settings.recipe)[FFN]), printed_share()
    verdict = _verdict(rich)
    here = {1: "it is more here too", -1: "here it is less"}.get(rich.side(1.0), "here neither is certain")
    return (
        f"The paper prints over {_percent(printed)} for a model in which the FFN is {_percent(base)} of the "
        f"parameters: an enrichment of at least {number(printed / base)}, without an interval. So in print the FFN "
        f"holds more than its size gives it, and {here}: **{verdict}**."
    )


def _extremes(trained: Distribution) -> str:
    """The groups that hold the most and the least for their size."""
    rich = {group: mean(trained.enrichment().loc[group]) for group in trained.groups}
    most, least = (pick(rich, key=lambda group: rich[group].value) for pick in (max, min))
    return (
        f"For its size, {most} ({NAMES.get(most, most)}) holds most of the mask, {rich[most].told()}, and {least} "
        f"({NAMES.get(least, least)}) least, {rich[least].told()}."
    )


def _sides(trained: Distribution, random: Distribution) -> str:
    """How much of the mask the encoder holds."""
    encoder = [group for group in trained.groups if group.startswith("E_")]
    if not encoder or not any(group.startswith("D_") for group in trained.groups):
        return ""
    share, null = (mean(one.mask.loc[encoder].sum()) for one in (trained, random))
    return (
        f"The encoder, {_percent(trained.parameters[encoder].sum())} of the parameters, holds {share.percent} of the "
        f"mask, with random weights {null.percent}."
    )


def _languages(trained: Distribution) -> str:
    share = trained.mask.loc[FFN]
    low, high = share.idxmin(), share.idxmax()
    return (
        f"Between languages the FFN's share goes from {_percent(share[low])} ({low}) to {_percent(share[high])} "
        f"({high}). The intervals are over languages, which share the model and one side of the text."
    )


def layers_reading(found: Mapping[str, Distribution]) -> Prose:
    """Which layer's part holds the most for its size, and how far the pattern is that of random weights."""
    here, there = (_layer_means(found[name]) for name in (TRAINED, RANDOM))
    if len(here) < FEWEST:
        return readings.prose("Too few layers for a pattern.")
    most, least = (here.loc[pick(here["mask"])] for pick in (pd.Series.idxmax, pd.Series.idxmin))
    alike = float(spearmanr(here["mask"], there["mask"]).statistic)
    return readings.prose(
        f"For its size, {_place(most)} holds most of the mask ({number(most['mask'])}) and {_place(least)} least "
        f"({number(least['mask'])}). Over the {len(here)} parts of layers, Spearman's correlation of the enrichment "
        f"with that of random weights is {number(alike)}."
    )


def _place(row: pd.Series) -> str:
    return f"{row['group']} in layer {row['side']}{row['layer'] + 1}"
