"""`langsim cache`: what lies there, and how to be rid of it."""

from typing import Annotated

import typer

from langsim.commands.printing import print_table, say
from langsim.errors import UsageError

app = typer.Typer(help="The local cache: everything in it can be made or fetched again.", no_args_is_help=True)


@app.command()
def info() -> None:
    """Where the cache is and what it holds."""
    from langsim.paths import cache_dir

    rows = []
    for folder in sorted(path for path in cache_dir().glob("*") if path.is_dir()):
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        rows.append([folder.name, len(sizes), f"{sum(sizes) / 1e6:.1f} MB"])
    typer.echo(f"{cache_dir()}\n")
    print_table(("part", "files", "size"), rows)


@app.command()
def clear(part: Annotated[str, typer.Argument(help="one part, or 'all' (but train)")]) -> None:
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
        say("kept: train, the state of trainings; `langsim cache clear train` deletes it too")
