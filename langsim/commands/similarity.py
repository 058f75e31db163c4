"""From text to pseudo families: Fisher vectors, similarities, the family of one language."""

from typing import Annotated

import typer

from langsim.commands.options import (
    BatchSize,
    CorpusName,
    Data,
    Device,
    Domain,
    Estimator,
    Jobs,
    Json,
    K,
    Languages,
    MaxItems,
    Measure,
    Model,
    Params,
    Profile,
    Recipe,
    Seed,
    settings_of,
)
from langsim.commands.printing import print_json, print_table, warn


def fisher(
    profile: Profile = "mini",
    model: Model = None,
    corpus: CorpusName = None,
    data: Data = None,
    languages: Languages = None,
    domain: Domain = None,
    estimator: Estimator = None,
    recipe: Recipe = None,
    batch_size: BatchSize = None,
    max_items: MaxItems = None,
    seed: Seed = None,
    device: Device = None,
    jobs: Jobs = 0,
    as_json: Json = False,
) -> None:
    """Estimate the Fisher vector of each language; finished ones are kept."""
    settings = settings_of(locals())
    from langsim import pipeline

    vectors = pipeline.fisher_vectors(settings, jobs=jobs or None)
    warn(vectors.warnings)
    rows = vectors.summary()
    if as_json:
        return print_json({"signature": vectors.signature, "folder": str(vectors.folder), "languages": rows})
    print_table(tuple(rows[0]), [list(row.values()) for row in rows])
    typer.echo(f"\n{vectors.folder}\n{vectors.signature}")


def similarity(
    profile: Profile = "mini",
    model: Model = None,
    corpus: CorpusName = None,
    data: Data = None,
    languages: Languages = None,
    domain: Domain = None,
    estimator: Estimator = None,
    recipe: Recipe = None,
    params: Params = None,
    measure: Measure = None,
    k: K = None,
    batch_size: BatchSize = None,
    max_items: MaxItems = None,
    seed: Seed = None,
    device: Device = None,
    jobs: Jobs = 0,
    as_json: Json = False,
) -> None:
    """Compare every language with every other."""
    settings = settings_of(locals())
    from langsim import pipeline

    result = pipeline.similarities(settings, jobs=jobs or None)
    warn(result.warnings)
    if as_json:
        return print_json(result.as_json())
    typer.echo(f"{result.label}; row = target, column = auxiliary\n")
    typer.echo(result.matrix.round(4).to_string(na_rep=""))
    typer.echo(f"\n{result.signature}")


def family(
    target: Annotated[str, typer.Option(help="the language whose pseudo family is wanted")],
    profile: Profile = "mini",
    model: Model = None,
    corpus: CorpusName = None,
    data: Data = None,
    languages: Languages = None,
    domain: Domain = None,
    estimator: Estimator = None,
    recipe: Recipe = None,
    params: Params = None,
    measure: Measure = None,
    k: K = None,
    batch_size: BatchSize = None,
    max_items: MaxItems = None,
    seed: Seed = None,
    device: Device = None,
    jobs: Jobs = 0,
    as_json: Json = False,
) -> None:
    """The pseudo family of one language (Algorithm A.2), step by step."""
    settings = settings_of(locals())
    from langsim import pipeline

    result = pipeline.family(settings, target, jobs=jobs or None)
    warn(result.warnings)
    if as_json:
        return print_json(result.as_json())
    typer.echo(f"{result.target}: {', '.join(result.members) or 'no auxiliary language'}   ({result.label})\n")
    if result.trace:
        print_table(tuple(result.trace[0]), [list(step.values()) for step in result.trace])
    typer.echo(f"\n{result.signature}")
