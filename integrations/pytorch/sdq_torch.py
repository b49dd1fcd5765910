"""Networks of `sdq` in PyTorch: train them there at the bits of a strategy, or run what `sdq train` made.

    import sdq_torch

    sdq_torch.apply_strategy(model, "strategy.json", calibration=images)   # search in sdq, train here
    sdq_torch.load_quantized(model, "quantized.safetensors")               # trained in sdq, run or trained on here
    loss = task_loss + 0.1 * sdq_torch.bin_regularization(model)
    sdq_torch.save(model, "trained.safetensors")                           # for sdq evaluate, sdq export, sdq verify

Needs torch (2.0 or later) and safetensors. Weights become parametrizations of their modules, inputs pass a forward pre-hook;
optimizers, DistributedDataParallel, deepcopy, state_dict and Lightning see ordinary parameters. All grids are uniform:

    value = step * (clip(round_half_even(x / step - offset), qmin, qmax) + offset)

Grids, steps and gradients are those of docs/method.md; LSQ: Esser et al., 2020; PACT: Choi et al., 2018; DoReFa: Zhou et al.,
2016; entropy: N2UQ, Liu et al., 2022; straight-through gradients: Bengio et al., 2013.
"""

import json
import re
from dataclasses import dataclass

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

FULL_PRECISION = 32
#: Learned steps and ranges never fall below it.
MINIMUM_STEP = 1e-8
FORMULA = "step * (clip(round_half_even(x / step - offset), qmin, qmax) + offset)"
TANH = "tanh(w) / max(abs(tanh(w)))"

#: Steps with the least squared error for a unit Gaussian, 1 to 8 bits: times the root mean square of the weights.
FULL_RANGE = (1.59577, 1.04839, 0.60182, 0.33861, 0.18879, 0.10418, 0.056887, 0.030765)
NARROW_RANGE = (1.59577, 1.22401, 0.65077, 0.35341, 0.19325, 0.10549, 0.057261, 0.03087)
MID_RISE = (1.59577, 0.99559, 0.586, 0.33517, 0.188, 0.104, 0.056833, 0.030767)


class SdqError(ValueError):
    """A file, a strategy or a model that does not fit; the message says what was expected."""


@dataclass(frozen=True)
class Grid:
    """Levels step * (q + offset) for the whole numbers q from qmin to qmax."""

    bits: int
    qmin: int
    qmax: int
    offset: float


@dataclass(frozen=True)
class Gradient:
    """`input`: "identity" everywhere, or "clipped" to the grid's range. `scale`: "lsq", "clip" (PACT) or "none"."""

    input: str
    scale: str
    gradientScale: float


def _positive(value):
    """At least MINIMUM_STEP; the gradient passes. Nothing is changed in place, as a graph may hold the parameter."""
    return value + (value.clamp(min=MINIMUM_STEP) - value).detach()


def _signed(bits):
    return Grid(bits, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0.5 if bits == 1 else 0)


def _narrow(bits):
    return Grid(bits, -1, 0, 0.5) if bits == 1 else Grid(bits, 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1, 0)


def _half(bits):
    return Grid(bits, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0.5)


def _unsigned(bits):
    return Grid(bits, 0, 2**bits - 1, 0)


def _rms(w, per_channel):
    return (w.flatten(1).square().mean(1) if per_channel else w.square().mean()).sqrt()


@dataclass(frozen=True)
class _WeightQuantizer:
    grid: object
    #: Step from the transformed weights [out, ...] and the bits: [out], or [] for the whole layer.
    step: object
    learned: bool = True
    gradient: str = "identity"
    of: str = "w"


WEIGHT_QUANTIZERS = {
    "symmetric": _WeightQuantizer(_signed, lambda w, b: FULL_RANGE[b - 1] * _rms(w, True)),
    "narrow": _WeightQuantizer(_narrow, lambda w, b: NARROW_RANGE[b - 1] * _rms(w, True)),
    "narrow-per-tensor": _WeightQuantizer(_narrow, lambda w, b: NARROW_RANGE[b - 1] * _rms(w, False)),
    "mid-rise": _WeightQuantizer(_half, lambda w, b: MID_RISE[b - 1] * _rms(w, True)),
    "dorefa": _WeightQuantizer(_half, lambda w, b: w.new_tensor(2 / (2**b - 1)), learned=False, of=TANH),
    "entropy": _WeightQuantizer(
        _half, lambda w, b: w.flatten(1).abs().mean(1) * 2.0 ** (2 - b), learned=False, gradient="clipped"
    ),
}


def _statistic_step(quantizer, w, bits):
    return quantizer.step(w, bits).clamp(min=MINIMUM_STEP)


# sdq's half-integer grids have their thresholds 2^-17 of a step below the middle between two levels.
TIE_SHIFT = 2.0**-16


def _grid_index(z, grid):
    """The level of z = x / step - offset."""
    return torch.round(z + grid.offset * TIE_SHIFT).clamp(grid.qmin, grid.qmax)


class _FakeQuantize(torch.autograd.Function):
    """Rounds x to the grid; `step` broadcasts against x. Gradients: `Gradient`."""

    @staticmethod
    def forward(ctx, x, step, grid, gradient):
        ctx.save_for_backward(x, step)
        ctx.grid, ctx.gradient = grid, gradient
        q = _grid_index(x / step - grid.offset, grid)
        return step * (q + grid.offset)

    @staticmethod
    def backward(ctx, dy):
        (x, step), grid, gradient = ctx.saved_tensors, ctx.grid, ctx.gradient
        z = x / step - grid.offset
        above, below = z > grid.qmax, z < grid.qmin
        inside = ~(above | below)
        dx = dy if gradient.input == "identity" else dy * inside
        if gradient.scale == "none" or not ctx.needs_input_grad[1]:
            return dx, None, None, None
        slope = above * (grid.qmax + grid.offset) + below * (grid.qmin + grid.offset)
        if gradient.scale == "lsq":
            slope = slope + inside * (_grid_index(z, grid) - z)
        return dx, (dy * slope).sum_to_size(step.shape) * gradient.gradientScale, None, None


class WeightQuantizer(nn.Module):
    """Parametrization of a layer's `weight`, [out, ...]. The step is a parameter, or comes from the weights' statistics."""

    def __init__(self, grid, gradient, of, step, statistic=None):
        super().__init__()
        if of not in ("w", TANH):
            raise SdqError(f'The weights are rounded after "{of}"; this file knows "w" and "{TANH}".')
        self.grid, self.gradient, self.of, self.statistic = grid, gradient, of, statistic
        #: Steps from statistics are those of a file until the network is trained on.
        self.from_file = False
        if gradient.scale == "none":
            self.register_buffer("step", step.detach().clone())
        else:
            self.step = nn.Parameter(step.detach().clone())

    @property
    def learned(self):
        return isinstance(self.step, nn.Parameter)

    def train(self, mode=True):
        self.from_file = self.from_file and not mode
        return super().train(mode)

    def transform(self, w):
        """Into the space in which the grid is uniform."""
        if self.of == "w":
            return w
        t = torch.tanh(w)
        return t / t.abs().amax().clamp(min=1e-30)

    def broadcast_step(self, t):
        """The step for the transformed weights t: [out, 1, ...] or []."""
        if self.learned:
            step = _positive(self.step)
        elif self.statistic is None or self.from_file:
            step = self.step
        else:
            with torch.no_grad():
                step = _statistic_step(self.statistic, t, self.grid.bits)
                self.step.copy_(step)
        return step if step.dim() == 0 else step.view(-1, *[1] * (t.dim() - 1))

    def forward(self, w):
        t = self.transform(w)
        return _FakeQuantize.apply(t, self.broadcast_step(t), self.grid, self.gradient)

    def bin_regularizer(self, w):
        """L_EBR of one layer (docs/method.md, equation 10 of SDQ): differentiable in w, steps and bins held."""
        t = self.transform(w)
        step = self.broadcast_step(t).detach()
        with torch.no_grad():
            q = _grid_index(t / step - self.grid.offset, self.grid)
            bins = (q - self.grid.qmin).long().flatten()
            square = step.square().expand_as(t).flatten()
        d = (t / step - (q + self.grid.offset)).flatten()
        count = t.new_zeros(self.grid.qmax - self.grid.qmin + 1)

        def in_bin(values):
            return count.new_zeros(count.shape).index_add(0, bins, values)

        with torch.no_grad():
            count = in_bin(torch.ones_like(d))
            total = in_bin(square)
            mean = in_bin(square * d) / torch.where(total > 0, total, 1)
            share = torch.where(count >= 2, count / t.numel() / (count - 1).clamp(min=1), 0)
        distance = (square * d.square()).mean()
        variance = (in_bin(square * (d - mean[bins]).square()) * share).sum()
        return (distance + variance) / t.detach().square().mean().clamp(min=1.2e-38)


class InputQuantizer(nn.Module):
    """Rounds a layer's input. The parameter `range` is the step (LSQ), or the clipping value qmax * step (PACT)."""

    def __init__(self, grid, gradient, signed, value):
        super().__init__()
        self.grid, self.gradient, self.signed = grid, gradient, signed
        self.range = nn.Parameter(torch.as_tensor(value, dtype=torch.float32).detach().clone())

    @property
    def step(self):
        value = _positive(self.range)
        return value / self.grid.qmax if self.gradient.scale == "clip" else value

    def forward(self, x):
        return _FakeQuantize.apply(x, self.step, self.grid, self.gradient)


def _quantize_input(module, args):
    return (module.sdq_input(args[0]), *args[1:])


# ------------------------------------------------------------------------------------------------------------- from files


def _common(name):
    """One name for what is called differently: DataParallel's prefix, and torchvision's `fc` and `downsample`."""
    name = re.sub(r"^module\.", "", name)
    return re.sub(r"^fc(?=\.|$)", "linear", re.sub(r"(^|\.)downsample\.", r"\1shortcut.", name))


def _unwrapped(model):
    """The model inside DistributedDataParallel and torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


def _layers(model, names):
    """The modules of the layers, by the strategy's names."""
    if any(isinstance(module, WeightQuantizer) for module in model.modules()):
        raise SdqError("The model is quantized already: begin with a fresh one.")
    modules = {_common(name): module for name, module in model.named_modules()}
    found = {}
    for name in names:
        module = modules.get(_common(name))
        if module is None:
            raise SdqError(f'The model has no module "{name}". Its modules: {", ".join(n for n in modules if n)}.')
        if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            raise SdqError(f'"{name}" is a {type(module).__name__}; convolutions and Linear are quantized.')
        found[name] = module
    return found


def _attach(module, weights, inputs, shared):
    """`shared`: quantizers of the weights so far, by identity of the parameter: tied weights have one."""
    if weights is not None:
        weights = shared.setdefault(id(module.weight), weights)
        parametrize.register_parametrization(module, "weight", weights.to(module.weight.device), unsafe=True)
    if inputs is not None:
        module.add_module("sdq_input", inputs.to(module.weight.device))
        module.register_forward_pre_hook(_quantize_input)


def _read_strategy(strategy):
    if not isinstance(strategy, dict):
        with open(strategy, encoding="utf-8") as file:
            strategy = json.load(file)
    _refuse_products([layer["name"] for layer in strategy["layers"] if _is_rounded_product(layer)])
    return strategy


def _is_rounded_product(layer):
    return layer.get("product", False) and min(layer["weightBits"], layer["activationBits"]) < FULL_PRECISION


def _refuse_products(names):
    if names:
        raise SdqError(
            f'Products of two activations are no modules, so their inputs cannot be rounded here: "{", ".join(names)}".'
            " Train with search.attentionBits: 32, which leaves them in full precision."
        )


def _check_bits(layer):
    for key in ("weightBits", "activationBits"):
        bits = layer[key]
        if not (isinstance(bits, int) and (1 <= bits <= 8 or bits == FULL_PRECISION)):
            raise SdqError(f'Layer "{layer["name"]}": {key} is {bits!r}; 1 to 8, or 32 for full precision.')


def apply_strategy(model, strategy, calibration=None, signed=None, learn_steps=True):
    """Quantizes `model` in place at the bits of a strategy, ready to be trained. Returns the model.

    strategy: path of a strategy.json, or its content.
    calibration: a batch of the model's input, on its device; needed where the strategy rounds inputs. The ranges start
        from it as sdq's do from 256 training images: the step with the least error.
    signed: names of the layers whose input can be negative. Left out: those that read the model's own input, and those
        that see a negative value in `calibration`.
    learn_steps: learn the steps of the weights (LSQ), or take them from the weights' statistics in every step.
    """
    strategy = _read_strategy(strategy)
    names = strategy["quantizers"]
    quantizer = WEIGHT_QUANTIZERS.get(names["weights"])
    if quantizer is None or names["activations"] not in ("pact", "lsq"):
        raise SdqError(f"Quantizers {names}: known are {', '.join(WEIGHT_QUANTIZERS)}; pact, lsq.")
    inner = _unwrapped(model)
    layers = [layer for layer in strategy["layers"] if not layer.get("product", False)]
    modules = _layers(inner, [layer["name"] for layer in layers])
    for layer in layers:
        _check_bits(layer)
    rounded = {layer["name"]: modules[layer["name"]] for layer in layers if layer["activationBits"] < 32}
    samples = _sample_inputs(inner, rounded, calibration, signed)
    shared = {}
    for layer in layers:
        name, bits = layer["name"], layer["weightBits"]
        module, weights, inputs = modules[name], None, None
        if bits < FULL_PRECISION:
            weights = _new_weights(quantizer, module.weight.detach(), bits, learn_steps and quantizer.learned)
        if name in samples:
            inputs = _new_input(names["activations"], layer["activationBits"], *samples[name])
        _attach(module, weights, inputs, shared)
    inner.sdq_strategy = strategy
    return model


def _new_weights(quantizer, weight, bits, learn):
    grid = quantizer.grid(bits)
    probe = WeightQuantizer(grid, Gradient("identity", "none", 1.0), quantizer.of, torch.zeros(()))
    step = _statistic_step(quantizer, probe.transform(weight), bits)
    scale = (weight.numel() / step.numel() * max(1, grid.qmax)) ** -0.5
    gradient = Gradient(quantizer.gradient, "lsq", scale) if learn else Gradient(quantizer.gradient, "none", 1.0)
    return WeightQuantizer(grid, gradient, quantizer.of, step, quantizer)


def _new_input(name, bits, sample, signed, features):
    pact = name == "pact" and not signed
    grid = _signed(bits) if signed else _unsigned(bits)
    step = optimal_step(sample, grid)
    if pact:
        return InputQuantizer(grid, Gradient("clipped", "clip", 1.0), signed, step * grid.qmax)
    scale = (features * max(1, grid.qmax)) ** -0.5
    return InputQuantizer(grid, Gradient("clipped", "lsq", scale), signed, step)


def optimal_step(sample, grid):
    """The step with the least sum of |x - Q(x)| ** 2.4: 64 parts of the step that just covers the sample, then 31 around the best."""
    sample = sample.double()
    top, bottom = grid.qmax + grid.offset, grid.qmin + grid.offset
    reach = max(top, -bottom)
    largest = sample.abs().max().item()
    if largest == 0:
        return 1 / reach
    part = largest / reach / 64

    def error(step):
        q = (torch.floor(sample / step - grid.offset + 0.5) + grid.offset).clamp(bottom, top)
        return (sample - q * step).abs().pow(2.4).sum().item()

    coarse = min((k * part for k in range(1, 65)), key=error)
    return min((coarse, *(coarse + k / 16 * part for k in range(-15, 16))), key=error)


def _sample_inputs(model, modules, calibration, signed, limit=16384):
    """[values, can be negative, values a sample] of each module's input in full precision."""
    if not modules:
        return {}
    if calibration is None:
        raise SdqError("The strategy rounds inputs of layers: give a batch of the model's input as `calibration`.")
    unknown = set(signed or ()) - set(modules)
    if unknown:
        raise SdqError(f"`signed` names {sorted(unknown)}, whose inputs are not rounded: {', '.join(modules)}.")
    samples = {}

    def hook(name):
        def see(_, args):
            x = args[0]
            values = x.flatten()
            own = x.data_ptr() == calibration.data_ptr() and x.shape == calibration.shape
            negative = own or bool((x < 0).any()) if signed is None else name in signed
            samples[name] = (values[:: -(-values.numel() // limit)].detach(), negative, x[0].numel())

        return see

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(calibration)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    missing = [name for name in modules if name not in samples]
    if missing:
        raise SdqError(f"The model does not run {', '.join(missing)}: their inputs cannot be calibrated.")
    return samples


def load_quantized(model, path):
    """Loads a file of `sdq train`, of `sdq export --format safetensors` or of `save` into `model`, in place.

    The model must have the layers of the file's network under the same names (`fc`/`linear` and `downsample`/`shortcut`
    are the same). It computes what sdq computes, and can be trained on. Returns the model.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if "sdq.strategy" not in metadata:
        raise SdqError(f"{path} is a network in full precision: load it with safetensors and apply_strategy.")
    if "sdq.quantization" not in metadata:
        raise SdqError(
            f"{path} was written by an earlier sdq and does not say how inputs are rounded: write it anew with"
            f" `sdq export --checkpoint {path} --format safetensors`."
        )
    strategy, record = json.loads(metadata["sdq.strategy"]), json.loads(metadata["sdq.quantization"])
    if record.get("version") != 1:
        raise SdqError(f"{path}: /sdq.quantization/version is {record.get('version')!r}; this sdq_torch.py reads 1.")
    products = {name: layer for name, layer in record["layers"].items() if layer["tensor"] is None}
    _refuse_products([name for name, layer in products.items() if layer["input"] or layer["second"]])
    inner = _unwrapped(model)
    layers = {name: layer for name, layer in record["layers"].items() if name not in products}
    modules = _layers(inner, layers)
    known = inner.state_dict()
    constants = {name: tensors[name] for name in record.get("constants", []) if name in tensors and name not in known}
    weights = {n: t for n, t in tensors.items() if not n.endswith(_VALUES) and n not in constants}
    _load_tensors(inner, path, weights)
    shared = {}
    for name, layer in layers.items():
        weights = inputs = None
        if layer["weights"] is not None:
            grid, gradient = _grid(layer["weights"])
            statistic = WEIGHT_QUANTIZERS.get(strategy["quantizers"]["weights"])
            of, step = layer["weights"]["of"], _tensor(tensors, f"{name}.weight_step", path)
            weights = WeightQuantizer(grid, gradient, of, step, statistic)
        if layer["input"] is not None:
            grid, gradient = _grid(layer["input"])
            value = _tensor(tensors, f"{name}.input_range", path)
            inputs = InputQuantizer(grid, gradient, layer["input"]["signed"], value)
            step = _tensor(tensors, f"{name}.input_step", path)
            if not torch.isclose(inputs.step, step, rtol=1e-5):
                raise SdqError(f"{path}: {name}.input_step is {step.item()}; its range gives {inputs.step.item()}.")
        _attach(modules[name], weights, inputs, shared)
        if weights is not None:
            weights.from_file = True
    inner.sdq_strategy = strategy
    # For `save`: what the file has and the modules do not.
    inner.sdq_constants, inner.sdq_products = constants, products
    return model


_VALUES = (".weight_step", ".input_range", ".input_step")


def _tensor(tensors, name, path):
    if name not in tensors:
        raise SdqError(f'{path} has no tensor "{name}".')
    return tensors[name]


def _grid(part):
    gradient = part["gradient"]
    return (
        Grid(part["bits"], part["qmin"], part["qmax"], part["offset"]),
        Gradient(gradient["input"], gradient["scale"], gradient["gradientScale"]),
    )


def _load_tensors(model, path, tensors):
    own = {_common(name): name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    found = {_common(name): tensor for name, tensor in tensors.items()}
    missing, unexpected = own.keys() - found.keys(), found.keys() - own.keys()
    if missing or unexpected:
        raise SdqError(
            f"{path} does not fit the model: missing {sorted(own[n] for n in missing)}, unexpected {sorted(unexpected)}."
        )
    model.load_state_dict({own[name]: tensor for name, tensor in found.items()}, strict=False)


# ----------------------------------------------------------------------------------------------------------- in training


def quantized_layers(model):
    """(name, module) of the layers of the strategy, in its order."""
    model = _unwrapped(model)
    strategy = getattr(model, "sdq_strategy", None)
    if strategy is None:
        raise SdqError("The model is not quantized: apply_strategy or load_quantized comes first.")
    modules = {_common(name): module for name, module in model.named_modules()}
    layers = [layer["name"] for layer in strategy["layers"] if not layer.get("product", False)]
    return [(name, modules[_common(name)]) for name in layers]


def _weight_quantizer(module):
    if not parametrize.is_parametrized(module, "weight"):
        return None
    return next((p for p in module.parametrizations.weight if isinstance(p, WeightQuantizer)), None)


def bin_regularization(model):
    """L_EBR, the entropy-aware bin regularizer over all layers, a scalar: add it times 0.1, risen over the first epochs."""
    losses = [
        quantizer.bin_regularizer(module.parametrizations.weight.original)
        for _, module in quantized_layers(model)
        if (quantizer := _weight_quantizer(module)) is not None
    ]
    return torch.stack(losses).sum() if losses else torch.zeros(())


def parameter_groups(model, lr, weight_decay, scale_lr=None):
    """Groups for an optimizer as sdq has them: weights decay; biases, normalisation, steps and ranges do not.

    scale_lr: learning rate of steps and ranges; `lr` where left out.
    """
    inner = _unwrapped(model)
    scales = {
        id(parameter)
        for module in inner.modules()
        if isinstance(module, (WeightQuantizer, InputQuantizer))
        for parameter in module.parameters(recurse=False)
    }
    parameters = [parameter for parameter in inner.parameters() if parameter.requires_grad]
    others = [parameter for parameter in parameters if id(parameter) not in scales]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "lr": lr, "weight_decay": 0.0},
        {
            "params": [p for p in parameters if id(p) in scales],
            "lr": lr if scale_lr is None else scale_lr,
            "weight_decay": 0.0,
        },
    ]
    return [group for group in groups if group["params"]]


# --------------------------------------------------------------------------------------------------------------- to files


def _record(grid, gradient, **more):
    return {**vars(grid), **more, "gradient": dict(vars(gradient))}


def save(model, path):
    """Writes the model as `sdq train` does: weights before rounding, steps, ranges, strategy and how all is rounded."""
    inner = _unwrapped(model)
    layers = quantized_layers(inner)
    own = {name: tensor for name, tensor in inner.state_dict().items() if _is_plain(name)}
    tensors = {name.replace(".parametrizations.weight.original", ".weight"): t for name, t in own.items()}
    record = {}
    for name, module in layers:
        weights, inputs = _weight_quantizer(module), getattr(module, "sdq_input", None)
        record[name] = {"tensor": f"{name}.weight", "weights": None, "input": None}
        if weights is not None:
            with torch.no_grad():
                step = weights.broadcast_step(weights.transform(module.parametrizations.weight.original))
            record[name]["weights"] = _record(weights.grid, weights.gradient, of=weights.of)
            tensors[f"{name}.weight_step"] = step.reshape(weights.step.shape)
        if inputs is not None:
            record[name]["input"] = _record(inputs.grid, inputs.gradient, signed=inputs.signed)
            tensors[f"{name}.input_range"] = _positive(inputs.range)
            tensors[f"{name}.input_step"] = inputs.step
    constants = getattr(inner, "sdq_constants", {})
    tensors.update(constants)
    quantization = {"version": 1, "formula": FORMULA, "layers": {**record, **getattr(inner, "sdq_products", {})}}
    if constants:
        quantization["constants"] = list(constants)
    metadata = {
        "format": "pt",
        "sdq.strategy": json.dumps(inner.sdq_strategy),
        "sdq.quantization": json.dumps(quantization),
    }
    stored = {name: tensor.detach().cpu().float().contiguous().clone() for name, tensor in tensors.items()}
    save_file(stored, path, metadata)


def _is_plain(name):
    if name.endswith("num_batches_tracked") or ".sdq_input." in f".{name}":
        return False
    return ".parametrizations.weight." not in f".{name}" or name.endswith("original")
