/** The commands of docs/walkthrough.md in their order, on few small images. */
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import sharp from 'sharp';

import {initialWeights} from '../../src/graph/initialize.ts';
import {serializeSafetensors} from '../../src/graph/safetensors.ts';
import {resnetCifar} from '../../src/plugins/models/resnet-cifar.ts';
import {root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();
const page = readFileSync(path.join(root, 'docs/walkthrough.md'), 'utf8');
const classes = {cat: '#d02020', horse: '#20d020', ship: '#2020d0'};

/** Words of the commands after `npx sdq`, a list for each block. */
const blocks = [...page.matchAll(/^```console\n(.*?)^```/gms)].map(([, block = '']) =>
  block
    .split('\n')
    .filter((line) => line.startsWith('$ npx sdq '))
    .map((line) => line.split(' ').slice(3))
    .map((words) => words.map((word) => word.replaceAll("'", ''))),
);

async function writeImages(folder: string, train: number): Promise<void> {
  for (const [name, background] of Object.entries(classes)) {
    const image = await sharp({create: {width: 16, height: 16, channels: 3, background}})
      .png()
      .toBuffer();
    for (const [split, count] of [
      ['train', train],
      ['test', 4],
    ] as const) {
      const directory = path.join(folder, 'images', split, name);
      mkdirSync(directory, {recursive: true});
      for (let i = 0; i < count; i++) writeFileSync(path.join(directory, `${i}.png`), image);
    }
  }
}

test('it shows both ways to a verified export', () => {
  for (const block of blocks) expect(block.map(([name]) => name)).toEqual(expect.arrayContaining(['init', 'verify']));
  expect(blocks).toHaveLength(2);
});

(thorough ? test : test.skip).each(blocks.map((block, index) => ({block, index})))(
  'no command of block $index fails (slow suite)',
  async ({block, index}) => {
    const cwd = path.join(base, String(index));
    // `--epochs 6` of the first log is enough for a search in as many steps as its 600 images give.
    await writeImages(cwd, index === 0 ? 200 : 16);
    if (index === 1) {
      const weights = initialWeights(resnetCifar[0]!.build({classes: 3, inputShape: [3, 32, 32]}, {}), 5);
      writeFileSync(path.join(cwd, 'resnet20.safetensors'), serializeSafetensors(weights, {}));
    }
    for (const command of block) {
      const {exitCode, stderr} = await sdq(command, {cwd});
      expect({command, exitCode, stderr: exitCode === 0 ? '' : stderr}).toEqual({command, exitCode: 0, stderr: ''});
    }
  },
  1_200_000,
);
