"""Which source language to fine-tune on for a target: `langsim recommend`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from langsim.commands.options import Device, Json, Profile
from langsim.commands.printing import print_json, print_table, say, warn
from langsim.errors import UsageError


def recommend(
    target: Annotated[str, typer.Option(help="the language that the task is wanted in")],
    candidates: Annotated[str, typer.Option(help="codes separated by commas, or a pool; default: the task's")] = "",
    task: Annotated[str, typer.Option(help="whose own text is read: ner, pos, nli, pi, qa; '': general text")] = "",
    profile: Profile = "mini",
    model: Annotated[str | None, typer.Option(help="a shipped model, a local folder, or a hub id")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="a file of the target's text, a sentence a line; of another language: CODE=FILE; repeatable"),
    ] = None,
    texts: Annotated[str, typer.Option(help="a folder with a file CODE.txt for every language")] = "",
    corpus: Annotated[str, typer.Option(help="general text of languages without a file; default: the profile's")] = "",
    p: Annotated[float | None, typer.Option("--p", help="share of the parameters that a sub-network keeps")] = None,
    items: Annotated[int, typer.Option(min=1, help="texts of each language, at most")] = 1024,
    recipe: Annotated[str | None, typer.Option(help="paper or authors_code")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the texts that are drawn and what is hidden in them")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Rank source languages for a target by the similarity of their sub-networks (X-SNS); no label is read."""
    from langsim import profiles
    from langsim.xsns import recommend as recommending
    from langsim.xsns.settings import XSNSSettings, members

    given = {"model": model, "corpus": corpus or None, "p": p, "recipe": recipe, "device": device}
    given |= {"tasks": [task]} if task else {}
    settings = profiles.resolve(profile, kind=XSNSSettings, **given)
    own = _files(target, text or [], texts)
    code = members([target])[0]
    chosen = members(candidates.replace(",", " ").split()) if candidates else []
    if not chosen:
        chosen = [one for one in (settings.languages_of(task) if task else sorted(own)) if one != code]
    recommending.check(code, chosen)
    wanted = [code, *chosen]
    gathered = _gathered(settings, task, wanted, own)
    from langsim import models

    loaded = models.load(settings.model, device=settings.device)
    found = recommending.recommend(
        loaded, code, gathered, candidates=chosen, items=items, seed=seed, **settings.sub_network
    )
    warn(found.warnings)
    if as_json:
        return print_json(found.as_json())
    rows = [
        [i, row.source, f"{row.similarity:.4f}", f"{row.low:.4f} to {row.high:.4f}", "yes" if row.tied else ""]
        for i, row in enumerate(found.table.itertuples(), start=1)
    ]
    typer.echo(f"sources for {found.target}, best first ({found.items} texts of each language)\n")
    print_table(("rank", "source", "similarity", "95% interval", "tied with the first"), rows)
    typer.echo(f"\ntwo random masks: {found.chance:.4f}")
    say(found.trust)


def _files(target: str, text: list[str], folder: str) -> dict[str, list[str]]:
    """Language -> lines of the files that were named."""
    from langsim import languages

    found = {}
    if folder:
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise UsageError(f"texts: no folder {folder!r}")
        found = {languages.get(file.stem).code: file for file in sorted(path.glob("*.txt"))}
        if not found:
            raise UsageError(f"texts: no file CODE.txt in {folder}")
    for entry in text:
        code, equals, name = entry.partition("=")
        code, name = (code, name) if equals else (target, entry)
        found[languages.get(code).code] = Path(name).expanduser()
    return {code: _lines(path) for code, path in found.items()}


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(f"text: cannot read {path}: {reason}") from error
    if not any(line.strip() for line in lines):
        raise UsageError(f"text: {path} is empty; give a sentence a line")
    return [line for line in lines if line.strip()]


def _gathered(settings: Any, task: str, codes: list[str], own: dict[str, list[str]]) -> dict[str, list[str]]:
    """Files where there are any, else the task's own text, else general text."""
    from langsim.xsns import labelled, texts

    found = {code: own[code] for code in codes if code in own}
    if task:
        given = labelled.load(settings, task)
        found |= {
            code: given.text(code) for code in codes if code not in found and "train" in given.splits.get(code, {})
        }
    left = [code for code in codes if code not in found]
    if left:
        corpus = texts.corpus_of(settings)
        for code in left:
            if not corpus.texts.get(code):
                raise UsageError(f"no text of {code!r}: name a file with --text {code}=FILE, or another --corpus")
            found[code] = corpus.text(code, domain=settings.domain, pool=settings.pool)
    return found
