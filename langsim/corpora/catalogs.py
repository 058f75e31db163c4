"""The offline corpus: human translations that come with installed software.

Harvested at run time from the gettext catalogs of pinned packages and from the Unicode CLDR names in Babel.
Nothing is downloaded, nothing is committed: pinned versions make the text the same everywhere, and the digest
in `data/catalogs.json` proves it.

Domains: `interface` (Django: the adaptation domain), `software` (the other packages), `names` (CLDR).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from gettext import c2py
from importlib import metadata
from pathlib import Path

import babel
import pandas as pd
import polib
import regex
from babel.core import get_global
from tqdm import tqdm

from langsim import languages, splits
from langsim.corpora.base import Corpus
from langsim.corpora.text import SLOT, clean, renumber, script_share
from langsim.errors import Failure
from langsim.paths import DATA, atomic_write, cache_dir, one_maker

HARVESTER = 2  # raise when the harvest changes: it is part of the cache's name
MAX_CHARACTERS = 400
PINNED = DATA / "catalogs.json"

# Folders that are not called <language> or <language>_<its most likely region>.
_FOLDERS = {
    "no": ["nb", "nb_NO", "no"],
    "pt": ["pt_BR"],
    "sr-Latn": ["sr_Latn", "sr@latin", "sr@Latn", "sr@latn"],
    "zh": ["zh_Hans", "zh_CN", "zh_Hans_CN"],
    "zh-Hant": ["zh_Hant", "zh_TW", "zh_HK"],
}
_SYMBOLIC = regex.compile(r"\w*[\p{L}\d][_.:|@][\p{L}\d]\S*")  # label_save, plone.app, Name|class, name@domain.com
_BRACES = regex.compile(r"[{}]")
_WORD = regex.compile(r"\p{L}{2}")
_DEFAULT = regex.compile(r'Default:\s*"(.*)"', regex.DOTALL)


@dataclass(frozen=True)
class Package:
    """An installed distribution whose catalogs are read."""

    distribution: str
    domain: str
    skip: tuple[str, ...] = ()
    mnemonics: bool = False


PACKAGES = (
    Package("Django", "interface"),
    Package("wagtail", "software"),
    Package("Sphinx", "software"),
    Package("django-allauth", "software"),
    Package("djangorestframework", "software"),
    Package("deluge", "software", mnemonics=True),
    Package("plone.app.locales", "software", skip=("plonelocales", "plonefrontpage")),  # date formats; one page of HTML
)


def load() -> Corpus:
    """The harvested corpus, from the cache after the first time.

    Raises:
        Failure: a package is not installed.
    """
    return _load(fingerprint())


@lru_cache(maxsize=1)
def _load(versions: str) -> Corpus:
    cached = cache_dir() / "catalogs" / f"{versions}.json"
    with suppress(FileNotFoundError, ValueError):  # damaged: harvest again
        return _read(cached)
    with one_maker(cached):
        with suppress(FileNotFoundError, ValueError):
            return _read(cached)
        _write(cached, *harvest())
        return _read(cached)


def fingerprint() -> str:
    """Names and versions of everything the harvest reads, the registry among it, fit for a file name."""
    parts = [f"{name}-{version}" for name, version in versions().items()]
    return "_".join([*parts, f"harvester-{HARVESTER}", f"registry-{_registry_digest()}"])


def _registry_digest() -> str:
    """12 hex digits of what the harvest takes from the registry: which languages, and where it looks for them."""
    rows = [(each.code, each.cldr, each.script, _folders(each.code)) for each in languages.all_languages()]
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Installed version of each package that is read.

    Raises:
        Failure: one is missing.
    """
    found = {}
    for name in [package.distribution for package in PACKAGES] + ["babel"]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError as error:
            raise Failure(f"the catalogs need the package {name}; run `make env`") from error
    return found


def harvest() -> tuple[pd.DataFrame, Counter]:
    """Every usable (item, language, text), English included, and what was dropped: reason -> count."""
    notes: Counter = Counter()
    rows: list[tuple[str, str, str, str, str]] = []  # item, domain, package, language, text
    for package in tqdm(PACKAGES, desc="harvest catalogs", disable=None, leave=False):
        rows += _harvest_package(package, notes)
    rows += _harvest_names(notes)
    table = pd.DataFrame(rows, columns=["item", "domain", "package", "language", "text"])
    table = table.drop_duplicates(["item", "language"])
    translated = table.loc[table["language"] != "en", "item"].unique()
    return table[table["item"].isin(translated)].sort_values(["item", "language"]), notes


def _harvest_package(package: Package, notes: Counter) -> Iterator[tuple[str, str, str, str, str]]:
    distribution = metadata.distribution(package.distribution)
    files = [Path(distribution.locate_file(file)) for file in distribution.files or ()]
    compiled: dict[str, list[Path]] = {}
    for path in sorted(files):
        if path.suffix == ".mo" and path.stem not in package.skip:
            compiled.setdefault(path.parent.parent.name, []).append(path)
    defaults = _defaults([path for path in files if path.suffix == ".pot" and path.stem not in package.skip])
    cleaned = cache(partial(clean, mnemonics=package.mnemonics))
    for language in languages.all_languages():
        folders = [path for folder in _folders(language.code) for path in compiled.get(folder, ())]
        for path in folders if language.code != "en" else ():
            for context, message, translation in _messages(path):
                original = _english(message, path.stem, defaults)
                if original is None:
                    notes["English text unknown (symbolic message id)"] += 1
                    continue
                english, names = cleaned(original)
                text, own = cleaned(translation)
                text = renumber(text, own, names)
                reason = _unusable(english, text, language.script)
                if reason:
                    notes[reason] += 1
                    continue
                item = f"{package.distribution}:{path.stem}:{context}:{message}".replace("\n", " ").replace("\t", " ")
                yield item, package.domain, package.distribution, language.code, text
                yield item, package.domain, package.distribution, "en", english


def _folders(code: str) -> list[str]:
    """Names that a catalog folder of this language may have, the preferred first."""
    if code in _FOLDERS:
        return _FOLDERS[code]
    likely = get_global("likely_subtags").get(code, code).split("_")
    return [code, f"{code}_{likely[-1]}", f"{code}_{likely[1]}" if len(likely) == 3 else code]


def _defaults(templates: list[Path]) -> dict[str, dict[str, str]]:
    """English texts of symbolic message ids, as some packages keep them, in a comment `Default: "..."`: id -> the
    template's domain -> text."""
    found: dict[str, dict[str, str]] = {}
    for template in templates:
        for entry in polib.pofile(str(template)):
            match = _DEFAULT.search(entry.comment or "")
            if match:
                text = " ".join(match[1].replace('\\"', '"').split())
                found.setdefault(entry.msgid, {})[template.stem] = text
    return found


def _english(message: str, domain: str, defaults: Mapping[str, Mapping[str, str]]) -> str | None:
    """The English text of a message id; None where the id is a symbol (in a package that has such ids) and its text is
    not told, or told in two ways."""
    told = defaults.get(message)
    if told is None:
        return None if defaults and _SYMBOLIC.fullmatch(message) else message
    texts = {told[domain]} if domain in told else set(told.values())
    return texts.pop() if len(texts) == 1 else None


def _messages(path: Path) -> Iterator[tuple[str, str, str]]:
    """(context, English, translation) of a compiled catalog, which holds no fuzzy and no obsolete entry.

    Of a plural entry come two messages: the singular with the form for 1, the plural with the form for 5.
    """
    catalog = polib.mofile(str(path))
    rule = catalog.metadata.get("Plural-Forms", "nplurals=2; plural=(n != 1);")
    plural = c2py(rule.split("plural=")[-1].strip().rstrip(";"))
    for entry in catalog:
        context = entry.msgctxt or ""
        if entry.msgid_plural:
            yield context, entry.msgid, entry.msgstr_plural.get(plural(1), "")
            yield context, entry.msgid_plural, entry.msgstr_plural.get(plural(5), "")
        else:
            yield context, entry.msgid, entry.msgstr


def _harvest_names(notes: Counter) -> Iterator[tuple[str, str, str, str, str]]:
    """CLDR names: territories, languages, scripts, currencies, exemplar cities."""
    english = dict(_names("en"))
    for language in languages.all_languages():
        if not language.cldr or language.code == "en":
            continue
        for key, text in _names(language.cldr):
            if key not in english:
                continue
            reason = _unusable(english[key], text, language.script)
            if reason:
                notes[reason] += 1
                continue
            yield f"cldr:{key}", "names", "babel", language.code, text
            yield f"cldr:{key}", "names", "babel", "en", english[key]


def _names(locale: str) -> Iterator[tuple[str, str]]:
    data = babel.Locale.parse(locale)
    kinds = {
        "territory": data.territories,
        "language": data.languages,
        "script": data.scripts,
        "currency": data.currencies,
        "city": {zone: names["city"] for zone, names in data.time_zones.items() if "city" in names},
    }
    if locale == "en":  # CLDR leaves out an English city that is spelled as its zone is
        zones = babel.Locale.parse("ko").time_zones
        kinds["city"] = {z: z.split("/")[-1].replace("_", " ") for z in zones if "/" in z} | kinds["city"]
    for kind, names in kinds.items():
        for key, name in names.items():
            yield f"{kind}:{key}", " ".join(str(name).split())


def _unusable(english: str, text: str | None, script: str) -> str:
    """Why a translation is dropped, or an empty string."""
    if text is None:
        return "placeholders differ"
    if not text:
        return "not translated"
    if not _WORD.search(english):
        return "no words in English"
    if max(len(english), len(text)) > MAX_CHARACTERS:
        return "longer than 400 characters"
    if text == english:
        return "copy of the English"
    if any(_BRACES.search(SLOT.sub("", each)) for each in (english, text)):
        return "a brace that is no placeholder"
    if script_share(text, script) < (0.5 if script == "Latn" else 0.3):
        return "not in the language's script"
    return ""


def _write(path: Path, rows: pd.DataFrame, notes: Counter) -> None:
    """Write a harvest: a line with a checksum, then each item once, then each language's texts by item number."""
    items = rows.drop_duplicates("item")[["item", "domain", "package"]]
    number = dict(zip(items["item"], range(len(items)), strict=True))
    texts = {
        language: [[number[item] for item in own["item"]], list(own["text"])]
        for language, own in rows.groupby("language")
    }
    content = {"notes": dict(sorted(notes.items())), "items": items.to_numpy().tolist(), "texts": texts}
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    with atomic_write(path) as temporary:
        temporary.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _read(path: Path) -> Corpus:
    """The corpus from a cached harvest, with the pools of the split file.

    Raises:
        ValueError: the file is cut short or damaged.
    """
    checksum, _, body = path.read_bytes().partition(b"\n")
    if checksum.decode("latin-1") != hashlib.sha256(body).hexdigest():
        raise ValueError(f"{path} is damaged")
    content = json.loads(body)
    ids = [item for item, _, _ in content["items"]]
    texts = {
        language: dict(zip(map(ids.__getitem__, numbers), strings, strict=True))
        for language, (numbers, strings) in content["texts"].items()
    }
    items = pd.DataFrame(content["items"], columns=["item", "domain", "package"]).set_index("item")
    items.index.name = None
    split = splits.pool_and_unit([texts["en"][item] for item in ids])
    items["pool"], items["unit"] = split["pool"].to_numpy(), split["unit"].to_numpy()
    notes = Counter(content["notes"])
    unsplit = int((items["pool"] == "UNSPLIT").sum())
    if unsplit:  # other versions of the packages than the pinned ones
        notes["not in the split file (another version of a package)"] = unsplit
    return Corpus("catalogs", items, texts, notes)


def build_splits(documents: list[str]) -> pd.DataFrame:
    """The split file's rows from a fresh harvest and NTREX's document ids (done once, then frozen)."""
    rows, _ = harvest()
    english = rows[rows["language"] == "en"].rename(columns={"text": "english"})
    return pd.concat([splits.assign(english), splits.assign_documents(documents)], ignore_index=True)


def facts() -> dict:
    """What the harvest of the installed versions is.

    Package versions, digest, number of items by domain, of texts by language and domain, of texts dropped by reason.
    """
    corpus = load()
    domain = corpus.items["domain"].to_dict()
    texts = {code: Counter(domain[item] for item in corpus.texts[code]) for code in corpus.languages}
    return {
        "harvester": HARVESTER,
        "packages": versions(),
        "digest": corpus.digest,
        "items": dict(sorted(Counter(domain.values()).items())),
        "texts": {code: {name: count[name] for name in corpus.domains} for code, count in texts.items()},
        "dropped": dict(sorted(corpus.notes.items())),
    }


def pin() -> None:
    """Write `data/catalogs.json`. Done when the pinned versions or the harvest change: results are signed with it."""
    head = facts()
    texts = head.pop("texts")
    rows = ",\n".join(f"  {json.dumps(code)}: {json.dumps(counts)}" for code, counts in texts.items())
    with atomic_write(PINNED) as temporary:
        temporary.write_text(json.dumps(head, indent=1)[:-2] + f',\n "texts": {{\n{rows}\n }}\n}}\n', encoding="utf-8")


def pinned() -> dict:
    """`facts()` of the pinned versions, from `data/catalogs.json`.

    Raises:
        Failure: the file is missing or damaged.
    """
    try:
        return json.loads(PINNED.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failure(f"{PINNED} is missing or damaged; restore it with `git checkout data/catalogs.json`") from error
