"""Statements of the papers about several cells, counted: in how many cases they hold, and what the exceptions are.

Every function is a formula of `langsim.paper_cells` and returns a `Count`. Cells that print lost are left out and
counted apart. Rounding can't turn a printed order round; where two cells are printed alike it hides which is higher, so
they count as an exception to "higher" and to "lower".
"""

from collections.abc import Callable
from itertools import combinations, pairwise

from langsim import papers, printed
from langsim.errors import Failure
from langsim.paper_cells import AVERAGES, cell, cells, columns_of, formula, names
from langsim.rounding import Count

_RIVALS = 2  # that an exception names, the farthest first


def _compared(table: str, pairs: list[tuple[str, str]], columns: str, holds: Callable[[float, float], bool]) -> Count:
    """Cases in which `holds(ours, theirs)`, for (row, rivals) pairs and columns; a case is a row and a column."""
    texts, found, cases, lost = cells(table), [], 0, 0
    for row, rivals in pairs:
        for column in columns_of(table, columns, () if columns in AVERAGES else AVERAGES):
            ours = texts.get((row, column), "")
            theirs = {name: texts.get((name, column), "") for name in names(rivals)}
            if not (ours and all(theirs.values())):
                lost += 1
                continue
            cases += 1
            wrong = [name for name in theirs if not holds(float(ours), float(theirs[name]))]
            if wrong:
                wrong.sort(key=lambda name: -abs(float(theirs[name]) - float(ours)))
                told = [f"{name} {theirs[name]}" for name in wrong[:_RIVALS]]
                more = [f"{len(wrong) - _RIVALS} more"] if len(wrong) > _RIVALS else []
                found.append(f"{row}, {column}: {ours} against {', '.join(told + more)}")
    return Count(cases, tuple(found), lost)


@formula
def above(table: str, rows: str, rivals: str, columns: str) -> Count:
    """Each row is higher than every rival, in each column; as high is an exception."""
    return _compared(table, [(row, rivals) for row in names(rows)], columns, lambda a, b: a > b)


@formula
def below(table: str, rows: str, rivals: str, columns: str) -> Count:
    """Each row is lower than every rival, in each column; as low is an exception."""
    return _compared(table, [(row, rivals) for row in names(rows)], columns, lambda a, b: a < b)


@formula
def not_below(table: str, rows: str, rivals: str, columns: str) -> Count:
    """Each row is at least as high as every rival, in each column."""
    return _compared(table, [(row, rivals) for row in names(rows)], columns, lambda a, b: a >= b)


@formula
def unlike(table: str, row: str, rival: str, columns: str) -> Count:
    """Two rows print different numbers, in each column."""
    return _compared(table, [(row, rival)], columns, lambda a, b: a != b)


@formula
def above_its_pair(table: str, rows: str, rivals: str, columns: str) -> Count:
    """The first row is higher than the first rival, the second than the second, in each column."""
    return _compared(table, list(zip(names(rows), names(rivals), strict=True)), columns, lambda a, b: a > b)


@formula
def falling(table: str, rows: str, columns: str) -> Count:
    """From each row to the next the score falls, in each column."""
    return _compared(table, list(pairwise(names(rows))), columns, lambda a, b: a > b)


@formula
def rising(table: str, rows: str, columns: str) -> Count:
    """From each row to the next the score rises, in each column."""
    return _compared(table, list(pairwise(names(rows))), columns, lambda a, b: a < b)


@formula
def lowest(table: str, rows: str, column: str, columns: str) -> Count:
    """In each row one column is the lowest of some; as low is an exception."""
    found = []
    for row in names(rows):
        scores = {name: cell(table, row, name).value for name in columns_of(table, columns)}
        under = [name for name in scores if name != column and scores[name] <= scores[column]]
        if under:
            told = ", ".join(f"{name} {cells(table)[row, name]}" for name in under)
            found.append(f"{row}: {cells(table)[row, column]} against {told}")
    return Count(len(names(rows)), tuple(found))


@formula
def same_row(table: str, rows: str, other: str, others: str) -> Count:
    """Rows of one table are printed with the same numbers as in another, in all columns that both have."""
    one, two, found, cases = cells(table), cells(other), [], 0
    for row, twin in zip(names(rows), names(others), strict=True):
        for column in columns_of(table, "*"):
            texts = one.get((row, column), ""), two.get((twin, column), "")
            if all(texts):
                cases += 1
                if float(texts[0]) != float(texts[1]):
                    found.append(f"{row}, {column}: {texts[0]} against {texts[1]}")
    return Count(cases, tuple(found))


@formula
def closest_pair(table: str, pair: str, codes: str) -> Count:
    """Of some languages these two are the most similar, whichever of a pair is the target."""
    ours = {float(cells(table)[a, b]) for a, b in (names(pair), reversed(names(pair)))}
    others = [two for two in combinations(names(codes), 2) if set(two) != set(names(pair))]
    found = [
        f"{a}-{b}: {max(float(cells(table)[x, y]) for x, y in ((a, b), (b, a))):g}"
        for a, b in others
        if max(float(cells(table)[a, b]), float(cells(table)[b, a])) >= min(ours)
    ]
    return Count(len(others), tuple(found))


@formula
def families_by_walk(arithmetic: str) -> Count:
    """Algorithm A.2 on the printed Figure 5 gives the families that Table 1 prints for Overlap (row = target)."""
    families = printed.printed_families("Overlap")
    tried = printed.variants(papers.matrix("pf-fig5"), families)
    rows = tried[(tried["orientation"] == "row = target") & (tried["arithmetic"] == arithmetic)]
    found = [
        f"{row.target}: {' '.join(row.members)} instead of {' '.join(families[row.target])}"
        for row in rows.itertuples()
        if not row.matches
    ]
    return Count(len(rows), tuple(found))


@formula
def families_possible() -> Count:
    """Some matrix that rounds to Figure 5 gives the families that Table 1 prints for Overlap (row = target)."""
    families, matrix = printed.printed_families("Overlap"), papers.matrix("pf-fig5")
    found = [
        target for target, members in families.items() if not printed.possible(matrix.loc[target], members, target)
    ]
    return Count(len(families), tuple(found))


@formula
def top1_steps(tables: str, combinations_of_seeds: str) -> Count:
    """Every printed Top 1 is a share of targets times combinations of seeds: a whole number of that many hits.

    Raises:
        Failure: a table without tasks; Table 4, which has models, is of NER.
    """
    found, cases, lost = [], 0, 0
    for table in names(tables):
        for (row, column), text in cells(table).items():
            of, _, metric = column.partition(" ")
            if metric != "Top 1":
                continue
            if not text:
                lost += 1
                continue
            task = "NER" if table == "xsns-table4" else of
            targets = float(cells("xsns-table2")["X-SNS", f"{task} languages"])
            steps, percent = targets * int(combinations_of_seeds), float(text)
            cases += 1
            if abs(round(percent / 100 * steps) / steps * 100 - percent) > 0.005 + 1e-9:
                found.append(f"{table.removeprefix('xsns-')} {column}, {row}: {text}")
    return Count(cases, tuple(found), lost)


@formula
def others_of_its_family(table: str, code: str, kind: str) -> Count:
    """No other language of one resource class is of the family of `code`."""
    text = cells(table)
    members = [other for other in members_of(table, kind) if other != code]
    alike = [other for other in members if text[other, "family"] == text[code, "family"]]
    return Count(len(members), tuple(f"{other} ({text[other, 'family']})" for other in alike))


@formula
def most_bitext(table: str, code: str, kind: str) -> Count:
    """Of one resource class, no other language has as much bitext with English as `code`."""
    text = cells(table)
    sizes = {other: _pairs(text[other, "bitext with English"]) for other in members_of(table, kind)}
    more = [other for other in sizes if other != code and sizes[other] >= sizes[code]]
    return Count(len(sizes) - 1, tuple(f"{other}: {text[other, 'bitext with English']}" for other in more))


@formula
def class_sizes(table: str, size: str) -> Count:
    """Every resource class has as many languages as said."""
    kinds = dict.fromkeys(value for (_, column), value in cells(table).items() if column == "resource type")
    sizes = {kind: len(members_of(table, kind)) for kind in kinds}
    return Count(len(sizes), tuple(f"{kind}: {found}" for kind, found in sizes.items() if found != int(size)))


def members_of(table: str, kind: str) -> list[str]:
    """The languages of a resource class in a table of languages, in printed order."""
    return [code for (code, column), value in cells(table).items() if (column, value) == ("resource type", kind)]


def _pairs(text: str) -> float:
    """Sentence pairs of `82.4M` or `5.11K`."""
    scale = {"M": 1e6, "K": 1e3}.get(text[-1:])
    if scale is None:
        raise Failure(f"not an amount of bitext: {text!r}; restore data/papers from the repository")
    return float(text[:-1]) * scale
