"""Which systems Table 2 takes, which the questions around it take, and the cells of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langsim import cells, families, profiles, results, systems, tuning
from langsim.cells import Cell, Scores
from langsim.errors import UsageError
from langsim.printed import printed_families
from langsim.profiles import Tuning
from langsim.similarity import LARGER_IS_SIMILAR
from langsim.systems import ALL, MEASURES, METHODS, RANDOM, System, stage, stages_of

FAMILIES, FAMILIES_VERSION = "pseudo-families", 1
KS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # section 3.1

Families = Mapping[str, Mapping[str, Sequence[str]]]  # measure -> target -> auxiliaries


@dataclass(frozen=True)
class Plan:
    """Every system that the page on translation needs.

    Attributes:
        rows: method -> target -> its systems, one a seed (of `Random` one a draw).
        by_k: share of active parameters -> target -> the system of the Overlap family at that share.
        singles: target -> auxiliary -> the system of the target and this one auxiliary; empty where the settings try
            none alone.
    """

    rows: dict[str, dict[str, list[System]]]
    by_k: dict[float, dict[str, System]]
    singles: dict[str, dict[str, System]]

    def systems(self) -> list[System]:
        """Each system once, in the order of their ids."""
        found = [system for row in self.rows.values() for of in row.values() for system in of]
        found += [system for row in self.by_k.values() for system in row.values()]
        found += [system for row in self.singles.values() for system in row.values()]
        return sorted(set(found), key=lambda system: system.id)


def plan_of(settings: Tuning, pseudo: Families) -> Plan:
    """The plan for the settings' targets.

    Args:
        pseudo: what `pseudo_families` gives.
    """
    pool, targets, seeds = settings.languages, settings.targets, settings.seeds
    chosen = table1(settings) if settings.families == "paper" else pseudo
    rows: dict[str, dict[str, list[System]]] = {}
    for method in (*METHODS, ALL):
        rows[method] = {}
        for target in targets:
            stages = stages_of(method, target, pool, chosen, aligned=settings.aligned)
            rows[method][target] = [System(target, stages, seed) for seed in seeds] if stages else [System(target)]
    rows[RANDOM] = {target: _random(settings, target, len(chosen["overlap"][target])) for target in targets}
    by_k = {
        k: {target: System(target, (stage(pseudo[key_of(k)][target]),), seeds[0]) for target in targets} for k in KS
    }
    singles = {
        target: {code: System(target, (stage([code]),), seeds[0]) for code in pool if code != target}
        for target in (targets if settings.singles == "all" else ())
    }
    return Plan(rows, by_k, singles)


def _random(settings: Tuning, target: str, size: int) -> list[System]:
    drawn = systems.random_families(target, settings.languages, size, settings.draws)
    seeds = settings.seeds
    return [System(target, (stage(family),), seeds[i % len(seeds)]) for i, family in enumerate(drawn)]


def key_of(k: float) -> str:
    """What the Overlap families at a share of active parameters are called."""
    return f"overlap at {k:g}"


def table1(settings: Tuning) -> dict[str, dict[str, Sequence[str]]]:
    """The families of Table 1.

    Raises:
        UsageError: a target or an auxiliary that is not among the languages, or has no printed family.
    """
    found: dict[str, dict[str, Sequence[str]]] = {}
    for name, measure in MEASURES.items():
        printed = printed_families(name)
        for target in settings.targets:
            if target not in printed:
                raise UsageError(f"families: Table 1 has none for {target!r}; use families: own")
            outside = [code for code in printed[target] if code not in settings.languages]
            if outside:
                raise UsageError(f"families: Table 1 has {' '.join(outside)} for {target!r}; add it to languages")
        found[measure] = {target: printed[target] for target in settings.targets}
    return found


def pseudo_families(settings: Tuning) -> dict[str, dict[str, list[str]]]:
    """The pseudo families of this run's own similarities: by each measure, and by Overlap at each of `KS`.

    Of a profile as it is they are read, since its trained cells hang on them; else they are computed.
    """
    return estimate_families(settings) if profiles.overrides(settings) else cells.read(families_cell(settings))


def estimate_families(settings: Tuning) -> dict[str, dict[str, list[str]]]:
    """`pseudo_families`, from the text and the model."""
    from langsim import pipeline

    vectors = pipeline.fisher_vectors(settings)
    found = {}
    matrix = pipeline.compare(vectors)
    for measure in MEASURES.values():
        found[measure] = _picked(matrix.all.matrix(measure), measure, settings)
    for k in KS:
        at_k = pipeline.compare(replace(vectors, settings=settings.model_copy(update={"k": k})))
        found[key_of(k)] = _picked(at_k.all.matrix("overlap"), "overlap", settings)
    return found


def _picked(matrix: Any, measure: str, settings: Tuning) -> dict[str, list[str]]:
    larger = LARGER_IS_SIMILAR[measure]
    found = families.families_of(matrix, larger, settings.recipe, targets=settings.targets, measure=measure)
    return {target: list(family.members) for target, family in found.items()}


def families_cell(settings: Tuning) -> Cell:
    """The profile's cell of pseudo families."""
    inputs = {
        "model": results.named(settings.model, tuning.model_digest(settings)),
        "corpus": results.named(settings.corpus, tuning.corpus_of(settings).digest),
        "settings": results.digest_of(settings.model_dump(include=set(profiles.Settings.model_fields)))[:12],
    }
    return Cell(FAMILIES, "table1", inputs, FAMILIES_VERSION, settings.profile)


def families_plan(profile: str) -> dict[str, Mapping[str, str]]:
    """The one cell of the pseudo families."""
    cell = families_cell(profiles.resolve(profile, kind=Tuning))
    return {cell.id: cell.inputs}


@cells.procedure(FAMILIES, version=FAMILIES_VERSION, minutes=1.5, plan=families_plan)
def families_scores(cell: Cell) -> Scores:
    """The pseudo families of the profile."""
    return estimate_families(profiles.resolve(cell.profile, kind=Tuning))


def tuned_plan(profile: str) -> dict[str, Mapping[str, str]]:
    """Every system of the profile.

    Raises:
        Failure: the cell of the pseudo families, which they hang on, is missing or stale.
    """
    settings = profiles.resolve(profile, kind=Tuning)
    wanted = plan_of(settings, pseudo_families(settings)).systems()
    return {system.id: tuning.cell_of(settings, system).inputs for system in wanted}


@cells.procedure(tuning.KIND, version=tuning.VERSION, minutes=0.8, plan=tuned_plan, tolerances=tuning.TOLERANCES)
def tuned_scores(cell: Cell) -> Scores:
    """One system of the profile."""
    return tuning.scores(profiles.resolve(cell.profile, kind=Tuning), systems.parse(cell.id))
