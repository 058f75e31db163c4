"""The rows of a table of part II with their scores: numbers by direction, means by pair of classes, differences.

Three measures, each named for what it is: `nll`, nats per target token, on all directions; `chrf`, `bleu` and `spbleu`
on the directions that are translated. In differences better is positive, so that of `nll` is baseline minus row.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from langsim import bootstrap, models, scoring
from langsim.bootstrap import Difference
from langsim.cells import Scores
from langsim.errors import UsageError
from langsim.lslo import directions, intervals, procedures, rows, running
from langsim.lslo.directions import Direction
from langsim.lslo.rows import Job
from langsim.lslo_settings import LSLoSettings
from langsim.scoring import Measure

NLL = "nll"
NAMES = {"nll": "nats per token", "chrf": "chrF2", "spbleu": "spBLEU", "bleu": "BLEU"}
WHOLE = ("AVG", "plain")
NOISE = 2.0  # standard deviations of the seeds


@dataclass(frozen=True)
class Study:
    """A table's rows.

    Attributes:
        which: "languages" or "more_languages" of the settings.
        rows: name -> its jobs, one a seed. Empty where the settings have ranks of their own, and the table others.
        scores: id of a job -> what its cell holds.
        references, units: translated direction -> the reference and the cluster of each sentence.
        twins: id of a job -> id of the one whose cell it has, for their architectures are the same.
    """

    settings: LSLoSettings
    exhibit: str
    which: str
    rows: Mapping[str, list[Job]]
    scores: Mapping[str, Scores]
    references: Mapping[Direction, list[str]]
    units: Mapping[Direction, list[str]]
    twins: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def classes(self) -> dict[str, str]:
        """Language -> class."""
        return self.settings.classes_of(self.which)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Pair of classes -> how many directions it has, in the order of a table's columns."""
        return pd.Series(directions.labels(self.classes)).value_counts(sort=False).to_dict()

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """`bleu`, `chrf` and `spbleu`, as the cells were scored."""
        pieces = self.settings.model if self.settings.model in models.shipped() else "mini-m2m"
        return {one.name: one for one in (scoring.bleu(), scoring.chrf(), scoring.spbleu(pieces))}

    def directions(self, measure: str) -> list[Direction]:
        """Those that have a score by the measure."""
        if not self.scores:
            return []
        one = next(iter(self.scores.values()))
        return [tuple(text.split("-", 1)) for text in one["directions" if measure == NLL else "translated"]]

    def values(self, row: str, measure: str) -> np.ndarray:
        """(K, D) one line a seed, one number a direction."""
        return np.array([self.scores[job.id][measure] for job in self.rows[row]], dtype=float)

    def texts(self, row: str) -> intervals.Texts:
        """`nll` by cluster of the text."""
        return intervals.Texts.of([self.scores[job.id]["clusters"] for job in self.rows[row]])

    def per_text(self, row: str) -> tuple[np.ndarray, intervals.Texts]:
        """`values` and `texts` in nats per text. Texts say the same in all languages, so this, unlike nats per token,
        can be compared between languages: of what is cut into more tokens each is easier to tell."""
        tokens = np.array([self.scores[job.id]["tokens_scored"] for job in self.rows[row]], dtype=float)
        found, often = self.texts(row), Counter(next(iter(self.units.values())))
        items = np.array([often[unit] for unit in found.units], dtype=float)
        sizes = [self.counts.get(group, 1) for group in found.groups]
        return self.values(row, NLL) * tokens / items.sum(), replace(found, counts=np.outer(sizes, items))

    def alike(self, row: str, other: str) -> bool:
        """Whether two rows are one: strategies that made the same architecture."""
        ours, theirs = ({self.twins.get(job.id, job.id) for job in self.rows[name]} for name in (row, other))
        return ours == theirs

    def coincide(self, row: str, other: str, scope: str) -> bool:
        """Whether two rows have the same numbers in a column, to the last digit: nothing that differs between them is
        used there. (Where all layers are indexed by the target, as LoRAs of other targets are.)"""
        named = directions.labels(self.classes)
        there = [scope in (*WHOLE, named[one]) for one in self.directions(NLL)]
        ours, theirs = (self.values(name, NLL) for name in (row, other))
        common = min(len(ours), len(theirs))  # the seeds that both have
        return np.array_equal(ours[:common, there], theirs[:common, there])

    def averages(self, row: str, measure: str) -> pd.DataFrame:
        """One line a seed: H2H to V2V, AVG and plain (`langsim.lslo.directions.averages`)."""
        named = self.directions(measure)
        return pd.DataFrame(
            [
                directions.averages(dict(zip(named, line, strict=True)), self.classes)
                for line in self.values(row, measure)
            ]
        )

    def weights(self, scope: str) -> dict[str, float]:
        """Pair of classes -> its weight in a column.

        Raises:
            UsageError: no such column.
        """
        if scope == "AVG":
            return {name: count / sum(self.counts.values()) for name, count in self.counts.items()}
        if scope == "plain":
            return dict.fromkeys(self.counts, 1 / len(self.counts))
        if scope not in self.counts:
            raise UsageError(f"no column {scope!r}; there are {', '.join((*WHOLE, *self.counts))}")
        return {scope: 1.0}

    def shares(self, scope: str, measure: str) -> dict[Direction, float]:
        """Direction -> its weight in a column."""
        named, of_pairs = directions.labels(self.classes), self.weights(scope)
        chosen = [one for one in self.directions(measure) if named[one] in of_pairs]
        often = Counter(named[one] for one in chosen)
        return {one: of_pairs[named[one]] / often[named[one]] for one in chosen}

    def parts(self, row: str, baseline: str, scope: str, measure: str) -> pd.Series:
        """What each direction adds to a difference in one column (their sum, the mean over seeds), positive where the
        row is better; the largest first."""
        ours, theirs = (
            pd.Series(self.values(name, measure).mean(0), self.directions(measure)) for name in (row, baseline)
        )
        shares = pd.Series(self.shares(scope, measure))
        found = (theirs - ours if measure == NLL else ours - theirs).reindex(shares.index) * shares
        return found.sort_values(key=np.abs, ascending=False)

    def difference(self, row: str, baseline: str, scope: str, measure: str) -> Difference:
        """Row against baseline in one column, positive where the row is better. `nll` redraws clusters of the test set,
        languages and seeds (`intervals.over_directions`), the scores of translations redraw clusters and seeds."""
        scope_weights, seed = self.weights(scope), 0
        if measure == NLL:
            pair = (self.values(baseline, NLL), self.values(row, NLL))
            texts = (self.texts(baseline), self.texts(row))
            named = self.directions(NLL)
            return intervals.over_directions(*pair, named, self.classes, scope_weights, texts=texts, seed=seed)
        chosen = self.shares(scope, measure)
        score = self.measures[measure].score

        def mean(sums: np.ndarray) -> np.ndarray:
            parts = np.split(sums, len(chosen), axis=-1)
            return sum(weight * score(part) for weight, part in zip(chosen.values(), parts, strict=True))

        ours, theirs = (
            [block_diag(*(self._statistics(job, one, measure) for one in chosen)) for job in self.rows[name]]
            for name in (row, baseline)
        )
        units = [unit for one in chosen for unit in self.units[one]]
        return bootstrap.difference(ours, theirs, units, mean, replicates=intervals.REPLICATES, seed=seed)

    def _statistics(self, job: Job, direction: Direction, measure: str) -> np.ndarray:
        key = (job.id, direction, measure)
        if key not in self._kept:
            place = self.directions(measure).index(direction)
            hypotheses = self.scores[job.id]["hypotheses"][place]
            self._kept[key] = self.measures[measure].statistics(hypotheses, self.references[direction])
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[tuple[str, Direction, str], np.ndarray]:
        return {}

    # Can overfitting be seen here? -------------------------------------------------------------------------------

    @property
    def pretrained(self) -> str | None:
        """The row of the model as it came, where there is one."""
        return next((row for row, jobs in self.rows.items() if jobs[0].experiment.trains == "nothing"), None)

    def separation(self) -> Difference | None:
        """Of the model as it came: nats per text within the first class minus within the last. None where there are no
        two classes, or no such row."""
        return None if self.pretrained is None else self.first_minus_last(*self.per_text(self.pretrained))

    def first_minus_last(self, values: np.ndarray, texts: intervals.Texts) -> Difference | None:
        """A row's numbers within the first class minus within the last; None where there are no two classes."""
        first, *_, last = [*self.counts] * 2
        if first == last:
            return None
        scope = {first: 1.0, last: -1.0}
        return intervals.over_directions(values, None, self.directions(NLL), self.classes, scope, texts=(texts, None))

    def passes(self, row: str) -> float:
        """How often the text was read, of all seeds the least; NaN of what is not trained."""
        return min(float(self.scores[job.id].get("passes", np.nan)) for job in self.rows[row])

    def untestable(self, rows: Collection[str]) -> str:
        """Why these rows can't say anything about overfitting, or "": what the paper explains by it needs a model that
        knows its high-resource languages better (nats per text, the interval without 0), and text that was read once
        at least."""
        apart = self.separation()
        if apart is None:
            return "no two classes, or no model as it came, to compare"
        if not apart.high < 0:
            return "the model as it came does not know the first class better than the last"
        short = [row for row in rows if self.passes(row) < 1]  # NaN: not trained
        return f"{short[0]} read its text {self.passes(short[0]):.1f} times, not once" if short else ""

    # Did it train? ---------------------------------------------------------------------------------------------------

    def gains(self, row: str) -> np.ndarray:
        """(K,) by how much the loss on the watched text, averaged over directions, fell from before training to its
        least after an epoch, in nats per token. Empty for what is not trained."""
        curves = [self.scores[job.id]["curve"] for job in self.rows[row]]
        found = [[point["watched"]["AVG"] for point in curve] for curve in curves if curve]
        return np.array([losses[0] - min(losses[1:]) for losses in found])

    @cached_property
    def noise(self) -> float:
        """Standard deviation of `gains` between seeds, pooled over all rows that have several."""
        spread = [gains.var(ddof=1) for name in self.rows if len(gains := self.gains(name)) > 1]
        return float(np.sqrt(np.mean(spread))) if spread else 0.0

    def trained(self, row: str) -> bool:
        """Whether the watched loss fell below the model's before training by more than two standard deviations of the
        row's seeds (of a single one: of those that other rows have), at the end of some epoch (data rule 5). A row that
        did not decides nothing."""
        gains = self.gains(row)
        noise = float(gains.std(ddof=1)) if len(gains) > 1 else self.noise
        return not gains.size or bool(gains.mean() > NOISE * noise)


def study(settings: LSLoSettings, exhibit: str, *, only: Collection[str] = (), jobs: int | None = None) -> Study:
    """Read, or compute where a run has its own parameters, the rows of a table.

    Args:
        only: names of rows; none for all.

    Raises:
        UsageError: no such table or row; languages or text that can't be.
        Failure: a cell of the profile is missing or stale: the command that makes it.
    """
    which, found = rows.TABLES.get(exhibit, "languages"), rows.rows(settings, exhibit)
    if settings.ranks and exhibit != "lslo-table1":
        found = {}
    if missing := [name for name in only if name not in found]:
        raise UsageError(f"no row {missing[0]!r} in {exhibit}; there are {', '.join(found)}")
    chosen = {name: of for name, of in found.items() if not only or name in only}
    ids = {job.id for of in chosen.values() for job in of}
    scores = procedures.row_scores(settings, ids, jobs) if ids else {}
    some = [tuple(text.split("-", 1)) for text in next(iter(scores.values()))["translated"]] if scores else []
    pairs = running.text(settings, which, "scored", some) if some else {}
    twins = procedures.twins(settings, jobs) if ids else {}
    return Study(
        settings,
        exhibit,
        which,
        chosen,
        scores,
        {one: [pair.target_text for pair in found] for one, found in pairs.items()},
        {one: [pair.unit for pair in found] for one, found in pairs.items()},
        twins,
    )
