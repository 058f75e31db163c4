"""Trees from similarity matrices beside a reference tree: Figure 4 of the first paper, for any languages."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from skbio import TreeNode

from langsim import readings, reference
from langsim.agreement import holm
from langsim.comparison import Comparison
from langsim.readings import Prose
from langsim.trees import Clustering, cluster, compare


@dataclass(frozen=True)
class TreeStudy:
    """Trees of the same languages: a reference, and clusterings of matrices.

    Attributes:
        reference: topology only. source: where it comes from.
        clusterings: title to clustering. table: one row a clustering, how it compares with the reference; `p_value` is
            that of a one-sided Mantel test after Holm's correction for all rows.
    """

    reference: TreeNode
    source: str
    clusterings: dict[str, Clustering]
    table: pd.DataFrame

    @property
    def panels(self) -> dict[str, TreeNode]:
        """Title to tree: the reference, then what was clustered."""
        return {"Reference": self.reference, **{title: one.tree for title, one in self.clusterings.items()}}

    @property
    def leaves(self) -> list[str]:
        return [tip.name for tip in self.reference.tips()]


def study(comparison: Comparison) -> TreeStudy:
    """Cluster ours and the published matrix, raw and centred, on the leaves of the reference tree."""
    tree, source = reference.tree(list(comparison.families))
    leaves = [tip.name for tip in tree.tips()]
    raw, centred = (comparison.shown(centred=view, codes=leaves) for view in (False, True))
    clusterings = {}
    for title in raw:
        if len(raw[title]) == len(leaves):
            clusterings[title] = cluster(raw[title], larger_is_similar=True)
            clusterings[f"{title}, centred"] = cluster(centred[title], larger_is_similar=True)
    compared = {title: compare(one.tree, tree) for title, one in clusterings.items()}
    chances = holm([found.p_value for found in compared.values()])
    rows = [
        {
            "tree": title,
            "cophenetic_correlation": clusterings[title].cophenetic_correlation,
            "robinson_foulds": int(found.robinson_foulds),
            "normalised": found.normalised,
            "correlation": found.correlation,
            "p_value": chance,
        }
        for (title, found), chance in zip(compared.items(), chances.tolist(), strict=True)
    ]
    return TreeStudy(tree, source, clusterings, pd.DataFrame(rows))


def reading(study: TreeStudy) -> Prose:
    """Which clades of the reference each clustering has, and how the distances agree."""
    clades = {frozenset(t.name for t in node.tips()) for node in study.reference.non_tips()}
    lines = []
    for title, one in study.clusterings.items():
        found = {frozenset(t.name for t in node.tips()) for node in one.tree.non_tips()}
        kept = [" ".join(leaf for leaf in study.leaves if leaf in clade) for clade in _by_size(clades & found)]
        lost = [" ".join(leaf for leaf in study.leaves if leaf in clade) for clade in _by_size(clades - found)]
        row = study.table.set_index("tree").loc[title]
        lines.append(
            f"{title}: has {_listed(kept)}, lacks {_listed(lost)}; Robinson-Foulds distance "
            f"{row['robinson_foulds']:.0f} ({row['normalised']:.0%} of the most there could be); cophenetic distances "
            f"correlate with the reference's by {readings.number(row['correlation'])} ({readings.p(row['p_value'])}, "
            "Holm's)."
        )
    return readings.bullets(*lines)


def _by_size(clades: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    return sorted(clades, key=lambda clade: (-len(clade), sorted(clade)))


def _listed(clades: list[str]) -> str:
    return ", ".join(f"({clade})" for clade in clades) or "none"
