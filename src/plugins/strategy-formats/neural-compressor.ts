/**
 * `RTNConfig` of Intel neural-compressor (neural_compressor.torch.quantization): round to nearest, a width for each linear layer. It
 * quantizes no convolution.
 */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {asJson, assertNoBinaryWeights, formatError, moduleName} from './checks.ts';

export const neuralCompressor: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'neural-compressor',
  summary: 'The RTNConfig of Intel neural-compressor: bits of each linear layer’s weights.',
  extension: 'neural-compressor.json',

  print({layers}, {layers: table}) {
    const linear = layers.filter(({weightBits}, l) => weightBits !== 32 && table[l]?.op !== 'Conv');
    const convolutions = layers.filter(({weightBits}, l) => weightBits !== 32 && table[l]?.op === 'Conv');
    if (linear.length === 0) {
      throw formatError('neural-compressor gives bits to linear layers; the strategy quantizes none.');
    }
    assertNoBinaryWeights(linear, 'neural-compressor');
    const byName = new Map(table.map((layer) => [layer.name, layer]));
    const local = linear.flatMap(({name, weightBits}) => {
      const layer = byName.get(name);
      if (layer === undefined) return [];
      // -1: one group, so one step for each output channel.
      const config = {dtype: 'int', bits: weightBits, use_sym: true, group_size: -1};
      return [[moduleName(layer, 'neural-compressor'), config]];
    });
    return {
      text: asJson({global: {dtype: 'fp32'}, local: Object.fromEntries(local) as object}),
      notes: [
        ...(convolutions.length === 0
          ? []
          : [`Convolutions stay in float: ${convolutions.map(({name}) => name).join(', ')}.`]),
        ...(linear.some(({activationBits}) => activationBits !== 32)
          ? ['Bits of inputs: weights alone are quantized.']
          : []),
      ],
    };
  },
};
