"""Take over what the last run made: accept.py EXECUTED. The committed notebooks and reference results become these.

The picture of the README and of the first page is drawn again from the accepted matrix.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from langsim import figures, languages, results
from langsim.errors import LangsimError

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "book" / "images" / "similarity.png"


def main(executed: Path) -> None:
    for source in sorted(executed.glob("*/*.ipynb")):
        target = ROOT / "notebooks" / source.relative_to(executed)
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)
            print(target.relative_to(ROOT))
    try:
        for path in results.accept(results.output_root() / "mini", results.reference_dir("mini")):
            print(path.relative_to(ROOT))
        draw_picture(results.reference_dir("mini") / "pf-fig5.csv")
    except LangsimError as error:
        sys.exit(f"accept: {error}")


def draw_picture(table: Path) -> None:
    """The similarities of the 17 languages at `mini`, from their saved result."""
    codes = languages.pool("ted17")
    matrix = pd.read_csv(table).pivot(index="target", columns="auxiliary", values="value").loc[codes, codes]
    families = {code: languages.get(code).family for code in codes}
    figure = figures.heatmap(matrix, families=families, label="Overlap, model mini-m2m")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
