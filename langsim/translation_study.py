"""Table 2 from its systems: scores with intervals, differences between rows, the paper's statements, the search for K.

Every interval comes from one paired bootstrap over clusters of the test set and over training seeds. Targets share
items (the same message in two languages), so averages over targets redraw the clusters of all of them together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from langsim import bootstrap, claims, papers, results, table2, tuning
from langsim.agreement import LEVEL, holm
from langsim.bootstrap import Difference, Interval
from langsim.cells import Scores
from langsim.profiles import Tuning
from langsim.readings import Prose, bullets, number, p, prose
from langsim.scoring import Measure
from langsim.systems import CONTROLS, MEASURES, METHODS, System
from langsim.table2 import Plan

AVERAGE = "Avg."
ORDER = (*METHODS, *CONTROLS)
REPLICATES = 2000
# Of saved results across machines: another machine may choose other words.
TOLERANCES = {"value": 2.0, "low": 2.0, "high": 2.0}
CLAIM_TOLERANCES = {"difference": 1.5, "low": 1.5, "high": 1.5, "p": 0.5, "detectable": 1.0}


@dataclass(frozen=True)
class Study:
    """Every system's scores, and what they were scored against.

    Attributes:
        pseudo: measure -> target -> auxiliaries, of this run.
        scores: system id -> the scores of its cell.
        references, units: target -> the reference and the cluster of each TEST sentence.
    """

    settings: Tuning
    pseudo: table2.Families
    plan: Plan
    scores: Mapping[str, Scores]
    references: Mapping[str, list[str]]
    units: Mapping[str, list[str]]

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """`bleu`, `chrf` and `spbleu`, as the cells were scored."""
        found = tuning.measures_of(self.settings)
        return {measure.name: measure for measure in found}

    def statistics(self, method: str, target: str, measure: str) -> list[np.ndarray]:
        """One array (N, S) of sentence statistics a seed (of `Random` a draw)."""
        return [self._statistics(system.id, target, measure) for system in self.plan.rows[method][target]]

    def _statistics(self, id: str, target: str, measure: str) -> np.ndarray:
        key = (id, measure)
        if key not in self._kept:
            hypotheses = self.scores[id]["hypotheses"]
            self._kept[key] = self.measures[measure].statistics(hypotheses, self.references[target])
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    def interval(self, method: str, scope: str, measure: str) -> Interval:
        """The score of a row on one target, or averaged over all (`Avg.`)."""
        (stats,), units, score = self._joined((method,), scope, measure)
        return bootstrap.interval(stats, units, score, replicates=REPLICATES, seed=self.settings.seed)

    def difference(self, method: str, baseline: str, scope: str, measure: str) -> Difference:
        """Row minus baseline, on one target or averaged over all."""
        (ours, theirs), units, score = self._joined((method, baseline), scope, measure)
        return bootstrap.difference(ours, theirs, units, score, replicates=REPLICATES, seed=self.settings.seed)

    def _joined(
        self, methods: Sequence[str], scope: str, measure: str
    ) -> tuple[list[list[np.ndarray]], list[str], Callable[[np.ndarray], np.ndarray]]:
        """Statistics of each method, units, and the score of their sums, for one target or for all of them together:
        there every target has columns of its own, zero in the sentences of the others."""
        targets = self.settings.targets if scope == AVERAGE else [scope]
        score, found = self.measures[measure].score, []
        for method in methods:
            by_target = [self.statistics(method, target, measure) for target in targets]
            seeds = min(map(len, by_target))
            found.append([_blocks([of[seed] for of in by_target]) for seed in range(seeds)])
        units = [unit for target in targets for unit in self.units[target]]

        def mean(sums: np.ndarray) -> np.ndarray:
            return np.mean([score(part) for part in np.split(sums, len(targets), axis=-1)], axis=0)

        return found, units, mean


def _blocks(parts: Sequence[np.ndarray]) -> np.ndarray:
    """(N_1 + N_2 + ..., T S) from T arrays (N_t, S), on the diagonal of blocks."""
    from scipy.linalg import block_diag

    return block_diag(*parts)


def study(settings: Tuning, *, jobs: int | None = None) -> Study:
    """Read or compute everything that the page shows.

    Raises:
        Failure: a cell of the profile is missing or stale.
        UsageError: a language without text in a pool, or settings that can't be.
    """
    tuning.check(settings)
    pseudo = table2.pseudo_families(settings)
    plan = table2.plan_of(settings, pseudo)
    scores = tuning.obtain(settings, plan.systems(), jobs=jobs)
    test = {target: tuning.pairs(settings, target, "TEST") for target in settings.targets}
    return Study(
        settings,
        pseudo,
        plan,
        scores,
        {target: [pair.target_text for pair in found] for target, found in test.items()},
        {target: [pair.unit for pair in found] for target, found in test.items()},
    )


def signature(found: Study) -> str:
    """The signature of everything on the page."""
    settings = found.settings
    cell = tuning.cell_of(settings, System(settings.targets[0]))
    parts = {"model": cell.inputs["model"], "corpus": cell.inputs["corpus"], "tuning": cell.inputs["settings"]}
    parts |= {"domain": settings.adaptation, "families": settings.families, "recipe": settings.recipe}
    parts |= {"targets": "+".join(settings.targets), "langs": str(len(settings.languages))}
    parts |= {"seeds": "+".join(map(str, settings.seeds)), "updates": str(settings.updates), "beam": settings.beam_size}
    return results.signature({**parts, "engine": settings.engine, "k": settings.k})


def setting(found: Study) -> Prose:
    """How much text and training stands behind the page."""
    settings, plan = found.settings, found.plan
    train = {target: len(tuning.pairs(settings, target, "FINETUNE")) for target in settings.targets}
    test = {target: len(references) for target, references in found.references.items()}
    groups = {target: len(set(units)) for target, units in found.units.items()}
    where = f"Domain `{settings.adaptation}` of" if settings.adaptation else "All domains of"
    cut = tuning.too_long(settings)
    return prose(
        f"{where} corpus `{settings.corpus}`; pairs to train on: {_listed(train)}; to score: {_listed(test)}, in "
        f"{_listed(groups)} clusters.",
        f"{len(plan.systems())} systems of {settings.updates} updates with a learning rate of "
        f"{settings.learning_rate:g}; seeds {' '.join(map(str, settings.seeds))}; beam {settings.beam_size}, engine "
        f"`{settings.engine}`.",
        f"{cut} pairs are longer than the model can read, and were cut." if cut else "",
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in counts.items())


def signatures(found: Study) -> Prose:
    """sacreBLEU's signatures of the measures."""
    return prose(*(f"{name}: `{measure.signature}`." for name, measure in found.measures.items()))


def training_reading(found: Study) -> Prose:
    """How training went: how far the loss on DEV fell, when it was least, and which rows did not train."""
    tuned = [found.scores[system.id] for system in found.plan.systems() if system.stages]
    gains = [one["parent_loss"] - one["loss"] for one in tuned]
    last = [one["best_updates"][-1] == one["curves"][-1][-1][0] for one in tuned]
    idle = [
        f"{method}, {target}"
        for method in ORDER
        for target in found.settings.targets
        if not did_train(found, method, target)
    ]
    return prose(
        f"In {len(tuned)} fine-tuned systems the loss on DEV fell by {min(gains):.2f} to {max(gains):.2f} nats;",
        f"{sum(last)} were still best at their last update: training was cut at {found.settings.updates} updates, in "
        "which LF+FT has two stages.",
        f"Did not train beyond the noise of their seeds, and decide nothing: {'; '.join(idle)}."
        if idle
        else "Every row trained beyond the noise of its seeds.",
    )


def against(found: Study, baseline: str, measure: str) -> pd.DataFrame:
    """One row a method: the difference of its average from the baseline's; columns as `charts.dots` takes them."""
    lines = []
    for method in ORDER:
        if method != baseline:
            one = found.difference(method, baseline, AVERAGE, measure)
            kind = "control" if method in CONTROLS else "of the paper"
            lines.append({"row": method, "series": kind, "value": one.estimate, "low": one.low, "high": one.high})
    return pd.DataFrame(lines)


def controls_reading(found: Study) -> Prose:
    """Whether the pseudo families do better than random ones, and than all languages."""
    lines = []
    for control in CONTROLS:
        tested = {method: found.difference(method, control, AVERAGE, "chrf") for method in MEASURES}
        adjusted = holm([one.p for one in tested.values()])
        for (method, one), q in zip(tested.items(), adjusted, strict=True):
            word = (
                "not measurably different from" if q >= LEVEL else "better than" if one.estimate > 0 else "worse than"
            )
            lines.append(
                f"{method} is {word} {control}: {number(one.estimate)} chrF2 ({number(one.low)} to "
                f"{number(one.high)}, {p(float(q))})."
            )
    return bullets(*lines)


def gains_frame(found: Study) -> pd.DataFrame:
    """One row a target and auxiliary: gain in chrF2."""
    return singles(found).stack().dropna().rename("gain").rename_axis(["target", "auxiliary"]).reset_index()


def tidy(found: Study) -> pd.DataFrame:
    """One row a method, target (or `Avg.`) and measure: value, low, high, seeds, and the published BLEU."""
    printed = papers.published("pf-table2").set_index(["method", "target"])["value"]
    lines = []
    for method in ORDER:
        for scope in (*found.settings.targets, AVERAGE):
            for measure in found.measures:
                one = found.interval(method, scope, measure)
                same = measure == "bleu" and (method, scope) in printed.index
                lines.append(
                    {
                        "method": method,
                        "target": scope,
                        "measure": measure,
                        "value": one.estimate,
                        "low": one.low,
                        "high": one.high,
                        "systems": _systems(found, method, scope),
                        "published": float(printed[method, scope]) if same else np.nan,
                        "trained": scope == AVERAGE or did_train(found, method, scope),
                    }
                )
    return pd.DataFrame(lines)


def _systems(found: Study, method: str, scope: str) -> int:
    rows = found.plan.rows[method]
    return sum(map(len, rows.values())) if scope == AVERAGE else len(rows[scope])


def did_train(found: Study, method: str, target: str) -> bool:
    """Whether fine-tuning lowered the loss on DEV by more than two standard deviations of its seeds (data rule 5)."""
    scores = [found.scores[system.id] for system in found.plan.rows[method][target]]
    gains = np.array([one["parent_loss"] - one["loss"] for one in scores])
    noise = 2 * gains.std(ddof=1) if len(gains) > 1 else 0.0
    return method == "Vanilla" or bool(gains.mean() > noise)


def table(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """As Table 2, with 95% intervals: methods in rows, ours and (BLEU) as printed; average and targets in columns."""
    chosen = frame[frame["measure"] == measure]
    lines: dict[str, dict[str, str]] = {}
    for row in chosen.itertuples():
        cell = f"{row.value:.1f} ({row.low:.1f}–{row.high:.1f})"
        lines.setdefault(row.method, {})[row.target] = cell if row.trained else f"{cell} did not train"
        if not np.isnan(row.published):
            lines.setdefault(f"{row.method}, published", {})[row.target] = f"{row.published:.1f}"
    shown = pd.DataFrame.from_dict(lines, orient="index").fillna("–").rename_axis(columns="target")
    return shown[[AVERAGE, *shown.columns.drop(AVERAGE)]]  # first, where a phone shows it


def claims_frame(found: Study) -> pd.DataFrame:
    """One row a statement of the paper and measure (BLEU, as printed, and chrF2): difference, interval, p, verdict."""
    lines = []
    stated = [
        claim for claim in claims.load("pf-table2") if claim.scope == "average" or claim.scope in found.settings.targets
    ]
    for measure in ("bleu", "chrf"):
        tested = []
        for claim in stated:
            scope = AVERAGE if claim.scope == "average" else claim.scope
            tested.append(found.difference(claim.row, claim.baseline, scope, measure))
        adjusted = holm([one.p for one in tested])
        for claim, one, q in zip(stated, tested, adjusted, strict=True):
            lines.append(
                {
                    "id": claim.id,
                    "statement": claim.statement,
                    "row": claim.row,
                    "baseline": claim.baseline,
                    "scope": claim.scope,
                    "measure": measure,
                    "published": claim.published,
                    "difference": one.estimate,
                    "low": one.low,
                    "high": one.high,
                    "p": float(q),
                    "detectable": one.detectable,
                    "same_systems": _same(found, claim.row, claim.baseline, scope),
                    "underpowered": claims.underpowered(one.detectable, measure),
                    "verdict": claims.verdict(claim.published, one.estimate, one.low, one.high, float(q), measure),
                }
            )
    return pd.DataFrame(lines)


def _same(found: Study, row: str, baseline: str, scope: str) -> bool:
    """Whether two rows are the same systems, as where a pseudo family is the traditional one."""
    targets = found.settings.targets if scope == AVERAGE else [scope]
    return all(found.plan.rows[row][target] == found.plan.rows[baseline][target] for target in targets)


def claims_table(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The statements, rounded for reading: the row and the row it is compared with, then numbers, then words."""
    chosen = frame[frame["measure"] == measure]
    shown = pd.DataFrame(
        {
            "": [f"{row.row} − {row.baseline}, {row.scope}" for row in chosen.itertuples()],
            "verdict": [_verdict(row) for row in chosen.itertuples()],
            "published": chosen["published"].map("{:+.2f}".format),
            "ours (95% interval)": [
                f"{number(row.difference)} ({number(row.low)} to {number(row.high)})" for row in chosen.itertuples()
            ],
            "p": chosen["p"].map(lambda value: p(value).removeprefix("p = ")),
            "in words": chosen["statement"],
        }
    )
    return shown.set_index("").rename_axis(None)


def _verdict(row: Any) -> str:
    if row.same_systems:
        return "none: the same systems"
    return f"{row.verdict}, underpowered" if row.underpowered else row.verdict


def families_table(found: Study) -> pd.DataFrame:
    """Which auxiliaries each row has: the traditional family and the three pseudo families, by target."""
    rows = ("LF", *MEASURES)
    lines = {row: {t: " ".join(_auxiliaries(found, row, t)) or "–" for t in found.settings.targets} for row in rows}
    return pd.DataFrame.from_dict(lines, orient="index").T


def families_reading(found: Study) -> Prose:
    """Where a pseudo family is the traditional one, so that the comparison of the two is one of sampling rules."""
    same = {
        row: [
            t for t in found.settings.targets if set(_auxiliaries(found, row, t)) == set(_auxiliaries(found, "LF", t))
        ]
        for row in MEASURES
    }
    told = [f"{row}'s for {' '.join(targets)}" for row, targets in same.items() if targets]
    if not told:
        return prose("No pseudo family is the traditional one.")
    return prose(
        f"The pseudo family is the traditional one in these cases: {'; '.join(told)}. There the two rows differ in how "
        "languages are sampled, or (where the target is aligned with LF) in nothing."
    )


def _auxiliaries(found: Study, row: str, target: str) -> tuple[str, ...]:
    return found.plan.rows[row][target][0].stages[0].auxiliaries


def k_frame(found: Study) -> pd.DataFrame:
    """One row a share K and target (or `Avg.`): the Overlap family at K, and the DEV scores of its system."""
    lines = []
    for k, row in found.plan.by_k.items():
        dev = {target: found.scores[system.id]["dev"] for target, system in row.items()}
        families = found.pseudo[table2.key_of(k)]
        for target, scores in dev.items():
            lines.append({"k": k, "target": target, "family": " ".join(families[target]), **_numbers(scores)})
        means = {name: float(np.mean([_numbers(one)[name] for one in dev.values()])) for name in ("bleu", "chrf")}
        lines.append({"k": k, "target": AVERAGE, "family": "", **means})
    return pd.DataFrame(lines)


def _numbers(scores: Mapping[str, object]) -> dict[str, float]:
    return {name: float(scores[name]) for name in ("bleu", "chrf")}


def k_table(frame: pd.DataFrame) -> pd.DataFrame:
    """K in rows, the DEV scores of targets in columns, with the families."""
    shown = frame.assign(text=[f"{row.chrf:.1f} {row.family}".strip() for row in frame.itertuples()])
    wide = shown.pivot(index="k", columns="target", values="text")
    return wide[list(dict.fromkeys(frame["target"]))].rename(index=lambda k: f"{k:.0%}")


def k_reading(frame: pd.DataFrame) -> Prose:
    """Which K is best on DEV here, and how far the paper's choice is behind."""
    mean = frame[frame["target"] == AVERAGE].set_index("k")["chrf"]
    sets = frame[frame["target"] != AVERAGE].assign(family=lambda f: f["family"].str.split().map(frozenset))
    best, families = mean.idxmax(), sets.groupby("k")["family"].agg(tuple)
    return prose(
        f"On DEV the best mean chrF2, {mean[best]:.1f}, is that of K = {best:.0%}; the paper's choice of 40% has "
        f"{mean[0.4]:.1f}. All means lie within {mean.max() - mean.min():.1f} points, with one seed each: no choice "
        "can be told from another.",
        f"The {len(families)} values of K give {families.nunique()} different sets of families.",
    )


def power_reading(frame: pd.DataFrame) -> Prose:
    """Whether the test sets could have shown differences that matter."""
    weak = frame[frame["underpowered"]]
    low, high = frame["detectable"].min(), frame["detectable"].max()
    return prose(
        f"The smallest difference that would be found with a probability of 80% lies between {low:.1f} and {high:.1f} "
        f"points; {len(weak)} of {len(frame)} comparisons could not show {claims.DETECTABLE['bleu']} BLEU or "
        f"{claims.DETECTABLE['chrf']} chrF2, and are marked as underpowered."
    )


def singles(found: Study) -> pd.DataFrame:
    """(T, L) gain in chrF2 on TEST of each single auxiliary over the mean of fine-tuning on the target alone."""
    rows: dict[str, dict[str, float]] = {}
    for target, row in found.plan.singles.items():
        base = np.mean([found.scores[alone.id]["test"]["chrf"] for alone in found.plan.rows["FT"][target]])
        rows[target] = {code: found.scores[system.id]["test"]["chrf"] - base for code, system in row.items()}
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=found.settings.languages)
