"""One error tree. Each class has an exit code; each error names the thing, its value and the remedy."""

from __future__ import annotations


class LcError(Exception):
    """Base of every error that `lc` raises on purpose.

    Attributes:
        problem: One sentence that names the thing and the value that is wrong.
        remedy: What the user can do about it; printed on a line of its own.
        exit_code: Process exit code of this class (see docs/operations.md).
    """

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  remedy: {self.remedy}" if self.remedy else self.problem

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (process pools, Dask); keyword arguments would be lost by the default.
        return (_rebuild, (type(self), self.problem, self.remedy))


def _rebuild(cls: type[LcError], problem: str, remedy: str) -> LcError:
    return cls(problem, remedy=remedy)


class UsageError(LcError):
    """The command line does not make sense: an option, a value, a combination."""

    exit_code = 2


class ConfigError(UsageError):
    """The pipeline file does not make sense: an unknown key, a value out of range, a contradiction."""


class InputError(LcError):
    """An input is missing, unreadable, truncated, or not what it must be."""

    exit_code = 3


class StorageError(InputError):
    """A target cannot be written: no permission, no space, a vanished folder."""


class PartialFailureError(LcError):
    """Some units failed; the rest is finished and published."""

    exit_code = 4


class WorkspaceLockedError(LcError):
    """Another run holds the workspace."""

    exit_code = 5


class ChangeAlarmError(LcError):
    """The new map differs from the last one by more than the user allows; it is published all the same."""

    exit_code = 6
