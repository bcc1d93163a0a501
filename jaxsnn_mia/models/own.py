"""A module of the caller's own, looked at without running it: what it gives, and which settings it reads."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsnn_mia.models import build, modules
from jaxsnn_mia.models.spec import Hyper, ModelSpec

BATCH = 3


class Network(NamedTuple):
    """What a module computes: its program in training and outside, and the traced settings that it reads."""

    program: str
    reads: frozenset[str]


def probed(spec: ModelSpec) -> Network:
    """The network of `spec.architecture`, traced on abstract inputs.

    Raises ValueError, in one line, where the module cannot be made or called, does not return an `Output`, or gives
    logits of another shape than [B, C].
    """
    of = f"`model.architecture` {spec.architecture!r}"
    try:
        model = build(spec)
        variables = jax.eval_shape(model.init, jax.random.key(0))
    except Exception as error:
        raise ValueError(f"{of}: making it by (spec, rngs=rngs) failed: {in_one_line(error)}") from error
    x = jax.ShapeDtypeStruct((BATCH, *spec.in_shape), jnp.float32)
    hyper = Hyper(*(jax.ShapeDtypeStruct((), jnp.float32) for _ in Hyper._fields))
    programs, reads = [], set()
    for train in (True, False):

        def logits(hyper: Hyper, variables: Any, x: Any, train: bool = train) -> Any:
            return model.apply(variables, x, hyper, jax.random.key(0), train=train).logits_bc

        try:
            given = jax.eval_shape(logits, hyper, variables, x)
        except Exception as error:
            raise ValueError(
                f"{of}: calling it by (x, hyper, key, train={train}) failed: {in_one_line(error)}"
            ) from error
        if given.shape != (BATCH, spec.n_classes):
            remedy = "Of a single logit z give both, [0, z]." if given.shape in ((BATCH,), (BATCH, 1)) else ""
            raise ValueError(
                f"{of}: logits must be [B, {spec.n_classes}], got {given.shape} for B={BATCH}. {remedy}".rstrip()
            )
        traced = jax.make_jaxpr(gradient(logits) if train else logits)(hyper, variables, x)
        programs.append(re.sub("0x[0-9a-f]+", "", str(traced)))
        used = {var for eqn in traced.jaxpr.eqns for var in eqn.invars if not isinstance(var, jax.extend.core.Literal)}
        reads |= {name for name, var in zip(Hyper._fields, traced.jaxpr.invars, strict=False) if var in used}
    return Network("\n".join(programs), frozenset(reads))


def gradient(logits: Any) -> Any:
    """The gradient by the parameters, of which a surrogate is a part that logits do not show."""

    def of_params(hyper, variables, x):
        def total(params):
            return logits(hyper, variables | {"params": params}, x).sum()

        return jax.grad(total)(variables["params"])

    return of_params


def in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def has_batch_statistics(spec: ModelSpec) -> bool:
    """Whether a module keeps statistics of its batches: they tell of examples past any noise on gradients."""
    module = modules(spec.architecture)[spec.family]
    abstract = nnx.eval_shape(lambda: module(spec, rngs=nnx.Rngs(jax.random.key(0))))
    return bool(jax.tree.leaves(nnx.state(abstract, nnx.BatchStat)))
