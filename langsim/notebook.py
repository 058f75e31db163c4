"""What a notebook needs before its first cell of work: sharp figures, and nothing on stderr that is no news."""

import warnings


def setup() -> None:
    """Show figures as SVG, as they were drawn (no cropping) and without a date; silence what libraries say on import.

    SVG is sharp at any zoom, which on a phone is how a matrix is read; and equal figures are equal text.
    """
    from tqdm import TqdmWarning

    warnings.filterwarnings("ignore", category=TqdmWarning)  # no widgets here: bars are text anyway
    import matplotlib
    from matplotlib_inline.config import InlineBackend

    matplotlib.rcParams["svg.hashsalt"] = "langsim"  # names inside the file that are otherwise drawn by lot

    options = {"bbox_inches": None, "metadata": {"Date": None}}
    backend = InlineBackend.instance()
    backend.print_figure_kwargs = options
    backend.figure_formats = {"svg"}
    from IPython import get_ipython

    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", **options)
