"""What a page on part III says first: tasks, languages, model, what was changed; and what each task can tell."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from langsim import languages, masked_evaluation, profiles, results
from langsim.readings import Prose, bullets, number, prose
from langsim.xsns import labelled, procedures, texts
from langsim.xsns.evidence import Evidence
from langsim.xsns.ranking_study import LEARNT, RELIABILITY, TRANSFERS
from langsim.xsns.settings import XSNSSettings
from langsim.xsns.transfer import Recipe

METRICS = {
    "entity_f1": "F1 of entities",
    "token_f1": "F1 of tokens",
    "accuracy": "accuracy",
    "squad_f1": "F1 of answers",
    "squad_em": "exact match",
    "sentence_accuracy": "mean accuracy of a sentence's tokens",
}
NOT_TESTABLE = "†"  # marks a task that decides nothing
# By the name of a task's data: what it measures, and what it can't.
MEASURED = {
    "mini-ner": "Names of places, languages and currencies from CLDR stand in translated messages, and the model "
    "marks where they begin and end and of which kind they are. It can tell whether knowledge of names carries "
    "over; it says nothing of names that are inflected, nor of persons and organisations.",
    "mini-pos": "Every word of localized dates, times, amounts and quantities gets the field that it was printed "
    "for. It can tell whether reading such expressions carries over; of syntax, and so of what the paper's task "
    "is about, it says nothing.",
    "mini-nli": "Does an interval of days or of a quantity follow from another one, contradict it, or neither? It "
    "can tell whether reading and comparing numbers carries over; no sentence is understood.",
    "mini-pi": "Do two renderings of a date, an amount or a quantity mean the same value, where one field may have "
    "been changed? It can tell whether forms of one value are related in another language too; paraphrase by "
    "other words is not in it.",
    "mini-qa": "A list of localized fields is the context, the question names one of them in another form, and its "
    "value is the answer. It can tell whether matching of forms carries over; no sentence has to be read for it.",
    "ud-pos": "Parts of speech of the words of treebanks, as in the paper, with a few hundred sentences to train "
    "on. Treebanks differ in text and conventions, so that a source may be good for its annotators rather than "
    "its language.",
    "uner": "Persons, organisations and places in sentences of treebanks, annotated alike in all languages. There "
    "are few entities in a few hundred sentences, and languages without a dev split are targets only.",
    "xquad": "Questions about paragraphs, translated by professionals from one English text. Languages say the "
    "same, which is fair to sources; but all of it is translation.",
}


def reading(settings: XSNSSettings) -> Prose:
    """What this run compares, with what, what was changed from the profile, and how good instruments the models are.

    Raises:
        Failure: the cells that judge the shipped models are missing or stale.
    """
    changed = [f"`{name}`" for name in profiles.overrides(settings)]
    lines = [_task_line(settings, name) for name in settings.tasks]
    unknown = untrained(settings)
    general = f"that of task `{settings.general_task}`" if settings.general_task else f"corpus `{settings.corpus}`"
    return bullets(
        f"Profile `{settings.profile}`{': changed ' + ', '.join(changed) if changed else ', as it is'}. Model "
        f"`{Path(settings.model).name}`; general text: {general}.",
        *_judged(settings),
        *lines,
        f"Gold transfer: seeds {_words(settings.training_seeds)}. Sub-networks: recipe `{settings.recipe}`, "
        f"p = {settings.p:g}, at most {settings.text_items} texts of each language (kinds after the first: "
        f"{settings.text_items_others}), seeds {_words(settings.seeds)}.",
        f"The model was not trained on {_words(unknown)}." if unknown else "",
    )


def _judged(settings: XSNSSettings) -> list[str]:
    found = {name: masked_evaluation.verdict(name) for name in (settings.model, *settings.other_models)}
    return [f"`{name}`: {judged.sentence}" for name, judged in found.items() if judged]


def _task_line(settings: XSNSSettings, name: str) -> str:
    task = labelled.load(settings, name)
    own = labelled.sources(settings, name, task)
    others = [code for code in task.languages if code not in own]
    sizes, recipe = task.sizes()[own[0]], Recipe.of(settings, task.kind)
    lost = "; ".join(f"{code}: {why}" for code, why in task.unavailable.items())
    return (
        f"**{name}** ({METRICS.get(task.metric, task.metric)}): {len(own)} sources ({_words(own)})"
        + (f", and as targets only {_words(others)}" if others else "")
        + f"; {sizes['train']}, {sizes['validation']} and {sizes['test']} examples to train, validate and test; at "
        f"most {recipe.epochs} epochs, learning rate {recipe.learning_rate:g}"
        + (f". Not there: {lost}" if lost else "")
        + "."
    )


def tasks_reading(settings: XSNSSettings) -> Prose:
    """What each task measures and what it can't, with what its data says of itself."""
    lines = []
    for name in settings.tasks:
        task = labelled.load(settings, name)
        words = MEASURED.get(task.name, "")
        if words or task.notes:
            lines.append(" ".join([f"**{name}** (`{task.name}`):", words, *task.notes]).replace(":  ", ": "))
    return bullets(*lines) if lines else prose("These are your own tasks; only you know what they measure.")


def untrained(settings: XSNSSettings) -> list[str]:
    """Languages of the tasks that the model was not trained on, as far as it says."""
    codes = sorted({code for name in settings.tasks for code in labelled.load(settings, name).languages})
    return list(procedures.model_of(settings.model, settings.device).untrained(codes))


def signature(settings: XSNSSettings, *kinds: str) -> str:
    """The signature of everything on a page that reads cells of these kinds."""
    kinds = kinds or (procedures.TRANSFER, procedures.SUBNETWORKS, procedures.BASELINES)
    signed = {}
    for kind in kinds:
        for task in settings.tasks:
            what = settings.kinds[0] if kind == procedures.SUBNETWORKS else ""
            signed[f"{kind} {task}"] = procedures.inputs(settings, kind, procedures.Job(settings.model, task, what))
    parts = {
        "model": next(iter(signed.values()))["model"],
        "corpus": results.named(settings.corpus, texts.corpus_of(settings).digest),
        "tasks": results.named("+".join(settings.tasks), results.digest_of(signed)),
        "recipe": settings.recipe,
        "k": f"{settings.p:g}",
        "items": str(settings.text_items),
        "seed": "+".join(map(str, settings.seeds)),
        "tuned": "+".join(map(str, settings.training_seeds)),
        "procedure": str(procedures.VERSION),
    }
    return results.signature(parts)


# What can be told -----------------------------------------------------------------------------------------------------


def validity_table(evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """Tidy, one row a task: what `ranking_study.Validity` has, and the verdict."""
    rows = []
    for name, one in evidence.items():
        found = one.validity
        rows.append(
            {
                "task": name,
                "trivial": found.trivial,
                "floor": found.floor,
                "own": found.own,
                "transfer": found.transfer,
                "reliability": found.reliability,
                "spread": found.spread,
                "noise": found.noise,
                "testable": found.testable,
                "why": "; ".join(found.reasons),
            }
        )
    return pd.DataFrame(rows)


def validity_shown(frame: pd.DataFrame) -> pd.DataFrame | Prose:
    """The same for reading."""
    if frame.empty:
        return prose("This run has nothing to check here.")
    shown = pd.DataFrame(
        {
            "trivial": [f"{number(row.trivial, 1)} ({row.floor})" for row in frame.itertuples()],
            "own language": frame["own"].map(lambda v: number(v, 1)),
            "transfer": frame["transfer"].map(lambda v: number(v, 1)),
            "reliability": frame["reliability"].map(number),
            "between sources": frame["spread"].map(lambda v: number(v, 1)),
            "between seeds": frame["noise"].map(lambda v: number(v, 1)),
            "": frame["testable"].map({True: "testable", False: "not testable here"}),
        }
    )
    return shown.set_axis(frame["task"]).rename_axis(None)


def validity_reading(frame: pd.DataFrame) -> Prose:
    """The thresholds, and the reasons of the tasks that miss them."""
    if frame.empty:
        return prose("This run has nothing to check here.")
    lost = frame[~frame["testable"]]
    told = [f"**{row.task}** is not testable here: {row.why}.".replace(" -", " −") for row in lost.itertuples()]
    whole = (
        "All tasks pass."
        if lost.empty
        else f"{len(frame) - len(lost)} of {len(frame)} tasks pass; the numbers of the others are shown with "
        f"{NOT_TESTABLE} and decide nothing."
    )
    return prose(
        f"Asked, before any score was seen: {LEARNT:g} points above the best trivial baseline in the own language, "
        f"{TRANSFERS:g} in others, a reliability of {RELIABILITY:g} of the mean over seeds, and sources that differ by "
        "more than the seeds alone would make them.",
        whole,
        *told,
    )


def marked(name: str, testable: bool) -> str:
    """A task's name with its mark."""
    return name if testable else f"{name} {NOT_TESTABLE}"


def named(code: str) -> str:
    """`de German`."""
    return f"{code} {languages.get(code).name}"


def _words(codes) -> str:
    return " ".join(map(str, codes))
