/** Strategies for tests of validators: most fit the device, the others are spoilt in one place or several. */
import type {HardwareProfile} from '../../src/hardware/profile.ts';
import {allowedPairs, fittingQuantizers, operatorsOf} from '../../src/hardware/rules.ts';
import {weightQuantizers} from '../../src/plugins/quantizers/index.ts';

type Json = Record<string, unknown>;

/** A function that draws strategies; the same seed draws the same. */
export function generator(seed: number): (profile: HardwareProfile) => Json {
  let state = seed >>> 0;
  /** Park and Miller's generator. */
  const uniform = (): number => {
    state = Number((BigInt(state) * 48_271n) % 2_147_483_647n);
    return state / 2_147_483_647;
  };
  const pick = <T>(values: readonly T[]): T => values[Math.floor(uniform() * values.length)]!;

  const layers = (profile: HardwareProfile): Json[] => {
    const kinds = Array.from({length: 1 + Math.floor(uniform() * 4)}, (_, l) => {
      const op = pick(operatorsOf(profile));
      return {name: `layer${l}`, op, ...(op === 'Conv' && uniform() < 0.3 ? {depthwise: true} : {})};
    });
    return allowedPairs(profile, kinds).map((pairs, l) => {
      const {weightBits, activationBits} = pick(pairs);
      return {...kinds[l], weightBits, activationBits, params: 1 + l, macs: 10 + l};
    });
  };

  const spoil: readonly ((strategy: Json, layer: Json) => void)[] = [
    (_, layer) => (layer['weightBits'] = pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32])),
    (_, layer) => (layer['activationBits'] = pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32])),
    (_, layer) => (layer['weightBits'] = pick([4.5, '4', null, -4, true])),
    (_, layer) => (layer['op'] = pick(['Conv', 'Gemm', 'MatMul', 'LSTM'])),
    (_, layer) => (layer['depthwise'] = pick([true, true, false])),
    (_, layer) => Reflect.deleteProperty(layer, pick(['weightBits', 'activationBits', 'op', 'params', 'depthwise'])),
    (_, layer) => (layer['colour'] = 'red'),
    (strategy) =>
      (strategy['quantizers'] = {
        weights: pick([...weightQuantizers.map(({name}) => name), 'other']),
        activations: 'pact',
      }),
    (strategy) => (strategy['layers'] = pick<unknown>([[], {}, null])),
    (strategy) => (strategy['version'] = pick<unknown>([2, '1', 1])),
    (strategy) => Reflect.deleteProperty(strategy, pick(['model', 'provenance', 'quantizers'])),
    (strategy) => (strategy['model'] = {name: 'net', graphDigest: 'sha256:12'}),
  ];

  return (profile) => {
    const own = layers(profile);
    const strategy: Json = {
      version: 1,
      model: {name: 'net', graphDigest: `sha256:${'a'.repeat(64)}`},
      quantizers: {weights: pick(fittingQuantizers(profile, weightQuantizers)), activations: pick(['pact', 'lsq'])},
      layers: own,
      provenance: {method: 'sdq', sdqVersion: '0.1.0'},
    };
    const times = pick([0, 0, 1, 1, 1, 2, 3]);
    for (let i = 0; i < times; i++) pick(spoil)(strategy, pick(own));
    return strategy;
  };
}
