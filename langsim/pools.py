"""Named groups of languages: the papers' pools (`data/pools.csv`) and the roles at `mini` (`data/roles.csv`).

A pool is what a paper used; a role is what stands in for it at the `mini` profile (which languages a shipped
model is trained on, which play high, medium and very-low). Reach both through `langsim.languages`.
"""

from dataclasses import dataclass
from functools import cache

from langsim import paths
from langsim.errors import UsageError
from langsim.suggest import did_you_mean
from langsim.tables import read_table

POOL_COLUMNS = ("pool", "order", "code", "resource_class", "bitext_pairs", "source", "note")
ROLE_COLUMNS = ("role", "code", "class", "note")


@dataclass(frozen=True)
class Member:
    """One language in a pool or role.

    `resource_class` is high, medium, low or very-low (empty where the group has no classes); `bitext_pairs`
    the sentence pairs with English that the class rests on, rounded as printed (None where not printed).
    """

    code: str
    resource_class: str = ""
    bitext_pairs: int | None = None
    source: str = ""
    note: str = ""


@cache
def _pools() -> dict[str, tuple[Member, ...]]:
    groups: dict[str, list[Member]] = {}
    for row in sorted(read_table(paths.DATA / "pools.csv", POOL_COLUMNS), key=lambda row: int(row["order"])):
        bitext = int(row["bitext_pairs"]) if row["bitext_pairs"] else None
        member = Member(row["code"], row["resource_class"], bitext, row["source"], row["note"])
        groups.setdefault(row["pool"], []).append(member)
    return {name: tuple(members) for name, members in groups.items()}


@cache
def _roles() -> dict[str, tuple[Member, ...]]:
    groups: dict[str, list[Member]] = {}
    for row in read_table(paths.DATA / "roles.csv", ROLE_COLUMNS):
        groups.setdefault(row["role"], []).append(Member(row["code"], row["class"], note=row["note"]))
    return {name: tuple(members) for name, members in groups.items()}


def pools() -> list[str]:
    """The names of the papers' pools."""
    return list(_pools())


def pool_members(name: str) -> tuple[Member, ...]:
    """The languages of a pool with resource class, bitext size and source, in the paper's order.

    Raises:
        UsageError: there is no such pool.
    """
    return _member_of(_pools(), name, "pool")


def pool(name: str) -> list[str]:
    """The codes of a pool in the paper's order (`ted17`: the order of Figure 5)."""
    return [member.code for member in pool_members(name)]


def roles() -> list[str]:
    """The names of the roles at the `mini` profile."""
    return list(_roles())


def role_members(name: str) -> tuple[Member, ...]:
    """The languages of a role with their class and note, in the table's order.

    Raises:
        UsageError: the table has no such role.
        Failure: `data/roles.csv` is missing or damaged.
    """
    return _member_of(_roles(), name, "role")


def role(name: str) -> list[str]:
    """The codes of a role, in the table's order."""
    return [member.code for member in role_members(name)]


def _member_of(groups: dict[str, tuple[Member, ...]], name: str, kind: str) -> tuple[Member, ...]:
    try:
        return groups[name]
    except (KeyError, TypeError):
        hint = did_you_mean(str(name), groups)
        raise UsageError(f"unknown {kind} {name!r}; {hint} (data/{kind}s.csv has them all)") from None
