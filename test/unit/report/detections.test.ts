import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import sharp from 'sharp';

import {logDetections} from '../../../src/phases/detection-images.ts';
import {detectionFiles, readDetections, type DetectionsFile} from '../../../src/phases/detections-file.ts';
import {writeReport} from '../../../src/phases/run-report.ts';
import {boxedImage, precisionRecallChart} from '../../../src/report/detections.ts';
import {readJournal} from '../../../src/runs/journal.ts';
import {createRun, type Run} from '../../../src/runs/run-directory.ts';
import {collectDetections} from '../../../src/training/detections.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();

test('curves and images of a split, batch by batch', () => {
  // One number an image: the score of its box, which is that of the object.
  const box = [0.25, 0.25, 0.75, 0.75] as const;
  const collected = collectDetections(([output]) => [{class: 1, score: output![0]!, box}], {limit: 2, minScore: 0.5});
  const batch = (scores: readonly number[]): void => {
    const values = Float32Array.from(scores.flatMap((_, i) => [i === 1 ? 0 : 1, 0.5, 0.5, 0.5, 0.5, 0]));
    collected.add([Float32Array.from(scores)], {
      images: Float32Array.from(scores.flatMap((score) => [score, score])),
      labels: new Int32Array(scores.length),
      boxes: {most: 1, values},
    } as Parameters<typeof collected.add>[1]);
  };
  batch([0.875]);
  batch([0.75, 0.25]);
  const {curves, images, samples} = collected.result();
  expect(samples).toBe(3);
  // Class 0 has one object that is not found; of class 1 the hit is above the miss and both objects are two of three.
  const [missed, found] = curves;
  expect([missed?.class, found?.class, new Set(missed?.precision)]).toEqual([0, 1, new Set([0])]);
  expect(found?.precision[100]).toBeGreaterThan(0);
  expect(images.map(({boxes, index, pixels}) => [index, boxes.length, [...pixels]])).toEqual([
    [0, 1, [0.875, 0.875]],
    [1, 1, [0.75, 0.75]],
  ]);
});

const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const content: DetectionsFile = {
  version: 1,
  classes: ['a', '<b>'],
  samples: 1,
  curves: [{class: 1, precision: Array.from({length: 101}, (_, i) => 1 - i / 200)}],
  images: [
    {
      index: 0,
      width: 64,
      height: 32,
      image: `data:image/png;base64,${png}`,
      boxes: [{class: 1, score: 0.9, box: [0.25, 0.5, 0.5, 1]}],
      truth: [{class: 0, box: [0, 0, 0.5, 0.5], ignore: false}],
    },
  ],
};

test('the chart has recall as its axis, and the picture its boxes in pixels', async () => {
  const chart = precisionRecallChart('T', content.classes, content.curves)!;
  expect(chart).toContain('>recall</text>');
  expect(chart).toContain('&lt;b&gt;: 0.75 at recall 0.5</title>');
  const picture = boxedImage('T', content.images[0]!, content.classes);
  expect(picture).toContain('class="c1" x="16.0" y="16.0" width="16.0" height="16.0"');
  expect(picture).toContain('class="truth" x="0.0" y="0.0" width="32.0" height="16.0"');
  const {height, width} = await sharp(Buffer.from(picture)).metadata();
  expect([width, height]).toEqual([64, 32]);
});

const newRun = (): Run =>
  createRun(
    folder,
    {id: undefined, command: 'run', config: {}, seed: 0, versions: {sdq: '0'}},
    new Date(),
    () => undefined,
  );

test('trackers get each image, its boxes in full precision and quantized, and the picture with the boxes drawn', async () => {
  const run = newRun();
  await logDetections(run);
  writeFileSync(path.join(run.directory, detectionFiles.quantized), JSON.stringify(content));
  const before = {...content, images: [{...content.images[0]!, boxes: []}]};
  writeFileSync(path.join(run.directory, detectionFiles.fullPrecision), JSON.stringify(before));
  await logDetections(run);
  run.end('finished', 0);
  const images = [...readJournal(path.join(run.directory, 'events.jsonl'))].filter(({kind}) => kind === 'artifact');
  expect(images.map(({data}) => data)).toMatchObject([
    {
      ...{type: 'image', path: 'detections/test-0.png', drawn: 'detections/test-0.boxes.png', width: 1, height: 1},
      boxes: {
        classes: ['a', '<b>'],
        groups: {
          predictions: [{class: 1, score: 0.9}],
          full_precision: [],
          ground_truth: [{class: 0, box: [0, 0, 0.5, 0.5]}],
        },
      },
    },
  ]);
  const {height, width} = await sharp(path.join(run.directory, 'detections/test-0.boxes.png')).metadata();
  expect([width, height]).toEqual([64, 32]);
});

test('the report of a run shows both files side by side; a broken one is named', () => {
  const run = newRun();
  const page = (): string => readFileSync(writeReport({record: run.record(), directory: run.directory}), 'utf8');
  const file = (name: keyof typeof detectionFiles): string => path.join(run.directory, detectionFiles[name]);
  writeFileSync(file('quantized'), JSON.stringify(content));
  expect(page()).toContain('Boxes of a score of 0.25 or more, quantized;');
  writeFileSync(file('fullPrecision'), JSON.stringify(content));
  const shown = page();
  expect(shown).toContain('Precision over recall at IoU 0.5, full precision');
  expect(shown.split('<image ')).toHaveLength(3);
  for (const [change, place] of [
    [{curves: [{class: 1, precision: [2]}]}, '/curves/0/precision'],
    [{images: [{...content.images[0], boxes: [{class: -1, score: 1, box: [0, 0, 1, 1]}]}]}, '/images/0/boxes/0/class'],
    [{images: [{...content.images[0], image: 'javascript:x'}]}, '/images/0/image'],
  ] as const) {
    writeFileSync(file('quantized'), JSON.stringify({...content, ...change}));
    expect(() => readDetections(file('quantized'))).toThrow(
      expect.objectContaining({message: expect.stringContaining(`detections-quantized.json: ${place}`)}),
    );
  }
});
