"""Fixtures that the tests of several modules use by name."""

import shutil

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """torch on one thread, so that sums round the same."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache for the tests of one module: empty, but for the harvest of the catalogs, which is not what they test."""
    from langsim.paths import cache_dir

    folder = tmp_path_factory.mktemp("cache")
    if (cache_dir() / "catalogs").exists():
        shutil.copytree(cache_dir() / "catalogs", folder / "catalogs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGSIM_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def ted():
    """Similarities of the 17 languages of part I, made from random Fisher vectors."""
    from studies import TED, similarity_matrix

    return similarity_matrix(TED)


@pytest.fixture(scope="session")
def romance():
    """The same of seven languages that the paper does not have."""
    from studies import ROMANCE, similarity_matrix

    return similarity_matrix(ROMANCE)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that goes to a machine of this name, with a procedure and with no results at first."""
    from bundles import machines

    return machines(tmp_path, monkeypatch)


@pytest.fixture
def packed(machine, tmp_path):
    """The bundle of a run at `paper`; we are on another machine now."""
    from bundles import pack

    return pack(machine, tmp_path)


@pytest.fixture(scope="session")
def masked_text():
    """A little text of the pool that masked models are trained on."""
    from masked import part

    return part("PRETRAIN", 120)


@pytest.fixture(scope="session")
def masked_tokenizers(masked_text):
    """name of a masked model -> a small tokenizer of its kind."""
    from masked import NAMES, small

    from langsim import subwords

    sentences = [string for code in sorted(masked_text.texts) for string in masked_text.texts[code].values()]
    return {name: subwords.train(sentences, **small(name)["tokenizer"]) for name in NAMES}


@pytest.fixture(scope="session")
def xsns_settings(tmp_path_factory):
    """A small run of part III on two tasks, with a checkpoint of its own."""
    from xsns_evidence import resolved

    return resolved(tmp_path_factory.mktemp("models") / "small-xlmr")


@pytest.fixture(scope="session")
def xsns_tasks(xsns_settings):
    """Made-up evidence of the two: in `ner` the sources differ by chance alone, in `pos` they differ."""
    from xsns_evidence import made

    return {"ner": made(xsns_settings, "ner", good=False), "pos": made(xsns_settings, "pos")}
