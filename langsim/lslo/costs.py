"""What a notebook of part II will cost, before it starts: how many trainings it lacks, and how long they take.

Operations are counted as in `langsim.training_costs`: 6 a parameter and position of a batch, on each side half of the
model, and 2 where it is scored; a LoRA counts as nothing. Translation counts as much as scoring.
"""

from math import prod

from langsim import cells, costs
from langsim.cells import Cell
from langsim.costs import Cost
from langsim.errors import LangsimError
from langsim.footprint import PARAMETER_BYTES, PROCESS_BYTES
from langsim.lslo import directions
from langsim.lslo_settings import LSLoSettings

# Notebook -> tables whose rows it shows, and kinds of estimation.
NEEDS = {
    "lslo/01_setting": ((), ()),
    "lslo/02_weight_learning": (("lslo-table1", "lslo-table6"), ()),
    "lslo/03_subspaces": (("lslo-table1",), ("lslo-ise",)),
    "lslo/04_main_results": (("lslo-table1", "lslo-table2", "lslo-init"), ()),
    "lslo/05_placement": (("lslo-table1", "lslo-table7"), ("lslo-lsp",)),
}
ALONE = ("lslo/02_weight_learning", "lslo/03_subspaces", "lslo/05_placement")  # of Table 1 they show Pretrain only
FORWARD = 2  # operations a parameter and position
ITEMS, POSITIONS = 100, 20  # of a test set, and of a text, padding counted, where the text is not read
HELD = 5  # numbers a parameter: the parent, the copy, its gradient, Adam's two moments


def estimate(settings: LSLoSettings, notebook: str) -> Cost:
    """Seconds, memory and disk of a notebook (`part/NN_name`); unknown time where an epoch is a pass over the text."""
    todo = missing(settings, notebook)
    shapes = costs.shapes_of(settings.model)
    if shapes is None:
        return Cost(None, None, None)
    size = sum(map(prod, shapes))
    memory = PROCESS_BYTES + HELD * PARAMETER_BYTES * size
    if todo and not settings.updates:
        return Cost(None, memory, 0.0)
    trained = settings.updates * settings.batches_per_update * settings.tokens_per_batch
    rate = costs.FLOPS[settings.device.partition(":")[0]]
    each = size * (costs.FLOPS_PER_TOKEN * trained + FORWARD * _scored(settings)) / rate
    return Cost(costs.NOTEBOOK_SECONDS + todo * each, memory, 0.0)


def _scored(settings: LSLoSettings) -> float:
    """Positions that one training's watched and scored texts have, about."""
    classes = settings.classes_of()
    watched = (settings.watched_items or ITEMS) * len(directions.watched(classes)) * (1 + settings.epochs)
    scored = (settings.scored_items or ITEMS) * len(directions.everything(classes))
    return (watched + 2 * scored) * POSITIONS


def missing(settings: LSLoSettings, notebook: str) -> int:
    """How many trainings a notebook lacks: all that it has where the text or the weight learning is not here."""
    from langsim.lslo import procedures, rows

    tables, kinds = NEEDS.get(notebook, ((), ()))
    if not tables:
        return 0
    ids = set()
    for exhibit in tables:
        if settings.ranks and exhibit != "lslo-table1":
            continue
        found = rows.rows(settings, exhibit)
        chosen = found.values() if exhibit != "lslo-table1" or notebook not in ALONE else [found["Pretrain"]]
        ids |= {job.id for of in chosen for job in of if job.experiment.trains != "nothing"}
    everything = len(settings.weight_seeds) + len(settings.seeds) * len(kinds) + len(ids)
    try:
        weights = list(procedures.weights_cells(settings).values())
        if any(map(_lacks, weights)):
            return everything
        learned = procedures.learned_of(settings)
        planned = procedures.row_cells(settings, learned)
        needed = list({planned[id].path: planned[id] for id in ids}.values())
        needed += [cell for kind in kinds for cell in procedures.estimate_cells(settings, learned, kind).values()]
        return sum(map(_lacks, needed))
    except LangsimError:  # text or a model that is not here
        return everything


def _lacks(cell: Cell) -> bool:
    return cells.problem(cell) is not None
