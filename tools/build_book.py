"""Build the book from executed notebooks: build_book.py EXECUTED BUILD.

BUILD/book is the folder that it is built from: the pages, the *executed* notebooks (their text twins stay outside: two
files with one name make Sphinx warn), the published and the fresh results, and the tables that are made from data. The
git tree is only read. Nothing is built when nothing changed since the last build that succeeded; and what is built is
built whole, because Sphinx says a warning only once.
"""

import hashlib
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import speed_tables
import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("_config.yml", "_toc.yml", "requirements.lock", "book", "data", "langsim", "tools")


def main(executed: Path, build: Path) -> None:
    fresh, built = (
        digest([ROOT / name for name in SOURCES] + [executed, build / "results"]),
        build / "html" / ".made-from",
    )
    if built.is_file() and built.read_text() == fresh:
        return
    built.unlink(missing_ok=True)
    stage(executed, build)
    options = ["--path-output", str(build.parent), "--all", "-W", "-n", "--keep-going", "--quiet"]
    command = [Path(sys.executable).parent / "jupyter-book", "build", build / "book", *options]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)  # warnings are on stderr
    if done.returncode:
        sys.exit("build_book: the book has warnings or errors; they are listed above")
    built.write_text(fresh)


def digest(paths: list[Path]) -> str:
    """Of the content of some files and folders."""
    total = hashlib.sha256()
    for folder in paths:
        for path in sorted([folder, *folder.rglob("*")]):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def stage(executed: Path, build: Path) -> None:
    """Put together the folder that the book is built from."""
    book = build / "book"
    shutil.rmtree(book, ignore_errors=True)
    book.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, book)
    for name in ("book", "data/papers", "data/benchmarks"):
        shutil.copytree(ROOT / name, book / name, ignore=shutil.ignore_patterns("__pycache__"))
    for results in (ROOT / "data" / "results", build / "results"):  # the fresh ones over the published
        if results.is_dir():
            shutil.copytree(results, book / "data" / "results", dirs_exist_ok=True)
    for page in notebooks_of_the_toc():
        source = executed / Path(page).relative_to("notebooks").with_suffix(".ipynb")
        if not source.is_file():
            sys.exit(f"build_book: {source} is missing; run langsim run --all --out {executed} first")
        target = book / f"{page}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    generated = book / "book" / "generated"
    generated.mkdir()
    texts = {"exhibits": exhibits(book), "corpus": corpus(), "paper_costs": paper_costs()}
    texts |= speed_tables.tables(table) | parameter_tables()
    for name, text in texts.items():
        (generated / f"{name}.md").write_text(text, encoding="utf-8")


def notebooks_of_the_toc() -> list[str]:
    """The notebooks among the pages of _toc.yml, without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [page for page in pages if page.startswith("notebooks/")]


def parameter_tables() -> dict[str, str]:
    """The tables of parameters of each part."""
    from langsim import profiles
    from langsim.lslo_settings import LSLoSettings
    from langsim.xsns.settings import XSNSSettings

    shared = (profiles.Settings, profiles.TwoCorpora, profiles.Tuning)  # what all notebooks have comes first
    parts = {"parameters": shared, "lslo_parameters": (LSLoSettings,), "xsns_parameters": (XSNSSettings,)}
    return {name: parameters(*kinds) for name, kinds in parts.items()}


def parameters(*kinds: type) -> str:
    """The table of parameters, out of the settings that check them."""
    from langsim import profiles

    rows = []
    values = {"profile": "mini"} | {
        name: value for kind in kinds for name, value in profiles.defaults("mini", kind).items()
    }
    for name, field in {name: field for kind in kinds for name, field in kind.model_fields.items()}.items():
        value = values.get(name, field.default)
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        meaning = field.description + (f": {', '.join(f'`{choice}`' for choice in choices)}" if choices else "")
        shown = f"[{', '.join(map(str, value))}]" if value and isinstance(value, list) else value
        rows.append((f"`{name}`", f"`{shown}`" if shown not in ("", []) else "", meaning.replace("|", "\\|")))
    return table(("parameter", "at `mini`", "meaning"), rows)


def exhibits(book: Path) -> str:
    """Every table and figure of the papers, and what exists for it."""
    from langsim import exhibits

    pages, text = set(notebooks_of_the_toc()), []
    listed = exhibits.listing()
    for paper in dict.fromkeys(exhibit["paper"] for exhibit in listed):
        rows = []
        for exhibit in (e for e in listed if e["paper"] == paper):
            page = exhibit["notebook"].removesuffix(".ipynb")
            link = f"[{Path(page).name}](/{page}.ipynb)" if page in pages else "not yet"
            files = [exhibit["results"].get(profile, {}).get("file", "") for profile in ("mini", "open", "paper")]
            rows.append((
                f"{exhibit['exhibit']}: {exhibits.get(exhibit['id']).title}",
                link,
                *(download(book, file) for file in (exhibit["published"], *files)),
            ))  # fmt: skip
        text.append(f"## {paper}\n\n" + table(("exhibit", "notebook", "published", "mini", "open", "paper"), rows))
    return "\n".join(text)


def corpus() -> str:
    """How much text the default corpus holds: by source, by domain and pool, and by language."""
    from langsim import corpora, languages
    from langsim.corpora import catalogs

    text = corpora.load("catalogs")
    of_package = text.items["package"].value_counts()
    versions = {name.lower(): version for name, version in catalogs.versions().items()}
    sources = [(name, versions[name.lower()], f"{count:,}") for name, count in of_package.items()]
    pools = text.items.groupby(["domain", "pool"]).size().unstack(fill_value=0)
    domains = [(f"`{domain}`", *(f"{n:,}" for n in row)) for domain, row in zip(pools.index, pools.values, strict=True)]
    domain_of = text.items["domain"]
    rows = []
    for code in text.languages:
        counts = domain_of.loc[list(text.texts[code])].value_counts()
        rows.append((f"`{code}`", languages.get(code).name, *(f"{counts.get(d, 0):,}" for d in text.domains)))
    return "\n".join([
        f"{len(text.items):,} items in {len(text.languages)} languages, English included.\n",
        table(("source", "version", "items"), sources),
        "Items in each domain and pool:\n",
        table(("domain", *pools.columns), domains),
        ":::{dropdown} Items in each language\n",
        table(("code", "language", *text.domains), rows),
        ":::\n",
        "Dropped while reading, over all languages:\n",
        table(("reason", "texts"), [(reason, f"{count:,}") for reason, count in text.notes.items()]),
        f"Digest of all of it: `{text.digest[:12]}`.\n",
    ])  # fmt: skip


def paper_costs() -> str:
    """What parts of Table 2 cost at `paper` at most, by the estimate of the dry run."""
    from langsim import profiles, training_costs
    from langsim.costs import shapes_of

    gpus = training_costs.GPUS[:2]
    size = sum(math.prod(shape) for shape in shapes_of(profiles.defaults("paper")["model"]))
    few = {"seeds": [0], "draws": 1}
    less, everything, three = {**few, "updates": 40_000}, (), ("FT", "LF", "Overlap")
    wanted = [
        ("everything, as the profile is", {}, everything),
        ("everything, `seeds: [0]`, `draws: 1`", few, everything),
        ("the same, `updates: 40000`", less, everything),
        ("the same, `targets: [fa]`", {**less, "targets": ["fa"]}, everything),
        ("FT, LF and Overlap alone, as the profile is", {}, three),
        ("the same, `seeds: [0]`", few, three),
        ("the same, `updates: 40000`", less, three),
        ("the same, `targets: [fa]`", {**less, "targets": ["fa"]}, three),
    ]
    rows = []
    for what, changes, names in wanted:
        settings = profiles.resolve("paper", kind=profiles.Tuning, **changes)
        counts = training_costs.parts(settings)
        systems = len(settings.targets) * sum(counts[name] for name in names or counts)
        hours = (systems * training_costs.gpu_seconds(size, settings, gpu) / 3600 for gpu in gpus)
        rows.append((what, systems, *(f"{value:,.0f}" for value in hours)))
    return table(("what", "systems trained", *(f"hours of one {gpu.name}" for gpu in gpus)), rows)


def download(book: Path, file: str) -> str:
    """A link to a file of the book; the words as they are where it is none."""
    if not file:
        return ""
    return f"{{download}}`{Path(file).suffix[1:]} </{file}>`" if (book / file).is_file() else file


def table(columns: tuple, rows: list[tuple]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
