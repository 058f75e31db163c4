"""langsim: language similarity from Fisher information, three papers in one small library."""

__version__ = "0.1.0"
