"""A profile names models, corpora, languages and sizes; any parameter overrides one value of it.

The profiles are `data/profiles/*.toml`. Everything downstream sees only the `Settings` that come out of
`resolve`, and nothing asks which profile they came from: `profile` is a label in paths and pages.

A notebook that compares two corpora has `TwoCorpora`: the same parameters, and four more that name the second text.
Those on language-specific LoRA have `LSLoSettings`, other parameters but for what names model, text and languages;
those on sub-networks and transfer `XSNSSettings`.
Which kind is meant is told by the parameters themselves (`kind_of`).
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langsim import lslo_settings
from langsim.errors import UsageError
from langsim.lslo_settings import LSLoSettings
from langsim.paths import DATA
from langsim.suggest import unknown
from langsim.xsns import settings as xsns_settings
from langsim.xsns.settings import XSNSSettings

Name = Annotated[str, Field(min_length=1)]
Pool = Literal["PRETRAIN", "FINETUNE", "DEV", "TEST"]
TEXT = ("corpus", "data", "domain", "pool")  # what names a text


class Settings(BaseModel):
    """Part I, resolved and valid: what to compare (languages, text), with what (model, Fisher), and how."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    profile: Name = Field(description="mini, open or paper")
    model: Name = Field(description="a shipped model, a local folder, or a hub id")
    corpus: Name = Field(description="text: catalogs, files, ntrex, ted, opus100, flores101, flores200 or flores_plus")
    data: str = Field("", description="the folder or file that corpus files reads; others may read one too")
    languages: list[Name] = Field(min_length=1, description="codes, or the name of a pool such as ted17")
    targets: list[Name] = Field(min_length=1, description="the languages whose pseudo families are shown")
    target_language: Name = Field(description="the language translated into")
    domain: str = Field(description="one domain of the corpus; empty for all")
    pool: Pool = Field(description="which split of the text")
    matching: Literal["intersection", "sizes"] = Field(description="how the languages' text is made equal")
    estimator: Literal["batch", "per_example", "sampled"] = Field(description="the Fisher estimator")
    recipe: Literal["paper", "authors_code"] = Field(description="column of the table of switches")
    params: Name = Field(description="the parameters that are compared: ffn, attention, all, re:...")
    measure: Literal["overlap", "jaccard", "mse", "kl"] = Field(description="the similarity measure")
    k: float = Field(gt=0, lt=1, description="share of the parameters that counts as active")
    batch_size: int = Field(ge=1, description="sentence pairs in a mini-batch")
    max_items: int = Field(ge=0, description="sentence pairs per language; 0 for all there are")
    seed: int = Field(ge=0, description="seed of every random choice")
    device: str = Field(pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    threads: int = Field(ge=1, description="CPU threads of each worker (fixed, so that sums round the same)")

    @property
    def sides(self) -> list["Settings"]:
        """One `Settings` for each text: this one, alone."""
        return [self]


class TwoCorpora(Settings):
    """The same with a second text: rows of a matrix come from the first, columns from the second (Figure 6)."""

    corpus_b: Name = Field(description="where the second text comes from")
    data_b: str = Field("", description="the folder or file that corpus_b files reads; others may read one too")
    domain_b: str = Field(description="one domain of the second corpus; empty for all")
    pool_b: Pool = Field(description="which split of the second text")

    @property
    def sides(self) -> list[Settings]:
        """Two `Settings`, equal but for the text."""
        first = {name: getattr(self, name) for name in Settings.model_fields}
        second = {name: getattr(self, f"{name}_b") for name in TEXT}
        return [Settings(**first), Settings(**{**first, **second})]


class Tuning(Settings):
    """The same, and how systems are fine-tuned on each target's family, and scored (section 3)."""

    adaptation: str = Field(description="the domain that is fine-tuned on and scored in; empty for all")
    families: Literal["own", "paper"] = Field(description="pseudo families of this run, or those of Table 1")
    aligned: list[Name] = Field(description="targets whose Overlap family is sampled as LF samples (section 3.2)")
    seeds: list[int] = Field(min_length=1, description="a system is trained once for each")
    draws: int = Field(ge=1, description="random families for each target")
    singles: Literal["all", "none"] = Field(description="which auxiliaries are also tried one at a time")
    updates: int = Field(ge=1, description="updates of the weights, for every method; with patience, the most")
    patience: int = Field(ge=0, description="validations without a better loss before training ends; 0: never")
    validate_every: int = Field(ge=0, description="updates between two validations; 0: an epoch")
    learning_rate: float = Field(gt=0, description="the highest, after warm-up")
    warmup: int = Field(ge=1, description="updates until then; afterwards the inverse square root")
    label_smoothing: float = Field(ge=0, lt=1, description="of the training loss")
    dropout: float = Field(ge=0, lt=1, description="while training")
    tokens_per_batch: int = Field(ge=1, description="positions of a batch on either side, padding counted")
    batches_per_update: int = Field(ge=1, description="batches in an update, over all GPUs")
    precision: Literal["fp32", "bf16", "fp16"] = Field(description="of the training's arithmetic")
    beam_size: int = Field(ge=1, description="hypotheses that beam search keeps")
    engine: Literal["ctranslate2", "transformers"] = Field(description="what searches")


ORDER = ("mini", "open", "paper")  # from what everyone can run to what few can

# Later sections change earlier ones.
SECTIONS = {
    Settings: ("pseudo_families",),
    TwoCorpora: ("pseudo_families", "across"),
    Tuning: ("pseudo_families", "tuning"),
    LSLoSettings: ("lslo",),
    XSNSSettings: ("xsns",),
}

OWN_PROBLEMS = {LSLoSettings: lslo_settings.problems, XSNSSettings: xsns_settings.problems}


def kind_of(parameters: Iterable[str]) -> type[Settings]:
    """The settings that these parameters are of, told by the one that no other kind has and none does without."""
    given = set(parameters)
    if "classes" in given:
        return LSLoSettings
    if "tasks" in given:
        return XSNSSettings
    if "adaptation" in given:
        return Tuning
    return TwoCorpora if given & {"corpus_b", "data_b", "domain_b", "pool_b"} else Settings


def folder() -> Path:
    """Where the profiles lie."""
    return DATA / "profiles"


def names() -> list[str]:
    """The profiles there are: those of the project in their order, then others by name."""
    found = {path.stem for path in folder().glob("*.toml")}
    return [*(name for name in ORDER if name in found), *sorted(found - set(ORDER))]


def defaults(profile: str, kind: type[Settings] = Settings) -> dict[str, Any]:
    """The values a profile's file gives to part I, as written (pools of languages not yet expanded)."""
    if profile not in names():
        raise UsageError(f"profile: {unknown(profile, names())}")
    with open(folder() / f"{profile}.toml", "rb") as stream:
        sections = tomllib.load(stream)
    return {name: value for section in SECTIONS[kind] for name, value in sections[section].items()}


def resolve(profile: str = "mini", *, kind: type[Settings] = Settings, **overrides: Any) -> Settings:
    """The profile's settings with `overrides` in place; `None` means the profile's value.

    A domain belongs to its corpus: where another corpus is given and no domain, all of its domains are meant.

    Raises:
        UsageError: one line that lists *every* mistake: unknown parameters, codes, corpora and models (with
            suggestions), wrong types, values out of range.
    """
    problems = []
    if profile not in names():
        problems.append(f"profile: {unknown(profile, names())}")
    base = defaults(profile if profile in names() else "mini", kind)
    given = {}
    for name, value in overrides.items():
        if name not in kind.model_fields:
            problems.append(f"parameter: {unknown(name, kind.model_fields)}")
        elif value is not None:
            given[name] = value
    base |= {f"domain{side}": "" for side in ("", "_b") if f"corpus{side}" in given}
    base |= {"adaptation": ""} if "corpus" in given and "adaptation" in base else {}
    values = {**base, **given, "profile": str(profile)}
    wrong = _type_errors(values, kind)
    problems += wrong.values()
    problems += _check_languages(values, given, wrong)
    problems += _check_corpora(values, wrong)
    for check in (_check_model, _check_params):
        problems += check(values, wrong)
    if kind in OWN_PROBLEMS:
        problems += [] if problems else OWN_PROBLEMS[kind](values, wrong)
    elif values["recipe"] == "authors_code" and values["estimator"] != "batch":
        problems.append("estimator: recipe 'authors_code' squares the gradient of mini-batches; use estimator: batch")
    if problems:
        raise UsageError("; ".join(problems))
    return kind(**values)


def from_notebook(namespace: Mapping[str, Any], *, own: tuple[str, ...] = ()) -> Settings:
    """Validate a notebook's parameters: `settings = profiles.from_notebook(globals())`, in the cell after them.

    Parameters cells hold literals only (papermill can't inspect `str | None`), so an empty string, an empty
    list or a zero means "the profile's value". A name that is no parameter is an error, also under plain
    papermill, which would only warn. `own` names the notebook's own parameters, left for it to check.
    """
    parameters = {name: value for name, value in _parameters(namespace).items() if name not in own}
    given = {name: value for name, value in parameters.items() if value or value is False}
    return resolve(given.pop("profile", "mini"), kind=kind_of(parameters), **given)


def overrides(settings: Settings) -> dict[str, Any]:
    """What differs from the profile's own values: empty for a plain run of the profile."""
    kind = type(settings)
    optional = {name: field.default for name, field in kind.model_fields.items() if not field.is_required()}
    plain = {**optional, **defaults(settings.profile, kind), "profile": settings.profile}
    _check_languages(plain, {}, {})  # expands the pools
    return {name: value for name, value in settings.model_dump().items() if value != plain[name]}


def _parameters(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The literal values that were assigned before the validation cell.

    In IPython that is what the cells *above the first run of this cell* assigned (the parameters cell and the
    one that papermill injects), so that running the cell again later does not take other variables for parameters.
    Without a history (nbval runs cells so) it is everything there is.
    """
    literals = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in ("In", "Out")
        and isinstance(value, str | int | float | list | tuple | dict | None)
    }
    history = namespace.get("In")
    if not isinstance(history, list) or not any(history):
        return literals
    cells = list(history)
    above = cells[: cells.index(cells[-1])] if cells else []
    assigned = {name for source in above for name in _assigned(source)}
    return {name: value for name, value in literals.items() if name in assigned}


def _assigned(source: str) -> set[str]:
    """Names that a cell assigns at its top level."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic
        return set()
    targets = [
        target
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _type_errors(values: dict[str, Any], kind: type[Settings]) -> dict[str, str]:
    """Field -> what is wrong with its type or range."""
    try:
        kind.model_validate(values)
    except ValidationError as error:
        found = {}
        for detail in error.errors():
            name = str(detail["loc"][0])
            found.setdefault(name, f"{name}: {_wording(detail)}")
        return found
    return {}


def _wording(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        return unknown(detail["input"], re.findall(r"'([^']+)'", detail["ctx"]["expected"]))
    shown = repr(detail["input"])
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    hint = ""
    if detail["type"] == "list_type":
        hint = ', write a list such as [fa, hi] (with papermill: -y "languages: [fa, hi]")'
    if detail["input"] is False and detail["type"] == "string_type":
        hint = "; YAML reads a bare no as false: write 'no' in quotes"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {shown}{hint}"


def _check_languages(values: dict[str, Any], given: Mapping[str, Any], wrong: Mapping[str, str]) -> list[str]:
    """Expand pools, make codes canonical (in place), and say what does not fit."""
    problems = []
    for name in ("languages", "more_languages", "targets", "target_language", "aligned"):
        if name in wrong or name not in values:
            continue
        try:
            codes = [values[name]] if name == "target_language" else values[name]
            codes = _canonical(codes)
        except UsageError as error:
            problems.append(f"{name}: {error}")
            continue
        values[name] = codes[0] if name == "target_language" else codes
    if problems or "targets" not in values or {"languages", "targets", "target_language"} & set(wrong):
        return problems
    outside = [code for code in values["targets"] if code not in values["languages"]]
    if outside and "targets" not in given:  # the profile's targets, for other languages: those that are there
        values["targets"] = [code for code in values["targets"] if code not in outside] or values["languages"]
    elif outside and "languages" not in given:  # the profile's languages, and these
        values["languages"] = [*values["languages"], *outside]
    elif outside:
        problems.append(f"targets: {', '.join(map(repr, outside))} not among the languages")
    if len(values["languages"]) < 2:
        problems.append(f"languages: at least two are compared, got only {values['languages'][0]!r}")
    if values["target_language"] in values["languages"]:
        problems.append(f"languages: {values['target_language']!r} is the language translated into; leave it out")
    return problems


def _canonical(codes: list[str]) -> list[str]:
    from langsim import languages

    expanded, problems = [], []
    for code in codes:
        known = languages.pool if code in languages.pools() else languages.role if code in languages.roles() else None
        expanded += known(code) if known else [code]
    for code in expanded:  # all of them before any error
        try:
            languages.get(code)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(", ".join(problems))
    return languages.resolve(expanded)


def _check_corpora(values: dict[str, Any], wrong: Mapping[str, str]) -> list[str]:
    """Each text has its corpus, and two texts are two."""
    if "corpus_b" not in values:
        return _check_corpus(values, wrong, "")
    problems = [*_check_corpus(values, wrong, ""), *_check_corpus(values, wrong, "_b")]
    texts = [[values.get(f"{name}{side}", "") for name in TEXT] for side in ("", "_b")]
    if not problems and texts[0] == texts[1]:
        named = " ".join(f"{name} {value!r}" for name, value in zip(TEXT, texts[0], strict=True) if value)
        problems.append(f"corpus_b: both texts are the same ({named}); name another with corpus_b, domain_b or pool_b")
    return problems


def _check_corpus(values: dict[str, Any], wrong: Mapping[str, str], side: str) -> list[str]:
    """`side` is what the names of the text's parameters end in: `_b` for the second of two."""
    name, place = f"corpus{side}", f"data{side}"
    if {name, place} & set(wrong):
        return []
    from langsim import corpora

    if values[name] not in corpora.NAMES:
        return [f"{name}: {unknown(values[name], corpora.NAMES)}"]
    data = values.get(place, "")
    if data and "path" not in corpora.OPTIONS[values[name]]:
        return [
            f"{place}: only corpus 'files' (or 'ted', 'opus100', 'flores101', ...) reads a folder; add {name}: files"
        ]
    if not data and values[name] != "files":
        return []
    if not data:
        return [
            f"{place}: corpus 'files' needs a folder or file of aligned text; name yours with {place} "
            f"(-p {place} FOLDER)"
        ]
    path = Path(data).expanduser().absolute()
    if not path.exists():
        return [f"{place}: no file or folder {data!r}"]
    values[place] = str(path)  # workers may run elsewhere
    return []


def _check_model(values: dict[str, Any], wrong: Mapping[str, str]) -> list[str]:
    if "model" in wrong:
        return []
    name = values["model"]
    shipped = [path.parent.name for path in (DATA / "models").glob("*/config.json")]
    if name in shipped or (re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) and not Path(name).exists()):
        return []
    if Path(name).expanduser().is_dir():
        if not (Path(name).expanduser() / "config.json").is_file():
            return [f"model: no config.json in the folder {name!r}"]
        values["model"] = str(Path(name).expanduser().absolute())
        return []
    if re.match(r"[./~]", name):
        return [f"model: no folder {name!r}"]
    return [f"model: {unknown(name, shipped)}; or give a folder or a hub id (organisation/name)"]


def _check_params(values: dict[str, Any], wrong: Mapping[str, str]) -> list[str]:
    from langsim.groups import SELECTIONS

    if "params" in wrong or values.get("params", "all") in SELECTIONS:
        return []
    if not values["params"].startswith("re:"):
        return [f"params: {unknown(values['params'], (*SELECTIONS, 're:PATTERN'))}"]
    try:
        re.compile(values["params"].removeprefix("re:"))
    except re.error as error:
        return [f"params: bad pattern in {values['params']!r}: {error}"]
    return []
