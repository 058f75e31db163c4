"""Corpora of the Hugging Face hub: parquet files alone, never the code of a dataset.

Downloaded once by `datasets`, into its own cache; or read where they are, in a local folder with the hub's layout
(`path`), in which a folder or a file is named after its split:

    plain_text/train/0000.parquet      en-fr/train-00000-of-00001.parquet      en-fr/opus100-test.parquet
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langsim import languages
from langsim.corpora.text import script_share
from langsim.errors import Failure, UsageError

POOLS = {"train": "FINETUNE", "validation": "DEV", "test": "TEST"}  # split -> pool
SAMPLE = 200  # texts of a language that are looked at for their script
BATCH = 1000  # rows read at a time

Rows = Iterator[Mapping[str, Any]]


def splits(
    repository: str,
    columns: Sequence[str],
    *,
    path: str = "",
    config: str = "",
    revision: str | None = None,
    names: Sequence[str] = tuple(POOLS),
) -> dict[str, Rows]:
    """Split -> its rows, in the dataset's order, for each split of `names` that there is.

    Args:
        repository: id on the hub (`organisation/name`).
        columns: the columns that every row must have.
        path: a local folder to read in its place.
        config: the dataset's configuration, and the subfolder that it has there.
        revision: branch or commit of the repository.
        names: what its splits are called.

    Raises:
        UsageError: no parquet file in `path`, or one that is damaged or has other columns.
        Failure: the hub can't be reached, or lacks the dataset.
    """
    if path:
        files = _files(Path(path).expanduser() / config, names)
        return {split: _of_files(files[split], columns) for split in names if split in files}
    found = _remote(repository, config, revision)
    return {split: _of_dataset(found[split], columns, repository) for split in names if split in found}


def parquet(file: Path, columns: Sequence[str]) -> Rows:
    """The rows of one file.

    Raises:
        UsageError: it is damaged, or has other columns.
    """
    return _of_files([file], columns)


def state(path: str) -> tuple:
    """What tells whether the files in a local folder are still the same."""
    folder = Path(path).expanduser()
    files = sorted(file for kind in ("*.tsv", "*.parquet") for file in folder.rglob(kind)) if path else ()
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def script_warnings(texts: Mapping[str, Mapping[str, str]], corpus: str) -> list[str]:
    """One line for each language most of whose text is in another script than the registry's."""
    found = []
    for code, of_language in texts.items():
        script = languages.get(code).script
        sample = [text for text, _ in zip(of_language.values(), range(SAMPLE), strict=False)]
        if sample and sum(script_share(text, script) for text in sample) < len(sample) / 2:
            found.append(f"Most of the text in {code} in corpus '{corpus}' is in another script than {script}.")
    return found


def _files(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    """Split -> its parquet files."""
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        words = re.split(r"[/._-]", file.relative_to(folder).as_posix())
        for split in names:
            if split in words:
                found.setdefault(split, []).append(file)
    if not found:
        raise UsageError(f"no parquet files of {' or '.join(names)} in {folder}: it must be laid out as on the hub")
    return found


def _of_files(files: list[Path], columns: Sequence[str]) -> Rows:
    from pyarrow.parquet import ParquetFile

    for file in files:
        try:
            with ParquetFile(file) as opened:
                _check(columns, opened.schema_arrow.names, str(file))
                for batch in opened.iter_batches(BATCH, columns=list(columns), use_threads=False):
                    yield from batch.to_pylist()
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} is damaged ({_first_line(error)}); download it again") from error


def _of_dataset(dataset: Any, columns: Sequence[str], where: str) -> Rows:
    _check(columns, dataset.column_names, where)
    for batch in dataset.select_columns(list(columns)).with_format("arrow").iter(BATCH):
        yield from batch.to_pylist()


def _check(columns: Sequence[str], there: Sequence[str], where: str) -> None:
    lacking = [column for column in columns if column not in there]
    if lacking:
        raise UsageError(f"{where}: no column {', '.join(lacking)} among {', '.join(there)}: is it another dataset?")


def _remote(repository: str, config: str, revision: str | None) -> Mapping[str, Any]:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(repository, config or None, revision=revision)
    except (OSError, ValueError, RuntimeError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        name = f"{repository} {config}".strip()
        raise Failure(
            f"cannot get {name} from the hub ({_first_line(error)}); check the network, or download its "
            "parquet files elsewhere and name their folder with data"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
