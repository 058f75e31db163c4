"""FLORES-101 (Goyal et al., 2022), the text of the LSLo paper: 101 languages, coded as ISO 639-3 (`wol`, `zho_simpl`).

From its own folder (`dev/wol.dev`, `devtest/wol.devtest`, `metadata_dev.tsv`, `metadata_devtest.tsv`), or the hub.
`langsim.corpora.flores` says what its splits become.
"""

from collections.abc import Sequence
from functools import cache

from langsim import languages as registry
from langsim.corpora import flores
from langsim.corpora.base import Corpus

# Those of its list but Assamese, Kabuverdianu, Luo and Umbundu (asm kea luo umb), which the registry lacks.
LANGUAGES = """
    afr amh ara ast azj bel ben bos bul cat ceb ces ckb cym dan deu ell eng est fas fin fra ful gle glg guj hau heb hin
    hrv hun hye ibo ind isl ita jav jpn kam kan kat kaz khm kir kor lao lav lin lit ltz lug mal mar mkd mlt mon mri msa
    mya nld nob npi nso nya oci orm ory pan pol por pus ron rus slk slv sna snd som spa srp swe swh tam tel tgk tgl tha
    tur ukr urd uzb vie wol xho yor zul
"""
CHINESE = {"zho_simpl": "zh", "zho_trad": "zh-Hant"}


@cache
def codes() -> dict[str, str]:
    """FLORES-101's codes, with the registry's."""
    return {code: registry.get(code).code for code in LANGUAGES.split()} | CHINESE


RELEASE = flores.Release(
    name="flores101",
    title="FLORES-101",
    repository="gsarti/flores_101",
    revision="refs/convert/parquet",
    columns=("sentence", "URL", "domain"),
    codes=codes,
)


def load(path: str = "", languages: Sequence[str] = ()) -> Corpus:
    """The sentences in the given languages (none: in all that the folder has); see `langsim.corpora.flores.load`."""
    return flores.load(RELEASE, flores.read_lines, path, languages)
