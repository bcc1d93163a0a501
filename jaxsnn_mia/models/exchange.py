"""Trained networks as layers, and layers as NIR graphs, which other frameworks and chips read; and back.

Only this module and `layers.py` import spyx, and nothing imports them at start: ``from jaxsnn_mia.models import
exchange``. NIR (Pedersen et al. 2024, Nature Communications 15, 8122) describes neurons by differential equations. With
a time step dt and Euler's rule they are the neurons of this project where

    LIF      beta = 1 - dt / tau,  r = tau / dt;   IF  r = 1 / dt;   LI  as LIF, never fires
    CubaLIF  alpha = 1 - dt / tau_syn,  w_in = tau_syn / dt,  beta and r of tau_mem

and where a neuron that fires goes to v_reset = 0 at once: reset "zero". A graph has no surrogate.
"""

from typing import Any

import jax.numpy as jnp
import nir
import numpy as np
import spyx
from flax import nnx

from jaxsnn_mia.kernels import neuron, surrogate
from jaxsnn_mia.models import by_name, layers
from jaxsnn_mia.models.quantized import weights
from jaxsnn_mia.models.spec import Hyper, ModelSpec

HELD = ("spike_count", "leaky_integrator")  # readouts whose logits a sequence of layers gives out


def to_layers(spec: ModelSpec, params: dict, hyper: Hyper) -> spyx.nn.Sequential:
    """A trained dense or recurrent spiking network as layers of the Spyx protocol, its weights as the network used them
    (quantized where it was). Its input is [B, D] at each step. The sum of its output spikes are the logits, or, with
    readout "leaky_integrator", its last output.

    `params` are the variables of one model, {"params", "statistics"}. Raises ValueError for another family,
    architecture, neuron or readout, for learned constants, and where currents or membranes are quantized, which a layer
    has no place for.
    """
    if spec.family != "snn" or spec.architecture not in ("dense", "recurrent"):
        raise ValueError(
            f"a dense or recurrent spiking network becomes layers, got family {spec.family!r}, architecture "
            f"{spec.architecture!r}."
        )
    if spec.neuron not in ("lif", "if") or spec.learned:
        raise ValueError(
            "`model.neuron` must be 'lif' or 'if' with model.learned=() for layers, got "
            f"{spec.neuron!r} and {spec.learned}. Build layers.CuBaLIF or layers.ALIF with your constants."
        )
    if spec.readout not in HELD:
        raise ValueError(
            f"`model.readout` must be one of {HELD} for layers, got {spec.readout!r}: its logits are membranes of "
            "neurons that fire, which layers do not give out. Train with one of these."
        )
    lost = [part for part in ("activation", "state") if part in spec.quant.parts and getattr(hyper, f"qmax_{part}") > 0]
    if lost:
        raise ValueError(f"layers cannot hold the quantization of {lost}. Train with quantization.what=weight.")
    rngs = nnx.Rngs(0)
    leaks = spec.neuron == "lif"
    beta = {"beta": float(np.asarray(hyper.beta)) if leaks else 1.0}
    spike = surrogate.with_slope(by_name.surrogate(spec.surrogate), float(np.asarray(hyper.slope)))
    fires = {"threshold": float(np.asarray(hyper.threshold)), "activation": spike, "reset": spec.reset}
    fires |= beta if leaks else {}
    alone, fed_back = (layers.LIF, layers.RLIF) if leaks else (layers.IF, layers.RIF)
    variables = params["params"]
    given = [layer for _, layer in sorted(variables["layers"].items())]
    given += [layer for _, layer in sorted(variables.get("head", {}).get("layers", {}).items())]
    feedback = [array for _, array in sorted(variables.get("feedback", {}).items())]
    made: list[Any] = []
    for i, layer in enumerate(given):
        kernel = weights(jnp.asarray(layer["kernel"]), hyper, spec.quant, i in (0, len(given) - 1))
        made.append(linear(kernel, jnp.asarray(layer["bias"]), rngs))
        shape = (kernel.shape[1],)
        if i < len(feedback):
            made.append(fed_back(shape, rngs=rngs, **fires))
            made[-1].recurrent_w[...] = weights(jnp.asarray(feedback[i]), hyper, spec.quant, False)
        elif i + 1 == len(given) and spec.readout == "leaky_integrator":
            made.append(layers.LI(shape, **beta, rngs=rngs))
        else:
            made.append(alone(shape, rngs=rngs, **fires))
    return spyx.nn.Sequential(*made)


def linear(kernel_io: Any, bias_o: Any, rngs: nnx.Rngs) -> nnx.Linear:
    layer = nnx.Linear(*kernel_io.shape, use_bias=bias_o is not None, rngs=rngs)
    layer.kernel[...] = jnp.asarray(kernel_io, jnp.float32)
    if bias_o is not None:
        layer.bias[...] = jnp.asarray(bias_o, jnp.float32)
    return layer


def to_nir(
    model: spyx.nn.Sequential, in_shape: tuple[int, ...], *, dt: float = 1.0, fold: bool = False
) -> nir.NIRGraph:
    """The NIR graph of linear layers and of neurons of `layers`, dt the time step.

    fold: the weights into a LIF carry its resistance, which is 1 then: the same network, for importers that ignore the
    resistance (Norse 1.1 with its dt).

    Raises ValueError for a layer without a node, for a LIF to be folded without a linear layer before it, and for
    neurons whose reset NIR does not have: "subtract" and "none", spikes before integration, a spike at the threshold
    itself. Spyx's own layers are such neurons.
    """
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(in_shape)})}
    edges, last = [], "input"
    for i, layer in enumerate(model.layers):
        name, node, back = f"layer_{i}", *as_nodes(layer, dt)
        name = name if back is None else f"{name}.neuron"
        if fold and isinstance(node, nir.LIF):
            back = folded(node, nodes[last], back)
        nodes[name] = node
        edges.append((last, name))
        if back is not None:
            feedback = f"layer_{i}.feedback"
            nodes[feedback] = nir.Linear(back)
            edges += [(name, feedback), (feedback, name)]
        last = name
    nodes["output"] = nir.Output({"output": nodes[last].output_type["output"]})
    return nir.NIRGraph(nodes=nodes, edges=[*edges, (last, "output")])


def folded(node: nir.LIF, before: Any, back: np.ndarray | None) -> np.ndarray | None:
    """Moves the resistance of a LIF into the weights before it; gives its feedback weights [out, in] with it."""
    if not isinstance(before, (nir.Affine, nir.Linear)):
        raise ValueError(f"fold=True needs a linear layer before each LIF, got {type(before).__name__}.")
    before.weight = before.weight * node.r[:, None]
    if isinstance(before, nir.Affine):
        before.bias = before.bias * node.r
    back = None if back is None else back * node.r[:, None]
    node.r = np.ones_like(node.r)
    return back


def as_nodes(layer: Any, dt: float) -> tuple[Any, np.ndarray | None]:
    """(the node of a layer, its feedback weights [out, in] or None)."""
    if isinstance(layer, nnx.Linear):
        weight = np.asarray(layer.kernel[...]).T
        return (nir.Linear(weight) if layer.bias is None else nir.Affine(weight, np.asarray(layer.bias[...]))), None
    if not isinstance(layer, (layers.Firing, layers.LI)):
        raise ValueError(
            f"NIR cannot hold a {type(layer).__module__}.{type(layer).__name__}. Use linear layers and the neurons of "
            "jaxsnn_mia.models.layers, but for ALIF."
        )
    if isinstance(layer, layers.LI):
        shape = layer.layer_shape
        tau, r = time_constant(spread(layer.beta[...], shape), dt, "beta")
        return nir.LI(tau=tau, r=r, v_leak=np.zeros(shape)), None
    if isinstance(layer, layers.ALIF):
        raise ValueError("NIR has no node for a neuron whose threshold adapts (ALIF).")
    check_reset(layer)
    shape = layer.hidden_shape
    of = layer.settings()
    rest = {"v_threshold": spread(of["threshold"], shape), "v_reset": np.zeros(shape)}
    beta = spread(of["beta"], shape)
    back = np.asarray(layer.recurrent_w[...]).T if hasattr(layer, "recurrent_w") else None
    if isinstance(layer, layers.CurrentBased):
        tau_syn, w_in = time_constant(spread(of["alpha"], shape), dt, "alpha")
        tau_mem, r = time_constant(beta, dt, "beta")
        return nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau_mem, r=r, w_in=w_in, v_leak=np.zeros(shape), **rest), back
    if (beta == 1).all():
        return nir.IF(r=np.full(shape, 1 / dt), **rest), back
    tau, r = time_constant(beta, dt, "beta")
    return nir.LIF(tau=tau, r=r, v_leak=np.zeros(shape), **rest), back


def spread(parameter: Any, shape: tuple[int, ...]) -> np.ndarray:
    """float64 of one value a neuron; decays are as the kernels clip them where the caller asks for their tau."""
    return np.array(np.broadcast_to(np.asarray(parameter, np.float64), shape))


def time_constant(decay: np.ndarray, dt: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(tau, tau / dt) of a decay per step."""
    decay = np.clip(decay, 0, 1)
    if (decay == 1).any():
        raise ValueError(f"NIR needs a finite time constant, got {name}=1. Use an IF for neurons without a leak.")
    tau = dt / (1 - decay)
    return tau, tau / dt


def check_reset(layer: Any) -> None:
    """ValueError for conventions that NIR's neurons do not have. A reset to zero is the same at once or before the next
    step."""
    c = neuron.conventions(**dict(layer.conventions))
    if c.reset != "zero" or c.emit != "post" or c.reset_again:
        raise ValueError(
            f"NIR's neurons go to a potential when they fire, got reset={c.reset!r}, emit={c.emit!r}, "
            f"reset_again={c.reset_again}. Train with reset='zero' (model.reset=zero)."
        )
    if isinstance(layer, layers.CurrentBased) and c.reset_delay:
        raise ValueError(
            "a current-based neuron with a delayed reset loses an input that NIR's keeps: reset_delay=False."
        )
    if getattr(layer.spike, "at_zero", 0.0):
        raise ValueError("NIR's neurons do not fire at the threshold itself, got a surrogate with at_zero=1.")


def from_nir(graph: nir.NIRGraph, *, dt: float = 1.0, spike: Any = None) -> spyx.nn.Sequential:
    """The layers of a NIR graph that is one chain of linear nodes and neurons, each perhaps fed back by a linear node.

    spike: the surrogate of all neurons, arctan by default. Raises ValueError for other graphs and nodes, a leak or a
    reset to another potential than 0, and time constants below dt.
    """
    names = chain(graph)
    made, rngs = [], nnx.Rngs(0)
    for name in names:
        node = graph.nodes[name]
        if isinstance(node, (nir.Affine, nir.Linear)):
            made.append(linear(node.weight.T, getattr(node, "bias", None), rngs))
            continue
        (back,) = feedback_of(graph, name) or (None,)
        made.append(as_layer(node, back, dt, spike or surrogate.arctan(), rngs))
    return spyx.nn.Sequential(*made)


def feedback_of(graph: nir.NIRGraph, name: str) -> list[np.ndarray]:
    """The weights [out, in] of a linear node that a neuron drives and is driven by."""
    edges = set(graph.edges)
    return [graph.nodes[b].weight for a, b in edges if a == name and (b, a) in edges]


def chain(graph: nir.NIRGraph) -> list[str]:
    """The nodes from input to output, without those that only feed a neuron back."""
    edges = set(graph.edges)
    (name,) = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    names: list[str] = []
    while True:
        after = [b for a, b in edges if a == name and (b, a) not in edges]
        if len(after) != 1:
            raise ValueError(f"the NIR graph must be one chain, got {len(after)} nodes after {name!r}.")
        (name,) = after
        if isinstance(graph.nodes[name], nir.Output):
            return names
        names.append(name)


def as_layer(node: Any, back: np.ndarray | None, dt: float, spike: Any, rngs: nnx.Rngs) -> Any:
    """The layer of a neuron's node. An input weight other than 1 becomes part of the threshold."""
    for name in ("v_leak", "v_reset"):
        if np.any(getattr(node, name, 0)):
            raise ValueError(f"{type(node).__name__}: {name} must be 0, got {getattr(node, name)}.")
    if isinstance(node, nir.LI):
        if not np.allclose(node.r * dt / node.tau, 1):
            raise ValueError("LI: r must be tau / dt.")
        layer = layers.LI(node.tau.shape, beta=0.5, rngs=rngs)
        layer.beta = nnx.Param(decay(node.tau, dt))
        return layer
    kinds = {nir.IF: (layers.IF, layers.RIF), nir.LIF: (layers.LIF, layers.RLIF),
             nir.CubaLIF: (layers.CuBaLIF, layers.RCuBaLIF)}  # fmt: skip
    if type(node) not in kinds:
        raise ValueError(f"no layer for a NIR node {type(node).__name__}.")
    current_based = isinstance(node, nir.CubaLIF)
    gain = node.r * dt / {nir.IF: 1.0, nir.LIF: getattr(node, "tau", 1.0), nir.CubaLIF: getattr(node, "tau_mem", 1.0)}[
        type(node)
    ]  # fmt: skip
    gain = gain * node.w_in * dt / node.tau_syn if current_based else gain
    made: Any = kinds[type(node)][back is not None](
        node.v_threshold.shape, threshold=0.0, activation=spike, learn_threshold=True, rngs=rngs, reset="zero",
        reset_delay=False, detach_reset=False,
    )  # fmt: skip
    made.threshold[...] = jnp.asarray(node.v_threshold / gain, jnp.float32)
    decays: dict[str, Any] = {"beta": getattr(node, "tau_mem", getattr(node, "tau", None))}
    decays |= {"alpha": node.tau_syn} if current_based else {}
    for theirs, _ in made.decays:
        setattr(made, theirs, nnx.Param(decay(decays[theirs], dt)))
    if back is not None:
        made.recurrent_w[...] = jnp.asarray(back.T, jnp.float32)
    return made


def decay(tau: np.ndarray, dt: float) -> jnp.ndarray:
    """1 - dt / tau, float32; ValueError where it is below 0."""
    if np.any(np.asarray(tau) < dt):
        raise ValueError(f"time constants must be at least dt={dt}, got {np.min(tau)}. Pass a smaller dt.")
    return jnp.asarray(1 - dt / np.asarray(tau, np.float64), jnp.float32)
