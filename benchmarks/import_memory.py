"""Prints, as JSON, how much resident memory each package adds while a node's modules are imported.

A module's own share is what its execution added less what the imports inside it added; shares are
summed by top-level package. Run in a process of its own: python -m benchmarks.import_memory
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, Final

from benchmarks.processes import rss_of_this

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_MB: Final = 10**6
_SMALLEST: Final = 0.3
"""Megabytes below which a package is not worth a line."""


class _Meter:
    def __init__(self) -> None:
        self.own: dict[str, int] = {}
        self._inside: list[int] = []

    def run(self, loader: Any, module: ModuleType) -> None:
        before = rss_of_this()
        self._inside.append(0)
        try:
            loader.exec_module(module)
        finally:
            grown = rss_of_this() - before
            package = module.__name__.partition(".")[0]
            self.own[package] = self.own.get(package, 0) + grown - self._inside.pop()
            if self._inside:
                self._inside[-1] += grown


class _Loader(Loader):
    def __init__(self, inner: Any, meter: _Meter) -> None:
        self._inner = inner
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._inner.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._meter.run(self._inner, module)


class _Finder(MetaPathFinder):
    def __init__(self, meter: _Meter) -> None:
        self._meter = meter

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self._meter)
        return spec


def main() -> None:
    """Import what `node start` imports, and print the shares."""
    meter = _Meter()
    bare = rss_of_this()
    sys.meta_path.insert(0, _Finder(meter))
    importlib.import_module("node.app")
    shares = {name: round(held / _MB, 1) for name, held in meter.own.items()}
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    found = {
        "bare_mb": round(bare / _MB, 1),
        "imported_mb": round(rss_of_this() / _MB, 1),
        "packages_mb": {name: held for name, held in ordered if held >= _SMALLEST},
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
