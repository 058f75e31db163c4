"""Made-up gold scores and predictions of part III."""

import numpy as np
import pandas as pd
from xsns_tiny import blind_task, save

from langsim import profiles
from langsim.tasks.base import Task
from langsim.xsns.evidence import Evidence
from langsim.xsns.ranking_study import CENTRED, NULLS, OURS
from langsim.xsns.settings import XSNSSettings

CODES = ("en", "de", "fr", "sv", "es", "ru")
ONLY = ("af", "gl")


def resolved(folder):
    """Settings for them, with a checkpoint that is saved in the folder."""
    own = {"model": save(folder, "xlmr"), "tasks": ["ner", "pos"], "other_models": [], "languages": list(CODES)}
    own |= {"low_resource": list(ONLY), "low_resource_tasks": ["pos"], "replicates": 120, "mixed_tasks": ["pos"]}
    return profiles.resolve("mini", kind=XSNSSettings, training_seeds=[0, 1], mixed_seeds=[1], **own)


def task_of(codes, only=()):
    """Six languages with all splits, and others with test text alone."""
    splits = {code: blind_task(("en",)).splits["en"] for code in codes}
    splits |= {code: {"test": blind_task(("en",)).splits["en"]["test"]} for code in only}
    return Task("made", "pair", "accuracy", splits, ("other", "same"))


def matrix(values, targets):
    return pd.DataFrame(values, pd.Index(targets, name="target"), pd.Index(CODES, name="source"))


def made(settings, name="pos", *, good=True, seed=0):
    """Gold scores that differ between sources (`good`) or are noise; X-SNS knows a part of it."""
    rng = np.random.default_rng(seed)
    only = settings.targets_only(name)
    targets = sorted([*CODES, *only])
    base = 75 + (12 * rng.standard_normal((len(targets), 6)) if good else 0)
    everyone = []
    for _ in range(2):
        values = base + rng.standard_normal((len(targets), 6)) * (0.5 if good else 8)
        frame = matrix(values, targets)
        for code in CODES:
            frame.at[code, code] = 96 + rng.random()
        everyone.append(frame)
    mean = sum(everyone) / 2

    def noisy(scale):
        found = mean + scale * rng.standard_normal(mean.shape)
        return found.mask(found.index.to_numpy()[:, None] == found.columns.to_numpy()[None, :])

    predicted = {OURS: [noisy(5), noisy(5)], CENTRED: [noisy(8)], "X-SNS, random head": [noisy(9)]}
    predicted |= {"X-SNS, general text": [noisy(9)], **{title: [noisy(50)] for title in NULLS.values()}}
    predicted |= {name: [noisy(20)] for name in ("L2V", "LEX", "EMB", "random")}
    predicted["SuE"] = [noisy(1) * 0 + 1.0]
    return Evidence(settings, task_of(CODES, only), name, settings.model, everyone, predicted)
