"""Fetches a dataset from the Hugging Face hub: `--data hf://owner/name`, or `hf://owner/name@revision`.

Nothing is fetched that is not named so. The files go into the hub's own cache (`HF_HOME`), where later runs find them,
also without a connection. Only files that a reader may read are fetched, never programs; of a repository with parquet
files, these alone.
"""

import logging
import re
from pathlib import Path
from typing import Any

from htrcompress.errors import HtrError, first_line, missing_extra
from htrcompress.image_files import SUFFIXES

logger = logging.getLogger(__name__)

PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+)/([\w.-]+?)(?:@([\w.-]+))?/?")
TABLES = (".arrow", ".jsonl", ".csv", ".tsv", ".txt", ".lst", ".xml")


def fetch(source: str) -> tuple[Path, str]:
    """The folder of a dataset's files, and what to call the dataset.

    Args:
        source: such as `hf://Teklia/IAM-line`.

    Raises:
        Unavailable: huggingface_hub is not installed.
        HtrError: it is no such name, or the hub does not give the dataset and it was not fetched before.
    """
    found = _NAME.fullmatch(source)
    if not found:
        raise HtrError(
            f"--data {source} names no dataset of the hub: write hf://owner/name, or hf://owner/name@revision"
        )
    owner, name, revision = found.groups()
    hub = _hub()
    patterns, reason = None, ""
    try:
        files = hub.list_repo_files(f"{owner}/{name}", repo_type="dataset", revision=revision)
        parquet = any(file.lower().endswith(".parquet") for file in files)
        suffixes = (".parquet",) if parquet else (*TABLES, *SUFFIXES)
        patterns = [_any_case(suffix) for suffix in suffixes]
        wanted = sum(file.lower().endswith(suffixes) for file in files)
        logger.info("%s: fetching %d of its %d files, as far as they are not here yet", source, wanted, len(files))
    except Exception as error:  # without a connection, what was fetched before is used
        reason = first_line(error)
        logger.info("%s: %s", source, reason)
    try:
        folder = hub.snapshot_download(
            f"{owner}/{name}",
            repo_type="dataset",
            revision=revision,
            allow_patterns=patterns,
            local_files_only=patterns is None,
        )
    except Exception as error:  # the hub's library raises many kinds
        raise HtrError(f"--data {source} cannot be fetched from the hub: {reason or first_line(error)}") from None
    return Path(folder), name


def _any_case(suffix: str) -> str:
    """A pattern of all names that end so, in small or capital letters."""
    return "*" + "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in suffix)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise missing_extra("huggingface_hub", "hub") from None
    return huggingface_hub
