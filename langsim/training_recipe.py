"""The recipe of a fine-tuning: every number that decides what comes out, beside model and text."""

import hashlib
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from langsim.errors import UsageError
from langsim.sampling import SamplingRule
from langsim.suggest import unknown
from langsim.token_batches import Mixing


class TrainingRecipe(BaseModel):
    """How to fine-tune. The defaults are the first paper's values (section 3.1 and its authors' code).

    An update reads `batches_per_update` batches of `tokens_per_batch` tokens, however many processes share them: the
    paper's 2 GPUs with update frequency 2 are 4. Its gradient is divided by its target tokens.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    sampling: str = Field("equal", description="equal, proportional or temperature(T)")
    mixing: Mixing = Field("mixed", description="batches of several languages, or each of a single pair")
    tokens_per_batch: int = Field(4096, ge=1, description="positions of a batch on either side, padding counted")
    batches_per_update: int = Field(4, ge=1, description="batches an update, over all processes")
    updates: int = Field(400_000, ge=1, description="with patience the most, without it the number of updates")
    patience: int | None = Field(10, ge=1, description="validations without a new best before it stops; None: off")
    validate_every: int | None = Field(None, ge=1, description="updates between validations; None: every epoch")
    learning_rate: float = Field(3e-5, gt=0, allow_inf_nan=False, description="after warm-up")
    warmup: int = Field(2500, ge=1, description="updates of linear warm-up, before the inverse square root")
    label_smoothing: float = Field(0.2, ge=0, lt=1, description="probability spread over the vocabulary")
    clip_norm: float | None = Field(None, gt=0, description="the largest norm of a gradient; None: off")
    betas: tuple[float, float] = Field((0.9, 0.98), strict=False, description="Adam")
    eps: float = Field(1e-6, gt=0, description="Adam")
    dropout: float | None = Field(0.3, ge=0, lt=1, description="None: the model's own")
    attention_dropout: float | None = Field(0.1, ge=0, lt=1, description="None: the model's own")
    layerdrop: float | None = Field(0.05, ge=0, lt=1, description="of encoder and decoder; None: the model's own")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp16", description="of autocast; weights stay in fp32")
    seed: int = Field(222, ge=0, description="of sampling and dropout")

    @classmethod
    def of(cls, **values: Any) -> "TrainingRecipe":
        """A recipe with some values changed.

        Raises:
            UsageError: an unknown name or a value that it can't have.
        """
        for name in values:
            if name not in cls.model_fields:
                raise UsageError(f"training recipe: {unknown(name, cls.model_fields)}")
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "recipe"
            raise UsageError(f"training recipe: {where}: {first['msg']}, not {first['input']!r}") from error

    @field_validator("sampling")
    @classmethod
    def _known(cls, value: str) -> str:
        return str(SamplingRule.parse(value))  # one spelling, one digest

    @field_validator("betas")
    @classmethod
    def _betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("both are at least 0 and below 1")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "TrainingRecipe":
        if self.sampling == "equal" and self.mixing == "single-pair":
            raise UsageError("training recipe: sampling equal shares every batch among the languages: use mixing mixed")
        return self

    @property
    def rule(self) -> SamplingRule:
        """The sampling rule."""
        return SamplingRule.parse(self.sampling)

    @property
    def digest(self) -> str:
        """Hex sha256 of all values, for signatures."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def rate(self, update: int) -> float:
        """Learning rate of an update (counted from 1): linear warm-up, then the inverse square root."""
        return self.learning_rate * min(update / self.warmup, math.sqrt(self.warmup / update))


PAPER = TrainingRecipe()
