"""The built-in data, which is drawn and not read: `--data synthetic`."""

from pathlib import Path

from htrcompress.data.lines import Dataset

SYNTHETIC = "synthetic"
"""What the built-in data is called after `--data`; a folder of that name is `./synthetic`."""


class SyntheticReader:
    """Opens the built-in data; see `htrcompress.data.synthetic`."""

    name = SYNTHETIC
    looks_for = f"the word {SYNTHETIC}, for the built-in data"
    mixes = False
    options: type | None = None

    def recognises(self, path: Path) -> bool:
        """See `Reader.recognises`."""
        return path == Path(SYNTHETIC)

    def open(self, path: Path, options: None) -> Dataset:
        """See `Reader.open`."""
        from htrcompress.data import synthetic  # the fonts are optional packages

        return synthetic.open_synthetic()
