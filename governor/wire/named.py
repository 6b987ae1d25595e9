"""What every message and every record of the journal is: a tuple whose items have names.

As `typing.NamedTuple` does it, which compiles a constructor and every annotation for each class.
For the hundred classes of messages that was a tenth of the start of ``governor run``.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform


class _Naming(type):
    """Gives a class of messages a property for each annotation in its body."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Naming:
        fields = tuple(namespace.get("__annotations__", ()))
        for index, field in enumerate(fields):
            namespace[field] = property(itemgetter(index))
        namespace |= {"__slots__": (), "__match_args__": fields, "_fields": fields}
        return super().__new__(mcs, name, bases, namespace)


@dataclass_transform(frozen_default=True)
class Named(tuple[Any, ...], metaclass=_Naming):
    """A message or a record: made with its fields by place or by name, which have no defaults."""

    if TYPE_CHECKING:  # it is none of a message's own
        _fields: ClassVar[tuple[str, ...]]

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Raises TypeError for a field that is missing, unknown or given twice."""
        fields = cls._fields
        if named:
            rest = fields[len(values) :]
            if named.keys() != set(rest):
                raise TypeError(f"{cls.__name__} has the fields {fields}")
            values += tuple([named[field] for field in rest])
        if len(values) != len(fields):
            raise TypeError(f"{cls.__name__} has the fields {fields}")
        return tuple.__new__(cls, values)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({shown})"

    def _asdict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes: Any) -> Self:
        """The same with other values in these fields."""
        return type(self)(**{**self._asdict(), **changes})
