"""Every setting, for the tests that compare something with all of them."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from consumer.settings import AppSettings, Settings


class Key(NamedTuple):
    """One setting: its dotted name (that of an app begins with `apps[].`), and the text under it."""

    name: str
    field: FieldInfo
    meaning: str


def keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Key]:
    """Those of a group and of the groups in it, in the order of the code."""
    meanings = dict(_meanings(model))
    for name, field in model.model_fields.items():
        if field.annotation == tuple[AppSettings, ...]:
            yield from keys(AppSettings, f"{prefix}{name}[].")
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield Key(f"{prefix}{name}", field, meanings.get(name, ""))


def _meanings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    [definition] = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    for field, text in pairwise(definition.body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(meaning))),
            ):
                yield name, " ".join(meaning.split())
