"""The one exception that users see.

Everything that can go wrong on a user's side (a missing file, a bad option, a full disk) is raised as
`HtrError` with one sentence: what is wrong, where, and what to do. Commands print that sentence and exit
with status 2; a traceback means a bug of ours.
"""


class HtrError(Exception):
    """A mistake or a mishap on the user's side, told in one sentence."""


def missing_extra(module: str, extra: str) -> HtrError:
    """The error for an optional dependency that is not installed."""
    return HtrError(f"{module} is not installed: run `pip install 'htrcompress[{extra}]'`")
