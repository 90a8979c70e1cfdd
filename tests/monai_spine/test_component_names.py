"""MONAI finds a component by its short name in every module whose name begins with ``monai``: ours are among them."""

import importlib
import pkgutil
import sys

from monai.bundle.config_item import ComponentLocator

import monai_spine


def test_no_class_or_function_takes_the_short_name_of_one_of_monai() -> None:
    """Else ``"_target_": "Identity"`` in a user's configuration would be ours, once its module is imported."""
    for module in pkgutil.walk_packages(monai_spine.__path__, "monai_spine."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    locator = ComponentLocator()
    table = locator._find_classes_or_functions([name for name in sys.modules if name.startswith("monai")])
    taken = {
        name: places
        for name, places in table.items()
        if len({place.startswith("monai_spine.") for place in places}) == 2
    }
    assert taken == {}
