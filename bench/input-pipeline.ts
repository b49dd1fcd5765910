/**
 * The input pipeline: images a second of JPEG files, decoded to a random crop of 224 × 224, by 1 and 2 threads, in turns with
 * torchvision's loader with as many processes. The photographs are made: 640 × 480, noise of several scales.
 *
 *   node --import tsx bench/input-pipeline.ts [--python PYTHON] [--turns 4] [--seconds 3] [--workers 1,2]
 * It needs a build.
 *
 * `--names COUNT` measures the start instead: a folder of so many (empty) files in 1000 classes, and so many images in tar
 * shards, are opened; it prints processor seconds and the largest memory.
 */
import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {parseArgs} from 'node:util';
import {Worker} from 'node:worker_threads';

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
    turns: {type: 'string', default: '4'},
    seconds: {type: 'string', default: '3'},
    workers: {type: 'string', default: '1,2'},
    names: {type: 'string'},
    /** Of a process of this script. */
    open: {type: 'string'},
  },
});
const batchSize = 64;
const photographs = 64;
/** Eight batches an epoch: torchvision's loader makes no batch of the next epoch ahead. */
const linksEach = 8;

async function photograph(index: number): Promise<Buffer> {
  const draw = uniform(0, 'bench', index);
  const layers = await Promise.all(
    [20, 80, 640].map(async (width) => {
      const height = (width * 3) / 4;
      const raw = {width, height, channels: 3} as const;
      const pixels = Buffer.alloc(width * height * 3);
      for (let i = 0; i < pixels.length; i++) pixels[i] = 256 * draw();
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

/** One that is timed in turns with others; between its turns it stands still, what it makes ahead made. */
interface Loader {
  turn(): Promise<Speed>;
  close(): Promise<void>;
}

/** `openBatches` with the threads of `dist/`. */
async function sdqLoader(directory: string, workers: number): Promise<Loader> {
  const options = {part: 'train', mode: 'training', validation: 0, batchSize, augment: true, seed: 0, workers} as const;
  const source = openBatches(
    await imageFolder.open(directory, {size: 224}),
    {...options, normalization: imagenetNormalization},
    // The built thread, without tsx: its source maps cost a third of an image.
    (workerData) => new Worker(new URL('../dist/data/batch-worker.js', import.meta.url), {workerData, execArgv: []}),
  );
  let index = 0;
  const next = () => source.batch(Math.floor(index / source.batchesPerEpoch), index++ % source.batchesPerEpoch);
  return {
    async turn() {
      for (let ahead = 0; ahead < 4; ahead++) await next();
      const [start, cpu] = [performance.now(), process.cpuUsage()];
      const seconds = (): number => (performance.now() - start) / 1000;
      let images = 0;
      while (seconds() < Number(values.seconds)) images += (await next()).size;
      const perSecond = images / seconds();
      const {user, system} = process.cpuUsage(cpu);
      return {perSecond, cpuMs: (user + system) / 1000 / images};
    },
    close: () => source.close(),
  };
}

/** A process that takes a turn for each line that it reads, and writes a line of numbers. */
function torchvision(python: string, directory: string, workers: number): Loader {
  const script = path.join(import.meta.dirname, 'torchvision_loader.py');
  const args = [script, path.join(directory, 'train'), `${workers}`, `${batchSize}`, values.seconds];
  const child = spawn(python, args, {stdio: ['pipe', 'pipe', 'inherit']});
  const lines = createInterface({input: child.stdout})[Symbol.asyncIterator]();
  return {
    async turn() {
      child.stdin.write('\n');
      const line: IteratorResult<string> = await lines.next();
      if (line.done === true) throw new Error(`${python} ${script} ended`);
      const [perSecond = Number.NaN, cpuMs = Number.NaN] = line.value.split(' ').map(Number);
      return {perSecond, cpuMs};
    },
    async close() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

const median = (numbers: readonly number[]): string =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!.toFixed(2);

async function compareLoaders(directory: string): Promise<void> {
  for (const folder of ['train/a', 'test/a']) mkdirSync(path.join(directory, folder), {recursive: true});
  for (let i = 0; i < photographs; i++) {
    const first = path.join(directory, 'train', 'a', `${i}.jpg`);
    writeFileSync(first, await photograph(i));
    for (let link = 1; link < linksEach; link++) {
      linkSync(first, path.join(directory, 'train', 'a', `${i}-${link}.jpg`));
    }
  }
  writeFileSync(path.join(directory, 'test', 'a', '0.jpg'), await photograph(0));
  const {python} = values;
  const loaders = new Map<string, Loader>();
  const workers = values.workers.split(',').map(Number);
  for (const count of workers) {
    loaders.set(`sdq ${count}`, await sdqLoader(directory, count));
    if (python !== undefined) loaders.set(`torchvision ${count}`, torchvision(python, directory, count));
  }
  const speeds = new Map([...loaders.keys()].map((name): [string, Speed[]] => [name, []]));
  // The first turn starts processes and compiles.
  for (let turn = 0; turn <= Number(values.turns); turn++) {
    for (const [name, loader] of loaders) {
      const speed = await loader.turn();
      if (turn > 0) speeds.get(name)!.push(speed);
    }
  }
  for (const loader of loaders.values()) await loader.close();
  for (const [name, turns] of speeds) {
    process.stdout.write(
      `${name} worker(s): ${median(turns.map(({perSecond}) => perSecond))} images/s, ` +
        `${median(turns.map(({cpuMs}) => cpuMs))} ms of processor time an image\n`,
    );
  }
  const ratio = (name: string, of: string): void => {
    const others = speeds.get(of);
    const ratios = speeds.get(name)?.map(({perSecond}, turn) => perSecond / others![turn]!.perSecond);
    if (ratios !== undefined && others !== undefined) {
      process.stdout.write(
        `${name} : ${of} = ${median(ratios)} (${ratios.map((each) => each.toFixed(2)).join(', ')})\n`,
      );
    }
  };
  for (const count of workers) ratio(`sdq ${count}`, `torchvision ${count}`);
  for (const count of workers.slice(1)) {
    for (const name of ['sdq', 'torchvision']) ratio(`${name} ${count}`, `${name} ${workers[0]}`);
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
