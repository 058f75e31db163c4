"""Profiles: everything is validated at once, and a parameter means the same in a notebook, the library and the CLI."""

import ast
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsim import languages, profiles
from langsim.errors import UsageError

TED17 = ["bg", "sr", "hr", "uk", "sk", "be", "fa", "hi", "bn", "id", "ms", "kk", "tr", "de", "sv", "ja", "ko"]


@pytest.fixture
def model(tmp_path):
    """A local model folder: any name can stand for a model once the profile's own is not wanted."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return str(tmp_path / "model")


def message(**parameters) -> str:
    with pytest.raises(UsageError) as error:
        profiles.resolve(**parameters)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["mini", "open", "paper"])
def test_every_profile_names_every_parameter(name):
    values = profiles.defaults(name)
    assert set(values) == set(profiles.Settings.model_fields) - {"profile", "data"}


@pytest.mark.parametrize("name", ["mini", "open", "paper"])
def test_every_profile_names_a_second_text(name):
    kind = profiles.TwoCorpora
    values = profiles.defaults(name, kind)
    assert set(values) == set(kind.model_fields) - {"profile", "data", "data_b"}
    settings = profiles.resolve(name, kind=kind, model="organisation/name")
    first, second = settings.sides
    assert (first.corpus, first.domain) != (second.corpus, second.domain)
    assert profiles.overrides(profiles.resolve(name, kind=kind, model=values["model"])) == {}
    for field in set(profiles.Settings.model_fields) - set(profiles.TEXT):
        assert getattr(first, field) == getattr(second, field) == getattr(settings, field)
    assert type(first) is type(second) is profiles.Settings and first.sides == [first]


def test_the_parameters_tell_which_settings_are_meant(model):
    assert profiles.kind_of(["profile", "corpus"]) is profiles.Settings
    assert profiles.kind_of(["profile", "corpus", "domain_b"]) is profiles.TwoCorpora
    empty = {"profile": "mini", "model": model, "corpus": "", "corpus_b": "", "domain_b": ""}
    settings = profiles.from_notebook(empty)
    assert settings == profiles.resolve("mini", kind=profiles.TwoCorpora, model=model)
    assert profiles.from_notebook({**empty, "domain_b": "software"}).domain_b == "software"
    with pytest.raises(UsageError, match=r"parameter: unknown 'domain_c' \(did you mean 'domain"):
        profiles.from_notebook({**empty, "domain_c": "names"})
    assert "parameter: unknown 'domain_b'" in message(domain_b="names")


def two(**parameters):
    return message(kind=profiles.TwoCorpora, **parameters)


def test_mistakes_about_the_second_text_name_its_parameters(model, tmp_path):
    assert "corpus_b: unknown 'catalog' (did you mean 'catalogs'?)" in two(model=model, corpus_b="catalog")
    assert "data_b: corpus 'files' needs" in two(model=model, corpus_b="files")
    assert "data_b: no file or folder" in two(model=model, corpus_b="files", data_b="no/such")
    assert "data_b: only corpus 'files'" in two(model=model, data_b=str(tmp_path))
    assert "pool_b: unknown 'TST'" in two(model=model, pool_b="TST")
    text = two(model=model, domain_b="interface")
    assert text == (
        "corpus_b: both texts are the same (corpus 'catalogs' domain 'interface' pool 'FINETUNE'); "
        "name another with corpus_b, domain_b or pool_b"
    )
    assert profiles.resolve(kind=profiles.TwoCorpora, model=model, domain_b="interface", pool_b="DEV").pool_b == "DEV"


def test_a_domain_goes_with_its_corpus(model, tmp_path):
    own = {"kind": profiles.TwoCorpora, "model": model, "corpus": "files", "data": str(tmp_path)}
    settings = profiles.resolve(**own)
    assert (settings.domain, settings.domain_b) == ("", "names")
    assert profiles.resolve(**own, domain="text").domain == "text"
    assert profiles.resolve(kind=profiles.TwoCorpora, model=model, corpus_b="catalogs").domain_b == ""


def test_defaults_are_the_files_with_the_pool_expanded(model):
    settings = profiles.resolve(model=model)
    with open(profiles.folder() / "mini.toml", "rb") as stream:
        written = tomllib.load(stream)["pseudo_families"]
    assert settings.languages == TED17
    assert settings.profile == "mini"
    for name, value in written.items():
        if name not in {"languages", "model"}:
            assert getattr(settings, name) == value


def test_none_is_the_profiles_value_and_anything_else_overrides_it(model):
    assert profiles.resolve(model=model, k=None) == profiles.resolve(model=model)
    assert profiles.resolve(model=model, k=0.2).k == 0.2
    assert profiles.resolve(model=model, k=0.2) != profiles.resolve(model=model)
    assert profiles.overrides(profiles.resolve(model=model, k=0.2))["k"] == 0.2


def test_targets_alone_join_the_profiles_languages(model):
    plain = profiles.resolve(model=model)
    found = profiles.resolve(model=model, targets=["gl", "fa", "ur"])
    assert found.targets == ["gl", "fa", "ur"] and found.languages == [*plain.languages, "gl", "ur"]
    assert "'en' is the language translated into" in message(targets=["en"])


def test_aligned_targets_are_codes(model):
    found = profiles.resolve(model=model, kind=profiles.Tuning, aligned=["hin"])
    assert found.aligned == ["hi"]
    assert "aligned: " in message(kind=profiles.Tuning, aligned=["hx"])


def test_all_mistakes_are_in_one_line():
    text = message(
        profile="minni", languages=["xx", "qqq"], k=1.5, corpus="catalog", model="mini-m2x", langages=["fa"], seed=-1
    )
    assert "profile: unknown 'minni' (did you mean 'mini'?)" in text
    assert "parameter: unknown 'langages' (did you mean 'languages'" in text
    assert "'xx'" in text and "'qqq'" in text
    assert "corpus: unknown 'catalog' (did you mean 'catalogs'?)" in text
    for start in ("k: ", "model: ", "seed: "):
        assert f"; {start}" in text


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"languages": "fa"}, "write a list such as [fa, hi]"),
        ({"languages": [False, "sv"]}, "write 'no' in quotes"),
        ({"languages": ["fa"]}, "at least two"),
        ({"languages": ["fa", "pes"]}, "one language"),
        ({"languages": ["fa", "en"]}, "'en' is the language translated into"),
        ({"languages": ["fa", "hi"], "targets": ["de"]}, "'de' not among the languages"),
        ({"target_language": "xx"}, "target_language: "),
        ({"k": "0.4"}, "k: "),
        ({"k": 0.0}, "k: "),
        ({"k": 1}, "k: "),
        ({"threads": True}, "threads: "),
        ({"batch_size": 2.0}, "batch_size: "),
        ({"measure": "overlp"}, "measure: unknown 'overlp' (did you mean 'overlap'?)"),
        ({"pool": "TST"}, "pool: unknown 'TST' (did you mean 'TEST'?)"),
        ({"estimator": "perexample"}, "did you mean 'per_example'?"),
        ({"device": "gpu"}, "device: "),
        ({"corpus": "files"}, "data: corpus 'files' needs"),
        ({"corpus": "files", "data": "no/such/folder"}, "data: no file or folder 'no/such/folder'"),
        ({"data": "somewhere"}, "data: only corpus 'files'"),
        ({"model": "./nowhere"}, "model: no folder './nowhere'"),
    ],
)
def test_each_mistake_says_what_is_wrong(parameters, words):
    assert words in message(**parameters)


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_runs_as_it_is(name):
    """Nothing in a profile names what does not exist."""
    assert profiles.resolve(name, model="organisation/name").profile == name


@pytest.mark.parametrize("corpus", ["ted", "opus100", "flores101", "flores200", "flores_plus"])
def test_data_names_a_local_copy_of_a_corpus_of_the_hub(corpus, model, tmp_path):
    assert profiles.resolve(model=model, corpus=corpus).data == ""
    assert profiles.resolve(model=model, corpus=corpus, data=str(tmp_path)).data == str(tmp_path)
    assert "no file or folder" in message(model=model, corpus=corpus, data=str(tmp_path / "nowhere"))


def test_a_folder_without_a_model_is_no_model(tmp_path):
    assert "no config.json" in message(model=str(tmp_path))


def test_a_hub_id_is_a_model():
    assert profiles.resolve(model="facebook/m2m100_418M").model == "facebook/m2m100_418M"


def test_codes_become_canonical_and_pools_expand(model):
    assert profiles.resolve(model=model, languages=["pes", "zho", "nb"]).languages == ["fa", "zh", "no"]
    assert profiles.resolve(model=model, languages=["ted17", "gl"]).languages == [*TED17, "gl"]


def test_targets_follow_the_languages_unless_given(model):
    assert profiles.resolve(model=model, languages=["gl", "fa", "hi"]).targets == ["fa", "hi"]
    assert profiles.resolve(model=model, languages=["gl", "es"]).targets == ["gl", "es"]
    assert profiles.resolve(model=model, languages=["gl", "es"], targets=["es"]).targets == ["es"]


@given(st.sampled_from([code for pool in ("ted17", "lang12") for code in languages.pool(pool)]), st.data())
def test_order_of_languages_is_kept(first, data):
    others = data.draw(st.permutations([code for code in TED17 if code != first]))
    codes = [first, *others[:3]]
    if "en" not in codes:
        assert profiles.resolve(model="organisation/name", languages=codes).languages == codes


def test_a_notebook_says_the_profiles_value_by_empty_literals(model):
    empty = {"profile": "mini", "languages": [], "k": 0.0, "measure": "", "seed": 0, "max_items": 0, "data": ""}
    assert profiles.from_notebook({**empty, "model": model}) == profiles.resolve(model=model)
    given_k = profiles.from_notebook({**empty, "model": model, "k": 0.3, "languages": ["gl", "es"]})
    assert (given_k.k, given_k.languages) == (0.3, ["gl", "es"])


def test_a_notebooks_unknown_parameter_is_an_error_unless_it_is_its_own(model):
    namespace = {"model": model, "langauges": ["fa", "hi"], "ast": ast, "_private": 1}
    with pytest.raises(UsageError, match=r"parameter: unknown 'langauges' \(did you mean 'languages'"):
        profiles.from_notebook(namespace)
    with pytest.raises(UsageError, match="parameter: unknown 'ranks'"):
        profiles.from_notebook({"model": model, "ranks": [1]})
    assert profiles.from_notebook({"model": model, "ranks": [1]}, own=("ranks",)).model == model


def test_a_validation_cell_that_runs_again_sees_only_the_cells_above_it(model):
    validation = "settings = profiles.from_notebook(globals())"
    namespace = {"model": model, "k": 0.3, "row": 5, "languages": []}
    namespace["In"] = ["", 'model = "x"\nlanguages: list[str] = []', "# Parameters\nk = 0.3", validation]
    assert profiles.from_notebook(namespace).k == 0.3
    namespace["In"] += ["row = 5", validation]
    assert profiles.from_notebook(namespace).k == 0.3
    namespace["In"] = ["", "row = 5", validation]
    with pytest.raises(UsageError, match="parameter: unknown 'row'"):
        profiles.from_notebook(namespace)


def test_false_is_not_an_empty_value():
    with pytest.raises(UsageError, match="k: "):
        profiles.from_notebook({"k": False})


def test_settings_cannot_be_changed_or_extended(model):
    settings = profiles.resolve(model=model)
    with pytest.raises(ValueError, match="frozen"):
        settings.k = 0.3
    with pytest.raises(ValueError, match="xtra"):
        profiles.Settings(**settings.model_dump(), more=1)


def test_a_notebook_that_runs_without_history_keeps_its_parameters():
    namespace = {"In": [""], "Out": {}, "profile": "mini", "languages": ["fa", "hi"], "domain_b": "names"}
    settings = profiles.from_notebook(namespace)
    assert isinstance(settings, profiles.TwoCorpora) and settings.languages == ["fa", "hi"]
