"""Errors that reach a person: one line that says what is wrong and what to do."""


class LangsimError(Exception):
    """Base of every error that langsim raises on purpose."""

    exit_status = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the one line, in notebooks and under papermill too."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(LangsimError):
    """The caller's mistake: an unknown name, a missing file, a wrong type (exit status 2)."""

    exit_status = 2


class Failure(LangsimError):
    """A failure at run time: damaged data, a NaN gradient, a full disk (exit status 1)."""
