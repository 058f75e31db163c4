"""A real model of the real architecture, too small to know anything, and a user's own small corpus to run it on."""

import json
from pathlib import Path


def save_tiny_m2m(folder: Path, text: list[str], *, seed: int = 0) -> Path:
    """A randomly initialised M2M100 with M2M100's own tokenizer class, trained on `text`, in the layout of the hub."""
    import sentencepiece
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_prefix=str(folder / "sentencepiece.bpe"),
        vocab_size=400,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    words = ["<s>", "<pad>", "</s>", "<unk>"] + [pieces.id_to_piece(i) for i in range(3, len(pieces))]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = M2M100Config(
        vocab_size=max(tokenizer.lang_token_to_id.values()) + 1,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=64,
        init_std=0.2,
    )
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def save_names(path: Path, codes: tuple[str, ...] = ("en", "fa", "hi", "de", "sv")) -> Path:
    """A TSV for the corpus 'files': the names of the world's territories, as Unicode CLDR has them."""
    import babel

    names = {code: babel.Locale.parse(code).territories for code in codes}
    shared = sorted(set.intersection(*(set(table) for table in names.values())))
    rows = ["\t".join(["item", "pool", *codes])]
    rows += ["\t".join([key, "FINETUNE", *(names[code][key] for code in codes)]) for key in shared]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
