"""Language-specific LoRA (LSLo) for translation models: the layer, routing, saving, merging, peft's format, counts.

Cao et al. 2024 (arXiv 2409.05224), section 3.1.
"""

from langsim.lslo.architecture import Architecture
from langsim.lslo.merging import merge
from langsim.lslo.model import LSLo, wrap
from langsim.lslo.saving import load, save

__all__ = ["Architecture", "LSLo", "load", "merge", "save", "wrap"]
