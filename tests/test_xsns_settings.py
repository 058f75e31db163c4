"""The settings of part III: every profile has them, mistakes are told in one line."""

import pytest
from xsns_tiny import save

from langsim import profiles
from langsim.errors import UsageError
from langsim.xsns import transfer
from langsim.xsns.settings import XSNSSettings, members


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint in a folder."""
    return save(tmp_path_factory.mktemp("models") / "small-xlmr", "xlmr")


def test_profiles_have_the_section_and_every_notebook_parameter_is_told_apart(model):
    for name in ("mini", "open", "paper"):
        found = profiles.resolve(name, kind=XSNSSettings, **({} if name == "paper" else {"model": model}))
        assert found.p == 0.15 and set(found.models_of(found.compared_task)) == {found.model, *found.other_models}
        assert all(len(found.languages_of(task)) >= 7 for task in found.tasks)
    assert profiles.kind_of(["profile", "tasks", "p"]) is XSNSSettings
    assert members(["xsns-pi", "ru"]) == ["de", "en", "es", "fr", "ja", "ko", "ru", "zh"] or "ru" in members(
        ["xsns-pi", "ru"]
    )
    low = profiles.resolve("mini", kind=XSNSSettings, model=model).targets_only("pos")
    assert "af" in low and not set(low) & set(members(["xsns-pos-mini"]))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"tasks": ["nerr"]}, "tasks: unknown 'nerr' \\(did you mean 'ner'"),
        ({"languages": ["en", "fr"]}, "languages: a ranking needs a target and two candidates, got 2"),
        ({"p": 1.5}, "p: input should be less than 1"),
        ({"p_grid": [0.1, 1.0]}, "p_grid: a value is out of range"),
        ({"tasks_from": "files"}, "tasks_path: tasks_from: files reads a folder"),
        ({"tasks_path": "/tmp"}, "tasks_path: only tasks_from: files reads a folder"),
        ({"stride": 100, "window": 150}, "stride: 100 tokens are half a window of 150 or more"),
        ({"compared_task": "nil"}, "compared_task: unknown 'nil'"),
        ({"low_resource": ["xx"]}, "low_resource: unknown language 'xx'"),
        ({"roles": "xsns-{tisk}"}, "roles: 'tisk'"),
        ({"recipe": "authors"}, "recipe: unknown 'authors' \\(did you mean 'authors_code'"),
    ],
)
def test_mistakes_are_told_in_one_line(model, wrong, told):
    with pytest.raises(UsageError, match=told) as error:
        profiles.resolve("mini", kind=XSNSSettings, model=model, **wrong)
    assert "\n" not in str(error.value)


def test_every_kind_of_task_has_epochs_and_a_rate():
    settings = profiles.resolve("mini", kind=XSNSSettings, epochs=3, pair_epochs=5, answer_epochs=7)
    kinds = {kind: transfer.Recipe.of(settings, kind) for kind in ("tokens", "pair", "answer")}
    assert {kind: recipe.epochs for kind, recipe in kinds.items()} == {"tokens": 3, "pair": 5, "answer": 7}
    assert kinds["pair"].learning_rate == settings.pair_learning_rate < kinds["tokens"].learning_rate
    assert {recipe.patience for recipe in kinds.values()} == {settings.patience}
