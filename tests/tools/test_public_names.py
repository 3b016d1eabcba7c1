"""tools/public_names.py finds imports that bypass the `__init__` of a package, and no others."""

from pathlib import Path
from textwrap import dedent

import pytest

from tools.public_names import bypasses

FILES = {
    "shop/__init__.py": "",
    "shop/stock/__init__.py": """
        from typing import TYPE_CHECKING
        from shop.stock import counts
        from shop.stock.price import price
        if TYPE_CHECKING:
            from shop.stock.orders import Order
        __all__ = ["Order", "counts", "price", "shelves"]
    """,
    "shop/stock/counts.py": "",
    "shop/stock/orders.py": "",
    "shop/stock/price.py": "",
    "shop/stock/shelves/__init__.py": "__all__ = ['row']",
    "shop/stock/shelves/rows.py": "",
    "shop/ledger/__init__.py": "",
    "shop/till/__init__.py": "",
    "shop/till/receipts.py": "",
}


def found(folder: Path, source: str) -> list[tuple[int, str, str]]:
    """Return the bypasses in a module of `shop.till`."""
    for name, text in (FILES | {"shop/till/sale.py": source}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return [(line, package, name) for path, line, package, name in bypasses(folder / "shop") if path.stem == "sale"]


@pytest.mark.parametrize(
    ("source", "package", "name"),
    [
        pytest.param("from shop.stock.orders import Order", "shop.stock", "orders", id="from a module"),
        pytest.param("from shop.stock import Order, orders", "shop.stock", "orders", id="the module"),
        pytest.param("from shop.stock import cost", "shop.stock", "cost", id="a name"),
        pytest.param("import shop.stock.orders", "shop.stock", "orders", id="as a whole"),
        pytest.param("from ..stock.orders import Order", "shop.stock", "orders", id="relative"),
        pytest.param("from shop.stock.shelves.rows import row", "shop.stock.shelves", "rows", id="inner package"),
        pytest.param("from shop.stock.price import price", "shop.stock", "price", id="module of a function's name"),
        pytest.param("def sell():\n    import shop.stock.orders", "shop.stock", "orders", id="in a function"),
        pytest.param("from shop.ledger import book", "shop.ledger", "book", id="package that lists nothing"),
    ],
)
def test_bypasses_finds_an_unlisted_name(tmp_path: Path, source: str, package: str, name: str) -> None:
    assert found(tmp_path, source) == [(len(source.splitlines()), package, name)]


@pytest.mark.parametrize(
    "source",
    [
        "from __future__ import annotations",
        "import json",
        "from shop import stock",
        "import shop.stock",
        "from shop.stock import Order, counts, price, shelves",
        "from shop.stock.counts import of_today",
        "import shop.stock.counts",
        "from shop.stock.shelves import row",
        "from shop.till.receipts import Receipt",
        "from .receipts import Receipt",
    ],
)
def test_bypasses_accepts_listed_and_own_names(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, source) == []
