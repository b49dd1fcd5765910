/** The stock tfjs cpu backend: slow and plain JavaScript, the oracle of the tests. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import type {EngineDefinition} from '../../../plugin-api/registry.ts';

const device = 'JavaScript, 1 thread';

export const cpuEngine: EngineDefinition = {
  kind: 'engine',
  name: 'cpu',
  summary: 'The stock tfjs cpu backend: plain JavaScript, for checking other engines.',
  optionsSchema: {type: 'object', properties: {threads: {enum: [1, 'auto']}}, additionalProperties: false},

  probe: () =>
    Promise.resolve({available: true, reason: 'Part of sdq; hundreds of times slower than wasm.', device, rank: 0}),

  async start() {
    await tf.setBackend('cpu');
    const mebibytes = (): number => tf.memory().numBytes / 2 ** 20;
    return {
      name: 'cpu',
      device,
      threads: 1,
      memory: () => ({inUseMiB: mebibytes(), reservedMiB: mebibytes()}),
      dispose: () => Promise.resolve(),
    };
  },
};
