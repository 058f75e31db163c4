"""`langsim results`: compare them with the reference ones, accept them, hand them on."""

from typing import Annotated

import typer

from langsim.commands.options import Profile
from langsim.commands.printing import print_table, say

app = typer.Typer(help="Saved results.", no_args_is_help=True)


@app.command()
def compare(
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


@app.command()
def accept(
    profile: Profile = "mini",
    fresh: Annotated[str, typer.Option(help="folder of fresh results (default: those of the last run)")] = "",
) -> None:
    """Make the fresh results of a profile the reference ones. (For `mini`, `make accept` takes the notebooks along.)"""
    from pathlib import Path

    from langsim import profiles, results

    profiles.defaults(profile)  # an unknown name ends here
    reference = results.reference_dir(profile)
    for path in results.accept(Path(fresh) if fresh else results.output_root() / profile, reference):
        say(f"{path}")


@app.command()
def export(
    profile: Annotated[str, typer.Option(help="open or paper")],
    out: Annotated[str, typer.Option(help="the file to write (default: langsim-PROFILE.zip)")] = "",
    folder: Annotated[str, typer.Option(help="folder of the results (default: those of the last run)")] = "",
) -> None:
    """Pack a profile's results and cells into one file, for `results import` elsewhere."""
    from pathlib import Path

    from langsim import bundle

    done = bundle.export(profile, Path(out) if out else None, Path(folder) if folder else None)
    for path in done.left_out:
        say(f"left out, no exhibit of the papers: {path}")
    typer.echo(f"{done.path}: {len(done.files)} files")


@app.command()
def show(file: Annotated[str, typer.Argument(help="a file of `results export`")]) -> None:
    """Check such a file and list what is in it, signatures included; nothing is written."""
    from pathlib import Path

    from langsim import bundle

    found = bundle.load(Path(file))
    typer.echo(f"profile {found.profile}, packed by langsim {found.langsim}\n")
    print_table(("holds", "signature"), [list(row) for row in found.listing()])


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="a file of `results export`")],
    force: Annotated[bool, typer.Option("--force", help="replace results that differ")] = False,
) -> None:
    """Check such a file and take its results over: all of them, or none."""
    from pathlib import Path

    from langsim import bundle

    done = bundle.import_(Path(file), force=force)
    for path in done.written:
        say(f"{path}{' (replaced)' if path in done.replaced else ''}")
    for path in done.removed:
        say(f"{path} (removed)")
    say(f"{len(done.written)} files taken over, {done.kept} were there already")


@app.command()
def hypotheses(
    out: Annotated[str, typer.Argument(help="a folder, made if it is not there")],
    profile: Profile = "mini",
    yaml: Annotated[list[str] | None, typer.Option("-y", "--yaml", help="parameters of the run")] = None,
) -> None:
    """Write the test sets and translations of 04_translation as plain text, a line a sentence, for other scores."""
    from pathlib import Path

    from langsim import hypotheses, profiles, runner, translation_study

    settings = profiles.resolve(profile, kind=profiles.Tuning, **runner.parse_parameters((), yaml or ()))
    written = hypotheses.write(translation_study.study(settings), Path(out).expanduser())
    say(f"{out}: {len(written)} files")
