/**
 * `HLSConfig` of hls4ml (fastmachinelearning/hls4ml): the precision of each layer's weights as a fixed-point type,
 * `ap_fixed<total bits, integer bits>`. A layer's name has underscores where ours has dots.
 */
import {parse, stringify} from 'yaml';

import {isMapping} from '../../mapping.ts';
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import type {ImportedBits} from '../../plugin-api/strategy-format.ts';
import {assertComplete, bitwidth, formatError} from './checks.ts';

const get = (value: unknown, ...keys: string[]): unknown =>
  keys.reduce<unknown>((node, key) => (isMapping(node) && Object.hasOwn(node, key) ? node[key] : undefined), value);

const hlsName = (name: string): string => name.replaceAll(/[^A-Za-z0-9_]/g, '_');

/** Total bits of a type: `ap_fixed<4,1>`, `fixed<4,1>`, `ap_int<4>`; 32 for `float`. */
function widthOf(type: unknown, place: string): number {
  if (type === 'float') return 32;
  const match = typeof type === 'string' ? /^(?:ap_|ac_)?u?(?:fixed|int)<\s*(\d+)/.exec(type) : null;
  if (match === null) throw formatError(`${place}: expected a type like ap_fixed<4,1>, found ${JSON.stringify(type)}.`);
  return bitwidth(Number(match[1]), place);
}

export const hls4ml: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'hls4ml',
  summary: 'The HLSConfig of hls4ml with the precision of each layer’s weights.',
  extension: 'hls4ml.yaml',

  parse(text, names, file) {
    let config: unknown;
    try {
      config = parse(text, {prettyErrors: false});
    } catch (error) {
      throw formatError(`${file} is not YAML: ${(error as Error).message}`);
    }
    const layers = get(config, 'HLSConfig', 'LayerName');
    const imported = new Map<string, ImportedBits>();
    for (const name of names) {
      const precision = get(layers, hlsName(name), 'Precision');
      const type = get(precision, 'weight') ?? precision;
      if (type === undefined) continue;
      imported.set(name, {weightBits: widthOf(type, `${file}: /HLSConfig/LayerName/${hlsName(name)}/Precision`)});
    }
    assertComplete(imported, names, file);
    return imported;
  },

  print({layers}) {
    const config = {
      HLSConfig: {
        Model: {Precision: 'ap_fixed<16,6>', ReuseFactor: 1},
        LayerName: Object.fromEntries(
          layers.map(({name, weightBits}) => [
            hlsName(name),
            {Precision: {weight: weightBits === 32 ? 'float' : `ap_fixed<${weightBits},1>`}},
          ]),
        ),
      },
    };
    return {
      text: stringify(config),
      notes: [
        'The types hold weights of −1 to 1: the scales of the network are to be folded into the layer that follows.',
        'Precision of activations belongs to layers of their own in hls4ml and is not written.',
      ],
    };
  },
};
