"""Is a shipped model good enough to read anything from? Decided on held-out loss and split halves alone.

On held-out text the model has to beat a token unigram and copying in each of the first paper's 17 languages, and in the
split-half check at least 15 of them have to find themselves (centred). No published number and no language family has
a say. A model that fails is shipped all the same, and every page that uses it says so.

The sentence also says what passing does not mean: how many languages the same model finds with random weights, and in
how many an untranslated source is nearer to the reference than the model's translation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langsim import cells, pools, results
from langsim.corpora import load as load_corpus
from langsim.evaluation import MODEL
from langsim.models import SHIPPED, shipped_digest

KIND = "split-half"
VERSION = 1
LEAST = 15  # languages of the 17 that find themselves again
WEAK = "weak instrument"
NULLS = "pf-fig5-halves"  # the exhibit with the same halves, nulls included


@dataclass(frozen=True)
class Gate:
    """The verdict on one model.

    Attributes:
        languages: how many were asked.
        unigram, copying: languages in which the model's held-out loss is not below the baseline's.
        found: how many languages find themselves in the other half of the text, centred.
        untranslated: languages in which the source itself has more chrF than the model's translation of it.
        random: how many languages the same model finds with random weights; None where that is not known.
    """

    languages: int
    unigram: list[str]
    copying: list[str]
    found: int
    untranslated: list[str]
    random: int | None = None

    @property
    def passed(self) -> bool:
        return not self.unigram and not self.copying and self.found >= LEAST

    @property
    def sentence(self) -> str:
        """What was asked, and what came out."""
        text = (
            f"Held-out loss below a token unigram's in {self.languages - len(self.unigram)} of {self.languages} "
            f"languages{_but(self.unigram)}, below copying's in {self.languages - len(self.copying)}"
            f"{_but(self.copying)}; by chrF, copying beats its translations in {len(self.untranslated)}. In the "
            f"split-half check {self.found} find themselves (centred; {LEAST} are asked)"
            f"{self._random}."
        )
        return text if self.passed else f"**{WEAK.capitalize()}.** {text}"

    @property
    def _random(self) -> str:
        """How many languages random weights find."""
        if self.random is None:
            return ""
        return f"; with random weights {self.random} do{', too' if self.random == self.found else ''}"


def _but(codes: list[str]) -> str:
    return f" (not in {', '.join(codes)})" if codes else ""


def verdict(model: str) -> Gate | None:
    """The gate's verdict on a shipped model, from its cells; None for a model that is none.

    Raises:
        Failure: the cells are missing or stale.
    """
    if model != MODEL:
        return None
    asked = pools.pool("ted17")
    planned = {cell.id.split(".")[1].removesuffix("-en"): cell for cell in cells.planned("held-out")}
    (halves,) = cells.planned(KIND)
    scores = {code: cells.read(planned[code]) for code in asked}
    return judge(scores, cells.read(halves)["centred"], _found_by_random_weights())


def _found_by_random_weights() -> int | None:
    """How many languages find themselves, centred, in the committed nulls; None where they are not there or stale."""
    from langsim import instrument

    file = results.reference_dir("mini") / f"{NULLS}.csv"
    if not file.is_file():
        return None
    saved = results.read_result(file)
    if results.stale(saved.signature):
        return None
    hits = {check.name: check.hits(centred=True) for check in instrument.read(saved.frame)}
    return hits.get(instrument.RANDOM)


def judge(held_out: Mapping[str, Mapping[str, float]], found: int, random: int | None = None) -> Gate:
    """The verdict on held-out scores (language -> nll, unigram_nll, copy_nll, chrf, copy_chrf) and counts of found
    languages."""
    return Gate(
        languages=len(held_out),
        unigram=[code for code, score in held_out.items() if not score["nll"] < score["unigram_nll"]],
        copying=[code for code, score in held_out.items() if not score["nll"] < score["copy_nll"]],
        found=found,
        untranslated=[code for code, score in held_out.items() if score["copy_chrf"] > score["chrf"]],
        random=random,
    )


def plan(profile: str) -> Mapping[str, Mapping[str, str]]:
    """One cell: the split-half check of the shipped model at the profile's settings."""
    if profile != "mini" or not (SHIPPED / MODEL / "model.safetensors").exists():
        return {}
    from langsim import profiles

    settings = profiles.resolve(profile)
    inputs = {
        "model": f"{MODEL}@{shipped_digest(MODEL)[:12]}",
        "corpus": f"catalogs@{load_corpus('catalogs').digest[:12]}",
        "settings": f"{settings.estimator}|{settings.recipe}|{settings.params}|{settings.measure}|k:{settings.k:g}",
    }
    return {MODEL: inputs}


@cells.procedure(KIND, version=VERSION, minutes=1.5, plan=plan, tolerances={"raw": 1, "centred": 1})
def split_half(cell: cells.Cell) -> dict[str, Any]:
    """How many of the 17 languages find themselves in the other half of the text."""
    from langsim import instrument, pipeline, profiles

    check = instrument.check(pipeline.fisher_vectors(profiles.resolve(cell.profile)), instrument.TRAINED)
    return {
        "languages": len(check.cross),
        "raw": check.hits(centred=False),
        "centred": check.hits(centred=True),
    }
