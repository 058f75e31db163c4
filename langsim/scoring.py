"""Scores of translations, each with its signature and its sufficient statistics.

A corpus score is a function of sums over sentences, so whatever is resampled, the text is read once:
`measure.statistics` counts every sentence, `measure.score` makes corpus scores of any sums of them.

- `bleu`: sacreBLEU's BLEU (detokenised text, tokenizer 13a, exponential smoothing)
- `chrf`: chrF2
- `spbleu`: BLEU over SentencePiece pieces, of the tokenizer of FLORES-101 where it is, else of a model's own
- `authors_bleu`: what the first paper's code reports, BLEU of Moses tokens, punctuation normalised, unsmoothed
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sacrebleu
import sentencepiece
from sacrebleu.tokenizers import tokenizer_spm

from langsim import languages
from langsim.errors import Failure, UsageError
from langsim.models import SHIPPED, shipped
from langsim.paths import sha256_file
from langsim.suggest import unknown
from langsim.tokenizer import PIECES

ORDERS = {"bleu": 4, "chrf": 6}  # longest n-grams, of words and of characters
RECIPES = ("paper", "authors_code")
# Languages that the authors' preprocessing has tokenizers of its own for (fairseq's `m2m_100/tok.sh`; Romanian's is
# Moses' with another normalisation).
OTHERWISE = ("ar", "hi", "ja", "ko", "my", "ne", "ro", "si", "th", "zh", "zh-Hant")


@dataclass(frozen=True)
class Measure:
    """A corpus score from sums of sentence counts.

    Attributes:
        signature: sacreBLEU's, with what was done to the text.
        score: sums of statistics (..., S) -> scores (...), in percent.
        count: one hypothesis and its reference, prepared -> S counts.
        prepare: a text as the measure reads it.
    """

    name: str
    signature: str
    score: Callable[[np.ndarray], np.ndarray]
    count: Callable[[Sequence[str], Sequence[str]], list[list[int]]]
    prepare: Callable[[str], str] = str

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """(N, S) counts of every sentence: S = 10 for BLEU (lengths of hypothesis and reference, matches and n-grams of
        order 1 to 4), 18 for chrF (n-grams of hypothesis, of reference, matches, for each order 1 to 6).

        Raises:
            UsageError: nothing to score, or unequal numbers of texts.
        """
        if isinstance(hypotheses, str) or isinstance(references, str):
            raise UsageError("hypotheses and references are lists of texts, not one text")
        if not references or len(hypotheses) != len(references):
            raise UsageError(f"cannot score {len(hypotheses)} translations against {len(references)} references")
        texts = [[self.prepare(text) for text in side] for side in (hypotheses, references)]
        return np.asarray(self.count(*texts), dtype=np.int64)

    def corpus(self, hypotheses: Sequence[str], references: Sequence[str]) -> float:
        """The score of a corpus."""
        return float(self.score(self.statistics(hypotheses, references).sum(0)))


def bleu() -> Measure:
    """BLEU as sacreBLEU computes it unless told otherwise."""
    return _bleu("bleu", sacrebleu.BLEU())


def chrf() -> Measure:
    """chrF2 as sacreBLEU computes it unless told otherwise."""
    metric = sacrebleu.CHRF()

    def count(hypotheses: Sequence[str], references: Sequence[str]) -> list[list[int]]:
        return metric._extract_corpus_statistics(hypotheses, [references])

    return Measure("chrf", _signature(metric), corpus_chrf, count)


def spbleu(pieces: str = "mini-m2m", *, download: bool = False) -> Measure:
    """BLEU over SentencePiece pieces: with the tokenizer of FLORES-101 (`tok:flores101`) where sacreBLEU has fetched it
    or may do so now (`download`), else with `pieces`; the signature names them, with eight digits of their digest.

    Args:
        pieces: a shipped model, or a SentencePiece file.

    Raises:
        UsageError: no such model or file.
        Failure: the tokenizer of FLORES-101 can't be downloaded.
    """
    flores = flores_file()
    if download or flores.is_file():
        try:
            return _bleu("spbleu", sacrebleu.BLEU(tokenize="flores101"))
        except (OSError, RuntimeError, SystemExit) as error:
            raise Failure(f"cannot read the tokenizer of FLORES-101 ({error}); put it at {flores}") from error
    file = SHIPPED / pieces / PIECES if pieces in shipped() else Path(pieces)
    if not file.is_file():
        raise UsageError(f"SentencePiece model: {unknown(pieces, shipped())}; or give a file")
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{file} is no SentencePiece model") from error
    name = pieces if pieces in shipped() else file.stem
    tokens = f"spm-{name}@{sha256_file(file)[:8]}"

    def prepare(text: str) -> str:
        return " ".join(processor.encode(text, out_type=str))

    return _bleu("spbleu", sacrebleu.BLEU(tokenize="none", force=True), tokens, prepare)


def flores_file() -> Path:
    """Where sacreBLEU looks for the tokenizer of FLORES-101 before it downloads it."""
    return Path(tokenizer_spm.SACREBLEU_DIR) / "models" / Path(tokenizer_spm.SPM_MODELS["flores101"]["url"]).name


def authors_bleu(language: str = "en") -> Measure:
    """BLEU as the first paper's code has it: punctuation normalised, Moses tokens, no smoothing (`-tok none -s none`).

    Args:
        language: of the translations. Moses has rules of its own for some, and treats the others as English.

    Raises:
        UsageError: sacremoses is missing, or the authors' code uses another tokenizer for the language.
    """
    code = languages.get(language).code
    if code in OTHERWISE:
        raise UsageError(
            f"no Moses tokens of '{code}': the authors' code has another tokenizer for it; use chrF or spBLEU"
        )
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError as error:
        raise UsageError("the authors' BLEU takes sacremoses: pip install 'langsim[moses]'") from error
    normalise = MosesPunctNormalizer(
        lang=code, pre_replace_unicode_punct=True, post_remove_control_chars=True
    ).normalize
    tokenize = MosesTokenizer(lang=code).tokenize

    def prepare(text: str) -> str:
        return tokenize(normalise(text), return_str=True, escape=False)

    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True)
    return _bleu("bleu", metric, f"moses-{code}-sacremoses@{version('sacremoses')}", prepare)


def measures(recipe: str = "paper", *, target: str = "en", pieces: str = "mini-m2m") -> list[Measure]:
    """BLEU, chrF2 and spBLEU of translations into `target`; under `authors_code` BLEU is that of the authors' code.

    Raises:
        UsageError: no such recipe; what `authors_bleu` and `spbleu` raise.
    """
    if recipe not in RECIPES:
        raise UsageError(f"recipe: {unknown(recipe, RECIPES)}")
    first = bleu() if recipe == "paper" else authors_bleu(target)
    return [first, chrf(), spbleu(pieces)]


def scores(
    hypotheses: Sequence[str], references: Sequence[str], chosen: Sequence[Measure] = ()
) -> dict[str, float | str]:
    """Corpus scores by the measures' names, and `<name>_signature` for each; BLEU and chrF2 unless others are chosen.

    Raises:
        UsageError: nothing to score, or unequal numbers of texts.
    """
    chosen = chosen or (bleu(), chrf())
    found: dict[str, float | str] = {one.name: one.corpus(hypotheses, references) for one in chosen}
    return {**found, **{f"{one.name}_signature": one.signature for one in chosen}}


def corpus_bleu(sums: np.ndarray, *, smooth: str = "exp") -> np.ndarray:
    """BLEU in percent of summed statistics (..., 10): brevity penalty times the geometric mean of four precisions.

    `smooth`: `exp` counts 1 / 2^k matches for the k-th order that has none; `none` leaves the precision, and with it
    the score, at 0. Without any match, or any n-gram of some order, the score is 0, as it is sacreBLEU's.
    """
    sums = np.asarray(sums, dtype=np.float64)
    length, reference = sums[..., 0], sums[..., 1]
    matches, total = sums[..., 2:6], sums[..., 6:10]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = 100 * matches / total
        if smooth == "exp":
            halvings = np.cumsum((matches == 0) & (total > 0), axis=-1)
            precision = np.where(matches == 0, 100 / (2.0**halvings * total), precision)
        missing = (total == 0) | (precision == 0)
        mean = np.exp(np.log(np.where(missing, 1.0, precision)).sum(-1) / ORDERS["bleu"])
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
    nothing = missing.any(-1) | ~matches.any(-1) | (length == 0)
    return np.where(nothing, 0.0, brevity * mean)


def corpus_chrf(sums: np.ndarray) -> np.ndarray:
    """chrF2 in percent of summed statistics (..., 18): F2 of precision and recall, each averaged over the orders."""
    sums = np.asarray(sums, dtype=np.float64)
    hypothesis, reference, matches = (sums[..., side::3] for side in range(3))
    occurs = (hypothesis > 0) & (reference > 0)
    n = np.maximum(occurs.sum(-1), 1)
    precision = np.where(occurs, matches / np.maximum(hypothesis, 1), 0).sum(-1) / n
    recall = np.where(occurs, matches / np.maximum(reference, 1), 0).sum(-1) / n
    weighted = 4 * precision + recall
    return np.where(weighted > 0, 100 * 5 * precision * recall / np.where(weighted > 0, weighted, 1), 0.0)


def _bleu(name: str, metric: sacrebleu.BLEU, tokens: str = "", prepare: Callable[[str], str] = str) -> Measure:
    """A variant of BLEU. `tokens` says in the signature what `prepare` did, where sacreBLEU did nothing."""

    def count(hypotheses: Sequence[str], references: Sequence[str]) -> list[list[int]]:
        return metric._extract_corpus_statistics(hypotheses, [references])

    def score(sums: np.ndarray) -> np.ndarray:
        return corpus_bleu(sums, smooth=metric.smooth_method)

    signature = _signature(metric)
    if tokens:
        signature = signature.replace("tok:none", f"tok:{tokens}")
    return Measure(name, signature, score, count, prepare)


def _signature(metric: sacrebleu.metrics.base.Metric) -> str:
    metric.corpus_score([""], [[""]])  # a metric has none before it has seen how many references there are
    return str(metric.get_signature())
