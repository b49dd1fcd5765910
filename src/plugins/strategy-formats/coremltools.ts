/**
 * `op_name_configs` of coremltools (coremltools.optimize.coreml, OptimizationConfig.from_yaml). coremltools names a constant after the
 * PyTorch parameter, with underscores for dots. Its uniform look-up tables hold 1, 2, 3, 4, 6 or 8 bits.
 */
import {stringify} from 'yaml';

import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {container, moduleName, widened} from './checks.ts';

export const coremltools: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'coremltools',
  summary: 'The op_name_configs of coremltools: a uniform look-up table for each layer’s weights.',
  extension: 'coremltools.yaml',

  print({layers}, {layers: table}) {
    const quantized = layers.flatMap(({name, weightBits: bits}, l) => {
      const layer = table[l];
      if (layer === undefined || bits === 32) return [];
      return [{name, bits, width: container(bits, [1, 2, 3, 4, 6, 8]), module: moduleName(layer, 'coremltools')}];
    });
    const constants = quantized.map(({module, width}) => [
      `${module.replaceAll(/[^A-Za-z0-9_]/g, '_')}_weight`,
      {nbits: width, mode: 'uniform', granularity: 'per_tensor', weight_threshold: 0},
    ]);
    return {
      text: stringify({
        config_type: 'OpPalettizerConfig',
        op_name_configs: Object.fromEntries(constants) as object,
      }),
      notes: [
        ...widened(quantized),
        ...(layers.some(({activationBits}) => activationBits !== 32)
          ? ['Bits of inputs: weights alone are quantized.']
          : []),
      ],
    };
  },
};
