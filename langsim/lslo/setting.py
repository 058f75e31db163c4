"""What a page on part II compares and with what: languages by class, text, training; Tables 3, 4 and 5."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from langsim import languages, models, papers, profiles, results
from langsim.lslo import experiment, procedures, running
from langsim.lslo.schedule import Schedule, published
from langsim.lslo_settings import LSLoSettings
from langsim.readings import Prose, bullets, number, prose

TABLES = {"lslo-table4": "languages", "lslo-table5": "more_languages"}


def reading(settings: LSLoSettings) -> Prose:
    """What this run compares, with what, and what was changed from the profile."""
    changed = [f"`{name}`" for name in profiles.overrides(settings)]
    sizes = running.check(settings)
    lines = []
    for which, words in (("languages", "languages"), ("more_languages", "languages of Table 2")):
        if which not in sizes:
            continue
        classes = settings.classes_of(which)
        named = "; ".join(
            f"{name}: {' '.join(code for code in classes if classes[code] == name)}"
            for name in dict.fromkeys(classes.values())
        )
        size = sizes[which]
        lines.append(
            f"{len(classes)} {words} ({named}): {size['training']} items to train on, the same in all of them, "
            f"{size['watched']} watched, {size['scored']} scored, in {len(classes) * (len(classes) - 1)} directions. "
            f"{size['left out']} more of the test set are not scored: one of the languages has their text in the "
            "training pools, too."
        )
    where = f"domain `{settings.domain}` of " if settings.domain else ""
    updates = f"{settings.updates} updates" if settings.updates else "all text once an epoch"
    unknown = untrained(settings)
    return bullets(
        f"Profile `{settings.profile}`{': changed ' + ', '.join(changed) if changed else ', as it is'}. Model "
        f"`{Path(settings.model).name}`; text: {where}corpus `{settings.corpus}`.",
        *lines,
        f"{settings.epochs} epochs, {updates}; learning rate {settings.learning_rate:g} of LoRA, "
        f"{settings.full_learning_rate:g} of full fine-tuning; seeds {' '.join(map(str, settings.seeds))}, of weight "
        f"learning {' '.join(map(str, settings.weight_seeds))}; LoRA with "
        f"span `{settings.span}`, initial values `{settings.init}`.",
        f"The model was not trained on {' '.join(unknown)}: their tokens are there, and say nothing yet. Full "
        "fine-tuning can train these tokens and all embeddings, LoRA can't: it changes projections alone."
        if unknown
        else "",
    )


def shares_reading(settings: LSLoSettings) -> Prose:
    """How much of the training each language's LoRA has where there are more languages and as many updates."""
    few, many = len(settings.languages), len(settings.more_languages)
    if not settings.updates or few == many:
        return prose("")
    return prose(
        f"Both tables have the same number of updates, so here each of {many} languages' LoRAs is trained on "
        f"{number(few / many, 1)} of what each of {few} is trained on in Table 1, and the text is read less often: no "
        "comparison between the two tables is drawn."
    )


def untrained(settings: LSLoSettings) -> list[str]:
    """Languages of the settings that the model was not trained on."""
    return running.model_of(settings).untrained(settings.languages)


def signature(settings: LSLoSettings, which: str = "languages") -> str:
    """The signature of everything on a page."""
    signed = procedures.inputs(settings, which)
    parts = {"model": signed["model"], "corpus": signed["corpus"], "lslo": signed["settings"]}
    parts |= {"domain": settings.domain, "langs": _named(getattr(settings, which)), "span": settings.span}
    parts |= {"init": settings.init, "seeds": "+".join(map(str, settings.seeds)), "updates": str(settings.updates)}
    parts["weights"] = "+".join(map(str, settings.weight_seeds))
    parts |= {"ranks": "+".join(settings.ranks), "procedure": str(procedures.VERSION)}
    return results.signature(parts)


def _named(codes: list[str]) -> str:
    return results.named(str(len(codes)), results.digest_of(codes))


# Tables 3, 4, 5 -----------------------------------------------------------------------------------------------------


def schedules(settings: LSLoSettings) -> pd.DataFrame:
    """Table 3, one row an experiment and ratio: experiment, P, E, k, T in epochs as printed, and the same of this run
    (its epochs), with the ratio that each of its epochs trains with (as a text of percents)."""
    lines = []
    for name in ("ISE", "LSP", "LSLo"):
        for printed in published(name):
            ours = printed.scaled(settings.epochs)
            lines.append(
                {
                    "experiment": name,
                    "P": printed.ratio,
                    **{key: getattr(printed, field) for key, field in zip("EkT", _TIMES, strict=True)},
                    **{f"{key} ours": getattr(ours, field) for key, field in zip("EkT", _TIMES, strict=True)},
                    "percent by epoch": " ".join(f"{100 * ours.at(e):.0f}" for e in range(1, settings.epochs + 1)),
                }
            )
    return pd.DataFrame(lines)


_TIMES = ("start", "length", "total")


def schedules_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The same for reading: printed times, those here where they are others, and the percents of every epoch."""
    shown = frame.set_index("experiment").rename_axis(None)
    same = all((frame[key] == frame[f"{key} ours"]).all() for key in "EkT")
    shown = shown.drop(columns=[f"{key} ours" for key in "EkT"]) if same else shown
    numbers = [name for name in shown if name != "percent by epoch"]
    return shown.assign(**{name: shown[name].map("{:g}".format) for name in numbers})


def schedule_curves(settings: LSLoSettings) -> dict[str, pd.DataFrame]:
    """Eq. 6 over the epochs of this run, for `charts.curves`: what is pruned during each."""
    lines = [
        {"series": f"P = {one.ratio:g}", "x": epoch, "value": 100 * _of_run(one, settings).at(epoch)}
        for one in published("LSLo")
        for epoch in range(1, settings.epochs + 1)
    ]
    return {"": pd.DataFrame(lines).assign(low=float("nan"), high=float("nan"))}


def _of_run(schedule: Schedule, settings: LSLoSettings) -> Schedule:
    return schedule.scaled(settings.epochs)


def used(settings: LSLoSettings) -> Prose:
    """Whether the rows' schedules (`data/lslo/experiments.csv`) are those of Table 3, and what an epoch is here."""
    printed = {name: published(name) for name in ("ISE", "LSP", "LSLo")}
    rows = {made.name: made.pruning.schedule for table in _experiments() for made in table if made.pruning}
    whole = [schedule for found in printed.values() for schedule in found]
    other = [name for name, schedule in rows.items() if schedule not in whole]
    share = settings.updates / settings.epochs if settings.updates else None
    return prose(
        f"All {len(rows)} pruned experiments of this part have a schedule of Table 3."
        if not other
        else f"These experiments have another schedule than Table 3's: {', '.join(other)}.",
        f"An epoch is {number(share, 0)} updates here; in the paper it is one pass over the text."
        if share
        else "An epoch is one pass over the text, as in the paper.",
    )


def _experiments() -> list[list[experiment.Experiment]]:
    return [experiment.experiments(f"lslo-{name}") for name in ("table1", "table2", "table6", "table7", "fig2", "fig4")]


def roles(settings: LSLoSettings, table: str) -> pd.DataFrame:
    """Table 4 or 5: one row a language, of the paper or of this run: code, language, class in print, bitext with
    English in print, class here, amount of training text here (target tokens of the model's training; NaN where nobody
    says), family."""
    printed = papers.matrix(table)
    classes = settings.classes_of(TABLES[table])
    amounts = amounts_of(settings)
    lines = []
    for code in dict.fromkeys([*printed.index, *classes]):
        there = printed.loc[code] if code in printed.index else {}
        entry = languages.get(code)
        lines.append(
            {
                "code": code,
                "language": entry.name,
                "family": entry.family_lslo or entry.family,
                "class_printed": str(there.get("resource type", "")),
                "bitext_printed": str(there.get("bitext with English", "")),
                "class_here": classes.get(code, ""),
                "tokens_here": float(amounts.get(code, float("nan"))) if code in classes else float("nan"),
            }
        )
    return pd.DataFrame(lines)


def amounts_of(settings: LSLoSettings) -> Mapping[str, float]:
    """Language -> tokens of it in the training text of a shipped model; 0 of those it was not trained on. Empty for
    other models."""
    if settings.model not in models.shipped():
        return {}
    described = models.card(settings.model)["languages"]
    codes = dict.fromkeys([*settings.languages, *settings.more_languages])
    return {code: float(described.get(code, {}).get("tokens", 0)) for code in codes}


def roles_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The same for reading: this run's languages first."""
    shown = pd.DataFrame(
        {
            "class here": frame["class_here"],
            "tokens in training": frame["tokens_here"].map(lambda n: "" if n != n else f"{n:,.0f}"),
            "class in print": frame["class_printed"],
            "bitext in print": frame["bitext_printed"],
            "family": frame["family"],
        }
    ).set_axis(frame["language"] + " (" + frame["code"] + ")")
    order = {name: place for place, name in enumerate(dict.fromkeys(name for name in frame["class_here"] if name))}
    places = frame["class_here"].map(lambda name: order.get(name, len(order))).to_numpy()
    return shown.iloc[places.argsort(kind="stable")].rename_axis(None)


def roles_reading(frame: pd.DataFrame) -> Prose:
    """How the classes compare: languages in common, and how far apart the classes are in amount of text."""
    both = frame[(frame["class_here"] != "") & (frame["class_printed"] != "")]
    same = both[both["class_here"] == both["class_printed"].str.lower().str.replace(" ", "-")]
    means = frame[frame["class_here"] != ""].groupby("class_here", sort=False)["tokens_here"].mean()
    told = ", ".join(f"{name} {value:,.0f}" for name, value in means.items() if value == value)
    return prose(
        f"{len(both)} of these languages are in the printed table too, {len(same)} of them in the same class.",
        f"Mean tokens of training text by class: {told}." if told else "",
    )
