"""What signs the cells of part II: each kind by what decides its scores, and by nothing else.

A training that is not scored is not made anew where more of the test set is scored, nor the model as it came where a
learning rate is another.
"""

from langsim import models, results
from langsim.lslo import directions, running
from langsim.lslo.experiment import Experiment
from langsim.lslo_settings import LSLoSettings

VERSION = 3  # of what trains and scores. 2: the language token is not scored; 3: scores by cluster, means, passes
# What of the settings decides no scores, or is signed by its content.
ELSEWHERE = {"profile", "model", "corpus", "data", "languages", "more_languages", "classes", "ranks", "seeds"}
ELSEWHERE |= {"weight_seeds", "learning_rate", "full_learning_rate", "device", "threads"}
SCORING = {"scored_items", "translated", "beam_size", "engine"}
ADAPTERS = {"span", "init"}
TRAINING = ADAPTERS | {"training_items", "watched_pool", "watched_items", "epochs", "updates", "sampling", "warmup"}
TRAINING |= {"label_smoothing", "dropout", "attention_dropout", "batches_per_update", "precision"}
UNUSED = {"nothing": TRAINING, "everything": ADAPTERS, "lslo": set()}


def inputs(
    settings: LSLoSettings, which: str = "languages", trains: str = "lslo", *, scored: bool = True
) -> dict[str, str]:
    """What signs a cell, but for the experiment itself.

    Args:
        trains: as of an `Experiment`.
        scored: whether it is scored on TEST; else what only scoring uses has no say.
    """
    classes = settings.classes_of(which)
    rates = {"everything": settings.full_learning_rate, "lslo": settings.learning_rate}
    deciding = settings.model_dump(exclude=ELSEWHERE | UNUSED[trains] | (set() if scored else SCORING))
    deciding |= {"rate": rates.get(trains), "classes": list(classes.items()), "directions": directions.chosen(classes)}
    shipped = settings.model in models.shipped()
    digest = models.shipped_digest(settings.model) if shipped else running.model_of(settings).digest
    return {
        "model": results.named(settings.model, digest),
        "corpus": results.named(settings.corpus, running.corpus_of(settings).digest),
        "settings": results.digest_of(deciding)[:12],
    }


def of_experiment(made: Experiment) -> str:
    """Digest of a row, whatever it is called."""
    return results.digest_of(made.content.model_dump(mode="json"))[:12]
