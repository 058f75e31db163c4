"""LSLo in files: saving, merging, CTranslate2, peft's format."""

import copy
import json

import peft
import pytest
import torch
from lslo_models import LANGUAGES, RANKS, apart, batch, tiny, wrapped
from safetensors.torch import load_file, save_file
from torch.nn.utils import prune

from langsim import ctranslate, models, translation
from langsim.corpora.base import Pair
from langsim.errors import Failure, UsageError
from langsim.lslo import architecture, load, merge, save
from langsim.lslo.layer import LSLoLinear
from langsim.lslo.peft_format import export_adapter, import_adapter

SOURCES, TARGETS = ["en", "fa", "de", "ja"], ["fa", "ja", "en", "de"]


@pytest.mark.parametrize("span", ["full", "slice"])
def test_saved_and_loaded(tmp_path, span):
    base = tiny()
    lslo = wrapped(copy.deepcopy(base), span=span, init="kaiming", seed=5)
    save(lslo, tmp_path / "it")
    again = load(tmp_path / "it", base).eval()
    assert again.settings == lslo.settings and again.languages == LANGUAGES
    one, other = (it(**batch(), source=SOURCES, target=TARGETS).logits for it in (lslo, again))
    assert torch.equal(one, other)
    told = json.loads((tmp_path / "it" / "lslo.json").read_text())
    assert told["ranks"] == RANKS and list(told["ranks"]) == list(RANKS) and told["span"] == span
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == ["lslo.json", "lslo.safetensors"]


def test_zeros_of_a_pruned_one_survive(tmp_path):
    base = tiny()
    lslo = wrapped(copy.deepcopy(base))
    for _, layer in lslo.layers():
        prune.l1_unstructured(layer, "lora_B", amount=30)
    save(lslo, tmp_path)
    again = load(tmp_path, base).eval()
    for (_, layer), (_, other) in zip(again.layers(), lslo.layers(), strict=True):
        assert int((layer.lora_B == 0).sum()) == 30 and torch.equal(layer.lora_B, other.lora_B)
    merged = merge(lslo, "en", "fa")
    one, other = lslo(**batch(), source="en", target="fa").logits, merged(**batch()).logits
    assert apart(one, other) < 1e-9


def test_bad_files(tmp_path):
    lslo = wrapped(tiny())
    with pytest.raises(UsageError, match=r"no LSLo at .*lslo\.json"):
        load(tmp_path, tiny())
    save(lslo, tmp_path)
    with pytest.raises(UsageError, match="is for a 'm2m_100', the model is a 't5'"):
        load(tmp_path, tiny("t5"))
    bigger = tiny()
    bigger.model.encoder.layers[0].fc1 = torch.nn.Linear(8, 25).double()
    with pytest.raises(UsageError, match="for a model of another size"):
        load(tmp_path, bigger)
    tensors = {name: it.clone() for name, it in load_file(tmp_path / "lslo.safetensors").items()}  # not the file mapped
    (tmp_path / "lslo.safetensors").write_bytes(b"no tensors")
    with pytest.raises(Failure, match="is damaged"):
        load(tmp_path, tiny())
    name, _ = tensors.popitem()
    save_file(tensors, tmp_path / "lslo.safetensors")
    with pytest.raises(Failure, match=f"lacks '{name}'"):
        load(tmp_path, tiny())
    (tmp_path / "lslo.json").write_text('{"ranks": 1}')
    with pytest.raises(Failure, match=r"lslo\.json' is damaged: "):
        load(tmp_path, tiny())


@pytest.mark.parametrize("span", ["full", "slice"])
@pytest.mark.parametrize("kind", ["m2m100", "mbart", "t5", "mt5"])
def test_merged(kind, span):
    base, data = tiny(kind, torch.float64), batch()  # in float32 rounding alone may be 1e-5, by the machine
    types = [type(module) for module in base.modules()]
    lslo = wrapped(base, span=span)
    before = {name: tensor.clone() for name, tensor in lslo.state_dict().items()}
    for source, target in (("en", "fa"), ("fa", "ja"), ("de", "de")):
        merged = merge(lslo, source, target)
        assert [type(module) for module in merged.modules()] == types
        assert apart(merged(**data).logits, lslo(**data, source=source, target=target).logits) < 1e-10
        assert all(p.requires_grad for p in merged.parameters())
    assert apart(merge(lslo, "en", "fa")(**data).logits, merge(lslo, "fa", "en")(**data).logits) > 1e-3
    assert all(torch.equal(tensor, before[name]) for name, tensor in lslo.state_dict().items())
    with pytest.raises(UsageError, match="target language: unknown 'xx'"):
        merge(lslo, "en", "xx")


def test_a_merged_one_is_a_plain_checkpoint(tmp_path):
    lslo = wrapped(tiny(dtype=torch.float32))
    lslo.gradient_checkpointing_enable()
    merged = merge(lslo, "en", "fa")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in merged.modules())
    merged.save_pretrained(tmp_path)
    again = type(merged).from_pretrained(tmp_path)
    assert torch.equal(again(**batch()).logits, merged(**batch()).logits)
    assert not any(isinstance(module, LSLoLinear) for module in merged.modules())
    merged.train()(**batch()).loss.backward()  # nothing asks for languages any more


def test_ctranslate2_takes_the_merged_one():
    mini = models.load("mini-m2m")
    pairs = [Pair(str(i), text, "x", "names", str(i)) for i, text in enumerate(["Datei öffnen", "Passwort vergessen?"])]
    lslo = wrapped(mini.model, ["de", "en"], 4, scale=0.05)
    assert "LSLoLinear" in ctranslate.obstacle(mini), "LoRA is not lost in silence"
    with lslo.route("de", "en"):
        wanted = translation.translate(mini, pairs, "de", "en", beam_size=2)
    mini.model = merge(lslo, "de", "en")
    assert translation.translate(mini, pairs, "de", "en", beam_size=2, engine="ctranslate2") == wanted


@pytest.mark.parametrize("span", ["full", "slice"])
def test_exported_for_peft(tmp_path, span):
    base, data = tiny(), batch()
    lslo = wrapped(copy.deepcopy(base), span=span)
    export_adapter(lslo, "ja", tmp_path)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path, autocast_adapter_dtype=False).double().eval()
    assert apart(theirs(**data).logits, lslo(**data, source="ja", target="ja").logits) < 1e-6
    with pytest.raises(UsageError, match="language 'de' has rank 0"):
        export_adapter(lslo, "de", tmp_path)
    with pytest.raises(UsageError, match="unknown 'xx'"):
        export_adapter(lslo, "xx", tmp_path)


@pytest.mark.parametrize("span", ["full", "slice"])
def test_there_and_back(tmp_path, span):
    lslo, other = wrapped(tiny(), span=span), wrapped(tiny(), span=span, seed=9)
    export_adapter(lslo, "fa", tmp_path)
    untouched = [layer.adapter("ja")[1].clone() for _, layer in other.layers()]
    import_adapter(other, "fa", tmp_path)
    for (_, one), (_, two), ja in zip(lslo.layers(), other.layers(), untouched, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(one.adapter("fa"), two.adapter("fa"), strict=True))
        assert torch.equal(two.adapter("ja")[1], ja)


@pytest.mark.parametrize("rslora", [False, True])
def test_imported_from_peft(tmp_path, rslora):
    base, data = tiny(), batch()
    names = list(architecture.default(base).modules)
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=names, init_lora_weights=False, use_rslora=rslora)
    theirs = peft.get_peft_model(copy.deepcopy(base), config, autocast_adapter_dtype=False).double().eval()
    theirs.save_pretrained(tmp_path)
    lslo = wrapped(base, ["en", "fa"], {"en": 2, "fa": 4})
    import_adapter(lslo, "fa", tmp_path)
    assert apart(lslo(**data, source="fa", target="fa").logits, theirs(**data).logits) < 1e-6
    with pytest.raises(UsageError, match="has rank 4, but 'en' has 2 here"):
        import_adapter(lslo, "en", tmp_path)
    with pytest.raises(UsageError, match="reaches beyond the slice"):
        import_adapter(wrapped(tiny(), ["fa"], 4, span="slice"), "fa", tmp_path)
    fewer = wrapped(tiny(), ["fa"], 4, architecture.default(base, kinds=["fc1"]))
    with pytest.raises(UsageError, match="has in excess"):
        import_adapter(fewer, "fa", tmp_path)


def test_adapters_that_are_not_plain_lora(tmp_path):
    lslo = wrapped(tiny(), ["fa"], 4)
    with pytest.raises(UsageError, match=r"it has no adapter_config\.json"):
        import_adapter(lslo, "fa", tmp_path)
    export_adapter(lslo, "fa", tmp_path)
    file = tmp_path / "adapter_config.json"
    config = json.loads(file.read_text())
    for change, message in (({"use_dora": True}, "it has use_dora"), ({"bias": "all"}, "no LoRA without bias")):
        file.write_text(json.dumps(config | change))
        with pytest.raises(UsageError, match=message):
            import_adapter(lslo, "fa", tmp_path)
    file.write_text("{")
    with pytest.raises(Failure, match="is damaged"):
        import_adapter(lslo, "fa", tmp_path)
