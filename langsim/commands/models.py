"""Models: the shipped ones trained and described, others converted."""

from typing import Annotated

import typer

from langsim.commands.printing import say


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
    say(f"{name}: {state['step']} steps, {state['tokens']} target tokens ({folder})")
    if ship:
        say(f"{name}: shipped in {modelcard.ship(name, folder)}")


def card(name: Annotated[str, typer.Argument(help="a shipped model, such as mini-m2m")]) -> None:
    """Write a shipped model's README.md from its card and its held-out scores."""
    from langsim import modelcard, pretraining

    pretraining.recipe(name)  # an unknown name ends here
    say(f"{name}: {modelcard.write_readme(name)}")


def convert(
    source: Annotated[
        str, typer.Argument(help="a fairseq checkpoint (.pt), or a folder with one, dict.txt and pieces")
    ],
    out: Annotated[str, typer.Argument(help="a new folder for the model as the hub lays it out")],
) -> None:
    """Convert a fairseq translation model (such as flores101_mm100_615M) to transformers' M2M100."""
    from langsim import fairseq_checkpoint

    made = fairseq_checkpoint.convert(source, out)
    say(f"{made.folder}: {made.parameters} parameters, {len(made.languages)} languages")
    say(f"{made.tried} names were cut into pieces as a test, {len(made.unlike)} of them not as SentencePiece cuts them")
