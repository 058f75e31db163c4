"""Parameter groups and selections on every architecture."""

import pytest
import torch
import transformers as hf
from fisher_oracle import MODELS, tiny_model

from langsim import groups
from langsim.errors import UsageError

ENCODER_DECODER = ["m2m100", "mbart", "marian", "t5", "t5-gated", "mt5", "umt5"]
ENCODER_ONLY = ["bert", "xlm-r"]


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_its_group(name):
    model = tiny_model(name)
    table = groups.describe(model)
    assert list(table.columns) == ["name", "group", "layer", "kind", "numel", "trainable"]
    assert list(table["name"]) == [each for each, _ in model.named_parameters()]
    assert list(table["numel"]) == [each.numel() for each in model.parameters()]
    assert "other" not in set(table["group"])
    five = {"E_a", "E_f"} | ({"D_a", "D_c", "D_f"} if name in ENCODER_DECODER else set())
    assert five <= set(table["group"])
    assert all(table["group"].str.startswith("D_").eq(False)) or name in ENCODER_DECODER
    inside = table[table["group"].isin(five)]
    assert inside["layer"].notna().all()
    assert table[table["group"].isin({"embedding", "head"})]["layer"].isna().all()


@pytest.mark.parametrize(
    ("model", "parameter", "group", "layer", "kind"),
    [
        ("m2m100", "model.encoder.layers.0.self_attn.q_proj.weight", "E_a", 0, "weight"),
        ("m2m100", "model.decoder.layers.1.self_attn.out_proj.bias", "D_a", 1, "bias"),
        ("m2m100", "model.decoder.layers.1.encoder_attn.k_proj.weight", "D_c", 1, "weight"),
        ("m2m100", "model.decoder.layers.0.encoder_attn_layer_norm.weight", "D_norm", 0, "norm"),
        ("m2m100", "model.decoder.layers.0.fc2.weight", "D_f", 0, "weight"),
        ("m2m100", "model.shared.weight", "embedding", None, "weight"),
        ("m2m100", "model.decoder.layer_norm.bias", "D_norm", None, "norm"),
        ("mbart", "model.encoder.embed_positions.weight", "embedding", None, "weight"),
        ("mbart", "model.encoder.layernorm_embedding.weight", "E_norm", None, "norm"),
        ("marian", "model.encoder.layers.0.fc1.bias", "E_f", 0, "bias"),
        ("t5", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "E_a", 0, "bias"),
        ("t5", "decoder.block.1.layer.1.EncDecAttention.o.weight", "D_c", 1, "weight"),
        ("t5", "decoder.block.1.layer.2.DenseReluDense.wi.weight", "D_f", 1, "weight"),
        ("mt5", "encoder.block.1.layer.1.DenseReluDense.wi_1.weight", "E_f", 1, "weight"),
        ("mt5", "encoder.final_layer_norm.weight", "E_norm", None, "norm"),
        ("bert", "bert.encoder.layer.1.attention.output.dense.weight", "E_a", 1, "weight"),
        ("bert", "bert.encoder.layer.1.output.dense.weight", "E_f", 1, "weight"),
        ("bert", "bert.encoder.layer.1.output.LayerNorm.bias", "E_norm", 1, "norm"),
        ("bert", "bert.embeddings.LayerNorm.weight", "E_norm", None, "norm"),
        ("bert", "cls.predictions.transform.dense.weight", "head", None, "weight"),
        ("xlm-r", "lm_head.decoder.weight", "embedding", None, "weight"),  # tied: it is the word embedding
        ("xlm-r", "lm_head.layer_norm.weight", "head", None, "norm"),
    ],
)
def test_known_places(model, parameter, group, layer, kind):
    row = groups.describe(tiny_model(model)).set_index("name").loc[parameter]
    assert (row["group"], row["kind"]) == (group, kind)
    assert (row["layer"] == layer) if layer is not None else row.isna()["layer"]


def test_classifiers_and_unwrapped_models():
    bert = hf.BertForSequenceClassification(
        hf.BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    )
    table = groups.describe(bert).set_index("name")
    assert table.loc["classifier.weight", "group"] == "head"
    assert table.loc["bert.pooler.dense.weight", "group"] == "head"
    bare = tiny_model("m2m100").model
    assert set(groups.select(bare, "ffn")) == {
        name for name, _ in bare.named_parameters() if name.endswith(("fc1.weight", "fc2.weight"))
    }


def test_ffn_is_16_of_28_parts_of_a_layer_pair():
    """Section 1 of the facts: the base rate of Figure 2's "over 60% in the FFN" is 57.1%."""
    config = hf.M2M100Config(
        vocab_size=20,
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
    )
    table = groups.describe(hf.M2M100ForConditionalGeneration(config))
    weights = table[table["layer"].notna() & (table["kind"] == "weight")]
    ffn = weights[weights["group"].isin({"E_f", "D_f"})]["numel"].sum()
    assert weights["numel"].sum() == 28 * 64**2
    assert ffn == 16 * 64**2
    assert round(100 * ffn / weights["numel"].sum(), 1) == 57.1


@pytest.mark.parametrize("name", MODELS)
def test_selections_nest(name):
    model = tiny_model(name)
    chosen = {selection: groups.select(model, selection) for selection in groups.SELECTIONS}
    order = [each for each, _ in model.named_parameters()]
    for names in chosen.values():
        assert names == [each for each in order if each in set(names)]
    assert set(chosen["ffn"]) | set(chosen["attention"]) == set(chosen["layers"])
    assert not set(chosen["ffn"]) & set(chosen["attention"])
    assert set(chosen["layers"]) < set(chosen["layers+bias"]) < set(chosen["all"])
    parameters = dict(model.named_parameters())
    assert all(parameters[each].ndim == 2 for each in chosen["layers"])
    assert chosen["all"] == [each for each in order if parameters[each].requires_grad]


def test_a_pattern_selects_by_name():
    model = tiny_model("m2m100")
    chosen = groups.select(model, r"re:decoder.*fc1\.weight$")
    assert chosen == [f"model.decoder.layers.{layer}.fc1.weight" for layer in (0, 1)]


def test_fixed_positions_are_never_selected():
    model = tiny_model("marian")
    table = groups.describe(model)
    assert not table[table["name"].str.contains("embed_positions")]["trainable"].any()
    assert not any("embed_positions" in name for name in groups.select(model, "all"))
    with pytest.raises(UsageError, match="matches no trainable parameter"):
        groups.select(model, "re:embed_positions")


def test_mistakes_end_in_one_line():
    model = tiny_model("m2m100")
    with pytest.raises(UsageError, match=r"unknown selection 'fnn'.*ffn") as error:
        groups.select(model, "fnn")
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="bad pattern"):
        groups.select(model, "re:(")
    with pytest.raises(UsageError, match="requires_grad_"):
        groups.select(tiny_model("m2m100").requires_grad_(False), "ffn")


def test_an_unknown_architecture_says_what_works():
    other = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"m2m_100.*xlm-roberta.*re:PATTERN"):
        groups.describe(other)
    assert groups.select(other, "re:weight") == ["0.weight"]
    assert groups.select(other, "all") == ["0.weight", "0.bias"]
