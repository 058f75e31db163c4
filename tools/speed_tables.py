"""Tables of the page on speed, out of the CSV files that `make bench` wrote into data/benchmarks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).resolve().parent.parent / "data" / "benchmarks"
PLAIN = "forward and backward"
OURS = {"batch": "`batch`", "per_example": "`per_example`"}
AIMS = {"batch": 1.1, "per_example": 1.5}  # times as long as a plain pass, at most; the latter at T = 32
AMOUNT = r"(?P<amount>\d+) (?P<unit>target tokens|sentences)"
Table = Callable[[tuple, list[tuple]], str]


def tables(table: Table, folder: Path = FOLDER) -> dict[str, str]:
    """Name of a generated page -> its text. `table` turns columns and rows into Markdown."""
    makers = {"fisher": _fisher, "all_pairs": _all_pairs, "paper_size": _paper_size}
    makers |= dict.fromkeys(("training", "decoding"), _rates)
    makers |= dict.fromkeys(("threshold", "lslo"), _peers)
    return {f"speed_{name}": "\n".join(maker(table, _read(folder, name))) for name, maker in makers.items()}


def _read(folder: Path, name: str) -> pd.DataFrame:
    """All files whose names begin so, one after the other, small numbers in their names first."""
    files = sorted(folder.glob(f"{name}*.csv"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise SystemExit(f"speed_tables: no {name}*.csv in {folder}; run make bench")
    return pd.concat(
        [pd.read_csv(file, keep_default_na=False, dtype={"torch": str}) for file in files], ignore_index=True
    )


def _fisher(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    """For each model, one row a way and one column a length; times in units of the plain pass."""
    rows = rows.join(
        rows["case"].str.extract(r"^(?P<model>.+), (?P<width>d=\d+) (?P<length>T=\d+) (?P<examples>B=\d+)$")
    )
    for (width, model, examples), part in rows.groupby(["width", "model", "examples"], sort=False):
        lengths = list(dict.fromkeys(part["length"]))
        cells: dict[str, list[str]] = {}
        for length in lengths:
            for way, cell in _in_units_of_plain(part[part["length"] == length]):
                cells.setdefault(way, []).append(cell)
        yield f"{model}, {_spaced(width)}, {_spaced(examples)} examples:\n"
        yield table(("way", *map(_spaced, lengths)), [(way, *row) for way, row in cells.items()])
    yield _aims(rows)
    yield _measured_on(rows)


def _aims(rows: pd.DataFrame) -> str:
    """Which cases miss the aims of the page, if any. What is below 1 is noise of timing: the work is no less."""
    plain = rows[(rows["peer"] == PLAIN) & rows["model"].str.startswith("M2M100")]
    took = plain["ours_seconds"] / plain["peer_seconds"]
    bounded = (plain["ours"] == "batch") | (plain["length"] == "T=32")
    missed = plain[bounded & (took > plain["ours"].map(AIMS))]
    told = [f"{OURS[row.ours]} takes {took[row.Index]:.2f} times as long at {row.case}" for row in missed.itertuples()]
    verdict = f"The aims are missed where {'; '.join(told)}." if told else "The aims are met in every case of M2M100."
    return f"{verdict} Ratios below 1 are noise of timing.\n"


def _in_units_of_plain(part: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """(way, time and memory) of one case."""
    plain = part[part["peer"] == PLAIN].iloc[0]
    unit = plain["peer_seconds"]
    yield PLAIN, _cell(1, unit, plain["peer_peak_mb"])
    for name, title in OURS.items():
        row = part[part["ours"] == name].iloc[0]
        yield title, _cell(row["ours_seconds"] / unit, row["ours_seconds"], row["ours_peak_mb"])
    for row in part[part["peer"] != PLAIN].itertuples():
        yield row.peer, _cell(row.peer_seconds / unit, row.peer_seconds, row.peer_peak_mb)


def _cell(ratio: float, seconds: float, megabytes: float) -> str:
    return f"**{ratio:.2f}** ({_time(seconds)}, {megabytes:,.0f} MB)"


def _all_pairs(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    body = [
        (row.case, _both(row.ours_seconds, row.ours_peak_mb), row.peer.removeprefix("pairwise, "),
         _both(row.peer_seconds, row.peer_peak_mb), f"**{row.ratio:.0f}**", row.threads)
        for row in rows.itertuples()
    ]  # fmt: skip
    yield table(("case", "one pass, all pairs", "timed", "pair by pair", "times as long a pair", "our threads"), body)
    yield _measured_on(rows)


def _peers(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    """One row a case: ours, and how many times as long each peer takes."""
    peers = list(dict.fromkeys(rows["peer"]))
    body = []
    for case, part in rows.groupby("case", sort=False):
        by_peer = {
            row.peer: f"**{row.ratio:.2g}** ({_both(row.peer_seconds, row.peer_peak_mb)})" for row in part.itertuples()
        }
        ours = part.iloc[0]
        shown = (by_peer.get(peer, "–") for peer in peers)
        body.append((case, _both(ours["ours_seconds"], ours["ours_peak_mb"]), *shown))
    yield table(("case", f"`{rows['ours'].iloc[0]}`", *(f"{peer}, times as long" for peer in peers)), body)
    yield _measured_on(rows)


def _rates(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    """How much is done in a second, the amount being the last of the case: `..., 128 sentences`; then as `_peers`."""
    amounts = rows["case"].str.extract(AMOUNT)
    unit = amounts["unit"].iloc[0]
    body = []
    for row, amount in zip(rows.itertuples(), amounts["amount"].astype(float), strict=True):
        ours, theirs = (f"{amount / seconds:,.4g}" for seconds in (row.ours_seconds, row.peer_seconds))
        body.append((row.case, ours, theirs, f"**{row.ratio:.2g}**"))
    yield table((f"{unit} a second", f"`{rows['ours'].iloc[0]}`", rows["peer"].iloc[0], "ratio"), body)
    yield "And in time and memory:\n"
    yield from _peers(table, rows)


def _paper_size(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    body = [
        (row.what, f"{row.value:,.4g}" if row.value < 100 else f"{row.value:,.0f}", row.unit)
        for row in rows.itertuples()
    ]
    yield table(("what", "value", "unit"), body)
    yield _measured_on(rows)


def _measured_on(rows: pd.DataFrame) -> str:
    machines = " and ".join(dict.fromkeys(rows["machine"]))
    threads = ", ".join(map(str, dict.fromkeys(rows["threads"])))
    return f"Measured on {machines}, torch {', '.join(dict.fromkeys(rows['torch']))}, threads: {threads}.\n"


def _both(seconds: float, megabytes: float) -> str:
    return f"{_time(seconds)}, {megabytes:,.0f} MB"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.3g} s"


def _spaced(text: str) -> str:
    return text.replace("=", " = ")
