"""
Computes an exported ONNX file as TensorRT does (its documentation, "Explicit Quantization"; the source of its ONNX importer), without
TensorRT: layers with two dequantized inputs on integers of 8 bits with sums of 32, everything else in float32. What the importer
refuses ends the program.

    python run_tensorrt.py model.onnx test_batch.bin 1000

Needs numpy and onnx. Images: the first records of a file of CIFAR-10. Prints their classes as JSON.
"""
import json
import sys

import numpy as np
import onnx
from onnx import numpy_helper


class Quantized:
    """int8 values with a scale: one, or one for each index of `axis`."""

    def __init__(self, values, scale, axis):
        self.values, self.scale, self.axis = values, scale, axis

    def dequantized(self):
        shape = [1] * self.values.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        return self.values.astype(np.float32) * self.scale.reshape(shape)


def refuse(node, why):
    sys.exit(f"{node.op_type} {node.name}: {why}")


def scale_of(node, scale, zero_point):
    if zero_point.dtype != np.int8:
        refuse(node, f"zero point of {zero_point.dtype}; INT8 is taken")
    if zero_point.any():
        refuse(node, "zero point that is not 0")
    if zero_point.size != scale.size:
        refuse(node, "as many zero points as scales are wanted")
    if not (scale > 0).all():
        refuse(node, "scale that is not positive")
    return scale.astype(np.float32)


def quantize(node, x, scale):
    """Times the reciprocal of the scale, clamped, rounded half to even."""
    return np.rint(np.clip(x * (np.float32(1) / scale), -128, 127)).astype(np.int8)


def exact_type(terms):
    """A float type in which sums of that many products of two 8-bit integers are exact; numpy has no fast products of integers."""
    return np.float32 if terms * 128 * 128 < 2**24 else np.float64


def exact(product):
    """What the accumulator of 32 bits has."""
    if np.abs(product).max(initial=0) >= 2**31:
        sys.exit("a sum does not fit in 32 bits")
    return product.astype(np.int32)


def windows(x, kernel, attributes, outside=0):
    """[N, C, H, W] → [N, C, kh, kw, H', W']"""
    if attributes.get("dilations", [1, 1]) != [1, 1] or attributes.get("ceil_mode", 0):
        sys.exit("these windows are not written here")
    strides = attributes.get("strides", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return view[:, :, :: strides[0], :: strides[1]].transpose(0, 1, 4, 5, 2, 3)


def conv(x, w, attributes):
    """[N, C, H, W] and [O, C / group, kh, kw] → [N, O, H', W']"""
    group = attributes.get("group", 1)
    patches = windows(x, w.shape[2:], attributes)
    n, c, kh, kw, h, width = patches.shape
    patches = patches.reshape(n, group, c // group * kh * kw, h * width)
    w = w.reshape(1, group, w.shape[0] // group, -1)
    return (w @ patches).reshape(n, -1, h, width)


def product(node, attributes, a, b):
    """Of two values of a node: on integers where both are dequantized, else in float32. The bias is added in float32."""
    compute = conv if node.op_type == "Conv" else gemm
    if isinstance(a, Quantized) and isinstance(b, Quantized):
        channels = 1 if node.op_type == "Gemm" and not attributes.get("transB", 0) else 0
        if a.scale.size > 1 or (b.scale.size > 1 and b.axis != channels):
            refuse(node, "an input has one scale, weights have one or one for each output channel")
        kind = exact_type(b.values.size // b.values.shape[channels])
        sums = exact(compute(a.values.astype(kind), b.values.astype(kind), attributes))
        scales = a.scale * b.scale
        return sums.astype(np.float32) * (scales.reshape(-1, 1, 1) if node.op_type == "Conv" else scales)
    return compute(plain(a), plain(b), attributes).astype(np.float32)


def plain(value):
    return value.dequantized() if isinstance(value, Quantized) else value


def gemm(x, w, attributes):
    if attributes.get("transA", 0) or attributes.get("alpha", 1) != 1 or attributes.get("beta", 1) != 1:
        sys.exit("this form of Gemm is not written here")
    return x @ (w.T if attributes.get("transB", 0) else w)


def sliced(x, starts, ends, axes, steps):
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        cut[axis] = slice(int(start), int(end), int(step))
    return x[tuple(cut)]


def padded(x, pads):
    half = len(pads) // 2
    return np.pad(x, [(int(pads[i]), int(pads[half + i])) for i in range(half)])


PLAIN = {
    "Add": lambda a, x, y: x + y,
    "Clip": lambda a, x, low, high: np.clip(x, low, high),
    "Flatten": lambda a, x: x.reshape(x.shape[0], -1),
    "GlobalAveragePool": lambda a, x: x.mean(axis=(2, 3), keepdims=True, dtype=np.float32),
    "MaxPool": lambda a, x: windows(x, a["kernel_shape"], a, -np.inf).max(axis=(2, 3)),
    "Pad": lambda a, x, pads, *_: padded(x, pads),
    "Relu": lambda a, x: np.maximum(x, 0),
    "Slice": lambda a, x, *rest: sliced(x, *rest),
}


def run(graph, values):
    for node in graph.node:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        inputs = [values[name] for name in node.input]
        if node.op_type == "QuantizeLinear":
            result = quantize(node, plain(inputs[0]), scale_of(node, *inputs[1:]))
        elif node.op_type == "DequantizeLinear":
            if inputs[0].dtype != np.int8:
                refuse(node, f"input of {inputs[0].dtype}; INT8 is taken")
            result = Quantized(inputs[0], scale_of(node, *inputs[1:]), attributes.get("axis", 1))
        elif node.op_type in ("Conv", "Gemm"):
            result = product(node, attributes, *inputs[:2])
            if len(inputs) > 2:
                bias = inputs[2]
                if isinstance(bias, Quantized) or bias.dtype != np.float32:
                    refuse(node, "a bias in float is wanted")
                result = result + (bias.reshape(-1, 1, 1) if node.op_type == "Conv" else bias)
        else:
            result = PLAIN[node.op_type](attributes, *map(plain, inputs))
        values[node.output[0]] = result
    return plain(values[graph.output[0].name])


def main(model, records, count):
    file = onnx.load(model)
    graph = file.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    metadata = {each.key: each.value for each in file.metadata_props}
    normalization = json.loads(metadata["sdq.normalization"])
    mean, std = (np.array(normalization[key], np.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
    pixels = np.fromfile(records, np.uint8, int(count) * 3073).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)
    images = ((pixels.astype(np.float32) / 255 - mean) / std).astype(np.float32)
    logits = [run(graph, {**constants, graph.input[0].name: images[i : i + 50]}) for i in range(0, len(images), 50)]
    json.dump({"classes": np.concatenate(logits).argmax(1).tolist()}, sys.stdout)


main(*sys.argv[1:])
