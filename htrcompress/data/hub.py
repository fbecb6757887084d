"""Fetches a dataset from the Hugging Face hub: `--data hf://owner/name`, or `hf://owner/name@revision`.

Nothing is fetched that is not named so. The files go into the hub's own cache (`HF_HOME`), where later runs find them,
also without a connection. Only files that a reader may read are fetched, never programs; of a repository with parquet
files, these alone.
"""

import logging
import re
from pathlib import Path
from typing import Any

from htrcompress.errors import HtrError
from htrcompress.image import SUFFIXES

logger = logging.getLogger(__name__)

PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+)/([\w.-]+?)(?:@([\w.-]+))?/?")
TABLES = (".arrow", ".jsonl", ".csv", ".tsv", ".txt", ".lst", ".xml")


def fetch(source: str) -> tuple[Path, str]:
    """The folder of a dataset's files, and what to call the dataset.

    Args:
        source: such as `hf://Teklia/IAM-line`.

    Raises:
        HtrError: it is no such name, huggingface_hub is not installed, or the hub does not give the dataset.
    """
    found = _NAME.fullmatch(source)
    if not found:
        raise HtrError(
            f"--data {source} names no dataset of the hub: write hf://owner/name, or hf://owner/name@revision"
        )
    owner, name, revision = found.groups()
    hub = _hub()
    try:
        files = hub.list_repo_files(f"{owner}/{name}", repo_type="dataset", revision=revision)
        parquet = any(file.lower().endswith(".parquet") for file in files)
        suffixes = (".parquet",) if parquet else (*TABLES, *SUFFIXES)
        wanted = [file for file in files if file.lower().endswith(suffixes)]
        logger.info("%s: fetching %d of its %d files, as far as they are not here yet", source, len(wanted), len(files))
        patterns = [re.sub(r"([*?[])", r"[\1]", file) for file in wanted]
    except Exception as error:  # without a connection, what was fetched before is used
        logger.info("%s: %s", source, error)
        patterns = None
    try:
        folder = hub.snapshot_download(
            f"{owner}/{name}",
            repo_type="dataset",
            revision=revision,
            allow_patterns=patterns,
            local_files_only=patterns is None,
        )
    except Exception as error:  # the hub's library raises many kinds
        raise HtrError(f"--data {source} cannot be fetched from the hub: {str(error).splitlines()[0]}") from None
    return Path(folder), name


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise HtrError("datasets of the hub need huggingface_hub: pip install 'htrcompress[hub]'") from None
    return huggingface_hub
