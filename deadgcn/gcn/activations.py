"""A reader's own activation: applied, differentiated, and as a text that tells it from any other."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from hashlib import sha256
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

# Settings are checked without torch, which takes seconds to import.
if TYPE_CHECKING:
    from torch import Tensor


def own_activations(pre: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an activation to each run by itself, ``[R, N, d] -> [R, N, d]``.

    Raises ValueError if it returns another shape or type, or overwrites its argument.
    """
    import torch

    before = pre._version
    posts = [act(z) for z in pre.unbind()]
    if pre._version != before:
        raise ValueError(f"act must leave its argument as it is, but {act.__name__} overwrites it")
    for post in posts:
        if not torch.is_tensor(post) or (post.shape, post.dtype) != (pre.shape[1:], pre.dtype):
            expected, found = (f"{list(t.shape)} of {t.dtype}" for t in (pre[0], torch.as_tensor(post)))
            raise ValueError(f"act must return {expected} here, but {act.__name__} returned {found}")
    return torch.stack(posts)


def own_gradient(pre: Tensor, act: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
    """Multiply a gradient ``[R, N, d]`` of the activations by their derivative at `pre`, by autograd."""
    import torch

    with torch.enable_grad():
        leaf = pre.requires_grad_()
        return torch.autograd.grad(own_activations(leaf, act), leaf, grad)[0]


def describe(function: Callable) -> str:
    """Return the function's name and a digest of what it computes: its code and all values that it uses.

    Neither its place nor its comments count, but numbers, texts and functions around it do, at the time of
    the call. Code differs between versions of Python. Raises ValueError for what no text can stand for.

    >>> describe(lambda z: z.abs()) == describe(lambda z: z.abs())
    True
    """
    name = getattr(function, "__name__", repr(function))
    return f"{name} {sha256(repr(_parts(function, name)).encode()).hexdigest()[:16]}"


def _parts(value: Any, name: str) -> Any:
    """Nested tuples of plain values that stand for one."""
    if isinstance(value, CodeType):
        return (
            value.co_code,
            value.co_names,
            value.co_varnames,
            tuple(_parts(c, name) for c in value.co_consts),
        )
    if inspect.isfunction(value):
        used = _used(value)
        defaults = (value.__defaults__ or (), tuple((value.__kwdefaults__ or {}).items()))
        around = tuple((n, _parts(used[n], n)) for n in sorted(used) if used[n] is not value)
        return _parts(value.__code__, name), _parts(defaults, name), around
    if isinstance(value, ModuleType):
        return value.__name__
    if inspect.isbuiltin(value) or inspect.isclass(value):
        return value.__module__, value.__qualname__
    if isinstance(value, tuple | frozenset):
        return tuple(
            _parts(part, name) for part in (sorted(value) if isinstance(value, frozenset) else value)
        )
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    raise ValueError(
        "a function may use numbers, texts, modules and other functions, "
        f"but {name!r} is of type {type(value).__name__}"
    )


def _used(function: Callable) -> dict[str, Any]:
    """The global and enclosing variables that a function's code names, with their present values."""
    around = inspect.getclosurevars(function).nonlocals
    known = function.__globals__
    return {name: known[name] for name in _global_names(function.__code__) if name in known} | dict(around)


def _global_names(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for inner in filter(inspect.iscode, code.co_consts):
        yield from _global_names(inner)
