"""Settings of the experiments with language-specific LoRA (part II); profiles give them in their section `lslo`."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from langsim import pools
from langsim.errors import UsageError
from langsim.suggest import unknown

PRUNED = ("high", "medium")  # classes whose LoRAs GPS prunes (section 6.3)
Name = Annotated[str, Field(min_length=1)]
Pool = Literal["FINETUNE", "DEV", "TEST"]


class LSLoSettings(BaseModel):
    """Part II, resolved and valid: which languages of which classes, on what text, trained and scored how."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    profile: Name = Field(description="mini, open or paper")
    model: Name = Field(description="a shipped model, a local folder, or a hub id")
    corpus: Name = Field(description="where the text comes from: catalogs, files, ntrex, flores101, ...")
    data: str = Field("", description="the folder or file that the corpus reads")
    domain: str = Field(description="one domain of the corpus; empty for all")
    languages: list[Name] = Field(min_length=1, description="codes, or the name of a role or pool such as lang12")
    more_languages: list[Name] = Field(min_length=1, description="those of Table 2")
    classes: list[Name] = Field(min_length=1, description="roles or pools that have their classes, or code=class")
    ranks: list[Name] = Field([], description="rows such as 2;2;8 or 2;2;8+GPS(0.9), a rank a class; none: the tables'")
    span: Literal["full", "slice"] = Field(description="LoRA on the whole feed-forward block, or as the authors' code")
    init: Literal["gaussian", "kaiming"] = Field(description="of the A matrices; kaiming: the authors' code")
    training_pools: list[Pool] = Field(min_length=1, description="pools of the text that is trained on")
    training_items: int = Field(ge=0, description="items of these pools that are trained on; 0: all")
    watched_pool: Pool = Field(description="pool of what is measured after every epoch")
    seeds: list[int] = Field(min_length=1, description="what carries a claim is trained once for each")
    weight_seeds: list[int] = Field(min_length=1, description="weight learning is done once for each")
    epochs: int = Field(ge=1, description="of a training: the times of Table 3 are of 15")
    updates: int = Field(ge=0, description="updates of the weights in all epochs; 0: each epoch reads all text once")
    sampling: Name = Field(description="of directions: proportional or temperature(T)")
    learning_rate: float = Field(gt=0, description="the highest, after warm-up, of LoRA")
    full_learning_rate: float = Field(gt=0, description="the same where all weights are trained")
    warmup: int = Field(ge=1, description="updates until then; afterwards the inverse square root")
    label_smoothing: float = Field(ge=0, lt=1, description="of the training loss")
    dropout: float = Field(ge=0, lt=1, description="while training")
    attention_dropout: float = Field(ge=0, lt=1, description="while training")
    tokens_per_batch: int = Field(ge=1, description="positions of a batch on either side, padding counted")
    batches_per_update: int = Field(ge=1, description="batches in an update, over all GPUs")
    precision: Literal["fp32", "bf16", "fp16"] = Field(description="of the training's arithmetic")
    scored_items: int = Field(ge=0, description="items that are scored in every direction; 0: all")
    watched_items: int = Field(ge=0, description="items that are scored after every epoch; 0: all")
    translated: Literal["chosen", "all"] = Field(description="directions: two for each pair of classes, or all")
    beam_size: int = Field(ge=1, description="hypotheses that beam search keeps")
    engine: Literal["ctranslate2", "transformers"] = Field(description="what searches")
    device: str = Field(pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    threads: int = Field(ge=1, description="CPU threads of each worker (fixed, so that sums round the same)")

    @property
    def sides(self) -> list["LSLoSettings"]:
        """One text: this one's."""
        return [self]

    def classes_of(self, which: str = "languages") -> dict[str, str]:
        """Language -> resource class, of `languages` or `more_languages`."""
        return classes_of(getattr(self, which), self.classes)


def classes_of(codes: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Language -> resource class, languages of the same class together, classes as they come first.

    Args:
        given: names of roles and pools, and `code=class`; what stands later counts.

    Raises:
        UsageError: no such role or pool, a class that isn't one, or a language without.
    """
    from langsim import languages

    known: dict[str, str] = {}
    groups = {**dict.fromkeys(pools.roles(), pools.role_members), **dict.fromkeys(pools.pools(), pools.pool_members)}
    for entry in given:
        code, equals, name = entry.partition("=")
        if equals:
            if not name.strip():
                raise UsageError(f"{entry!r} names no class; write {code or 'code'}=low, for example")
            known[languages.get(code.strip()).code] = name.strip()
            continue
        if entry not in groups:
            raise UsageError(f"{unknown(entry, groups)}; or write code=class")
        known |= {member.code: member.resource_class for member in groups[entry](entry) if member.resource_class}
    if missing := [code for code in codes if code not in known]:
        raise UsageError(f"{missing[0]!r} has no class; add '{missing[0]}=low', for example")
    order = list(dict.fromkeys(known[code] for code in codes))
    return {code: known[code] for code in sorted(codes, key=lambda code: order.index(known[code]))}


def problems(values: dict[str, Any], wrong: Mapping[str, str]) -> list[str]:
    """What does not fit together; languages are codes by now."""
    from langsim.sampling import SamplingRule

    found = []
    for name in ("languages", "more_languages"):
        if {name, "classes"} & set(wrong):
            continue
        if len(values[name]) < 2:
            found.append(f"{name}: a direction has two languages, got only {values[name][0]!r}")
        try:
            classes = classes_of(values[name], values["classes"])
        except UsageError as error:
            found.append(f"classes: {error}")
            continue
        if name == "languages" and "ranks" not in wrong:
            found += _rank_problems(values.get("ranks", []), list(dict.fromkeys(classes.values())))
    if "sampling" not in wrong:
        try:
            SamplingRule.parse(values["sampling"])
        except UsageError as error:
            found.append(str(error))
        if values["sampling"].strip() == "equal":
            found.append("sampling: equal shares every batch among all directions; use temperature(5)")
    if not {"updates", "epochs"} & set(wrong) and 0 < values["updates"] < values["epochs"]:
        found.append(f"updates: {values['updates']} are fewer than the {values['epochs']} epochs; use 0 or more")
    if (values["precision"], values["device"]) == ("fp16", "cpu"):
        found.append("precision: fp16 needs a GPU; on a CPU use fp32 or bf16")
    if values["engine"] == "ctranslate2" and str(values["device"]).startswith("cuda"):
        found.append("engine: ctranslate2 translates on a CPU only; use transformers")
    return found


def parse_ranks(row: str) -> tuple[list[int], float | None]:
    """A row of `ranks`: the rank of every class, and to which share it is pruned gradually (None: not at all).

    Raises:
        UsageError: it is neither `2;2;8` nor `2;2;8+GPS(0.9)`.
    """
    found = re.fullmatch(r"\s*(\d+(?:\s*;\s*\d+)*)\s*(?:\+\s*GPS\((0?\.\d+)\)\s*)?", row)
    if not found:
        raise UsageError(f"{row!r} is no row of ranks; write 2;2;8 or 2;2;8+GPS(0.9), for example")
    return [int(part) for part in found[1].split(";")], float(found[2]) if found[2] else None


def _rank_problems(ranks: Sequence[str], classes: Sequence[str]) -> list[str]:
    found = []
    example = ";".join(["2"] * (len(classes) - 1) + ["8"])
    for row in ranks:
        try:
            given, ratio = parse_ranks(row)
        except UsageError:
            given, ratio = [], None
        if len(given) != len(classes):
            found.append(f"ranks: {row!r} is no rank for each of {', '.join(classes)}; write {example}, for example")
        elif ratio and not set(PRUNED) & set(classes):
            found.append(f"ranks: {row!r} prunes languages of class {' or '.join(PRUNED)}, but there are none")
    return found
