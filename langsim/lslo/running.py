"""One training of part II, from its settings to its scores: a cell of Tables 1, 2, 6 and 7, of a weight learning, or of
an estimation of subspaces."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from langsim import corpora, models
from langsim.cells import Scores
from langsim.corpora.base import Corpus, Pair
from langsim.lslo import directions, evaluation, experiment, subspaces, training
from langsim.lslo.directions import Direction, Model
from langsim.lslo.experiment import Experiment
from langsim.lslo.rows import Job
from langsim.lslo.weight_learning import Learned, learn
from langsim.lslo_settings import LSLoSettings
from langsim.models import LoadedModel
from langsim.token_batches import encode_directions
from langsim.training_recipe import TrainingRecipe

ESTIMATES = {"lslo-ise": "lslo-fig2", "lslo-lsp": "lslo-fig4"}  # kind of cells -> exhibit of its experiment
SINGLE = 250  # directions: of so many every one is kept by cluster of the text, of more only pairs of classes
Part = Literal["training", "watched", "scored"]


# Text, model and recipe ------------------------------------------------------------------------------------------


def corpus_of(settings: LSLoSettings) -> Corpus:
    """The corpus of the settings, kept for the next call."""
    codes = tuple(dict.fromkeys((*settings.languages, *settings.more_languages)))
    return _corpus(settings.corpus, settings.data, codes)


@lru_cache(maxsize=1)
def _corpus(name: str, path: str, codes: tuple[str, ...]) -> Corpus:
    options = {"path": path, "languages": list(codes), "max_items": 0, "seed": 0}
    return corpora.load(name, **{key: options[key] for key in corpora.OPTIONS[name]})


def text(
    settings: LSLoSettings, which: str, part: Part, chosen: Sequence[Direction] = ()
) -> dict[Direction, list[Pair]]:
    """Multi-parallel text: items that all languages have, as pairs of all directions (or the `chosen`).

    Args:
        which: "languages" or "more_languages".
        part: what it is for; see `items`.

    Raises:
        UsageError: a language without text, or no text that all share.
    """
    codes = list(settings.classes_of(which))
    return directions.pairs(corpus_of(settings), items(settings, which, part), chosen or directions.everything(codes))


def items(settings: LSLoSettings, which: str, part: Part) -> list[str]:
    """Ids of the items that all languages have.

    Of the training pools, `training_items` drawn by their ids, the same for all languages; of the watched pool and of
    TEST, those of which no language has a text of the training pools (whether it was drawn or not), and of these
    `watched_items` and `scored_items`.
    """
    if part == "training":
        return directions.drawn(_pools(settings, which), settings.training_items)
    pool, most = (
        (settings.watched_pool, settings.watched_items) if part == "watched" else ("TEST", settings.scored_items)
    )
    return directions.drawn(_held_out(settings, which, pool), most)


def left_out(settings: LSLoSettings, which: str) -> int:
    """How many items of TEST are not scored, for a language has their text in the training pools."""
    corpus, codes = corpus_of(settings), list(settings.classes_of(which))
    everything = directions.shared(corpus, codes, domain=settings.domain, pool="TEST")
    return len(everything) - len(_held_out(settings, which, "TEST"))


def _pools(settings: LSLoSettings, which: str) -> list[str]:
    corpus, codes = corpus_of(settings), list(settings.classes_of(which))
    pools = settings.training_pools
    return [item for pool in pools for item in directions.shared(corpus, codes, domain=settings.domain, pool=pool)]


def _held_out(settings: LSLoSettings, which: str, pool: str) -> list[str]:
    corpus, codes = corpus_of(settings), list(settings.classes_of(which))
    there = list(corpus.select(domain=settings.domain, pool=pool))
    known = set(directions.repeated(corpus, there, _pools(settings, which), codes))
    return directions.shared(corpus, codes, domain=settings.domain, pool=pool, without=known)


def check(settings: LSLoSettings) -> dict[str, dict[str, int]]:
    """To be called before anything expensive: how many items every text of the settings has.

    Returns:
        "languages" and (where the settings have no ranks of their own: Table 2) "more_languages" -> "training",
        "watched", "scored", and "left out" of those scored -> items.

    Raises:
        UsageError: as `text`; a language that the model has no token for; an engine that can't use the model.
    """
    loaded = model_of(settings)
    if settings.engine == "ctranslate2":
        from langsim import ctranslate

        ctranslate.require(loaded)
    found = {}
    for which in ("languages",) if settings.ranks else ("languages", "more_languages"):
        codes = list(settings.classes_of(which))
        for code in codes:
            loaded.encode("", "", code, code)
        found[which] = {part: len(items(settings, which, part)) for part in ("training", "watched", "scored")}
        found[which]["left out"] = left_out(settings, which)
    return found


@contextmanager
def threads(settings: LSLoSettings) -> Iterator[None]:
    """The settings' number of threads, of torch and of what CTranslate2 takes from it, so that sums round the same
    whatever was set; put back afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def model_of(settings: LSLoSettings) -> LoadedModel:
    """The settings' model, kept for the next call."""
    return _model(settings.model, settings.device)


@lru_cache(maxsize=1)
def _model(name: str, device: str) -> LoadedModel:
    return models.load(name, device=device)


def recipe_of(settings: LSLoSettings, trains: str, seed: int, updates: int) -> TrainingRecipe:
    """How a model is trained; `trains` as of an `Experiment`."""
    return TrainingRecipe.of(
        sampling=settings.sampling,
        tokens_per_batch=settings.tokens_per_batch,
        batches_per_update=settings.batches_per_update,
        updates=updates,
        patience=None,
        validate_every=None,
        learning_rate=settings.full_learning_rate if trains == "everything" else settings.learning_rate,
        warmup=settings.warmup,
        label_smoothing=settings.label_smoothing,
        eps=1e-8,
        dropout=settings.dropout,
        attention_dropout=settings.attention_dropout,
        layerdrop=None,
        precision=settings.precision,
        seed=seed,
    )


# Training and scores ---------------------------------------------------------------------------------------------


def fit(
    settings: LSLoSettings,
    which: str,
    trains: str,
    seed: int,
    make: Callable[[Any], Model],
    folder: Path | None = None,
    gradually: training.Gradually | None = None,
) -> tuple[Model, training.Trained]:
    """Train what `make` makes of a copy of the settings' model."""
    from langsim.training import with_dropout

    loaded, classes = model_of(settings), settings.classes_of(which)
    data = text(settings, which, "training")
    updates = settings.updates
    if not updates:
        draft = recipe_of(settings, trains, seed, settings.epochs)
        updates = training.updates_of(encode_directions(loaded, data, "training"), draft, settings.epochs)
    recipe = recipe_of(settings, trains, seed, updates)
    # All directions of Figure 3, which is on `languages` alone.
    some = directions.watched(classes) if which == "languages" else directions.chosen(classes)
    held_out = encode_directions(loaded, text(settings, which, "watched", some), "watched")

    def watch(model: Model) -> Mapping[str, float]:
        values = _by_direction(evaluation.losses(loaded, model, held_out, tokens=settings.tokens_per_batch))
        single = {"-".join(direction): value for direction, value in values.items()}
        return {
            name: round(value, 5) for name, value in (directions.averages(values, classes).to_dict() | single).items()
        }

    model = make(with_dropout(loaded.model, recipe))
    outcome = training.train(
        loaded, model, data, recipe, epochs=settings.epochs, gradually=gradually, watch=watch, folder=folder
    )
    return model, outcome


def row_scores(settings: LSLoSettings, job: Job, learned: Learned | None = None, folder: Path | None = None) -> Scores:
    """Train one row, then score it in every direction.

    Returns:
        parameters: that were trained. passes: how often the training text was read. curve: every epoch
        (`training.Epoch`; watched: nats per token on the watched text, by direction and by pair of classes).
        directions, nll: nats per token on TEST; clusters: the same by cluster of the text (`evaluation.by_cluster`).
        translated, bleu, chrf, spbleu, hypotheses: of the directions that were translated; signatures of the scores.
        means: measure -> averages over directions. pruned_languages, pruned_share: what of their LoRAs is pruned.
    """
    classes, made = settings.classes_of(job.which), job.experiment
    loaded = model_of(settings)
    if made.trains == "nothing":
        model, curve, found = loaded.model, [], {"parameters": 0}
    else:
        make, gradually = maker(settings, made, classes, job.seed, learned)
        model, outcome = fit(settings, job.which, made.trains, job.seed, make, folder, gradually)
        curve = outcome.curve
        found = {"parameters": sum(parameter.numel() for _, parameter in training.trainable(model))}
        found |= {"updates": outcome.updates, "tokens": outcome.tokens, "truncated": outcome.truncated}
        found["passes"] = outcome.passes
        if gradually:
            counts = gradually.pruning.counts(model).groupby("language", sort=False)[["size", "pruned"]].sum()
            found["pruned_languages"] = list(counts.index)
            found["pruned_share"] = (counts["pruned"] / counts["size"]).tolist()
    found["curve"] = [point._asdict() for point in curve]
    return found | _scored(settings, job.which, loaded, model)


def maker(
    settings: LSLoSettings, made: Experiment, classes: Mapping[str, str], seed: int, learned: Learned | None
) -> tuple[Callable[[Any], Model], training.Gradually | None]:
    """What makes the model of an experiment of a base, and how it is pruned."""
    if made.trains == "everything":
        return lambda base: base, None
    pruning = made.pruning_of(classes)
    gradually = training.Gradually(pruning, made.pruning.schedule) if pruning else None
    options = {"span": settings.span, "init": settings.init, "seed": seed}
    return lambda base: made.lslo(base, classes, learned, **options), gradually


def _scored(settings: LSLoSettings, which: str, loaded: LoadedModel, model: Model) -> Scores:
    from langsim import scoring

    classes = settings.classes_of(which)
    data = text(settings, which, "scored")
    encoded = encode_directions(loaded, data, "TEST")
    likelihoods = evaluation.likelihoods(loaded, model, encoded, tokens=settings.tokens_per_batch)
    frame, named = evaluation.by_direction(encoded, *likelihoods), directions.labels(classes)
    if len(data) <= SINGLE:
        named = {direction: "-".join(direction) for direction in named}
    units = [pair.unit for pair in next(iter(data.values()))]
    some = directions.chosen(classes) if settings.translated == "chosen" else directions.everything(classes)
    pieces = settings.model if settings.model in models.shipped() else "mini-m2m"
    measures = [scoring.bleu(), scoring.chrf(), scoring.spbleu(pieces)]
    found: Scores = {
        "directions": [f"{row.source}-{row.target}" for row in frame.itertuples()],
        "nll": frame["nll"].tolist(),
        "tokens_scored": frame["tokens"].tolist(),
        "clusters": evaluation.by_cluster(encoded, *likelihoods, units, named),
        "translated": ["-".join(direction) for direction in some],
        "signatures": [measure.signature for measure in measures],
        **{measure.name: [] for measure in measures},
        "hypotheses": [],
    }
    for direction in some:
        pairs = data[direction]
        options = {"beam_size": settings.beam_size, "engine": settings.engine}
        hypotheses = evaluation.translate(loaded, model, direction, pairs, **options)
        scores = scoring.scores(hypotheses, [pair.target_text for pair in pairs], measures)
        for measure in measures:
            found[measure.name].append(scores[measure.name])
        found["hypotheses"].append(hypotheses)
    found["means"] = {"nll": directions.averages(_by_direction(frame), classes).to_dict()}
    for measure in measures:
        single = dict(zip(some, found[measure.name], strict=True))
        found["means"][measure.name] = directions.averages(single, classes).to_dict()
    return found


def weight_scores(settings: LSLoSettings, seed: int, folder: Path | None = None) -> Scores:
    """Weight learning on `languages`: learned (`Learned` as JSON), curve."""
    classes = settings.classes_of()
    options = {"span": settings.span, "init": settings.init, "seed": seed}
    model, outcome = fit(
        settings, "languages", "lslo", seed, lambda base: learn(base, list(classes), **options), folder
    )
    learned = model.learned().model_dump(mode="json")
    return {"learned": learned, "curve": [point._asdict() for point in outcome.curve]}


def estimate_scores(
    settings: LSLoSettings, kind: str, seed: int, learned: Learned | None = None, folder: Path | None = None
) -> Scores:
    """Intrinsic subspaces ("lslo-ise") or language-specific pruning ("lslo-lsp") on `languages`: ratio, frame (columns
    of `langsim.lslo.subspaces.scores`), means (score as a share of the weights, by language and by place), curve."""
    (made,) = experiment.experiments(ESTIMATES[kind])
    classes = settings.classes_of()
    ranks = dict.fromkeys(classes.values(), max(made.ranks.values()))  # whatever the classes: all have the same
    pruned = made.pruning.model_copy(update={"classes": tuple(ranks)})
    made = made.model_copy(update={"ranks": ranks, "pruning": pruned})
    make, gradually = maker(settings, made, classes, seed, learned)
    model, outcome = fit(settings, "languages", "lslo", seed, make, folder, gradually)
    ratio = gradually.ratio(settings.epochs, settings.epochs)
    frame = subspaces.scores(model, gradually.pruning, ratio)
    means = {}
    for name, by in (("language", frame["language"]), ("place", frame["stack"] + " " + frame["kind"])):
        sums = frame.groupby(by, sort=False)[["score", "size"]].sum()
        means[name] = (sums["score"] / sums["size"]).to_dict()
    curve = [point._asdict() for point in outcome.curve]
    return {"ratio": ratio, "frame": frame.to_dict("list"), "means": means, "curve": curve}


def _by_direction(frame: Any) -> dict[Direction, float]:
    return {(row.source, row.target): row.nll for row in frame.itertuples()}
