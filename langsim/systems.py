"""The systems of Table 2: what each method fine-tunes a model on, for one target language and one seed (section 3.2).

A system is a target and the stages that it is fine-tuned in; a stage is a set of auxiliary languages and the rule by
which they are sampled. Two methods that pick the same languages are one system, trained once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from langsim.errors import UsageError
from langsim.families import traditional

EQUAL, TEMPERATURE = "equal", "temperature(1.5)"
MEASURES = {"KL": "kl", "MSE": "mse", "Overlap": "overlap"}  # methods that fine-tune on a pseudo family
METHODS = ("Vanilla", "FT", "LF", "LF+FT", *MEASURES)  # the rows of Table 2
RANDOM, ALL = "Random", "All"
CONTROLS = (RANDOM, ALL)  # rows that the paper lacks


@dataclass(frozen=True)
class Stage:
    """One round of fine-tuning: the target's own pairs, and those of its auxiliaries, sampled by a rule."""

    auxiliaries: tuple[str, ...] = ()
    sampling: str = EQUAL

    def __str__(self) -> str:
        if not self.auxiliaries:
            return "alone"
        return f"{self.sampling.replace('(', '').replace(')', '')}={'+'.join(self.auxiliaries)}"


@dataclass(frozen=True)
class System:
    """One fine-tuned system; without a stage it is the model as it came.

    Attributes:
        target: the language that is translated from, into the target language of the settings.
        stages: in order; the updates are shared equally among them.
        seed: of everything that is drawn while it is trained.
    """

    target: str
    stages: tuple[Stage, ...] = ()
    seed: int = 0

    @property
    def id(self) -> str:
        """`fa.vanilla`, `fa.alone.s0`, `fa.temperature1.5=bn+hi,alone.s2`."""
        if not self.stages:
            return f"{self.target}.vanilla"
        return f"{self.target}.{','.join(map(str, self.stages))}.s{self.seed}"


def parse(id: str) -> System:
    """The system of an id."""
    target, _, rest = id.partition(".")
    if rest == "vanilla":
        return System(target)
    stages, _, seed = rest.rpartition(".s")
    return System(target, tuple(map(_stage, stages.split(","))), int(seed))


def _stage(text: str) -> Stage:
    if text == "alone":
        return Stage()
    rule, _, languages = text.partition("=")
    rule = f"temperature({rule.removeprefix('temperature')})" if rule.startswith("temperature") else rule
    return Stage(tuple(languages.split("+")), rule)


def stage(auxiliaries: Sequence[str], sampling: str = EQUAL) -> Stage:
    """A stage on a set of auxiliaries, whatever their order; with none, there is nothing to sample."""
    return Stage(tuple(sorted(auxiliaries)), sampling) if auxiliaries else Stage()


def stages_of(
    method: str,
    target: str,
    pool: Sequence[str],
    families: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    aligned: Sequence[str] = (),
) -> tuple[Stage, ...]:
    """The stages of a row of Table 2, or of the control `All`.

    Args:
        pool: the languages that auxiliaries are chosen from.
        families: measure -> target -> its pseudo family.
        aligned: targets whose Overlap family is sampled as LF samples ("except Hindi", section 3.2).

    Raises:
        UsageError: an unknown method, or no family for the target.
    """
    if method in MEASURES:
        found = families.get(MEASURES[method], {}).get(target)
        if found is None:
            raise UsageError(f"{method} has no family for {target!r}; add it to targets")
        lf = method == "Overlap" and target in aligned
        return (stage(found, TEMPERATURE if lf else EQUAL),)
    kin = stage(traditional(target, pool), TEMPERATURE)
    rows = {
        "Vanilla": (),
        "FT": (Stage(),),
        "LF": (kin,),
        "LF+FT": (kin, Stage()) if kin.auxiliaries else (Stage(),),
        ALL: (stage([code for code in pool if code != target]),),
    }
    if method not in rows:
        raise UsageError(f"no method {method!r}; methods: {', '.join((*METHODS, ALL))}")
    return rows[method]


def random_families(target: str, pool: Sequence[str], size: int, draws: int) -> list[tuple[str, ...]]:
    """`draws` different random families of `size` auxiliaries (fewer where there are no more), in a fixed order."""
    others = sorted(code for code in pool if code != target)
    size = min(size, len(others))
    wanted = min(draws, comb(len(others), size))
    rng = np.random.default_rng([size, *target.encode()])
    found: dict[tuple[str, ...], None] = {}
    while len(found) < wanted:
        found[tuple(sorted(rng.choice(others, size=size, replace=False).tolist()))] = None
    return list(found)
