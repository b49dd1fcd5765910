/** A detector through every phase, stopped in the middle of each and resumed in a new session. Threads decode its photographs: the slow suite. */
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import type {SdqError} from '../../../src/errors.ts';
import {detectionFiles, readDetections} from '../../../src/phases/detections-file.ts';
import type {PhaseContext} from '../../../src/phases/phase.ts';
import {pretrain} from '../../../src/phases/pretrain.ts';
import {writeReport} from '../../../src/phases/run-report.ts';
import {search} from '../../../src/phases/search.ts';
import {train} from '../../../src/phases/train.ts';
import {writeBoxImages} from '../../helpers/box-images.ts';
import {tensorBytes} from '../../helpers/tensor-bytes.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';
import {tinyDetector} from '../../helpers/tiny-detector.ts';
import {thorough} from '../../helpers/thorough.ts';
import {tinyRun, type TinyOptions, type TinyRun} from '../../helpers/tiny-job.ts';

const folder = temporaryFolder();
const photos = path.join(folder, 'photos');

/** Eight training images in batches of two: four steps an epoch. */
const changes = {
  model: {name: 'tiny-detector'},
  task: {
    name: 'detection',
    options: {
      anchors: 'kmeans',
      masks: [
        [1, 2],
        [0, 1],
      ],
    },
  },
  data: {name: 'boxes', directory: photos, batchSize: 2, validation: 2, workers: 1, options: {size: 32}},
  pretrain: {epochs: 2, optimizer: {name: 'adam', learningRate: 0.01}},
  search: {epochs: 3, target: {meanWeightBits: 5}, activationBits: 8, dualRate: 10, dbp: {learningRate: 1}},
  train: {epochs: 2, optimizer: {name: 'adam', learningRate: 0.002}},
};

/** What a run does from here on; the files of the phases before it are those of the whole run. */
const phases = {
  pretrain: {file: 'full-precision', body: (context: PhaseContext) => pretrain(context)},
  search: {file: 'searched', body: (context: PhaseContext) => search(context, fileOf('full-precision.safetensors'))},
  train: {
    file: 'quantized',
    body: (context: PhaseContext) =>
      train(context, {
        strategy: fileOf('strategy.json'),
        weights: fileOf('searched.safetensors'),
        fullPrecision: fileOf('full-precision.safetensors'),
      }),
  },
} as const;

let whole: TinyRun;
const fileOf = (name: string): string => path.join(whole.run.directory, name);

const opened = (options: Omit<TinyOptions, 'root'> = {}): Promise<TinyRun> =>
  tinyRun({root: folder, changes, definitions: [tinyDetector], ...options});

(thorough ? describe : describe.skip)('a detector', () => {
  beforeAll(async () => {
    await writeBoxImages(photos, 'voc', {train: 10, test: 3});
    whole = await opened();
    for (const {body} of Object.values(phases)) await body(whole.context);
    await whole.close();
  }, 120_000);

  test('the search chose bits, and both heads have 8', () => {
    const {layers} = JSON.parse(readFileSync(fileOf('strategy.json'), 'utf8')) as {
      layers: {name: string; weightBits: number}[];
    };
    const bits = new Map(layers.map(({name, weightBits}) => [name, weightBits]));
    expect([bits.get('head0'), bits.get('head1')]).toEqual([8, 8]);
    expect(new Set(bits.values()).size).toBeGreaterThan(1);
  });

  test('what it finds on the test images is kept in full precision and quantized, and the report shows it', () => {
    for (const name of Object.values(detectionFiles)) {
      expect(readDetections(fileOf(name))).toMatchObject({samples: 3, classes: ['blue', 'red']});
    }
    const page = readFileSync(writeReport({record: whole.run.record(), directory: whole.run.directory}), 'utf8');
    expect(page.split('<image ')).toHaveLength(1 + 2 * 3);
  });

  /** Without what is measured in time. */
  const rows = (run: TinyRun, phase: string): Record<string, number>[] =>
    run
      .metrics()
      .filter((row) => `${phase}/epoch` in row)
      .map((row) =>
        Object.fromEntries(Object.entries(row).filter(([name]) => !/imagesPerSecond|dataWaitFraction/.test(name))),
      );

  test.each([
    ['pretrain', 3],
    ['pretrain', 4],
    ['search', 6],
    ['train', 5],
  ] as const)('%s stopped after step %i and resumed: the same weights and the same rows', async (phase, stopAfter) => {
    const {body, file} = phases[phase];
    const half = await opened({stopAfter});
    const stopped = await body(half.context).catch((error: unknown) => error);
    await half.close();
    expect((stopped as SdqError).oclif.exit).toBe(143);
    expect(rows(half, phase).length).toBeLessThan(rows(whole, phase).length);
    const resumed = await opened({resume: half.run.id});
    try {
      await body(resumed.context);
    } finally {
      await resumed.close();
    }
    expect(rows(resumed, phase)).toEqual(rows(whole, phase));
    const name = `${file}.safetensors`;
    expect(Buffer.compare(tensorBytes(path.join(resumed.run.directory, name)), tensorBytes(fileOf(name)))).toBe(0);
  });
});
