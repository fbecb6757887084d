"""Reads pages with kraken, and validates them, for `benchmarks/studies/pages_back.py`; runs in kraken's environment.

One line of JSON on stdin, `{"pairs": [[before, after], ...], "schemas": DIR or null}`, and one on stdout, last:
`texts`, for each `after` its lines' texts by id, and `schemas`, for each pair that a schema was found for, whether the
file was valid before and after and what is wrong with it that was not before.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
SCHEMA = "{http://www.w3.org/2001/XMLSchema}schema"


def kraken_texts(file: str) -> dict[str, str]:
    """The texts of a page's lines by id, as kraken reads them."""
    from kraken.lib.xml import XMLPage

    return {name: line.text or "" for name, line in XMLPage(file).lines.items()}


class Schemas:
    """The schemas below a folder; what they import is taken from beside them, never fetched."""

    def __init__(self, folder: str):
        from lxml import etree

        class Beside(etree.Resolver):
            def resolve(self, url: str, public: str, context: Any) -> Any:
                if Path(url).is_file():
                    return None  # as it is named
                beside = Path(folder).rglob(url.rpartition("/")[2])
                return self.resolve_filename(str(next(beside, "missing.xsd")), context)

        self.etree = etree
        self.parser = etree.XMLParser(resolve_entities=False, no_network=True)
        self.parser.resolvers.add(Beside())
        self.found: dict[str, list[Path]] = {}
        for path in sorted(Path(folder).rglob("*.xsd")):
            root = etree.parse(str(path), self.parser).getroot()
            if root.tag == SCHEMA:
                self.found.setdefault(root.get("targetNamespace", ""), []).append(path)
        self.opened: dict[Path, Any] = {}

    def errors(self, file: str) -> set[str] | None:
        """What is wrong with a file; None where there is no schema for it."""
        page = self.etree.parse(file, self.parser)
        root = page.getroot()
        paths = self.found.get(self.etree.QName(root).namespace or "", [])
        named = [path for path in paths if path.name in root.get(INSTANCE, "")]
        if not paths:
            return None
        path = (named or paths)[-1]
        if path not in self.opened:
            self.opened[path] = self.etree.XMLSchema(self.etree.parse(str(path), self.parser))
        schema = self.opened[path]
        schema.validate(page)
        return {error.message for error in schema.error_log}


def main() -> None:
    """Answers the request on stdin."""
    request = json.loads(sys.stdin.readline())
    texts = {after: kraken_texts(after) for _, after in request["pairs"]}
    rows = []
    schemas = Schemas(request["schemas"]) if request["schemas"] else None
    for before, after in request["pairs"] if schemas else ():
        old, new = schemas.errors(before), schemas.errors(after)
        if old is not None and new is not None:
            rows.append({"file": after, "before": not old, "after": not new, "new": sorted(new - old)})
    versions = {name: version(name) for name in ("kraken", "lxml")}
    print(json.dumps({"texts": texts, "schemas": rows, "versions": versions}), flush=True)


if __name__ == "__main__":
    main()
