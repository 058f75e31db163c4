"""Trainable parameters of LSLo, and the `#Params` that the second paper prints, on a model without memory.

The paper's base is M2M-124 (615M): 12 + 12 layers, d = 1,024, 4,096 hidden units. With LoRA on the slice (span
"slice") every one of its 156 matrices has 1,024 + 1,024 parameters a unit of rank.
"""

import re
from dataclasses import dataclass

import pandas as pd
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from langsim import papers
from langsim.errors import UsageError
from langsim.lslo.architecture import Architecture, default
from langsim.lslo.layer import widths
from langsim.lslo.projections import FEED_FORWARD, KINDS
from langsim.suggest import unknown

LANGUAGE_TABLES = {"lslo-table1": "lslo-table4", "lslo-table2": "lslo-table5"}
LANGUAGE_TABLES |= {"lslo-table6": "lslo-table4", "lslo-table7": "lslo-table4"}
_STACK = {"layers": 12, "ffn_dim": 4096, "attention_heads": 16}


@dataclass(frozen=True)
class Row:
    """A row of a printed table with LSLo: rank of every resource class in the paper's order, kinds of projections."""

    method: str
    ranks: dict[str, int]
    kinds: tuple[str, ...]
    printed: float  # million


def paper_model() -> PreTrainedModel:
    """M2M-124 with 615M parameters, on the meta device: shapes only."""
    stacks = {f"{stack}_{what}": n for stack in ("encoder", "decoder") for what, n in _STACK.items()}
    with torch.device("meta"):
        return M2M100ForConditionalGeneration(M2M100Config(vocab_size=256_000, d_model=1024, **stacks))


def unit(model: PreTrainedModel, architecture: Architecture, span: str) -> int:
    """Parameters of one unit of rank of one language: inputs plus outputs of the LoRA, over all modules.

    A language of rank r has r times as many; an LSLo, by the sum of its ranks.
    """
    plain = (model.get_submodule(name) for name in architecture.modules)
    return sum(sum(widths(module, span, model.config.d_model)) for module in plain)


def classes(table_id: str) -> dict[str, list[str]]:
    """Resource class -> languages of the set that a table's experiments are on, in the paper's order.

    Raises:
        UsageError: not a table of experiments with `#Params`.
    """
    if table_id not in LANGUAGE_TABLES:
        raise UsageError(f"table with #Params: {unknown(table_id, list(LANGUAGE_TABLES))}")
    frame = papers.published(LANGUAGE_TABLES[table_id])
    found: dict[str, list[str]] = {}
    for row in frame[frame["field"] == "resource type"].itertuples():
        found.setdefault(row.value, []).append(row.code)
    return found


def rows(table_id: str) -> list[Row]:
    """The rows of a printed table that are LSLo, by what their names say: `2;2;8` is a rank a class; in Table 7 those
    without a star have LoRA on fc1 and fc2 only. Pruning does not change what the paper counts.

    Raises:
        UsageError: not a table of experiments with `#Params`.
    """
    names = list(classes(table_id))
    frame = papers.published(table_id)
    found = []
    for row in frame[frame["column"] == "#Params"].itertuples():
        if match := re.match(r"(\d+(?:;\d+)+)\+", row.method):
            ranks = dict(zip(names, map(int, match[1].split(";")), strict=True))
            fc_only = table_id == "lslo-table7" and not row.method.endswith("*")
            found.append(Row(row.method, ranks, FEED_FORWARD if fc_only else KINDS, float(row.value)))
    return found


def table(table_id: str, model: PreTrainedModel | None = None) -> pd.DataFrame:
    """The printed `#Params` of a table beside ours, in million.

    Args:
        model: `paper_model()` where none is given.

    Returns:
        one row a method: method, modules ("all" or "fc"), printed, slice (LoRA as in the authors' code), full
        (conventional LoRA), difference (of slice from printed, percent of printed).

    Raises:
        UsageError: not a table of experiments with `#Params`.
    """
    model, members = model or paper_model(), classes(table_id)
    found = []
    for row in rows(table_id):
        total = sum(rank * len(members[name]) for name, rank in row.ranks.items())
        architecture = default(model, kinds=row.kinds)
        ours = {span: total * unit(model, architecture, span) / 1e6 for span in ("slice", "full")}
        found.append(
            {
                "method": row.method,
                "modules": "fc" if row.kinds == FEED_FORWARD else "all",
                "printed": row.printed,
                **ours,
                "difference": 100 * (ours["slice"] - row.printed) / row.printed,
            }
        )
    return pd.DataFrame(found)


def shares(table_id: str, model: PreTrainedModel | None = None) -> pd.DataFrame:
    """What each resource class has of the trainable parameters, as a share of the base's.

    Returns:
        one row a method and class: method, class, languages, rank, slice and full (million), slice_percent and
        full_percent (of all parameters of the base).

    Raises:
        UsageError: not a table of experiments with `#Params`.
    """
    model, members = model or paper_model(), classes(table_id)
    base = sum(parameter.numel() for parameter in model.parameters())
    found = []
    for row in rows(table_id):
        architecture = default(model, kinds=row.kinds)
        for name, rank in row.ranks.items():
            line = {"method": row.method, "class": name, "languages": len(members[name]), "rank": rank}
            for span in ("slice", "full"):
                count = rank * len(members[name]) * unit(model, architecture, span)
                line |= {span: count / 1e6, f"{span}_percent": 100 * count / base}
            found.append(line)
    return pd.DataFrame(found)
