/**
 * A bit configuration of HAWQ (Yao et al., 2021; Zhen-Dong/HAWQ, bit_config.py): the dictionary of one ResNet, from the names of its
 * quantized modules to bits. The modules have the names of pytorchcv: `stage1.unit2.quant_convbn1` is `layer1.1.conv1`.
 */
import {parse} from 'yaml';

import {item} from '../../lookup.ts';
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import type {ImportedBits} from '../../plugin-api/strategy-format.ts';
import {assertComplete, assertQuantized, bitwidth, formatError} from './checks.ts';

/** Names of the modules that hold a layer's weights, and of the one that quantizes its input. */
interface Modules {
  /** HAWQ has two for the first layer: of networks with two convolutions a block, and with three. */
  readonly weights: readonly string[];
  readonly activations: string;
}

/** Undefined for a layer that is not one of a ResNet. */
function modulesOf(name: string): Modules | undefined {
  if (name === 'conv1') return {weights: ['quant_init_block_convbn', 'quant_init_convbn'], activations: 'quant_input'};
  if (name === 'fc' || name === 'linear') return {weights: ['quant_output'], activations: 'quant_act_output'};
  const match = /^layer(\d+)\.(\d+)\.(?:conv([123])|downsample\.0)$/.exec(name);
  if (match === null) return undefined;
  const unit = `stage${item(match, 1)}.unit${Number(match[2]) + 1}`;
  if (match[3] === undefined) return {weights: [`${unit}.quant_identity_convbn`], activations: `${unit}.quant_act`};
  const before = match[3] === '1' ? '' : String(Number(match[3]) - 1);
  return {weights: [`${unit}.quant_convbn${match[3]}`], activations: `${unit}.quant_act${before}`};
}

function residualModules(names: readonly string[]): {names: readonly string[]; modules: readonly Modules[]} {
  const modules = names.map((name) => {
    const modulesOfLayer = modulesOf(name);
    if (modulesOfLayer === undefined)
      throw formatError(`A bit configuration of HAWQ is of a ResNet; "${name}" is no layer of one.`);
    return modulesOfLayer;
  });
  return {names, modules};
}

export const hawq: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'hawq',
  summary: 'The dictionary of one ResNet in HAWQ’s bit_config.py.',
  extension: 'hawq.json',

  parse(text, names, file) {
    let config: unknown;
    try {
      // A Python dictionary of strings and numbers is YAML too.
      config = parse(text, {prettyErrors: false});
    } catch (error) {
      throw formatError(`${file} is no dictionary: ${(error as Error).message}`);
    }
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw formatError(`${file}: expected a dictionary of module names and bits.`);
    }
    const bits = new Map(Object.entries(config));
    const imported = new Map<string, ImportedBits>();
    const {modules} = residualModules(names);
    names.forEach((name, l) => {
      const {weights, activations} = item(modules, l);
      const key = weights.find((module) => bits.has(module));
      if (key === undefined) return;
      imported.set(name, {
        weightBits: bitwidth(bits.get(key), `${file}: ${key}`),
        activationBits: bitwidth(bits.get(activations), `${file}: ${activations}`),
      });
    });
    assertComplete(imported, names, file);
    return imported;
  },

  print({layers}) {
    assertQuantized(layers, 'HAWQ');
    const {modules} = residualModules(layers.map(({name}) => name));
    const threeConvolutions = layers.some(({name}) => name.endsWith('.conv3'));
    const config: Record<string, number> = {};
    const notes: string[] = [];
    layers.forEach(({name, weightBits, activationBits}, l) => {
      const {weights, activations} = item(modules, l);
      config[item(weights, threeConvolutions ? weights.length - 1 : 0)] = weightBits;
      const known = config[activations];
      if (known !== undefined && known !== activationBits) {
        notes.push(
          `${activations} serves several layers and has the most bits of them, ${Math.max(known, activationBits)} for "${name}" too.`,
        );
      }
      config[activations] = Math.max(known ?? 0, activationBits);
    });
    // Sums of residual branches, which HAWQ keeps at 16 bits in all of its configurations.
    const units = new Set(Object.keys(config).flatMap((key) => /^stage\d+\.unit\d+/.exec(key) ?? []));
    for (const place of ['', ...[...units].map((unit) => `${unit}.`)]) config[`${place}quant_act_int32`] = 16;
    return {text: `${JSON.stringify(config, null, 2)}\n`, notes};
  },
};
