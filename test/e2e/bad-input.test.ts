/** What a user may get wrong, in commands, configs and files: a clear message, the right exit code, nothing half written. */
import {spawnSync} from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {parseSafetensors, serializeSafetensors} from '../../src/graph/safetensors.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {failure, smallJob, temporaryFiles, writeSmallJob} from '../helpers/failures.ts';
import {readOnly, smallDisk} from '../helpers/full-disk.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {bin, sdq, sdqProcess, startSdq, type Outcome} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const cwd = path.join(base, 'job');
const folder = (): string => mkdtempSync(path.join(base, 'place-'));
const inFolder = (name: string): string => path.join(cwd, name);

beforeAll(async () => {
  writeSmallJob(cwd);
  expect(await sdq(['pretrain', '--output', 'fp.safetensors', '--quiet'], {cwd})).toMatchObject({exitCode: 0});
  const create = ['strategy', 'create', '--weight-bits', '3', '--output', 'good.json', '--quiet'];
  expect(await sdq(create, {cwd})).toMatchObject({exitCode: 0});
}, 120_000);

describe('usage', () => {
  test.each([
    [['foo'], 'no command "sdq foo"'],
    [['strategy', 'shwo'], 'Did you mean "strategy show"?'],
    [['hardware', 'compare', 'a.json', 'b.json'], '"sdq hardware compare" takes no argument "a.json b.json"'],
    [['run', '--stet', 'seed=1'], 'Did you mean "--set"?'],
    [['evaluate'], 'Error: Missing required flag --checkpoint'],
    [['evaluate', '--checkpoint'], '--checkpoint expects a value'],
    [['init', '--template', 'foo'], 'to be one of: mnist'],
    [['bench', 'step', '--weight-bits', '9'], 'to be one of: 1, 2'],
    [['strategy', 'create', '--weight-bits', '2.5'], 'Error: --weight-bits: Expected an integer'],
    [['model', 'show'], 'Missing argument'],
    [['run', '--resume', 'latest', '--set', 'seed=1'], '--set'],
  ])('%j', async (args, message) => {
    expect(await failure(args, cwd, 2)).toContain(message);
  });
});

test('a missing argument: that a flag may have taken it is said where the command has such a flag', async () => {
  const model = await failure(['model', 'show', '--set', 'seed=1'], cwd, 2);
  expect(model).toContain('or an ONNX or safetensors file. → List the');
  const strategy = await failure(['strategy', 'validate', '--hardware', 'cutlass-sm80', 'good.json'], cwd, 2);
  expect(strategy).toContain('--hardware allow multiple values');
});

test('a terminal with colours gets the same text', async () => {
  const {stderr} = await sdqProcess(['evaluate'], {cwd, env: {FORCE_COLOR: '1'}});
  expect(stderr).toContain('\u001b[31mError:');
  expect(stderr.replaceAll(/\u001b\[\d+m/g, '')).toContain('Error: Missing required flag --checkpoint\n');
});

test('an argument is never taken from a pipe, which may be the script that calls', async () => {
  const {exitCode, stderr} = await sdqProcess(['model', 'show'], {cwd, input: 'resnet20\n'});
  expect({exitCode, stderr}).toMatchObject({exitCode: 2, stderr: expect.stringContaining('Missing argument')});
});

describe('a config file', () => {
  test.each([
    ['sdq.config.yaml', 'model: [1', 'line 1'],
    ['sdq.config.yaml', 'seed: 1\nseed: 2\n', 'must be unique at line 2'],
    ['sdq.config.yaml', '- 1\n', 'found a list'],
    ['sdq.config.json', '{"seed": 1,}', 'in JSON at position 11'],
    ['sdq.config.js', 'export default {', 'Unexpected end of input'],
    ['sdq.config.mjs', 'throw new Error("no luck")', 'no luck'],
    ['.sdqrc', '{', 'line 1'],
    ['.sdqrc.json', '5', 'expected a mapping of settings, found number'],
    ['package.json', '{"sdq": {"sead": 1}}', 'Did you mean "seed"?'],
    ['package.json', '{', 'package.json'],
    ['sdq.config.yaml', 'pretrain: {optimizer: {learningRate: .inf}}', 'plain data'],
    ['sdq.config.yaml', 'x'.repeat(2_000_000), 'at most 1048576'],
  ])('%s', async (name, content, message) => {
    const place = folder();
    writeFileSync(path.join(place, name), content);
    // How JavaScript fails to load is Node's to say, not Jest's.
    const run = /\.m?js$/.test(name) ? sdqProcess : sdq;
    const error = await failure(['runs', 'list'], place, 3, run);
    expect(error).toContain(path.join(place, name));
    expect(error).toContain(message);
  });
});

describe('settings that do not fit the data or the model are refused before anything is trained', () => {
  test.each([
    ['data.validation=128', 3, 'mnist has 128 train images, so 0 to 127 are allowed'],
    ['data.batchSize=97', 3, 'mnist has only 96 train images'],
    [
      'pretrain.optimizer.learningRate=.inf',
      3,
      '--set pretrain.optimizer.learningRate=.inf: expected a number above 0',
    ],
    ['pretrain.epochs=0', 3, '--set pretrain.epochs=0: expected a whole number of at least 1'],
    ['search.candidates=[]', 3, '--set search.candidates=[]: expected a list'],
    ['search.candidates=[4,2]', 3, '/search/candidates/1 is 2 after 4'],
    ['search.candidates=[2,2]', 3, 'found [2,2]'],
    ['search.target.meanWeightBits=1', 3, 'the smallest that the candidates can reach is'],
    ['search.pin={nope: 2}', 3, 'no layer is named "nope"'],
    ['search.epohcs=2', 3, 'Did you mean "epochs"?'],
    ['engine.threads=0', 3, '--set engine.threads=0: expected'],
    ['engine.threads=1000', 3, '--set engine.threads=1000: expected'],
    ['model.weights=absent.safetensors', 3, 'absent.safetensors: no such file'],
    ['model.options.foo=1', 3, 'unknown key "foo"'],
    ['train.distillation.teacher={model: resnet20, weights: absent}', 3, 'absent: no such file'],
    ['data.normalization=imagenet', 3, 'mnist needs 1 finite numbers'],
    ['data.directory=absent', 6, 'sdq data fetch mnist'],
    ['runs.directory=images/train-images-idx3-ubyte', 6, 'a file of this name is in the way'],
  ])('%s', async (setting, exit, message) => {
    const error = await failure(['run', '--set', setting], cwd, exit);
    expect(error).toContain(message);
    expect(error).not.toContain('pretrain, epoch');
  });

  test('a learning rate that makes the loss infinite ends the run with its place', async () => {
    const error = await failure(['pretrain', '--set', 'pretrain.optimizer.learningRate=1e30'], cwd, 5);
    expect(error).toMatch(/The loss is (NaN|Infinity) at step \d+ \(epoch 1, batch \d+\)/);
  });

  test('under --json the error is the one object on stdout', async () => {
    const {exitCode, stdout, stderr} = await sdq(['run', '--json', '--set', 'search.candidates=[4,2]'], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 3, stderr: ''});
    expect(resultProblems('error', stdout)).toEqual([]);
  });
});

describe('what a run would only find out later is told before it has a folder', () => {
  test.each([
    [['search', '--set', 'model.weights=absent.safetensors'], 3, 'absent.safetensors: no such file'],
    [['train', '--strategy', 'absent.json', '--checkpoint', 'fp.safetensors'], 3, 'absent.json: no such file'],
    [['train', '--strategy', 'good.json', '--checkpoint', 'images'], 3, 'images: it is not a regular file'],
    [['pretrain', '--output', 'images'], 6, 'images: it is a folder'],
    [['run', '--output', 'good.json/quantized.safetensors'], 6, 'a part of the path is not a folder'],
  ] as const)('%j', async (args, exit, message) => {
    const runs = (): string[] => readdirSync(inFolder('.sdq/runs'));
    const before = runs();
    expect(await failure(args, cwd, exit)).toContain(message);
    expect(runs()).toEqual(before);
  });
});

describe('a strategy', () => {
  interface Layer {
    name: string;
    weightBits: number;
  }
  interface File {
    model: {graphDigest: string};
    quantizers: {weights: string};
    layers: Layer[];
    summary?: {meanWeightBits: number};
  }
  const write = (name: string, change: (file: File) => void): void => {
    const file = JSON.parse(readFileSync(inFolder('good.json'), 'utf8')) as File;
    const summary = file.summary!;
    delete file.summary;
    change(file);
    if (name === 'lies.json') file.summary = {...summary, meanWeightBits: 1};
    writeFileSync(inFolder(name), JSON.stringify(file));
  };
  test.each<[string, (file: File) => void, string]>([
    ['unknown', ({layers}) => (layers[1]!.name = 'layer1.0.conv9'), 'Did you mean "layer1.0.conv1"?'],
    ['missing', ({layers}) => layers.splice(2, 1), 'also has "layer1.0.conv2"'],
    ['twice', ({layers}) => layers.push(layers[0]!), '/layers/8/name: "conv1" is already /layers/0'],
    ['nine', ({layers}) => (layers[1]!.weightBits = 9), '/layers/1/weightBits: expected one of 1, 2'],
    ['fraction', ({layers}) => (layers[1]!.weightBits = 2.5), '/layers/1/weightBits: expected one of 1, 2'],
    ['digest', ({model}) => (model.graphDigest = `sha256:${'0'.repeat(64)}`), '/model/graphDigest is sha256:000'],
    ['quantizer', ({quantizers}) => (quantizers.weights = 'narow'), 'Did you mean "narrow"?'],
    ['lies', () => undefined, '/summary/meanWeightBits is 1; the layers give'],
  ])('%s', async (name, change, message) => {
    write(`${name}.json`, change);
    for (const command of ['evaluate', 'train']) {
      const args = [command, '--checkpoint', 'fp.safetensors', '--strategy', `${name}.json`];
      const error = await failure(args, cwd, 3);
      expect(error).toContain(`${name}.json`);
      expect(error).toContain(message);
    }
  });

  test.each([
    ['absent.json', undefined, 'no such file'],
    ['images', undefined, 'not a regular file'],
    ['cut.json', '{"version": 1,', 'is not JSON'],
    ['huge.json', 100 << 20, 'at most 16777216 are read'],
  ])('%s', async (name, content, message) => {
    if (content !== undefined) writeFileSync(inFolder(name), typeof content === 'string' ? content : '');
    if (typeof content === 'number') truncateSync(inFolder(name), content);
    expect(await failure(['strategy', 'show', name], cwd, 3)).toContain(message);
  });
});

describe('a file of weights', () => {
  type Header = Record<string, {shape: number[]; data_offsets: number[]}>;
  const change = (name: string, edit: (header: Header, data: Buffer) => Buffer | undefined, length?: number): void => {
    const bytes = readFileSync(inFolder('fp.safetensors'));
    const start = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, start)) as Header;
    const data = Buffer.from(bytes.subarray(start));
    const kept = edit(header, data) ?? data;
    const json = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(length ?? json.length));
    writeFileSync(inFolder(name), Buffer.concat([size, json, kept]));
  };
  test.each<[string, (header: Header, data: Buffer) => Buffer | undefined, string, number?]>([
    ['length', () => undefined, "the header's length at byte 0 is", 2 ** 62],
    [
      'overlap',
      (header) => void (header['bn1.bias']!.data_offsets = header['bn1.weight']!.data_offsets),
      'overlaps the one before it',
    ],
    ['cut', (_, data) => data.subarray(0, 1000), 'the file is cut short'],
    [
      'nan',
      (header, data) => void data.writeFloatLE(NaN, header['conv1.weight']!.data_offsets[0]),
      '"conv1.weight" is NaN at element 0',
    ],
    [
      'variance',
      (header, data) => void data.writeFloatLE(-1, header['bn1.running_var']!.data_offsets[0]),
      'a variance is at least 0',
    ],
    [
      'shape',
      (header) => void (header['conv1.weight']!.shape = [3, 3, 1, 16]),
      'has the shape [3, 3, 1, 16], it must be [16, 1, 3, 3]',
    ],
  ])('%s', async (...[name, edit, message, length]) => {
    change(`${name}.safetensors`, edit, length);
    const error = await failure(['evaluate', '--checkpoint', `${name}.safetensors`], cwd, 3);
    expect(error).toContain(`${name}.safetensors`);
    expect(error).toContain(message);
  });

  test('of another model', async () => {
    const args = ['evaluate', '--checkpoint', 'fp.safetensors', '--set', 'model.name=resnet20'];
    expect(await failure(args, cwd, 3)).toContain('lacks');
  });

  test('with a strategy in it that is not JSON', async () => {
    const {tensors} = parseSafetensors(readFileSync(inFolder('fp.safetensors')), 'fp.safetensors');
    writeFileSync(inFolder('meta.safetensors'), serializeSafetensors(tensors, {'sdq.strategy': '{'}));
    expect(await failure(['evaluate', '--checkpoint', 'meta.safetensors'], cwd, 3)).toContain(
      '__metadata__/sdq.strategy is not JSON',
    );
  });
});

describe('data files', () => {
  const evaluate = ['evaluate', '--checkpoint', 'fp.safetensors'];

  test('IDX: cut short, a lying header, a folder in its place', async () => {
    const name = 'train-images-idx3-ubyte';
    for (const [place, edit, message] of [
      ['cut', (file: string) => truncateSync(file, 5000), 'byte 16: found 4984 bytes of values'],
      [
        'lie',
        (file: string) => {
          const bytes = readFileSync(file);
          bytes.writeUInt32BE(0xff_ff_ff_ff, 4);
          writeFileSync(file, bytes);
        },
        '4294967295 × 28 × 28',
      ],
    ] as const) {
      cpSync(inFolder('images'), inFolder(place), {recursive: true});
      edit(path.join(cwd, place, name));
      const error = await failure([...evaluate, '--set', `data.directory=${place}`], cwd, 3);
      expect(error).toContain(path.join(cwd, place, name));
      expect(error).toContain(message);
    }
  });

  test('CIFAR: cut short', async () => {
    mkdirSync(inFolder('cifar'));
    for (const name of [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`).concat('test_batch.bin')) {
      writeFileSync(path.join(cwd, 'cifar', name), Buffer.alloc(30_729));
    }
    const args = [...evaluate, '--set', 'data.name=cifar10', '--set', 'data.directory=cifar'];
    expect(await failure(args, cwd, 3)).toContain('data_batch_1.bin, byte 30729');
  });

  test('a broken PNG is named', async () => {
    for (const split of ['train', 'test']) {
      mkdirSync(path.join(cwd, 'photos', split, 'cat'), {recursive: true});
      for (let i = 0; i < 4; i++) writeFileSync(path.join(cwd, 'photos', split, 'cat', `${i}.png`), 'not a picture');
    }
    const data = {...smallJob.data, name: 'image-folder', directory: 'photos', batchSize: 2, validation: 0};
    const error = await failure(['pretrain', '--set', `data=${JSON.stringify(data)}`], cwd, 3);
    expect(error).toMatch(/Cannot decode .*photos\/train\/cat\/\d\.png/);
    expect(error).toMatch(/sdq pretrain --resume \.sdq.runs.\S+-pretrain-/);
  });
});

describe('a run in trouble', () => {
  interface Disturbed {
    readonly cwd: string;
    readonly run: string;
    readonly outcome: Outcome;
  }

  /** Starts a run in a fresh job, does something to it when it is in the middle, and waits for its end. */
  async function disturbed(disturb: (pid: number, run: string) => void, disk?: string): Promise<Disturbed> {
    const cwd = folder();
    writeSmallJob(cwd);
    const root = path.join(disk ?? cwd, 'runs');
    const job = {...smallJob, pretrain: {epochs: 12}, runs: {...smallJob.runs, directory: root}};
    writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(job));
    const {child, outcome} = startSdq(['pretrain'], {cwd});
    const journal = (): string => path.join(root, listRuns(root)[0]?.id ?? '', 'events.jsonl');
    while (!existsSync(journal()) || !readFileSync(journal(), 'utf8').includes('pretrain/loss')) {
      if (child.exitCode !== null) throw new Error((await outcome).stderr);
      await setTimeout(10);
    }
    const run = path.dirname(journal());
    disturb(child.pid!, run);
    return {cwd, run, outcome: await outcome};
  }

  /** Resumes the run to its end. @returns the weights it leaves and what it said */
  async function completed({cwd, run}: Disturbed): Promise<{readonly weights: Buffer; readonly stderr: string}> {
    const {exitCode, stderr} = await sdq(['pretrain', '--resume', 'latest'], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: expect.not.stringContaining('The journal has lost')});
    const numbers = [...readJournal(path.join(run, 'events.jsonl'))].map(({seq}) => seq);
    expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    expect(temporaryFiles(run)).toEqual([]);
    return {weights: readFileSync(path.join(run, 'full-precision.safetensors')), stderr};
  }

  let stopped: Disturbed;
  let weights: Buffer;
  beforeAll(async () => {
    stopped = await disturbed((pid) => process.kill(pid, 'SIGINT'));
    expect(stopped.outcome.exitCode).toBe(130);
    const copy = folder();
    cpSync(stopped.run, copy, {recursive: true});
    ({weights} = await completed(stopped));
    rmSync(stopped.run, {recursive: true});
    cpSync(copy, stopped.run, {recursive: true});
  }, 60_000);

  /** Ends as it would have, undisturbed. */
  async function expectSameEnd(run: Disturbed): Promise<string> {
    const done = await completed(run);
    expect(done.weights.equals(weights)).toBe(true);
    return done.stderr;
  }

  function expectRefusal({cwd, run, outcome}: Disturbed, reason: string): void {
    expect(outcome).toMatchObject({exitCode: 6, stderr: expect.stringContaining(reason)});
    expect(outcome.stderr).toContain(`Cannot write ${run}`);
    expect(outcome.stderr).toContain(`sdq pretrain --resume ${path.relative(cwd, run)}`);
    expect(outcome.stderr).not.toMatch(/^\s+at |bug in sdq/m);
  }

  const disk = smallDisk(4096);
  test('a disk that fills up: exit 6, nothing half written, and it goes on when there is room again', async () => {
    if (disk === undefined) return;
    const filler = path.join(disk, 'filler');
    const run = await disturbed(() => {
      const fill = (bytes: number): void => {
        try {
          for (;;) appendFileSync(filler, Buffer.alloc(bytes));
        } catch {
          // no room for so much
        }
      };
      for (const bytes of [65_536, 4096, 1]) fill(bytes);
    }, disk);
    expectRefusal(run, 'the disk is full');
    expect(temporaryFiles(run.run)).toEqual([]);
    rmSync(filler);
    await expectSameEnd(run);
  }, 60_000);

  test('a folder that turns read-only: exit 6, and it goes on when it may write again', async () => {
    let allow: (() => void) | undefined;
    const run = await disturbed((pid, directory) => {
      allow = readOnly(path.join(directory, 'checkpoints'), pid);
      if (allow === undefined) process.kill(pid, 'SIGKILL');
    });
    if (allow === undefined) return;
    try {
      expectRefusal(run, 'the file system is read-only');
    } finally {
      allow();
    }
    writeFileSync(path.join(run.run, 'checkpoints/.step-pretrain-00000001.safetensors.1.tmp'), 'half of one');
    await expectSameEnd(run);
  }, 60_000);

  test('a second signal while the first is handled ends it at once, and it goes on from the last checkpoint', async () => {
    const run = await disturbed((pid) => {
      process.kill(pid, 'SIGINT');
      process.kill(pid, 'SIGTERM');
    });
    expect([130, 143]).toContain(run.outcome.exitCode);
    expect(run.outcome.stderr).not.toMatch(/^\s+at |bug in sdq/m);
    await expectSameEnd(run);
  }, 60_000);

  const cutLine = (run: string): void => {
    const file = path.join(run, 'events.jsonl');
    const lines = readFileSync(file, 'utf8').split('\n');
    writeFileSync(file, [lines[0], lines[1]!.slice(0, 20), ...lines.slice(2)].join('\n'));
  };
  const checkpoints = (run: string): string[] =>
    readdirSync(path.join(run, 'checkpoints'))
      .filter((name) => name.endsWith('.safetensors'))
      .sort()
      .map((name) => path.join(run, 'checkpoints', name));
  test.each<[string, (run: string) => void, string]>([
    ['run.json', (run) => truncateSync(path.join(run, 'run.json'), 300), 'is not the record of a run'],
    ['manifest.json', (run) => truncateSync(path.join(run, 'checkpoints/manifest.json'), 30), 'is not a manifest'],
    ['step-pretrain', (run) => checkpoints(run).forEach((file) => truncateSync(file, 1000)), 'missing or damaged'],
    ['events.jsonl', cutLine, 'the line at byte'],
  ])('%s damaged since: --resume names the file and what to do', async (name, damage, message) => {
    const cwd = folder();
    cpSync(stopped.cwd, cwd, {recursive: true});
    const run = path.join(cwd, 'runs', path.basename(stopped.run));
    damage(run);
    writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, runs: {directory: './runs'}}));
    const error = await failure(['pretrain', '--resume', 'latest'], cwd, 3);
    expect(error).toContain(name);
    expect(error).toContain(message);
    expect(error.toLowerCase()).toContain('start a new run');
    expect(error).not.toContain('Then go on');
  });

  test('the newest checkpoint with a wrong digest and a torn last line cost the steps since the one before it', async () => {
    const newest = checkpoints(stopped.run).at(-1)!;
    const bytes = readFileSync(newest);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(newest, bytes);
    appendFileSync(path.join(stopped.run, 'events.jsonl'), '{"seq":');
    expect(await expectSameEnd(stopped)).toContain(`${newest} is damaged: its SHA-256 is not the one in manifest.json`);
  }, 60_000);
});

test('SIGINT ends an evaluation at once, with nothing on stdout', async () => {
  const args = ['evaluate', '--checkpoint', 'fp.safetensors', '--split', 'train', '--set', 'data.batchSize=1'];
  const {child, outcome} = startSdq([...args, '--json'], {cwd});
  await setTimeout(400);
  child.kill('SIGINT');
  const {stdout, stderr} = await outcome;
  expect({signal: child.signalCode, stdout, stderr}).toEqual({signal: 'SIGINT', stdout: '', stderr: ''});
});

test('weights whose outputs overflow: exit 5, and the error is JSON', async () => {
  const {tensors} = parseSafetensors(readFileSync(inFolder('fp.safetensors')), 'fp.safetensors');
  for (const [name, {data}] of tensors) if (name.endsWith('.weight')) data.fill(3e38);
  writeFileSync(inFolder('huge.safetensors'), serializeSafetensors(tensors, {}));
  const args = ['evaluate', '--checkpoint', 'huge.safetensors', '--json'];
  const {exitCode, stdout, stderr} = await sdq(args, {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 5, stderr: ''});
  expect(resultProblems('error', stdout)).toEqual([]);
  expect(stdout).toContain('The loss on test is NaN');
});

test('batches of one image go through every phase', async () => {
  const settings = ['data.batchSize=1', 'data.validation=112', 'search.activationBits=4'];
  const args = ['run', '--quiet', ...settings.flatMap((setting) => ['--set', setting])];
  const {exitCode, stderr} = await sdq(args, {cwd});
  expect({exitCode, stderr}).toMatchObject({exitCode: 0});
});

test('a user that the system does not know, without a home folder, is served', () => {
  const env = {PATH: process.env['PATH']!, NODE_ENV: 'production'};
  const options = process.getuid!() === 0 ? {uid: 54_321} : {};
  const {status, stderr, stdout} = spawnSync(process.execPath, [bin, 'data', 'list'], {cwd: '/', env, ...options});
  expect({status, stderr: String(stderr)}).toEqual({status: 0, stderr: ''});
  expect(String(stdout)).toContain('cifar10');
});
