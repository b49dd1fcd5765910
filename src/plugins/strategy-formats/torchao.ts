/**
 * `FqnToConfig` of torchao (pytorch/ao, quant_api.py) as `config_from_dict` reads it: the integer type of each module's weights.
 */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {asJson, assertNoBinaryWeights, moduleName} from './checks.ts';

const tagged = (type: string, version: number | undefined, data: unknown): object => ({
  _type: type,
  ...(version === undefined ? {} : {_version: version}),
  _data: data,
});

const weightOnly = (bits: number): object =>
  tagged('IntxWeightOnlyConfig', 2, {
    weight_dtype: tagged('torch.dtype', undefined, `int${bits}`),
    granularity: tagged('PerAxis', 1, {axis: 0}),
    mapping_type: tagged('MappingType', undefined, 'SYMMETRIC'),
  });

export const torchao: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'torchao',
  summary: 'FqnToConfig of torchao: the integer type of each module’s weights.',
  extension: 'torchao.json',

  print({layers}, {layers: table}) {
    assertNoBinaryWeights(layers, 'torchao');
    const configs = layers.flatMap(({weightBits}, l) => {
      const layer = table[l];
      return layer === undefined || weightBits === 32 ? [] : [[moduleName(layer, 'torchao'), weightOnly(weightBits)]];
    });
    const integerInputs = layers.some(({activationBits}) => activationBits !== 32);
    const file = tagged('FqnToConfig', 1, {fqn_to_config: Object.fromEntries(configs) as object});
    return {
      text: asJson(file),
      notes: [
        ...(integerInputs ? ['Bits of inputs: weights alone are quantized.'] : []),
        ...(table.some(({op}) => op === 'Conv')
          ? [
              'torchao chooses the steps of a convolution itself: one for each output channel and position in the kernel.',
            ]
          : []),
      ],
    };
  },
};
