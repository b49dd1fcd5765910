/** What a newcomer types in the first hour, and what sdq answers. */
import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {encodePng} from '../../src/data/png.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {failure, writeSmallJob} from '../helpers/failures.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const cwd = path.join(base, 'job');

beforeAll(() => writeSmallJob(cwd));

describe('short flags', () => {
  test.each([['-h'], ['search', '-h'], ['runs', '-h'], ['runs', 'list', '-h']])(
    '%j %j is the help',
    async (...args) => {
      const {exitCode, stdout} = await sdq(args, {cwd});
      expect({exitCode, stdout}).toEqual({exitCode: 0, stdout: expect.stringContaining('USAGE')});
    },
  );

  test.each([['-v'], ['version'], ['--version']])('%s is the version', async (arg) => {
    const {exitCode, stdout} = await sdq([arg], {cwd});
    expect({exitCode, stdout}).toEqual({exitCode: 0, stdout: expect.stringMatching(/^sdq\/\d/)});
  });

  test('help about a command that is not there', async () => {
    expect(await failure(['serch', '-h'], cwd, 2)).toContain(
      'There is no command "sdq serch". → Did you mean "search"?',
    );
  });
});

describe('what was meant', () => {
  test.each([
    [['evaluate', '--checkpoint', 'x', '--batch', '3'], '→ Settings are given by --set: --set data.batchSize=3.'],
    [['run', '--lr=0.1'], '→ Settings are given by --set: --set pretrain.optimizer.learningRate=0.1.'],
    [['search', 'epochs=3'], '→ Settings are given by --set: --set search.epochs=3.'],
    [
      ['search', '--set', 'search.target={meanWeightBits:', '3}'],
      "→ Quote a value that has spaces: --set 'search.target={meanWeightBits: 3}'.",
    ],
    [['run', '--resume', 'latest', '--set', 'search.epochs=40'], '--from RUN in place of --resume'],
    [['srch', '--set', 'a=1'], 'There is no command "sdq srch". → Did you mean "search"?'],
    [['runs', 'dleete', 'x'], 'There is no command "sdq runs dleete". → Did you mean "runs delete"?'],
    [['runs', 'archive', 'x'], 'There is no command "sdq runs archive". → "sdq runs" has: '],
    [['evaluate'], 'Missing required flag --checkpoint'],
    [['runs', 'compare', 'latest'], 'Missing argument B: The other run.'],
    [['model', 'show'], 'Missing argument MODEL: '],
  ])('%j', async (args, message) => {
    expect(await failure(args, cwd, 2)).toContain(message);
  });

  test.each([
    [['run', '--dry-run', '--set', 'engine.name=gpu'], '→ --set engine.name=auto takes the fastest that works here'],
    [['run', '--dry-run', '--set', 'hardware=bitfusion-edge'], "or --set 'hardware=[bitfusion-edge]'"],
    [['run', '--dry-run', '--set', 'hardware=[bitfusion]'], 'Did you mean "bitfusion-edge" or "bitfusion-server"?'],
    [['run', '--dry-run', '--set', 'data.name=cifar'], 'Did you mean "cifar10"?'],
    [['run', '--dry-run', '--set', 'search.epoch=3'], 'Did you mean "epochs"?'],
    [['run', '--dry-run', '--set', 'search.epochs=many'], 'expected a whole number of at least 1'],
    [
      ['run', '--dry-run', '--bits', '9'],
      '--bits 9: /search/target/meanWeightBits: expected a number of at least 1 and at most 8',
    ],
    [['search', '--dry-run'], '→ sdq pretrain --output full-precision.safetensors'],
  ])('%j, before anything is trained', async (args, message) => {
    expect(await failure(args, cwd, 3)).toContain(message);
  });

  test('every mistake of a config at once, each with its line and column, and what was meant', async () => {
    const folder = path.join(base, 'five');
    mkdirSync(folder);
    writeFileSync(
      path.join(folder, 'sdq.config.yaml'),
      'model: {nam: cnn-small}\ndata: {name: mnist, batchsize: 12}\npretrain: {learning_rate: 0.1, epochs: -3}\n',
    );
    const error = await failure(['config', 'validate'], folder, 3);
    expect(error).toMatch(/^Error: 5 settings are wrong:/);
    for (const text of [
      ':1:9: /model/nam:',
      ':2:21: /data/batchsize:',
      ':3:12: /pretrain/learning_rate:',
      ':3:32: /pretrain/epochs:',
    ])
      expect(error).toContain(text);
    for (const meant of ['"name"', '"batchSize"', '"pretrain.optimizer.learningRate"'])
      expect(error).toContain(`→ Did you mean ${meant}?`);
  });

  test('a usage line has no empty alternatives', async () => {
    for (const command of ['run', 'search', 'pretrain', 'train'])
      expect((await sdq([command, '-h'], {cwd})).stdout).not.toMatch(/\| *\]/);
  });

  test('the format of an export', async () => {
    const args = ['export', '--checkpoint', 'x.safetensors', '--format', 'onnx'];
    expect(await failure(args, cwd, 3)).toContain('Did you mean "onnx-qdq" or "onnx-qdq-int2"?');
  });
});

test('a file of a default name is not overwritten; one that is named is', async () => {
  const folder = path.join(base, 'output');
  mkdirSync(folder);
  const create = [
    'strategy',
    'create',
    '--weight-bits',
    '4',
    '--set',
    'model.name=cnn-small',
    '--set',
    'data.name=mnist',
  ];
  expect(await sdq(create, {cwd: folder})).toMatchObject({exitCode: 0});
  writeFileSync(path.join(folder, 'strategy.json'), 'mine');
  expect(await failure(create, folder, 3)).toContain('strategy.json is already there; it is not overwritten.');
  expect(readFileSync(path.join(folder, 'strategy.json'), 'utf8')).toBe('mine');
  expect(await sdq([...create, '--output', 'strategy.json'], {cwd: folder})).toMatchObject({exitCode: 0});
  expect(readFileSync(path.join(folder, 'strategy.json'), 'utf8')).toContain('cnn-small');

  writeFileSync(path.join(folder, 'cnn-small.safetensors'), 'mine');
  const imported = ['model', 'import', 'absent.safetensors', '--model', 'cnn-small', '--set', 'data.name=mnist'];
  expect(await failure(imported, folder, 3)).toContain('cnn-small.safetensors is already there');
});

/** Runs of a folder. */
const runsOf = (folder: string): string[] => {
  const root = path.join(folder, '.sdq/runs');
  return existsSync(root) ? readdirSync(root) : [];
};

/** Few steps at the default rates, all the way from the highest candidates. */
const slow = ['search.dualRate=0.5', 'search.dbp.learningRate=0.1', 'search.start=highest'].flatMap((setting) => [
  '--set',
  setting,
]);

describe('what will not work is said before there is a folder', () => {
  const folder = path.join(base, 'preflight');
  beforeAll(() => writeSmallJob(folder));

  test.each([
    [
      ['run', ...slow],
      5,
      'The search has 12 steps (search.epochs 2 of 6 batches): too few to come down to meanWeightBits 4.5.',
    ],
    [['run', '--set', 'data.validation=500'], 3, '→ A share fits any number of images: --set data.validation=0.15.'],
    [
      ['run', '--set', 'data.batchSize=100'],
      3,
      'only 96 train images (128, of which 32 are held out for validation). → --set data.batchSize=32',
    ],
    [['run', '--set', 'data.directory=absent'], 6, 'sdq data fetch mnist'],
    [['pretrain', '--set', 'data.name=cifar10', '--set', 'data.directory=images'], 6, 'sdq data fetch cifar10'],
    [['train'], 2, '--strategy FILE is missing'],
    [['train', '--strategy', 'nothere.json'], 3, 'nothere.json: no such file'],
  ] as const)('%j', async (args, exit, message) => {
    const error = await failure(args, folder, exit);
    expect(error).toContain(message);
    expect(error).not.toContain('pretrain, epoch');
    expect(runsOf(folder)).toEqual([]);
  });

  test('a share of the images for validation', async () => {
    const set = ['--set', 'data.validation=0.25', '--set', 'pretrain.epochs=1', '--quiet'];
    expect(await sdq(['pretrain', ...set], {cwd: folder})).toMatchObject({exitCode: 0});
  });
});

describe('a search that ends above its target', () => {
  const folder = path.join(base, 'missed');
  let failed: {exitCode: number | null; stdout: string; stderr: string};
  beforeAll(async () => {
    writeSmallJob(folder);
    expect(await sdq(['pretrain', '--output', 'fp.safetensors', '--quiet'], {cwd: folder})).toMatchObject({
      exitCode: 0,
    });
    failed = await sdq(['run', '--set', 'model.weights=fp.safetensors', ...slow], {cwd: folder});
  }, 120_000);

  test('is warned of, and ends with the error below the chart', () => {
    expect(failed).toMatchObject({exitCode: 5});
    expect(failed.stderr).toMatch(/too few to come down to meanWeightBits 4.5. With enough: --set search.epochs=\d+/);
    expect(failed.stderr.trimEnd().split('\n').slice(-4).join('\n')).toMatch(
      /^Error: The search ended at .* mean weight bits, .* above the target of 4.5.\n {2}→ Search longer: sdq run --from \S+ --set search.epochs=\d+\n/,
    );
  });

  test('the reason is kept: in run.json, the journal, runs show and the report; its accuracy is not that of the bits', async () => {
    const show = await sdq(['runs', 'show', 'latest', '--json'], {cwd: folder});
    const {run, directory} = JSON.parse(show.stdout) as {run: {error: unknown}; directory: string};
    const error = {code: 'target-not-reached', message: expect.stringContaining('above the target of 4.5')};
    expect(run.error).toEqual(error);
    expect([...readJournal(path.join(directory, 'events.jsonl'))].find(({kind}) => kind === 'end')?.data).toMatchObject(
      {
        error,
      },
    );
    expect((await sdq(['runs', 'show'], {cwd: folder})).stdout).toMatch(/why +The search ended at/);
    expect(readFileSync(path.join(directory, 'report.html'), 'utf8')).toContain('above the target of 4.5');
    const list = await sdq(['runs', 'list', '--json'], {cwd: folder});
    const [, last] = (JSON.parse(list.stdout) as {runs: {accuracy: number | null; error: unknown}[]}).runs;
    expect(last).toMatchObject({accuracy: null, error});
  });

  test('and the command that it names reaches the target', async () => {
    const [, args] = /Search longer: sdq (.*)/.exec(failed.stderr)!;
    const longer = await sdq([...args!.split(' '), '--set', 'train.epochs=1'], {cwd: folder});
    expect({exitCode: longer.exitCode, stderr: longer.stderr.slice(-500)}).toMatchObject({exitCode: 0});
  }, 120_000);

  test('a checkpoint in a run folder brings its settings along', async () => {
    const checkpoint = path.join(folder, '.sdq/runs', runsOf(folder)[0]!, 'full-precision.safetensors');
    const elsewhere = path.join(base, 'elsewhere');
    mkdirSync(elsewhere);
    const {exitCode, stdout} = await sdq(['evaluate', '--checkpoint', checkpoint], {cwd: elsewhere});
    expect({exitCode, stdout}).toEqual({exitCode: 0, stdout: expect.stringContaining('cnn-small on mnist (test)')});
  });

  test('a strategy of another model', async () => {
    const create = [
      'strategy',
      'create',
      '--weight-bits',
      '4',
      '--set',
      'model.name=resnet20',
      '--set',
      'data.name=cifar10',
    ];
    expect(await sdq([...create, '--output', 'other.json'], {cwd: folder})).toMatchObject({exitCode: 0});
    const before = runsOf(folder);
    const error = await failure(['train', '--strategy', 'other.json', '--checkpoint', 'fp.safetensors'], folder, 3);
    expect(error).toContain("other.json is a strategy for resnet20; the config's model is cnn-small.");
    const weights = await failure(
      ['search', '--set', 'model.weights=fp.safetensors', '--set', 'model.name=resnet20'],
      folder,
      3,
    );
    expect(weights).toContain('fp.safetensors lacks');
    expect(runsOf(folder)).toEqual(before);
  });
});

test('init names the commands that come next', async () => {
  const folder = path.join(base, 'init');
  mkdirSync(folder);
  const env = {SDQ_DATA_DIR: path.join(folder, 'cache'), npm_command: 'run-script'};
  const {stdout} = await sdq(['init', '--output', 'my-job/sdq.config.yaml'], {cwd: folder, env});
  expect(stdout).toMatch(/Next: cd my-job\n +sdq data fetch mnist\n +sdq run\n$/);
  const npx = await sdq(['init', '--output', 'third/sdq.config.yaml'], {
    cwd: folder,
    env: {...env, npm_command: 'exec'},
  });
  expect(npx.stdout).toMatch(/Next: cd third\n +npx sdq data fetch mnist\n +npx sdq run\n$/);
  const other = await sdq(['init', '--template', 'image-folder', '--output', 'own.yaml'], {cwd: folder, env});
  expect(other.stdout).toMatch(/images\/train\/CLASS.*\n +sdq run --config own.yaml\n$/);
});

test('init on a folder of images: the search that it sets is long enough for preflight', async () => {
  const folder = path.join(base, 'few-images');
  for (const [split, images] of [
    ['train', 80],
    ['test', 30],
  ] as const) {
    for (const name of ['a', 'b', 'c']) {
      const place = path.join(folder, 'images', split, name);
      mkdirSync(place, {recursive: true});
      const png = encodePng(new Uint8Array(48 * 48), 48, 48, 1);
      for (let i = 0; i < images; i++) writeFileSync(path.join(place, `${i}.png`), png);
    }
  }
  expect(await sdq(['init'], {cwd: folder})).toMatchObject({exitCode: 0});
  const {exitCode, stderr, stdout} = await sdq(['run', '--dry-run'], {cwd: folder});
  expect({exitCode, stderr, stdout}).toEqual({
    exitCode: 0,
    stderr: expect.not.stringContaining('too few'),
    stdout: expect.stringContaining('All checks passed'),
  });
  // 269,722 with ten classes: the running statistics of batch-norms are no parameters.
  expect(stdout).toContain('resnet20: 20 layers to quantize, 269,267 parameters');

  // From the template too, whose comments stay.
  const fromTemplate = ['init', '--template', 'image-folder', '--output', 'template.yaml'];
  expect(await sdq(fromTemplate, {cwd: folder})).toMatchObject({exitCode: 0});
  expect(readFileSync(path.join(folder, 'template.yaml'), 'utf8')).toContain('# The share of the training images');
  expect(await sdq(['run', '--dry-run', '--config', 'template.yaml'], {cwd: folder})).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('All checks passed'),
  });
});
