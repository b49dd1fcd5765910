/**
 * `quant_cfg` of NVIDIA ModelOpt (modelopt.torch.quantization, QuantizeConfig): an ordered list, whose later entries win. Its names
 * are patterns of fnmatch; whole names stand here, as `*conv1*` would be many layers.
 */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {asJson, assertNoBinaryWeights, formatError, moduleName} from './checks.ts';

export const modelopt: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'modelopt',
  summary: 'The quant_cfg of NVIDIA ModelOpt: bits of each module’s weights and input.',
  extension: 'modelopt.json',

  print({layers}, {layers: table}) {
    assertNoBinaryWeights(layers, 'ModelOpt');
    const entries = layers.flatMap(({weightBits, activationBits}, l) => {
      const layer = table[l];
      if (layer === undefined) return [];
      const module = moduleName(layer, 'ModelOpt');
      if (activationBits === 1 && layer.inputSigned) {
        throw formatError(`ModelOpt has no signed inputs of 1 bit, as layer "${layer.name}" has.`);
      }
      return [
        ...(weightBits === 32
          ? []
          : [{quantizer_name: `${module}.weight_quantizer`, cfg: {num_bits: weightBits, axis: 0}}]),
        ...(activationBits === 32
          ? []
          : [
              {
                quantizer_name: `${module}.input_quantizer`,
                cfg: {num_bits: activationBits, axis: null, unsigned: !layer.inputSigned},
              },
            ]),
      ];
    });
    const file = {quant_cfg: [{quantizer_name: '*', enable: false}, ...entries], algorithm: 'max'};
    return {text: asJson(file), notes: []};
  },
};
