"""FLORES+ (Open Language Data Initiative): FLORES-200 with corrections and further languages, one table a language.

From the hub (`openlanguagedata/flores_plus`, whose terms have to be accepted there), or from a folder with its layout
(`dev/wol_Latn.parquet` or `.jsonl`, the same in `devtest`). `langsim.corpora.flores` says what its splits become. A
variety with a name of its own (`oci_Latn_aran1260`) is not read as the language.
"""

from collections.abc import Sequence
from functools import cache

from langsim.corpora import flores
from langsim.corpora.base import Corpus

RENAMED = {"cmn_Hans": "zh", "cmn_Hant": "zh-Hant", "ekk_Latn": "et", "fil_Latn": "tl"}  # since FLORES-200


@cache
def codes() -> dict[str, str]:
    """FLORES+'s codes, with the registry's; FLORES-200's older ones after the new ones."""
    return RENAMED | flores.codes_200()


RELEASE = flores.Release(
    name="flores_plus",
    title="FLORES+",
    repository="openlanguagedata/flores_plus",
    revision=None,
    columns=("text", "url", "domain"),
    codes=codes,
)


def load(path: str = "", languages: Sequence[str] = ()) -> Corpus:
    """The sentences in the given languages (none: in all that the folder has); see `langsim.corpora.flores.load`."""
    return flores.load(RELEASE, flores.read_tables, path, languages)
