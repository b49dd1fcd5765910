/**
 * The input pipeline: images a second of JPEG files, decoded to a random crop of 224 × 224, by 1 and 2 threads, in turns with
 * torchvision's loader with as many processes. The photographs are made: 640 × 480, noise of several scales.
 *
 *   node --import tsx bench/input-pipeline.ts [--python PYTHON] [--turns 3] [--seconds 6] [--workers 1,2]
 *
 * `--names COUNT` measures the start instead: a folder of so many (empty) files in 1000 classes, and so many images in tar
 * shards, are opened; it prints processor seconds and the largest memory.
 */
import {spawnSync} from 'node:child_process';
import {linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {parseArgs} from 'node:util';

import sharp from 'sharp';
import {create} from 'tar';

import {openBatches} from '../src/data/batches.ts';
import {imagenetNormalization} from '../src/data/normalization.ts';
import {imageFolder} from '../src/plugins/datasets/image-folder.ts';
import {webdataset} from '../src/plugins/datasets/webdataset.ts';
import {uniform} from '../src/random.ts';

const {values} = parseArgs({
  options: {
    python: {type: 'string'},
    turns: {type: 'string', default: '3'},
    seconds: {type: 'string', default: '6'},
    workers: {type: 'string', default: '1,2'},
    names: {type: 'string'},
    /** Of a process of this script. */
    open: {type: 'string'},
  },
});
const batchSize = 64;
const photographs = 64;

async function photograph(index: number): Promise<Buffer> {
  const draw = uniform(0, 'bench', index);
  const layers = await Promise.all(
    [20, 80, 640].map(async (width) => {
      const height = (width * 3) / 4;
      const raw = {width, height, channels: 3} as const;
      const pixels = Buffer.from(Array.from({length: width * height * 3}, () => 256 * draw()));
      const resized = sharp(pixels, {raw})
        .resize(640, 480, {kernel: 'cubic'})
        .ensureAlpha(width === 20 ? 1 : 0.4);
      return {input: await resized.png({compressionLevel: 0}).toBuffer()};
    }),
  );
  const background = {width: 640, height: 480, channels: 3, background: '#000000'} as const;
  return sharp({create: background}).composite(layers).jpeg({quality: 90}).toBuffer();
}

interface Speed {
  readonly perSecond: number;
  /** Processor milliseconds an image, of all threads or processes: what a busy machine disturbs less. */
  readonly cpuMs: number;
}

/** `openBatches`, nobody else using its threads. */
async function sdqLoader(directory: string, workers: number): Promise<Speed> {
  const source = openBatches(await imageFolder.open(directory, {size: 224}), {
    ...{part: 'train', mode: 'training', validation: 0, batchSize, augment: true, seed: 0, workers},
    normalization: imagenetNormalization,
  });
  let index = 0;
  const next = () => source.batch(Math.floor(index / source.batchesPerEpoch), index++ % source.batchesPerEpoch);
  for (let ahead = 0; ahead < 4; ahead++) await next();
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const seconds = (): number => (performance.now() - start) / 1000;
  let images = 0;
  while (seconds() < Number(values.seconds)) images += (await next()).size;
  const perSecond = images / seconds();
  const {user, system} = process.cpuUsage(cpu);
  await source.close();
  return {perSecond, cpuMs: (user + system) / 1000 / images};
}

function torchvision(python: string, directory: string, workers: number): Speed {
  const script = path.join(import.meta.dirname, 'torchvision_loader.py');
  const args = [script, path.join(directory, 'train'), `${workers}`, `${batchSize}`, values.seconds];
  const {stdout, stderr, status} = spawnSync(python, args, {encoding: 'utf8'});
  if (status !== 0) throw new Error(stderr);
  const [perSecond = Number.NaN, cpuMs = Number.NaN] = stdout.split(' ').map(Number);
  return {perSecond, cpuMs};
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

async function compareLoaders(directory: string): Promise<void> {
  for (const folder of ['train/a', 'test/a']) mkdirSync(path.join(directory, folder), {recursive: true});
  for (let i = 0; i < photographs; i++) {
    writeFileSync(path.join(directory, 'train', 'a', `${i}.jpg`), await photograph(i));
  }
  writeFileSync(path.join(directory, 'test', 'a', '0.jpg'), await photograph(0));
  for (const workers of values.workers.split(',').map(Number)) {
    const turns: {readonly sdq: Speed; readonly peer: Speed}[] = [];
    for (let turn = 0; turn < Number(values.turns); turn++) {
      const sdq = await sdqLoader(directory, workers);
      const none = {perSecond: Number.NaN, cpuMs: Number.NaN};
      turns.push({sdq, peer: values.python === undefined ? none : torchvision(values.python, directory, workers)});
    }
    const of = (number: (turn: (typeof turns)[number]) => number): string => median(turns.map(number)).toFixed(2);
    process.stdout.write(
      `${workers} worker(s), images/s: ${of(({sdq}) => sdq.perSecond)}, torchvision ${of(({peer}) => peer.perSecond)}, ` +
        `median ratio ${of(({sdq, peer}) => sdq.perSecond / peer.perSecond)}; processor ms an image: ` +
        `${of(({sdq}) => sdq.cpuMs)}, torchvision ${of(({peer}) => peer.cpuMs)}\n`,
    );
  }
}

/** A process of its own, so that its largest memory is that of opening. */
async function openOnce(kind: string, directory: string): Promise<void> {
  const before = process.cpuUsage();
  const {train} = await (kind === 'tar' ? webdataset : imageFolder).open(directory, {});
  const {user, system} = process.cpuUsage(before);
  const memory = process.resourceUsage().maxRSS / 1024;
  process.stdout.write(
    `${kind}: ${train.labels.length} images, ${((user + system) / 1e6).toFixed(1)} s of processor time, at most ${memory.toFixed(0)} MiB\n`,
  );
}

async function startUp(directory: string, count: number): Promise<void> {
  const each = Math.ceil(count / 1000);
  for (let label = 0; label < 1000; label++) {
    const folder = path.join(directory, 'folder', 'train', `n${1_440_764 + label}`);
    mkdirSync(folder, {recursive: true});
    for (let i = 0; i < each; i++) writeFileSync(path.join(folder, `n${1_440_764 + label}_${i}.JPEG`), '');
  }
  mkdirSync(path.join(directory, 'folder', 'test', 'n1440764'), {recursive: true});
  writeFileSync(path.join(directory, 'folder', 'test', 'n1440764', '0.JPEG'), '');
  const samples = path.join(directory, 'samples');
  mkdirSync(samples);
  const names = Array.from({length: 1000}, (_, i) => `${i}`.padStart(8, '0'));
  const image = await photograph(0);
  for (const name of names) {
    writeFileSync(path.join(samples, `${name}.cls`), '0');
    writeFileSync(path.join(samples, `${name}.jpg`), image);
  }
  const shards = path.join(directory, 'tar');
  mkdirSync(shards);
  const first = path.join(shards, 'test.tar');
  await create(
    {file: first, cwd: samples},
    names.flatMap((name) => [`${name}.cls`, `${name}.jpg`]),
  );
  for (let i = 0; i < each; i++) linkSync(first, path.join(shards, `train-${i}.tar`));
  for (const kind of ['folder', 'tar']) {
    const args = ['--import', 'tsx', import.meta.filename, '--open', `${kind}=${path.join(directory, kind)}`];
    process.stdout.write(spawnSync(process.execPath, args, {encoding: 'utf8'}).stdout);
  }
}

const [kind, opened] = values.open?.split('=') ?? [];
if (kind !== undefined && opened !== undefined) {
  await openOnce(kind, opened);
} else {
  const directory = mkdtempSync(path.join(tmpdir(), 'sdq-bench-'));
  try {
    await (values.names === undefined ? compareLoaders(directory) : startUp(directory, Number(values.names)));
  } finally {
    rmSync(directory, {recursive: true, force: true});
  }
}
