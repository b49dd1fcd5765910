import {describe, expect, test} from '@jest/globals';

import {parseDarknet} from '../../../src/graph/darknet.ts';
import {resnetCifar} from '../../../src/plugins/models/resnet-cifar.ts';
import {yolov4Tiny} from '../../../src/plugins/models/yolov4-tiny.ts';

const graph = yolov4Tiny.build({classes: 3, inputShape: [3, 32, 32]}, {});

/** Layers of yolov4-tiny.cfg: [channels in, channels out, kernel, batch-norm], in its order. */
const layers = (classes: number): readonly (readonly [number, number, number, boolean])[] => [
  [3, 32, 3, true],
  [32, 64, 3, true],
  ...[64, 128, 256].flatMap((channels) => [
    [channels, channels, 3, true] as const,
    [channels / 2, channels / 2, 3, true] as const,
    [channels / 2, channels / 2, 3, true] as const,
    [channels, channels, 1, true] as const,
  ]),
  [512, 512, 3, true],
  [512, 256, 1, true],
  [256, 512, 3, true],
  [512, 3 * (5 + classes), 1, false],
  [256, 128, 1, true],
  [384, 256, 3, true],
  [256, 3 * (5 + classes), 1, false],
];

/** A file whose every number tells its layer and its kind: 100 · layer + 0 β (or bias), 1 γ, 2 mean, 3 variance, 4 filter. */
function file(classes: number, [major, minor]: readonly [number, number] = [0, 2]): Uint8Array {
  const parts = layers(classes).flatMap(([from, to, kernel, norm], layer) => [
    ...[0, 1, 2, 3].slice(0, norm ? 4 : 1).map((kind) => new Float32Array(to).fill(100 * layer + kind)),
    new Float32Array(from * to * kernel * kernel).fill(100 * layer + 4),
  ]);
  const header = new Int32Array(10 * major + minor >= 2 ? 5 : 4);
  header.set([major, minor]);
  return Buffer.concat([header, ...parts].map(({buffer}) => Buffer.from(buffer)));
}

describe('darknet’s weights of yolov4-tiny', () => {
  test.each([
    [0, 1],
    [0, 2],
  ] as const)('each number goes to its layer and its kind, version %i.%i', (major, minor) => {
    const weights = parseDarknet(graph, file(3, [major, minor]), 'tiny.weights', false);
    expect(weights.size).toBe(graph.parameters.length);
    const convs = graph.nodes.filter(({op}) => op === 'Conv');
    expect(convs).toHaveLength(21);
    convs.forEach(({name}, layer) => {
      const expected = (suffix: string, kind: number): void => {
        const values = weights.get(suffix)!.data;
        expect([values[0], values.at(-1)]).toEqual([100 * layer + kind, 100 * layer + kind]);
      };
      expected(`${name}.weight`, 4);
      if (name.startsWith('head')) {
        expected(`${name}.bias`, 0);
        return;
      }
      const norm = name.replace(/conv$/, 'norm');
      expected(`${norm}.bias`, 0);
      expected(`${norm}.weight`, 1);
      expected(`${norm}.running_mean`, 2);
      expected(`${norm}.running_var`, 3);
    });
  });

  test('of other classes: refused with both sizes, or taken but for the heads', () => {
    const bytes = file(80);
    const ours = bytes.length - 4 * 3 * 77 * (512 + 1 + 256 + 1);
    expect(() => parseDarknet(graph, bytes, 'coco.weights', false)).toThrow(
      `coco.weights has ${bytes.length} bytes; the weights of yolov4-tiny take ${ours}`,
    );
    const weights = parseDarknet(graph, bytes, 'coco.weights', true);
    expect(weights.size).toBe(graph.parameters.length - 4);
    expect(weights.get('up.last.conv.weight')!.data.at(-1)).toBe(1904);
    expect(weights.has('head1.bias')).toBe(false);
  });

  test('cut, too short for a header, or for a network with other layers: refused', () => {
    expect(() => parseDarknet(graph, file(3).subarray(0, -4), 'a.weights', false)).toThrow(/a\.weights has \d+ bytes/);
    expect(() => parseDarknet(graph, file(3).subarray(0, -4), 'a.weights', true)).toThrow(
      /take .* bytes|bytes; the weights/,
    );
    expect(() => parseDarknet(graph, new Uint8Array(7), 'a.weights', false)).toThrow('a.weights has 7 bytes');
    const [resnet] = resnetCifar;
    const other = resnet!.build(resnet!.defaults, {});
    expect(() => parseDarknet(other, file(3), 'a.weights', false)).toThrow('"linear.weight" too');
  });
});
