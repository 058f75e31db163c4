"""FLORES-200 (NLLB Team, 2022): FLORES-101's sentences in twice as many languages, coded as in `wol_Latn`.

From its own folder (`dev/wol_Latn.dev`, `devtest/wol_Latn.devtest`, `metadata_dev.tsv`, ...), or the hub.
`langsim.corpora.flores` says what its splits become.
"""

from collections.abc import Sequence

from langsim.corpora import flores
from langsim.corpora.base import Corpus

RELEASE = flores.Release(
    name="flores200",
    title="FLORES-200",
    repository="facebook/flores",
    revision="refs/convert/parquet",
    columns=("sentence", "URL", "domain"),
    codes=flores.codes_200,
)


def load(path: str = "", languages: Sequence[str] = ()) -> Corpus:
    """The sentences in the given languages (none: in all that the folder has); see `langsim.corpora.flores.load`."""
    return flores.load(RELEASE, flores.read_lines, path, languages)
