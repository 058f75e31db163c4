"""Language-specific LoRA (LSLo) for translation models: the layer, routing, saving, merging, peft's format, counts;
weight learning, pruning and subspace scores; the experiments as data.

Cao et al. 2024 (arXiv 2409.05224), sections 3, 4 and 7.2.
"""

from langsim.lslo.architecture import Architecture
from langsim.lslo.merging import merge
from langsim.lslo.model import LSLo, wrap
from langsim.lslo.pruning import Pruning
from langsim.lslo.saving import load, save
from langsim.lslo.schedule import Schedule
from langsim.lslo.weight_learning import Learned, learn

__all__ = ["Architecture", "LSLo", "Learned", "Pruning", "Schedule", "learn", "load", "merge", "save", "wrap"]
