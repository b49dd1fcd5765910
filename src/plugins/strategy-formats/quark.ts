/** `QConfig` of AMD Quark (quark.torch.quantization.config) as `QConfig.from_dict` reads it. */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {asJson, assertNoBinaryWeights, container, formatError, moduleName, widened} from './checks.ts';

const weightWidths = [2, 3, 4, 8];
const unsignedWidths = [2, 4, 8];

const spec = (dtype: string, perChannel: boolean): object => ({
  dtype,
  is_dynamic: false,
  qscheme: perChannel ? 'per_channel' : 'per_tensor',
  ch_axis: perChannel ? 0 : null,
  group_size: null,
  // Inputs of 0 and above have their range on one side.
  symmetric: dtype.startsWith('int'),
  round_method: 'half_even',
  scale_type: 'float',
  observer_cls: perChannel ? 'PerChannelMinMaxObserver' : 'PerTensorMinMaxObserver',
});

const layerConfig = (weight: object | null, input: object | null): object => ({
  input_tensors: input,
  output_tensors: null,
  weight,
  bias: null,
  target_device: null,
});

export const quark: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'quark',
  summary: 'The QConfig of AMD Quark: integer types of each module’s weights and input.',
  extension: 'quark.json',

  print({layers}, {layers: table}) {
    assertNoBinaryWeights(layers, 'Quark');
    const wider: {name: string; bits: number; width: number}[] = [];
    const hold = (name: string, bits: number, widths: readonly number[]): number => {
      const width = container(bits, widths);
      wider.push({name, bits, width});
      return width;
    };
    const configs = layers.flatMap(({name, weightBits, activationBits}, l) => {
      const layer = table[l];
      if (layer === undefined || (weightBits === 32 && activationBits === 32)) return [];
      const {inputSigned} = layer;
      if (activationBits === 1 && inputSigned) {
        throw formatError(`Quark has no signed inputs of 1 bit, as layer "${name}" has.`);
      }
      const weight = weightBits === 32 ? null : spec(`int${hold(`${name} W`, weightBits, weightWidths)}`, true);
      const widths = inputSigned ? weightWidths : unsignedWidths;
      const type = inputSigned ? 'int' : 'uint';
      const input = activationBits === 32 ? null : spec(`${type}${hold(`${name} A`, activationBits, widths)}`, false);
      return [[moduleName(layer, 'Quark'), layerConfig(weight, input)]];
    });
    const file = {
      global_quant_config: layerConfig(null, null),
      layer_type_quant_config: {},
      layer_quant_config: Object.fromEntries(configs) as object,
      exclude: [],
      quant_mode: 'eager_mode',
    };
    return {text: asJson(file), notes: widened(wider)};
  },
};
