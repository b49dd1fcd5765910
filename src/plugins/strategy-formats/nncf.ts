/**
 * `bitwidth_per_scope` in the configuration of NNCF (openvinotoolkit/nncf): pairs of bits and the place of a quantizer in the PyTorch
 * module, e.g. `ResNet/Sequential[layer1]/BasicBlock[0]/NNCFConv2d[conv1]/conv2d_0|WEIGHT`. The names in brackets are the layer's.
 */
import {item} from '../../lookup.ts';
import {isMapping} from '../../mapping.ts';
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import type {ImportedBits} from '../../plugin-api/strategy-format.ts';
import {assertComplete, assertQuantized, bitwidth, formatError} from './checks.ts';

/** NNCF's own where a config does not say. */
const defaultBits = 8;

/** The first value of a key anywhere in a document, breadth first. */
function find(root: unknown, key: string): unknown {
  let level = [root];
  while (level.length > 0) {
    const objects = level.filter(isMapping);
    const holder = objects.find((value) => Object.hasOwn(value, key));
    if (holder !== undefined) return holder[key];
    level = objects.flatMap((value) => Object.values(value));
  }
  return undefined;
}

/** The bits of `"weights": {"bits": 8}` and of `activations`. */
function defaultOf(config: unknown, key: 'weights' | 'activations', file: string): number {
  const section = find(config, key);
  const bits = isMapping(section) ? section['bits'] : undefined;
  return bits === undefined ? defaultBits : bitwidth(bits, `${file}: ${key}/bits`);
}

export const nncf: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'nncf',
  summary: 'A compression config of NNCF with bitwidth_per_scope.',
  extension: 'nncf.json',

  parse(text, names, file) {
    let config: unknown;
    try {
      config = JSON.parse(text);
    } catch (error) {
      throw formatError(`${file} is not JSON: ${(error as Error).message}.`);
    }
    const entries = find(config, 'bitwidth_per_scope');
    if (!Array.isArray(entries)) throw formatError(`${file}: there is no list "bitwidth_per_scope".`);
    const weights = defaultOf(config, 'weights', file);
    const activations = defaultOf(config, 'activations', file);
    const imported = new Map<string, Required<ImportedBits>>(
      names.map((name) => [name, {weightBits: weights, activationBits: activations}]),
    );
    entries.forEach((entry: unknown, i) => {
      const [bits, scope] = Array.isArray(entry) ? (entry as unknown[]) : [];
      const place = `${file}: bitwidth_per_scope/${i}`;
      if (typeof scope !== 'string')
        throw formatError(`${place}: expected [bits, scope], found ${JSON.stringify(entry)}.`);
      const width = bitwidth(bits, place);
      const name = [...scope.matchAll(/\[([^\]]+)\]/g)].map(([, part]) => part).join('.');
      const layer = imported.get(name);
      if (/\|WEIGHT$/.test(scope)) {
        if (layer === undefined) throw formatError(`${place}: the network has no layer "${name}".`);
        imported.set(name, {...layer, weightBits: width});
      } else if (/\|INPUT\d*$/.test(scope) && layer !== undefined) {
        imported.set(name, {...layer, activationBits: width});
      }
    });
    assertComplete(imported, names, file);
    return imported;
  },

  print({layers}, {graph}) {
    assertQuantized(layers, 'NNCF');
    const names = layers.map(({name}) => name);
    const block = names.some((name) => name.endsWith('.conv3')) ? 'Bottleneck' : 'BasicBlock';
    const most = Math.max(...layers.map(({activationBits}) => activationBits));
    const config = {
      // Of one image: NNCF traces the model with it.
      input_info: {sample_size: [1, ...graph.input.shape]},
      // Its other devices refuse all widths but 8, or 4 and 8.
      target_device: 'TRIAL',
      compression: {
        algorithm: 'quantization',
        activations: {bits: most},
        initializer: {
          precision: {
            type: 'manual',
            bitwidth_per_scope: layers.map(({name, op, weightBits}) => [
              weightBits,
              `${scopeOf(name, op, block)}|WEIGHT`,
            ]),
          },
        },
      },
    };
    const mixed = layers.some(({activationBits}) => activationBits !== most);
    const notes = mixed
      ? [
          `NNCF places the quantizers of activations by its own trace: all have the most bits that the strategy gives any input, ${most}.`,
        ]
      : [];
    return {text: `${JSON.stringify(config, null, 2)}\n`, notes};
  },
};

/** The place of a ResNet's layer, whose classes are those of torchvision. */
function scopeOf(name: string, op: string, block: string): string {
  const parts = name.split('.');
  const classes = parts.map((part, i) => {
    if (i === parts.length - 1) return op === 'Conv' ? 'NNCFConv2d' : 'NNCFLinear';
    if (/^layer\d+$/.test(part) || part === 'downsample') return 'Sequential';
    return i === 1 && /^\d+$/.test(part) ? block : undefined;
  });
  if (classes.includes(undefined) || !/^(conv1|fc|linear|layer\d+\..*)$/.test(name)) {
    throw formatError(
      `A scope of NNCF has the classes of the PyTorch module, which are known for a ResNet; "${name}" is no layer of one.`,
    );
  }
  const scope = parts.map((part, i) => `${item(classes, i)}[${part}]`).join('/');
  return `ResNet/${scope}/${op === 'Conv' ? 'conv2d' : 'linear'}_0`;
}
