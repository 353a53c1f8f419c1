"""A dict whose items are attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class Namespace(dict[str, Any]):
    """A dict whose items are attributes too: ``fields.error`` is ``fields["error"]``.

    An item takes precedence over a method of dict: ``fields.copy`` is the item, if there is one.

    Examples:
        >>> fields = Namespace(error=0.5)
        >>> fields.error
        0.5
        >>> fields.steps = 3
        >>> fields["steps"]
        3
    """

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            if name in self and not name.startswith("__"):
                return self[name]
            return dict.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(map(str, self)) or "none"
        raise AttributeError(f"there is no {name!r} here; known: {known}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            raise AttributeError(f"write [{name!r}] = ... for a name that begins with __")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Namespace, (dict(self),)
