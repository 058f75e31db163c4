"""The `langsim` command: thin, quiet, one line an error. Heavy imports happen inside the commands that need them."""

import os
import sys
from typing import Annotated

import typer

from langsim import __version__
from langsim.commands import cache, data, models, recommend, results, similarity
from langsim.commands.options import Json, Profile
from langsim.commands.printing import print_json, print_table, say
from langsim.errors import LangsimError, UsageError

app = typer.Typer(
    help="Language similarity from Fisher information.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Libraries that write to stderr on their own account.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

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
        return print_json(rows)
    columns = ("code", "name", "iso639_3", "m2m", "flores", "family", "script")
    print_table(columns, [[row[column] for column in columns] for row in rows])


@app.command("exhibits")
def exhibits_(as_json: Json = False) -> None:
    """List the tables and figures of the three papers, and what exists for each."""
    from langsim import exhibits

    rows = exhibits.listing()
    if as_json:
        return print_json(rows)
    columns = ("id", "paper", "exhibit", "notebook", "published")
    print_table((*columns, "results"), [[*(row[c] for c in columns), ", ".join(row["results"])] for row in rows])


app.command()(similarity.fisher)
app.command()(similarity.similarity)
app.command()(similarity.family)
app.command()(recommend.recommend)


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
    jobs: Annotated[int, typer.Option(min=1, help="notebooks at a time")] = 1,
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

        print_table(costs.COLUMNS, [costs.row(item) for item in runs])
        for item in runs:
            if told := costs.details(item):
                typer.echo("\n".join((f"\n{item.name}:", *told)))
        return
    runner.run_all(runs, force=force, jobs=jobs, say=say)


@app.command()
def reproduce(
    profile: Profile = "mini",
    fresh: Annotated[bool, typer.Option("--fresh", help="compute good cells again too")] = False,
    only: Annotated[list[str] | None, typer.Option(help="a kind of cells, or what several begin with: xsns")] = None,
    jobs: CellJobs = 1,
) -> None:
    """Compute the missing and stale cells of a profile; interrupted, it continues where it stopped."""
    from langsim import cells, profiles

    profiles.defaults(profile)  # an unknown name ends here
    counts = cells.reproduce(profile, only=only or (), fresh=fresh, jobs=jobs, progress=say)
    say(f"{counts['computed']} cells computed, {counts['kept']} kept")


app.command()(models.pretrain)
app.command()(models.card)
app.command()(models.convert)
app.add_typer(results.app, name="results")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


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


def _fail(line: str, status: int) -> int:
    say(f"langsim: {' '.join(line.split())}")
    return status


if __name__ == "__main__":
    main()
