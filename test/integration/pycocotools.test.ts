/** mAP beside pycocotools' own. Needs `node scripts/python-services.js pycocotools`; skips where it is missing, and in the daily suite. */
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {detectionRecord} from '../../src/detection/average-precision.ts';
import type {TrueBox} from '../../src/detection/boxes.ts';
import type {Box} from '../../src/detection/boxes.ts';
import type {Detection} from '../../src/detection/decode.ts';
import {normal, uniform} from '../../src/random.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();
const judge = path.resolve(import.meta.dirname, '../fixtures/detection/make_coco.py');

/** Objects of 20 images, some of them crowds, and detections near them and far off, with equal scores among them. */
function made(seed: number): {readonly truth: TrueBox[][]; readonly found: Detection[][]} {
  const draw = uniform(seed, 'bench');
  const whole = (below: number): number => Math.floor(draw() * below);
  const many = <T>(count: number, make: () => T): T[] => Array.from({length: count}, make);
  const box = (): Box => {
    const [x, y] = [0.7 * draw(), 0.7 * draw()];
    return [x, y, x + 0.02 + 0.28 * draw(), y + 0.02 + 0.28 * draw()];
  };
  const score = (): number => Math.round(100 * draw()) / 100;
  const images = many(20, () => {
    const truth = many(whole(8), () => ({class: whole(4), box: box(), ignore: draw() < 0.15}));
    const near = truth.flatMap((object) =>
      many(whole(4), () => {
        const [x1, y1, x2, y2] = object.box.map((edge) => edge + 0.02 * normal(draw)) as [
          number,
          number,
          number,
          number,
        ];
        const corners: Box = [x1, y1, Math.max(x2, x1 + 0.01), Math.max(y2, y1 + 0.01)];
        return {class: draw() < 0.9 ? object.class : whole(4), score: score(), box: corners};
      }),
    );
    return {truth, found: [...near, ...many(whole(5), () => ({class: whole(4), score: score(), box: box()}))]};
  });
  return {truth: images.map(({truth}) => truth), found: images.map(({found}) => found)};
}

(thorough ? describeWith('pycocotools') : describe.skip)('pycocotools (in the slow suite)', () => {
  test.each([1, 2, 3, 4, 5])('gives the same mAP for random detections, seed %d', (seed) => {
    const {found, truth} = made(seed);
    const file = path.join(folder, `${seed}.json`);
    writeFileSync(file, JSON.stringify({truth, found}));
    const {status, stderr, stdout} = spawnSync(pythonProgram('pycocotools'), [judge, file], {encoding: 'utf8'});
    expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
    const theirs = JSON.parse(stdout) as {readonly map: number; readonly map50: number};
    const record = detectionRecord();
    truth.forEach((objects, image) => record.add(found[image]!, objects));
    const {map, map50} = record.result();
    expect(Math.abs(map - theirs.map)).toBeLessThan(1e-6);
    expect(Math.abs(map50 - theirs.map50)).toBeLessThan(1e-6);
    expect(map50).toBeGreaterThan(0.1);
  });
});
