"""Derived numbers of the papers, from the printed tables: averages, gains, shares, parameters.

Every function is a formula of `langsim.paper_cells` and returns an `Interval`: the number, and how far the rounding of
the printed ones lets it move. No printed number enters a formula twice, so both ends can be reached.
"""

from functools import cache

from langsim.lslo import counting
from langsim.paper_cells import AVERAGES, cell, cells, columns_of, formula, names
from langsim.rounding import Interval, exact, largest, mean, total


def _scores(table: str, row: str) -> dict[str, Interval]:
    """Column -> score of a row, averages and counts left out."""
    return {column: cell(table, row, column) for column in columns_of(table, "*", AVERAGES)}


@formula
def plain_mean(table: str, row: str) -> Interval:
    """The mean of a row's scores."""
    return mean(_scores(table, row).values())


def direction_weights(table: str) -> dict[str, int]:
    """Group such as H2V -> translation directions in it: of m and n languages m n, within one class m (m - 1)."""
    sizes = {name[0]: len(members) for name, members in counting.classes(table).items()}
    return {f"{a}2{b}": sizes[a] * (sizes[b] - (a == b)) for a in sizes for b in sizes}


@formula
def direction_mean(table: str, row: str) -> Interval:
    """The mean over translation directions: a row's groups weighted by how many directions they have."""
    weights = direction_weights(table)
    return total(score.times(weights[group]) for group, score in _scores(table, row).items()).times(
        1 / sum(weights.values())
    )


@formula
def gain(table: str, row: str, baseline: str, column: str) -> Interval:
    """What a row has more than another in one printed column."""
    return cell(table, row, column) - cell(table, baseline, column)


@formula
def gain_of_plain_means(table: str, rows: str, baseline: str) -> Interval:
    """The mean of some rows, each the mean of its scores, less that of the baseline."""
    return mean(plain_mean(table, row) for row in names(rows)) - plain_mean(table, baseline)


@formula
def gain_of_direction_means(table: str, row: str, baseline: str) -> Interval:
    """The same of means over translation directions, of one row."""
    return direction_mean(table, row) - direction_mean(table, baseline)


@formula
def largest_gain(tables: str, baseline: str, column: str) -> Interval:
    """The most that any row of some tables has over the baseline of its table."""
    return largest(
        largest(cell(table, row, column) for row, c in cells(table) if c == column and row != baseline)
        - cell(table, baseline, column)
        for table in names(tables)
    )


def _against_best(table: str, row: str, rivals: str, columns: str) -> list[tuple[Interval, Interval]]:
    """(the row's score, the best of its rivals) in each column."""
    return [
        (cell(table, row, column), largest(cell(table, rival, column) for rival in names(rivals)))
        for column in columns_of(table, columns)
    ]


@formula
def points_over_best(table: str, row: str, rivals: str, columns: str) -> Interval:
    """Mean over columns of a row's lead over the best of its rivals, in points."""
    return mean(ours - best for ours, best in _against_best(table, row, rivals, columns))


@formula
def percent_over_best(table: str, row: str, rivals: str, columns: str) -> Interval:
    """A row's mean over columns, in percent above the mean of the best rivals."""
    ours, best = zip(*_against_best(table, row, rivals, columns), strict=True)
    return _percent_above(mean(ours), mean(best))


@formula
def mean_percent_over_best(table: str, row: str, rivals: str, columns: str) -> Interval:
    """Mean over columns of how many percent a row is above the best of its rivals."""
    return mean(_percent_above(ours, best) for ours, best in _against_best(table, row, rivals, columns))


def _percent_above(ours: Interval, theirs: Interval) -> Interval:
    return (ours / theirs - exact(1)).times(100)


# Parameters: counted on the paper's model without its weights, so exact


@cache
def _counts(table: str) -> dict[tuple[str, str], float]:
    """(row, span) -> million trained parameters."""
    counted = counting.table(table)
    return {(row.method, span): getattr(row, span) for row in counted.itertuples() for span in ("slice", "full")}


@formula
def parameters(table: str, row: str, span: str) -> Interval:
    """Trained parameters of a row, in million; `span`: slice (as the authors' code), or full (conventional LoRA)."""
    return exact(_counts(table)[row, span])


@formula
def parameters_in_proportion(table: str, row: str, other: str) -> Interval:
    """The printed #Params of another row, as many times as the ranks of this one are its ranks."""
    return cell(table, other, "#Params").times(_counts(table)[row, "slice"] / _counts(table)[other, "slice"])


@formula
def base_parameters() -> Interval:
    """Parameters of the paper's model, in million."""
    return exact(sum(parameter.numel() for parameter in counting.paper_model().parameters()) / 1e6)


@formula
def percent_of_base(table: str, row: str, base: str) -> Interval:
    """A row's printed #Params, in percent of the printed ones of the base."""
    return (cell(table, row, "#Params") / cell(table, base, "#Params")).times(100)


@formula
def percent_of_all(table: str, row: str, base: str) -> Interval:
    """The same in percent of base and LoRA together."""
    ratio = cell(table, base, "#Params") / cell(table, row, "#Params")
    return exact(100) / (exact(1) + ratio)


def _class_share(table: str, row: str, classes: str) -> float:
    """Million parameters of some classes of languages (slice)."""
    (found,) = (one for one in counting.rows(table) if one.method == row)
    members = counting.classes(table)
    ranks = {name: rank * len(members[name]) for name, rank in found.ranks.items()}
    return parameters(table, row, "slice").value * sum(ranks[c] for c in names(classes)) / sum(ranks.values())


@formula
def class_percent(table: str, row: str, base: str, classes: str, kept: str) -> Interval:
    """Parameters of some classes of languages in percent of the base's; `kept`: the share that pruning leaves."""
    return exact(100 * _class_share(table, row, classes) * float(kept)) / cell(table, base, "#Params")


@formula
def class_percent_of_all(table: str, row: str, base: str, classes: str) -> Interval:
    """The same, unpruned, in percent of base and LoRA together."""
    everything = cell(table, base, "#Params") + cell(table, row, "#Params")
    return exact(100 * _class_share(table, row, classes)) / everything
