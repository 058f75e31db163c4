"""Table 2 from its systems: scores with intervals, and differences between rows.

Every interval comes from one paired bootstrap over clusters of the test set and over training seeds. Targets share
items (the same message in two languages), so averages over targets redraw the clusters of all of them together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from langsim import bootstrap, papers, results, table2, tuning
from langsim.bootstrap import REPLICATES, Difference, Interval
from langsim.cells import Scores
from langsim.profiles import Tuning
from langsim.readings import Prose, prose
from langsim.scoring import Measure
from langsim.systems import CONTROLS, MEASURES, METHODS, System
from langsim.table2 import Plan

AVERAGE = "Avg."
ORDER = (*METHODS, *CONTROLS)
SHOWN = {"bleu": "BLEU", "chrf": "chrF2", "spbleu": "spBLEU"}  # measures, as they are written

Row = Mapping[str, Sequence[System]]  # target -> its systems, one a seed


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
        (stats,), units, score = self._joined((self.plan.rows[method],), scope, measure)
        return bootstrap.interval(stats, units, score, replicates=REPLICATES, seed=self.settings.seed)

    def difference(self, method: str, baseline: str, scope: str, measure: str) -> Difference:
        """Row minus baseline, on one target or averaged over all."""
        return self.compared(self.plan.rows[method], self.plan.rows[baseline], scope, measure)

    def compared(self, row: Row, baseline: Row, scope: str, measure: str) -> Difference:
        """The same of any systems that were scored, in the table or not."""
        (ours, theirs), units, score = self._joined((row, baseline), scope, measure)
        return bootstrap.difference(ours, theirs, units, score, replicates=REPLICATES, seed=self.settings.seed)

    def _joined(
        self, rows: Sequence[Row], scope: str, measure: str
    ) -> tuple[list[list[np.ndarray]], list[str], Callable[[np.ndarray], np.ndarray]]:
        """Statistics of each row, units, and the score of their sums, for one target or for all of them together:
        there every target has columns of its own, zero in the sentences of the others."""
        targets = self.settings.targets if scope == AVERAGE else [scope]
        score, found = self.measures[measure].score, []
        for row in rows:
            by_target = [[self._statistics(one.id, target, measure) for one in row[target]] for target in targets]
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


def provenance(found: Study) -> Prose:
    """Which systems' scores were read, and what audits them, and which are of this run's own parameters."""
    kept = [tuning.cell_of(found.settings, system) for system in found.plan.systems()]
    own, profile = sum(cell.folder is not None for cell in kept), found.settings.profile
    read = f"Read: scores and translations of {len(kept) - own} systems, cells of `{profile}`."
    audit = (
        "Audited: the tests (`tests/test_trained_cells.py`) train, translate and score one of the cells of `mini` "
        "again, another each week until all had their turn, and compare within stated tolerances."
    )
    return prose(
        read if own < len(kept) else "",
        f"Computed for this run, and kept in the cache: those of {own} systems." if own else "",
        "Each is signed with the model, the text, the settings and the version of the procedure that it came from; one "
        "that no longer fits is not read. All else on this page is computed by it.",
        audit if profile == "mini" and own < len(kept) else "",
    )


def cut_short(found: Study) -> Prose:
    """How many systems would have gone on learning, to be read before their scores."""
    tuned = [found.scores[system.id] for system in found.plan.systems() if system.stages]
    last = sum(map(_best_at_last, tuned))
    return prose(
        f"{last} of the {len(tuned)} fine-tuned systems were still best on DEV at their last update.",
        f"So the rows compare what {found.settings.updates} updates do, not what each way reaches in the end."
        if last
        else "",
    )


def _best_at_last(one: Scores) -> bool:
    return one["best_updates"][-1] == one["curves"][-1][-1][0]


def training_reading(found: Study) -> Prose:
    """How training went: how far the loss on DEV fell, when it was least, and which rows did not train."""
    tuned = [found.scores[system.id] for system in found.plan.systems() if system.stages]
    gains = [one["parent_loss"] - one["loss"] for one in tuned]
    idle = [
        f"{method}, {target}"
        for method in ORDER
        for target in found.settings.targets
        if not did_train(found, method, target)
    ]
    return prose(
        f"In {len(tuned)} fine-tuned systems the loss on DEV fell by {min(gains):.2f} to {max(gains):.2f} nats;",
        f"{sum(map(_best_at_last, tuned))} were still best at their last update: training was cut at "
        f"{found.settings.updates} updates, in which LF+FT has two stages.",
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


def gains_frame(found: Study) -> pd.DataFrame:
    """One row a target and auxiliary: gain in chrF2."""
    return singles(found).stack().dropna().rename("gain").rename_axis(["target", "auxiliary"]).reset_index()


def tidy(found: Study) -> pd.DataFrame:
    """One row a method, target (or `Avg.`) and measure: value, low, high, seeds, and the published BLEU."""
    printed = papers.published("pf-table2").set_index(["method", "target"])["value"]
    if {*found.settings.targets, AVERAGE} != set(printed.index.get_level_values("target")):
        printed = printed.drop(AVERAGE, level="target")  # of other targets than ours
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
    """As Table 2, with 95% intervals: methods in rows, ours and (BLEU) as printed; average and targets in columns; the
    measure in the corner."""
    chosen = frame[frame["measure"] == measure]
    lines: dict[str, dict[str, str]] = {}
    for row in chosen.itertuples():
        cell = f"{row.value:.1f} ({row.low:.1f}–{row.high:.1f})"
        lines.setdefault(row.method, {})[row.target] = cell if row.trained else f"{cell} did not train"
        if not np.isnan(row.published):
            lines.setdefault(f"{row.method}, published", {})[row.target] = f"{row.published:.1f}"
    shown = pd.DataFrame.from_dict(lines, orient="index").fillna("–").rename_axis(columns=SHOWN[measure])
    return shown[[AVERAGE, *shown.columns.drop(AVERAGE)]]  # first, where a phone shows it


def families_table(found: Study) -> pd.DataFrame:
    """Which auxiliaries each row has: the traditional family and the three pseudo families, by target."""
    rows = ("LF", *MEASURES)
    lines = {row: {t: " ".join(_auxiliaries(found, row, t)) or "–" for t in found.settings.targets} for row in rows}
    return pd.DataFrame.from_dict(lines, orient="index").T


def families_reading(found: Study) -> Prose:
    """Where a pseudo family is the traditional one, so that the comparison of the two is one of sampling rules."""
    same = {row: traditional(found, row) for row in MEASURES}
    told = [f"{row}'s for {' '.join(targets)}" for row, targets in same.items() if targets]
    if not told:
        return prose("No pseudo family is the traditional one.")
    return prose(
        f"The pseudo family is the traditional one in these cases: {'; '.join(told)}. There the two rows differ in how "
        "languages are sampled, or (where the target is aligned with LF) in nothing."
    )


def traditional(found: Study, row: str) -> list[str]:
    """The targets for which a row's family is the traditional one, LF's."""
    targets = found.settings.targets
    return [t for t in targets if set(_auxiliaries(found, row, t)) == set(_auxiliaries(found, "LF", t))]


def _auxiliaries(found: Study, row: str, target: str) -> tuple[str, ...]:
    return found.plan.rows[row][target][0].stages[0].auxiliaries


def singles(found: Study) -> pd.DataFrame:
    """(T, L) gain in chrF2 on TEST of each single auxiliary over the mean of fine-tuning on the target alone."""
    rows: dict[str, dict[str, float]] = {}
    for target, row in found.plan.singles.items():
        base = np.mean([found.scores[alone.id]["test"]["chrf"] for alone in found.plan.rows["FT"][target]])
        rows[target] = {code: found.scores[system.id]["test"]["chrf"] - base for code, system in row.items()}
    shape = {"index": list(rows), "columns": found.settings.languages}
    return pd.DataFrame([rows[target] for target in rows], index=list(rows)).reindex(**shape)
