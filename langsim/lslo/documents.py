"""What part II keeps as JSON beside its weights, and what is wrong with such a file, in one line."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from langsim.errors import Failure, UsageError


class Document(BaseModel):
    """A value that never changes, kept as JSON. Equal documents are equal objects.

    Attributes:
        called: what a file of it holds, for messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    called: ClassVar[str]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UsageError: no such file.
            Failure: it holds something else.
        """
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(f"no {cls.called} at '{path}'") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise Failure(f"'{path}' holds no {cls.called}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The first thing that is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
