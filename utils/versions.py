"""Which software a result was made with."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of Python and of every package, by its name on PyPI, that is installed."""
    found = {"python": python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # another build of it may be there instead
            continue
    return found
