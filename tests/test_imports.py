"""rotator/imports.py, and the packages that use it: a name that is imported on use can be imported."""

import pkgutil
from importlib import import_module

import pytest

import rotator

PACKAGES = [module.name for module in pkgutil.walk_packages(rotator.__path__, "rotator.") if module.ispkg]


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_every_name_that_it_lists(package: str) -> None:
    """Python imports a listed module here. For any other name that is missing, it raises AttributeError."""
    imported: dict[str, object] = {}
    exec(f"from {package} import *", imported)
    assert set(import_module(package).__all__) <= set(imported)
