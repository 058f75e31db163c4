"""Options that commands share, and the settings that they make."""

from typing import Annotated, Any

import typer

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


def settings_of(values: dict[str, Any]) -> Any:
    """Settings from a command's options; an option that was not given leaves the profile's value."""
    from langsim import profiles

    target = values.get("target")
    values = {name: value for name, value in values.items() if name in profiles.Settings.model_fields}
    if values.get("languages") is not None:
        values["languages"] = values["languages"].replace(",", " ").split()
    if target is not None:
        values["targets"] = [target]
    return profiles.resolve(**values)
