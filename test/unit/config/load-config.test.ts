import {mkdirSync, mkdtempSync, truncateSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {
  compareWithRun,
  loadConfig,
  loadStoredConfig,
  refuseOtherSettings,
  type ConfigRequest,
} from '../../../src/config/load-config.ts';
import {SdqError} from '../../../src/errors.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {searchers} from '../../../src/plugins/searchers/index.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const base = temporaryFolder();

function loadRegistry(): Promise<Registry> {
  const registry = new Registry(['model', 'searcher']);
  for (const definition of [...models, ...searchers]) registry.add(definition);
  return Promise.resolve(registry);
}

function folder(files: Readonly<Record<string, string>> = {}): string {
  const made = mkdtempSync(path.join(base, 'config-'));
  // Ends the search for a config.
  for (const [name, content] of Object.entries({'package.json': '{}', ...files})) {
    writeFileSync(path.join(made, name), content);
  }
  return made;
}

function load(cwd: string, request: Partial<ConfigRequest> = {}): ReturnType<typeof loadConfig> {
  return loadConfig({
    cwd,
    env: {},
    file: undefined,
    set: [],
    sweepParams: undefined,
    require: [],
    loadRegistry,
    ...request,
  });
}

async function failure(cwd: string, request: Partial<ConfigRequest> = {}): Promise<SdqError> {
  const error: unknown = await load(cwd, request).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(SdqError);
  return error as SdqError;
}

test('a variable that names no key is ignored, with a notice that names it and a near key', async () => {
  const notices: string[] = [];
  const notice = (message: string): void => void notices.push(message);
  const {config} = await load(folder(), {env: {SDQ_SEEED: 'secret', SDQ_AGENT_URL: 'secret', SDQ_SEED: '4'}, notice});
  expect(config.seed).toBe(4);
  expect(notices).toEqual([
    'Ignored SDQ_SEEED: it sets no key of the config. Did you mean "SDQ_SEED"?',
    'Ignored SDQ_AGENT_URL: it sets no key of the config.',
  ]);
});

test('settings of a command line are compared with those of a run; places of files may differ', async () => {
  const stored = (await load(folder(), {set: ['search.target={sizeKiB: 30}', 'data.name=mnist'], require: []})).config;
  const begun = await load(folder(), {
    sweepParams: '{"search": {"epochs": 4, "target": {"sizeKiB": 30}}, "data.directory": "here"}',
    set: ['seed=7', 'engine={}', 'data.name=cifar10', 'search.pin=null'],
  });
  const {places, different} = compareWithRun({...begun, stored: JSON.parse(JSON.stringify(stored)) as unknown});
  expect(places.map(({values}) => values)).toEqual([{data: {directory: 'here'}}]);
  expect(different).toEqual([
    'seed: 7 by --set seed=7, 0 in the run',
    'data.name: "cifar10" by --set data.name=cifar10, "mnist" in the run',
  ]);
});

describe('the settings of a resumed run', () => {
  const stored = (request: Partial<Pick<ConfigRequest, 'env' | 'set'>>): ReturnType<typeof loadStoredConfig> =>
    loadStoredConfig(
      {
        name: 'run.json',
        base,
        values: {
          model: {name: 'onnx', options: {file: '/gone/net.onnx'}, weights: '/gone/net.onnx'},
          data: {name: 'image-folder', directory: '/gone/images'},
          train: {distillation: {teacher: {model: 'onnx', options: {file: '/gone/t.onnx'}, weights: '/gone/t.onnx'}}},
          search: {epochs: 7},
        },
      },
      {cwd: base, env: {}, set: [], require: [], loadRegistry, ...request},
    );

  test('say by flags and variables where its files are now, and nothing else', async () => {
    expect(await stored({})).toMatchObject({isMoved: false, config: {search: {epochs: 7}}});
    const {config, isMoved} = await stored({
      set: [
        'model.options.file=net.onnx',
        'model.weights=w.onnx',
        'train.distillation.teacher={options: {file: t.onnx}, weights: /t}',
      ],
      env: {SDQ_DATA_DIRECTORY: 'images', SDQ_SEARCH_EPOCHS: '9'},
    });
    expect(isMoved).toBe(true);
    expect(config).toMatchObject({
      model: {options: {file: path.join(base, 'net.onnx')}, weights: path.join(base, 'w.onnx')},
      data: {directory: path.join(base, 'images')},
      train: {distillation: {teacher: {model: 'onnx', options: {file: path.join(base, 't.onnx')}, weights: '/t'}}},
      search: {epochs: 7},
    });
  });

  test.each(['search.epochs=3', 'model.name=cnn-small', 'data={directory: x, batchSize: 2}', 'data={}', 'tracking=[]'])(
    'do not take %s',
    async (set) => {
      await expect(stored({set: [set]})).rejects.toMatchObject({
        code: 'resume-setting',
        oclif: {exit: 2},
        suggestions: [expect.stringContaining('data.directory'), expect.any(String)],
      });
    },
  );
});

describe('every place and format is read', () => {
  test.each([
    ['sdq.config.yaml', 'seed: 7\nsearch: {epochs: 2}'],
    ['sdq.config.json', '{"seed": 7, "search": {"epochs": 2}}'],
    ['sdq.config.mjs', 'export default {seed: 7, search: {epochs: 2}};'],
    ['sdq.config.yml', 'seed: 7\nsearch: {epochs: 2}'],
    ['.sdqrc', 'seed: 7\nsearch: {epochs: 2}'],
    ['.sdqrc.yml', 'seed: 7\nsearch: {epochs: 2}'],
    ['.sdqrc.yaml', 'seed: 7\nsearch: {epochs: 2}'],
    ['.sdqrc.json', '{"seed": 7, "search": {"epochs": 2}}'],
    ['package.json', '{"sdq": {"seed": 7, "search": {"epochs": 2}}}'],
  ])('%s', async (name, content) => {
    const cwd = folder({[name]: content});
    const {config, file} = await load(cwd);
    expect(file).toBe(path.join(cwd, name));
    expect(config).toMatchObject({seed: 7, search: {epochs: 2, candidates: [1, 2, 3, 4, 5, 6, 7, 8]}});
  });

  test('a config above the folder is found, up to the one with package.json', async () => {
    const project = folder({'sdq.config.yaml': 'seed: 7'});
    const inner = path.join(project, 'a/b');
    mkdirSync(inner, {recursive: true});
    expect((await load(inner)).config.seed).toBe(7);
  });

  test('without a file there are the defaults', async () => {
    const {config, file} = await load(folder());
    expect(file).toBeUndefined();
    expect(config).toMatchObject({
      seed: 0,
      engine: {name: 'auto', threads: 'auto'},
      quantizers: {weights: 'narrow', activations: 'pact'},
      search: {method: 'sdq', target: {}, pareto: 0, dbp: {thetaInit: 2, betaThreshold: 0.5}},
      train: {distillation: {teacher: 'self'}, binRegularization: {weight: 0.1}},
    });
    expect([config.pretrain, config.search, config.train].map(({optimizer}) => optimizer.learningRate)).toEqual([
      0.1, 0.01, 0.02,
    ]);
  });

  test('an empty file says nothing', async () => {
    expect((await load(folder({'sdq.config.yaml': ''}))).config.seed).toBe(0);
  });
});

describe('precedence: defaults, file, environment, sweep, flags', () => {
  const cwd = folder({
    'sdq.config.yaml': 'seed: 1\nsearch: {epochs: 11, dualRate: 0.1, target: {meanWeightBits: 3}}',
    'sweep.json': '{"seed": 3, "search.epochs": 33, "train": {"epochs": 9}}',
  });
  const env = {SDQ_SEED: '2', SDQ_SEARCH_EPOCHS: '22', SDQ_SEARCH_TARGET: '{meanWeightBits: 2.5}', SDQ_DATA_DIR: '/x'};

  test('each beats the ones before it, key by key', async () => {
    const one = (await load(cwd, {env})).config;
    expect(one).toMatchObject({seed: 2, search: {epochs: 22, dualRate: 0.1, target: {meanWeightBits: 2.5}}});
    const two = (await load(cwd, {env, sweepParams: 'sweep.json'})).config;
    expect(two).toMatchObject({seed: 3, search: {epochs: 33, dualRate: 0.1}, train: {epochs: 9}});
    const set = ['search.epochs=44', 'search.epochs=45', 'search.pin={layer1.0.conv1: 4}'];
    const three = (await load(cwd, {env, sweepParams: 'sweep.json', set})).config;
    expect(three).toMatchObject({seed: 3, search: {epochs: 45, pin: {'layer1.0.conv1': 4}}, train: {epochs: 9}});
  });

  test('null takes a key back', async () => {
    const set = ['search.target.meanWeightBits=null', 'search.target.bops=1e9', 'seed=null', 'train=null'];
    const {config} = await load(cwd, {set});
    expect(config).toMatchObject({seed: 0, search: {epochs: 11, target: {bops: 1e9}}, train: {epochs: 30}});
    expect(config.search.target).not.toHaveProperty('meanWeightBits');
  });

  test('a section in the environment does not hide a key of it, in whatever order', async () => {
    for (const names of [
      ['SDQ_SEARCH_EPOCHS', 'SDQ_SEARCH'],
      ['SDQ_SEARCH', 'SDQ_SEARCH_EPOCHS'],
    ]) {
      const values: Readonly<Record<string, string>> = {
        SDQ_SEARCH_EPOCHS: '5',
        SDQ_SEARCH: '{epochs: 6, dualRate: 0.7}',
      };
      const {config} = await load(folder(), {env: Object.fromEntries(names.map((name) => [name, values[name]]))});
      expect(config.search).toMatchObject({epochs: 5, dualRate: 0.7});
    }
  });
});

test('relative paths start at the file that has them, those of flags at the working folder', async () => {
  const project = folder({'sdq.config.yaml': 'model: {name: resnet20, weights: ./fp.safetensors}'});
  const cwd = path.join(project, 'inner');
  mkdirSync(cwd);
  const {config} = await load(cwd, {set: ['data={name: cifar10, directory: images}']});
  expect(config.model?.weights).toBe(path.join(project, 'fp.safetensors'));
  expect(config.data?.directory).toBe(path.join(cwd, 'images'));
  expect(config.runs.directory).toBe(path.join(project, '.sdq/runs'));
});

describe('what is wrong is said with file, place, value and rule', () => {
  test.each([
    ['serch: {}', '/serch: unknown key "serch"', 'Did you mean "search"?'],
    ['search: {epoch: 1}', '/search/epoch: unknown key "epoch"', 'Did you mean "epochs"?'],
    ['search: {epochs: many}', '/search/epochs: expected a whole number of at least 1', undefined],
    ['search: {epochs: 1.5}', '/search/epochs: expected a whole number of at least 1', undefined],
    ['search: [1]', '/search: expected a mapping of method, candidates', undefined],
    [
      'search: {candidates: [1, 9]}',
      '/search/candidates/1: expected a whole number of at least 1 and at most 8, found 9',
      undefined,
    ],
    ['search: {candidates: [2, 2]}', '/search/candidates: expected a list of at least 1 different', undefined],
    [
      'search: {method: sdk}',
      '/search/method: There is no searcher "sdk". Known: sdq, interpolation, sensitivity, uniform.',
      'Did you mean "sdq"?',
    ],
    ['seed: -1', '/seed: expected a whole number of at least 0 and at most 4294967295, found -1', undefined],
    [
      'train: {optimizer: {name: sgdd}}',
      '/train/optimizer/name: expected one of "sgd", "adam", "adamw", found "sgdd"',
      'Did you mean "sgd"?',
    ],
    [
      'train: {distillation: {teacher: nobody}}',
      '/train/distillation/teacher: expected one of "self", "none" or a mapping of model, weights, options, found "nobody"',
      undefined,
    ],
    [
      'train: {distillation: {teacher: {model: resnet56}}}',
      '/train/distillation/teacher: "weights" is missing',
      undefined,
    ],
    [
      'train: {distillation: {teacher: {modl: x, model: a, weights: b}}}',
      '/train/distillation/teacher/modl: unknown key "modl"',
      'Did you mean "model"?',
    ],
    [
      'model: {name: resnet20, options: {shortcut: C}}',
      '/model/options/shortcut: expected one of "A", "B", found "C"',
      undefined,
    ],
    ['model: {name: resnet21}', '/model/name: There is no model "resnet21"', 'Did you mean "resnet20"?'],
    ['model: {}', '/model: "name" is missing', undefined],
    ['engine: {threads: 0}', '/engine/threads: expected "auto" or a whole number of at least 1', undefined],
    [
      'data: {name: x, normalization: {mean: [0], std: [0]}}',
      '/data/normalization/std/0: expected a number above 0, found 0',
      undefined,
    ],
    ['- 1', 'expected a mapping of settings, found a list', undefined],
    ['just text', 'expected a mapping of settings, found string', undefined],
    ['a: b: c', 'Nested mappings are not allowed', undefined],
    ['a: 1\na: 2', 'Map keys must be unique', undefined],
  ])('%s', async (content, message, suggestion) => {
    const cwd = folder({'sdq.config.yaml': content});
    const error = await failure(cwd);
    expect(error.message).toContain(path.join(cwd, 'sdq.config.yaml'));
    expect(error.message).toContain(message);
    expect(error.oclif.exit).toBe(3);
    if (suggestion !== undefined) expect(error.suggestions).toContain(suggestion);
  });

  test.each([
    ['sdq.config.json', '{"seed": 1,}', 'JSON'],
    ['package.json', '{"sdq": ', 'JSON'],
    ['sdq.config.mjs', 'export default {seed: ', 'Cannot read the config'],
    ['sdq.config.mjs', 'throw new Error("no luck");', 'no luck'],
    ['sdq.config.mjs', 'export default () => ({seed: 1});', 'expected a mapping of settings, found function'],
    ['sdq.config.mjs', 'export default {seed: () => 1};', 'must be plain data'],
    ['sdq.config.mjs', 'const a = {}; a.a = a; export default a;', 'found a cycle'],
    ['sdq.config.yaml', `a: ${'x'.repeat(1_100_000)}`, 'at most 1048576'],
    [
      'sdq.config.yaml',
      `a: &a [1]\nb: &b [${'*a, '.repeat(99)}*a]\nc: [${'*b, '.repeat(99)}*b]`,
      'Excessive alias count',
    ],
  ])('%s with broken content %#', async (name, content, message) => {
    const cwd = folder({[name]: content});
    const error = await failure(cwd);
    expect(error.message).toContain(path.join(cwd, name));
    expect(error.message).toContain(message);
    expect(error.oclif.exit).toBe(3);
  });

  test('the flag or variable that the value came from is named', async () => {
    const cwd = folder({'sdq.config.yaml': 'seed: 1'});
    expect((await failure(cwd, {set: ['seed=x']})).message).toContain('--set seed=x: expected');
    expect((await failure(cwd, {env: {SDQ_SEED: 'x'}})).message).toContain('SDQ_SEED: /seed: expected');
  });

  test.each([
    ['a missing file', 'missing.yaml', 'no such file'],
    ['a folder', '.', 'not a regular file'],
    ['an endless device', '/dev/zero', 'not a regular file'],
  ])('--config with %s', async (_, file, message) => {
    const error = await failure(folder(), {file});
    expect(error.message).toContain(message);
    expect(error.oclif.exit).toBe(3);
  });

  test('--config with a huge file, which is not read', async () => {
    const cwd = folder({'huge.yaml': ''});
    truncateSync(path.join(cwd, 'huge.yaml'), 2 ** 36);
    expect((await failure(cwd, {file: 'huge.yaml'})).message).toContain('at most 1048576 are read');
  });

  test.each([
    ['seed', 2],
    ['=1', 2],
    ['a..b=1', 2],
    ['seed={', 2],
    ['seed=[1', 2],
  ])('--set %s exits 2', async (assignment, exit) => {
    expect((await failure(folder(), {set: [assignment]})).oclif.exit).toBe(exit);
  });

  test('everything that is wrong is said at once, each with its line and column', async () => {
    const text = ['seed: -1', 'search:', '  epohcs: 3', '  candidates: [1, 9]', 'trian: {}', ''].join('\n');
    const cwd = folder({'sdq.config.yaml': text});
    const error = await failure(cwd, {set: ['data.batchSize=0', 'data.name=mnist']});
    const file = path.join(cwd, 'sdq.config.yaml');
    expect(error.message).toMatch(/^5 settings are wrong:\n/);
    expect(error.message).toContain(`${file}:1:1: /seed: expected`);
    expect(error.message).toContain(`${file}:3:3: /search/epohcs: unknown key`);
    expect(error.message).toContain(`${file}:4:19: /search/candidates/1: expected`);
    expect(error.message).toContain(`${file}:5:1: /trian: unknown key`);
    expect(error.message).toContain('--set data.batchSize=0: expected a whole number');
    expect(error.suggestions).toEqual(['Did you mean "train"?', 'Did you mean "epochs"?']);
  });

  test.each([
    ['train.learning_rate=0.1', 'Did you mean "train.optimizer.learningRate"?'],
    ['lr=0.1', 'Did you mean "pretrain.optimizer.learningRate"?'],
    [
      'hardware=bitfusion-edge',
      "Write it as a list: hardware: [bitfusion-edge], or --set 'hardware=[bitfusion-edge]'.",
    ],
  ])('--set %s: %s', async (set, suggestion) => {
    expect((await failure(folder(), {set: [set]})).suggestions).toEqual([suggestion]);
  });

  test('a list in words', async () => {
    expect((await failure(folder(), {set: ['hardware=x']})).message).toContain(
      'expected a list of different strings, found "x"',
    );
  });

  test.each(['&a [*a]', '&a {b: *a}', `${'['.repeat(5000)}${']'.repeat(5000)}`])(
    'a value that contains itself or nests too deeply: %s',
    async (value) => {
      const error = await failure(folder(), {set: [`search.pin=${value}`]});
      expect(error.oclif.exit).toBe(2);
      expect(error.message).toMatch(/contains itself or nests too deeply|is not YAML/);
      const variable = await failure(folder(), {env: {SDQ_SEARCH_PIN: value}});
      expect(variable.oclif.exit).toBe(3);
      await failure(folder(), {sweepParams: `{"search.pin": ${'['.repeat(50_000)}${']'.repeat(50_000)}}`});
    },
  );

  test('an empty mapping takes the place of what stood there', async () => {
    const cwd = folder({'sdq.config.yaml': 'model: {name: resnet20, options: {shortcut: B}}'});
    expect((await load(cwd, {set: ['model.options={}']})).config.model?.options).toEqual({shortcut: 'A'});
    expect((await load(cwd, {set: ['model={name: resnet32}']})).config.model?.options).toEqual({shortcut: 'B'});
  });

  test('an empty file is a config without settings, and errors name it', async () => {
    const cwd = folder({'sdq.config.yaml': ''});
    expect((await failure(cwd, {require: ['model']})).message).toContain(
      `${path.join(cwd, 'sdq.config.yaml')}: /model/name is missing`,
    );
    const other = folder({'sdq.config.yaml': '', 'package.json': '{"name": "x"}'});
    expect((await load(other)).file).toBe(path.join(other, 'sdq.config.yaml'));
    expect((await load(folder({'package.json': '{"name": "x"}'}))).file).toBeUndefined();
  });

  test('what a command needs and nobody chose', async () => {
    const none = await failure(folder(), {require: ['model', 'data']});
    expect(none.message).toBe('No config file was found, and no model was chosen.');
    expect(none.suggestions[0]).toBe('Write a config with `sdq init`.');
    const wrong = await failure(folder(), {require: ['model', 'data'], set: ['serch.epochs=1']});
    expect(wrong.message).toContain('serch');
    const cwd = folder({'sdq.config.yaml': 'model: {name: resnet20}'});
    expect((await failure(cwd, {require: ['model', 'data']})).message).toContain('/data/name is missing');
  });
});

describe('random input ends in a config or an SdqError', () => {
  const cwd = folder();
  const expectEnd = async (request: Partial<ConfigRequest>): Promise<void> => {
    try {
      await load(cwd, request);
    } catch (error) {
      expect(error).toBeInstanceOf(SdqError);
    }
  };

  test.each(['fuzz.yaml', 'fuzz.json', 'fuzz'])('bytes in %s', async (name) => {
    const file = path.join(cwd, name);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({maxLength: 200}), async (bytes) => {
        writeFileSync(file, bytes);
        await expectEnd({file});
      }),
      {numRuns: 200},
    );
  });

  test('any value at any key', async () => {
    const keys = fc.constantFrom(
      'model',
      'data',
      'engine',
      'search',
      'train',
      'plugins',
      'seed',
      'name',
      '__proto__',
      'a',
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(keys, fc.jsonValue({maxDepth: 4})), async (value) => {
        writeFileSync(path.join(cwd, 'fuzz.json'), JSON.stringify(value));
        await expectEnd({file: 'fuzz.json'});
        await expectEnd({sweepParams: 'fuzz.json'});
      }),
      {numRuns: 60},
    );
    expect(({} as {polluted?: unknown}).polluted).toBeUndefined();
  });

  test('--set, environment and sweep files', async () => {
    const key = fc.oneof(
      fc.string(),
      fc.constantFrom('seed', 'search.epochs', '__proto__.polluted', 'constructor.prototype.polluted'),
    );
    await fc.assert(
      fc.asyncProperty(key, fc.string(), async (name, value) => {
        await expectEnd({set: [`${name}=${value}`]});
        await expectEnd({env: {[`SDQ_${name}`]: value, SDQ_SEED: value}});
        writeFileSync(path.join(cwd, 'sweep.json'), value);
        await expectEnd({sweepParams: 'sweep.json'});
        writeFileSync(path.join(cwd, 'sweep.json'), JSON.stringify({[name]: value}));
        await expectEnd({sweepParams: 'sweep.json'});
      }),
      {numRuns: 60},
    );
    expect(({} as {polluted?: unknown}).polluted).toBeUndefined();
  });
});

test.each([
  ['data.directory=elsewhere', true],
  ['model.options.file=net.onnx', true],
  ['model={weights: a.safetensors}', true],
  ['hardware=[own.json]', true],
  ['seed=1', false],
  ['search.epochs=40', false],
  ['search.epohcs=40', false],
  ['model.name=resnet20', false],
  ['data={directory: a, batchSize: 3}', false],
])('a resumed run may be told by --set only where its files are: %s', (set, isAllowed) => {
  const check = (): void => refuseOtherSettings([set], base);
  if (isAllowed) expect(check).not.toThrow();
  else expect(check).toThrow('a resumed run keeps its settings');
});
