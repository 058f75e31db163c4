"""The `langsim` command: thin, quiet, one line an error. Heavy imports happen inside the commands that need them."""

import json
import os
import sys
from typing import Annotated, Any

import typer

from langsim import __version__
from langsim.errors import LangsimError, UsageError

app = typer.Typer(
    help="Language similarity from Fisher information.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
results_app = typer.Typer(help="Saved results.", no_args_is_help=True)
data_app = typer.Typer(help="The open corpora: what there is, and how to get it.", no_args_is_help=True)
cache_app = typer.Typer(help="The local cache: everything in it can be made or fetched again.", no_args_is_help=True)
app.add_typer(results_app, name="results")
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")

# Libraries that write to stderr on their own account.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Profile = Annotated[str, typer.Option(help="mini, open or paper")]
Model = Annotated[str | None, typer.Option(help="a shipped model, a local folder, or a hub id")]
CorpusName = Annotated[
    str | None,
    typer.Option("--corpus", help="where the text comes from: catalogs, files, ntrex, ted, opus100, flores101, ..."),
]
Data = Annotated[str | None, typer.Option(help="the folder or file that corpus files (or ted, flores101, ...) reads")]
Languages = Annotated[str | None, typer.Option(help="codes separated by commas, or a pool such as ted17")]
Domain = Annotated[str | None, typer.Option(help="one domain of the corpus; '' for all")]
Estimator = Annotated[str | None, typer.Option(help="batch, per_example or sampled")]
Recipe = Annotated[str | None, typer.Option(help="paper or authors_code")]
Params = Annotated[str | None, typer.Option(help="the parameters that are compared: ffn, attention, all, re:...")]
Measure = Annotated[str | None, typer.Option(help="overlap, jaccard, mse or kl")]
K = Annotated[float | None, typer.Option("--k", help="share of the parameters that counts as active")]
BatchSize = Annotated[int | None, typer.Option(help="sentence pairs in a mini-batch")]
MaxItems = Annotated[int | None, typer.Option(help="sentence pairs per language; 0 for all there are")]
Seed = Annotated[int | None, typer.Option(help="seed of every random choice")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N")]
Jobs = Annotated[int, typer.Option(min=0, help="languages at a time (0: as many as cores and memory allow)")]
CellJobs = Annotated[int, typer.Option(min=1, help="cells at a time")]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(f"langsim {__version__}")
        raise typer.Exit


@app.command("languages")
def languages_(as_json: Json = False) -> None:
    """List the registry: every language with its codes, family and script."""
    from dataclasses import asdict

    from langsim import languages

    rows = [asdict(language) for language in languages.all_languages()]
    if as_json:
        return _json(rows)
    columns = ("code", "name", "iso639_3", "m2m", "flores", "family", "script")
    _table(columns, [[row[column] for column in columns] for row in rows])


@app.command("exhibits")
def exhibits_(as_json: Json = False) -> None:
    """List the tables and figures of the three papers, and what exists for each."""
    from langsim import exhibits

    rows = exhibits.listing()
    if as_json:
        return _json(rows)
    columns = ("id", "paper", "exhibit", "notebook", "published")
    _table((*columns, "results"), [[*(row[c] for c in columns), ", ".join(row["results"])] for row in rows])


@app.command()
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
    settings = _settings(locals())
    from langsim import pipeline

    vectors = pipeline.fisher_vectors(settings, jobs=jobs or None)
    _warn(vectors.warnings)
    rows = vectors.summary()
    if as_json:
        return _json({"signature": vectors.signature, "folder": str(vectors.folder), "languages": rows})
    _table(tuple(rows[0]), [list(row.values()) for row in rows])
    typer.echo(f"\n{vectors.folder}\n{vectors.signature}")


@app.command()
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
    settings = _settings(locals())
    from langsim import pipeline

    result = pipeline.similarities(settings, jobs=jobs or None)
    _warn(result.warnings)
    if as_json:
        return _json(result.as_json())
    typer.echo(f"{result.label}; row = target, column = auxiliary\n")
    typer.echo(result.matrix.round(4).to_string(na_rep=""))
    typer.echo(f"\n{result.signature}")


@app.command()
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
    settings = _settings(locals())
    from langsim import pipeline

    result = pipeline.family(settings, target, jobs=jobs or None)
    _warn(result.warnings)
    if as_json:
        return _json(result.as_json())
    typer.echo(f"{result.target}: {', '.join(result.members) or 'no auxiliary language'}   ({result.label})\n")
    if result.trace:
        _table(tuple(result.trace[0]), [list(step.values()) for step in result.trace])
    typer.echo(f"\n{result.signature}")


@app.command()
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="paths or names, such as 03_families")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every notebook of the book")] = False,
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", metavar="NAME VALUE")] = None,
    yaml: Annotated[list[str] | None, typer.Option("-y", "--yaml", help='such as "languages: [fa, hi]"')] = None,
    profile: Annotated[str, typer.Option(help="mini, open or paper")] = "",
    out: Annotated[str, typer.Option(help="where executed notebooks go (default: _build/runs/...)")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would run and what it costs")] = False,
    force: Annotated[bool, typer.Option("--force", help="run finished notebooks too")] = False,
) -> None:
    """Run notebooks with your parameters; finished ones are skipped, committed ones never touched."""
    from langsim import runner

    if bool(notebooks) == everything:
        raise UsageError("name the notebooks to run, or use --all (not both)")
    names = [str(path) for path in runner.all_notebooks()] if everything else notebooks
    parameters = runner.parse_parameters(parameter or (), yaml or ())
    runs = runner.plan(names, parameters, profile=profile, out=out)
    if dry_run:
        from langsim import costs

        _table(costs.COLUMNS, [costs.row(item) for item in runs])
        for item in runs:
            if told := costs.details(item):
                typer.echo("\n".join((f"\n{item.name}:", *told)))
        return
    for item in runs:
        runner.run(item, force=force, say=_say)


@app.command()
def reproduce(
    profile: Profile = "mini",
    fresh: Annotated[bool, typer.Option("--fresh", help="compute good cells again too")] = False,
    only: Annotated[list[str] | None, typer.Option(help="one kind of cells")] = None,
    jobs: CellJobs = 1,
) -> None:
    """Compute the missing and stale cells of a profile; interrupted, it continues where it stopped."""
    from langsim import cells, profiles

    profiles.defaults(profile)  # an unknown name ends here
    counts = cells.reproduce(profile, only=only or (), fresh=fresh, jobs=jobs, progress=_say)
    _say(f"{counts['computed']} cells computed, {counts['kept']} kept")


@app.command()
def pretrain(
    name: Annotated[str, typer.Argument(help="a model with a recipe in data/models, such as mini-m2m")],
    minutes: Annotated[float, typer.Option(help="how long to train; the next call continues")] = 60,
    out: Annotated[str, typer.Option(help="where the training's state goes (default: in the cache)")] = "",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="start anew, from untrained weights")] = False,
    ship: Annotated[bool, typer.Option("--ship", help="then replace the shipped model and its card's data")] = False,
) -> None:
    """Train a shipped model from its recipe, from where the last training stopped.

    A shipped model is replaced together with its cells: after --ship, `langsim reproduce` and `langsim card`.
    """
    from pathlib import Path

    from langsim import modelcard, pretraining
    from langsim import pretrain as pretraining_run
    from langsim.paths import cache_dir

    pretraining.recipe(name)  # an unknown name ends here
    folder = Path(out).expanduser() if out else cache_dir() / "train" / name
    state = pretraining_run.train(name, minutes=minutes, out=folder, device=device, fresh=fresh)
    _say(f"{name}: {state['step']} steps, {state['tokens']} target tokens ({folder})")
    if ship:
        _say(f"{name}: shipped in {modelcard.ship(name, folder)}")


@app.command()
def card(name: Annotated[str, typer.Argument(help="a shipped model, such as mini-m2m")]) -> None:
    """Write a shipped model's README.md from its card and its held-out scores."""
    from langsim import modelcard, pretraining

    pretraining.recipe(name)  # an unknown name ends here
    _say(f"{name}: {modelcard.write_readme(name)}")


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="a fairseq checkpoint (.pt), or a folder with one, dict.txt and pieces")
    ],
    out: Annotated[str, typer.Argument(help="a new folder for the model as the hub lays it out")],
) -> None:
    """Convert a fairseq translation model (such as flores101_mm100_615M) to transformers' M2M100."""
    from langsim import fairseq_checkpoint

    made = fairseq_checkpoint.convert(source, out)
    _say(f"{made.folder}: {made.parameters} parameters, {len(made.languages)} languages")
    _say(
        f"{made.tried} names were cut into pieces as a test, {len(made.unlike)} of them not as SentencePiece cuts them"
    )


@results_app.command("compare")
def results_compare(
    profile: Profile = "mini",
    fresh: Annotated[str, typer.Option(help="folder of fresh results (default: those of the last build)")] = "",
    reference: Annotated[str, typer.Option(help="folder of reference results (default: the committed ones)")] = "",
) -> None:
    """Compare fresh results with the reference ones, within each column's tolerance."""
    from pathlib import Path

    from langsim import results
    from langsim.errors import Failure

    old = Path(reference) if reference else results.reference_dir(profile)
    found = results.compare_folders(Path(fresh) if fresh else results.output_root() / profile, old)
    for difference in found:
        typer.echo(difference)
    if found:
        raise Failure(f"{len(found)} differences from {old}; if they are meant, accept them with: make accept")
    typer.echo("no differences")


@results_app.command("accept")
def results_accept(
    profile: Profile = "mini",
    fresh: Annotated[str, typer.Option(help="folder of fresh results (default: those of the last run)")] = "",
) -> None:
    """Make the fresh results of a profile the reference ones. (For `mini`, `make accept` takes the notebooks along.)"""
    from pathlib import Path

    from langsim import profiles, results

    profiles.defaults(profile)  # an unknown name ends here
    reference = results.reference_dir(profile)
    for path in results.accept(Path(fresh) if fresh else results.output_root() / profile, reference):
        _say(f"{path}")


@results_app.command("export")
def results_export(
    profile: Annotated[str, typer.Option(help="open or paper")],
    out: Annotated[str, typer.Option(help="the file to write (default: langsim-PROFILE.zip)")] = "",
    folder: Annotated[str, typer.Option(help="folder of the results (default: those of the last run)")] = "",
) -> None:
    """Pack a profile's results and cells into one file, for `results import` elsewhere."""
    from pathlib import Path

    from langsim import bundle

    done = bundle.export(profile, Path(out) if out else None, Path(folder) if folder else None)
    for path in done.left_out:
        _say(f"left out, no exhibit of the papers: {path}")
    typer.echo(f"{done.path}: {len(done.files)} files")


@results_app.command("show")
def results_show(file: Annotated[str, typer.Argument(help="a file of `results export`")]) -> None:
    """Check such a file and list what is in it, signatures included; nothing is written."""
    from pathlib import Path

    from langsim import bundle

    found = bundle.load(Path(file))
    typer.echo(f"profile {found.profile}, packed by langsim {found.langsim}\n")
    _table(("holds", "signature"), [list(row) for row in found.listing()])


@results_app.command("import")
def results_import(
    file: Annotated[str, typer.Argument(help="a file of `results export`")],
    force: Annotated[bool, typer.Option("--force", help="replace results that differ")] = False,
) -> None:
    """Check such a file and take its results over: all of them, or none."""
    from pathlib import Path

    from langsim import bundle

    done = bundle.import_(Path(file), force=force)
    for path in done.written:
        _say(f"{path}{' (replaced)' if path in done.replaced else ''}")
    for path in done.removed:
        _say(f"{path} (removed)")
    _say(f"{len(done.written)} files taken over, {done.kept} were there already")


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """The open corpora: licence, size, how much of each is here, and where."""
    from langsim import open_data

    rows = open_data.listing()
    if as_json:
        return _json(rows)
    shown = [{**row, "size": f"{row['size'] / 1e6:.1f} MB"} for row in rows]
    _table(open_data.SHOWN, [[row[column] for column in open_data.SHOWN] for row in shown])


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="corpora of `langsim data list`, such as ntrex")],
) -> None:
    """Download open corpora from pinned commits and check them; what is here and sound is kept.

    They go to the folder that LANGSIM_DATA names, else into the cache. Interrupted, the next call continues.
    """
    from langsim import fetch, open_data

    for name in names:
        open_data.collection(name)  # an unknown name ends before any download
    for name in names:
        done = fetch.fetch(name)
        _say(f"{name}: {done.downloaded} files fetched, {done.kept} kept ({done.folder})")


@cache_app.command("info")
def cache_info() -> None:
    """Where the cache is and what it holds."""
    from langsim.paths import cache_dir

    rows = []
    for folder in sorted(path for path in cache_dir().glob("*") if path.is_dir()):
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        rows.append([folder.name, len(sizes), f"{sum(sizes) / 1e6:.1f} MB"])
    typer.echo(f"{cache_dir()}\n")
    _table(("part", "files", "size"), rows)


@cache_app.command("clear")
def cache_clear(part: Annotated[str, typer.Argument(help="one part, or 'all' (but train)")]) -> None:
    """Delete one part of the cache (see `cache info`), or all of it but `train`, which takes hours to make again."""
    import shutil

    from langsim.paths import cache_dir
    from langsim.suggest import unknown

    parts = [path.name for path in cache_dir().glob("*") if path.is_dir()]
    if part not in (*parts, "all"):
        raise UsageError(f"cache: {unknown(part, [*parts, 'all'])}")
    for name in set(parts) - {"train"} if part == "all" else [part]:
        shutil.rmtree(cache_dir() / name)
    if part == "all" and "train" in parts:
        _say("kept: train, the state of trainings; `langsim cache clear train` deletes it too")


def main(argv: list[str] | None = None) -> None:
    """Entry point: one line on stderr for whatever goes wrong; exit status 2 for the caller's mistakes, else 1."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        status = app(args=_join_parameters(sys.argv[1:] if argv is None else argv), standalone_mode=False)
        sys.stdout.flush()
    except LangsimError as error:
        status = _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # `langsim languages | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        if hasattr(error, "format_message"):  # the option parser's own
            line = error.format_message()  # empty where help was shown instead
            status = _fail(line, 2) if line else 2
        elif os.environ.get("LANGSIM_DEBUG"):
            raise
        else:
            line = f"{type(error).__name__}: {error} (unexpected; LANGSIM_DEBUG=1 shows where)"
            status = _fail(line, 1)
    if status == 130:  # the option parser turns an interrupt into this exit code
        _fail("interrupted; the same command continues where it stopped", 130)
    sys.exit(status if isinstance(status, int) else 0)


def _join_parameters(arguments: list[str]) -> list[str]:
    """`-p name value`, as papermill has it, becomes `-p name=value`, which the option parser can take many times."""
    joined, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in {"-p", "--parameter"} and len(rest) >= 2 and "=" not in rest[0]:
            rest[:2] = [f"{rest[0]}={rest[1]}"]
        joined.append(word)
    return joined


def _settings(values: dict[str, Any]) -> Any:
    """Settings from a command's options; an option that was not given leaves the profile's value."""
    from langsim import profiles

    target = values.get("target")
    values = {name: value for name, value in values.items() if name in profiles.Settings.model_fields}
    if values.get("languages") is not None:
        values["languages"] = values["languages"].replace(",", " ").split()
    if target is not None:
        values["targets"] = [target]
    return profiles.resolve(**values)


def _json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def _table(columns: tuple[str, ...], rows: list[list[Any]]) -> None:
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [columns, *cells]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _warn(warnings: list[str]) -> None:
    for line in warnings:
        _say(f"note: {line}")


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _fail(line: str, status: int) -> int:
    _say(f"langsim: {' '.join(line.split())}")
    return status


if __name__ == "__main__":
    main()
