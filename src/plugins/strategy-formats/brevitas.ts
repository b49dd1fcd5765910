/** A Python file for Brevitas (Xilinx/brevitas), which has no config file: it replaces the layers of a PyTorch model by quantized ones. */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {assertNoBinaryWeights, formatError, moduleName} from './checks.ts';

const program = (
  rows: readonly string[],
): string => `"""Layers of a strategy for Brevitas: quantize(model) replaces them in a PyTorch model.

The inputs of layers get their ranges from data: calibrate afterwards (brevitas.graph.calibrate), or train.
"""
from torch import nn
import brevitas.nn as qnn
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Uint8ActPerTensorFloat

# Module: (bits of the weights, bits of the input, whether the input can be negative). None is float.
LAYERS = {
${rows.join('\n')}
}


def layer(module, weight_bits, input_bits, signed):
    """The quantized layer in place of an nn.Conv2d or nn.Linear, with its weights."""
    arguments = {"bias": module.bias is not None}
    if weight_bits is None:
        arguments["weight_quant"] = None
    else:
        arguments.update(weight_quant=Int8WeightPerChannelFloat, weight_bit_width=weight_bits)
    if input_bits is not None:
        quantizer = Int8ActPerTensorFloat if signed else Uint8ActPerTensorFloat
        arguments.update(input_quant=quantizer, input_bit_width=input_bits)
    if isinstance(module, nn.Conv2d):
        new = qnn.QuantConv2d(
            module.in_channels, module.out_channels, module.kernel_size, stride=module.stride,
            padding=module.padding, dilation=module.dilation, groups=module.groups, **arguments)
    elif isinstance(module, nn.Linear):
        new = qnn.QuantLinear(module.in_features, module.out_features, **arguments)
    else:
        raise TypeError(f"{type(module).__name__} is neither a Conv2d nor a Linear")
    new.weight.data.copy_(module.weight.data)
    if module.bias is not None:
        new.bias.data.copy_(module.bias.data)
    # The steps of the weights are computed from the weights: again, now that these are the model's.
    if weight_bits is not None:
        new.weight_quant.init_tensor_quant()
    return new.to(module.weight.device).train(module.training)


def quantize(model):
    """Replaces the layers in place; returns the model. Raises AttributeError for a layer that the model does not have."""
    for name, bits in LAYERS.items():
        parent, _, child = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, child, layer(model.get_submodule(name), *bits))
    return model
`;

const python = (bits: number): string => (bits === 32 ? 'None' : String(bits));

export const brevitas: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'brevitas',
  summary: 'A Python file that replaces the layers of a PyTorch model by those of Brevitas.',
  extension: 'brevitas.py',

  print({layers}, {layers: table}) {
    assertNoBinaryWeights(layers, 'The quantizer of Brevitas used here');
    const rows = layers.flatMap(({weightBits, activationBits}, l) => {
      const layer = table[l];
      if (layer === undefined || (weightBits === 32 && activationBits === 32)) return [];
      if (activationBits === 1 && layer.inputSigned) {
        throw formatError(`Brevitas has no signed inputs of 1 bit with a zero, as layer "${layer.name}" has.`);
      }
      const name = JSON.stringify(moduleName(layer, 'Brevitas'));
      return `    ${name}: (${python(weightBits)}, ${python(activationBits)}, ${layer.inputSigned ? 'True' : 'False'}),`;
    });
    return {text: program(rows), notes: []};
  },
};
