"""`langsim data`: the open corpora, listed and fetched."""

from typing import Annotated

import typer

from langsim.commands.options import Json
from langsim.commands.printing import print_json, print_table, say

app = typer.Typer(help="The open corpora: what there is, and how to get it.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The open corpora: licence, size, how much of each is here, and where."""
    from langsim import open_data

    rows = open_data.listing()
    if as_json:
        return print_json(rows)
    shown = [{**row, "size": f"{row['size'] / 1e6:.1f} MB"} for row in rows]
    print_table(open_data.SHOWN, [[row[column] for column in open_data.SHOWN] for row in shown])


@app.command()
def fetch(
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
        say(f"{name}: {done.downloaded} files fetched, {done.kept} kept ({done.folder})")
