/** Without TensorFlow: what is said of a machine, and what an installation does step by step. The real one: engines.test.ts. */
import {chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {suggestBatchSize} from '../../../../src/plugin-api/out-of-memory.ts';
import {
  notInstalled,
  probeOf,
  tellOutOfMemory,
  tensorflowEngine,
} from '../../../../src/plugins/engines/tensorflow/index.ts';
import {installTensorflow} from '../../../../src/plugins/engines/tensorflow/install.ts';
import {layout} from '../../../../src/plugins/engines/tensorflow/installation.ts';
import {checkDisk, checkMachine, type Machine} from '../../../../src/plugins/engines/tensorflow/requirements.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const before = process.env['SDQ_ENGINE_DIR'];
beforeAll(() => {
  process.env['SDQ_ENGINE_DIR'] = path.join(folder, 'nothing');
});
afterAll(() => {
  if (before === undefined) delete process.env['SDQ_ENGINE_DIR'];
  else process.env['SDQ_ENGINE_DIR'] = before;
});

const machine: Machine = {platform: 'linux', arch: 'x64', glibc: '2.36', driver: '550.54.14'};

describe('where it is not installed', () => {
  test('it does not start', async () => {
    const {available, reason, rank} = await tensorflowEngine.probe({threads: 'auto'});
    expect({available, rank}).toEqual({available: false, rank: 0});
    await expect(tensorflowEngine.start({threads: 'auto'})).rejects.toMatchObject({
      message: `The tensorflow engine is not available. ${reason}`,
      code: 'engine-not-available',
      oclif: {exit: 6},
    });
  });

  test.each<[Partial<Machine>, boolean, string]>([
    [{}, false, 'Not installed. The NVIDIA driver 550.54.14 will do: `sdq engine install tensorflow`.'],
    [
      {},
      true,
      'Its installation is not finished. The NVIDIA driver 550.54.14 will do: `sdq engine install tensorflow`.',
    ],
    [
      {driver: undefined},
      false,
      'Not installed. No NVIDIA driver is loaded; CUDA 12 needs 525.60.13 or later. Then `sdq engine install tensorflow`; for the processor `sdq engine install tensorflow --cpu`.',
    ],
    [
      {driver: '470.82.01'},
      false,
      'Not installed. The NVIDIA driver is 470.82.01; CUDA 12 needs 525.60.13 or later. Then `sdq engine install tensorflow`; for the processor `sdq engine install tensorflow --cpu`.',
    ],
    [
      {platform: 'darwin', arch: 'arm64'},
      false,
      'TensorFlow 2.21.0 with CUDA exists for Linux on x86-64 only; this is darwin on arm64.',
    ],
    [{glibc: '2.17'}, false, 'TensorFlow 2.21.0 needs glibc 2.27 or later; this system has 2.17.'],
    [{glibc: undefined}, false, 'TensorFlow 2.21.0 needs glibc 2.27 or later; this system has none.'],
  ])('it says what this machine would need: %j', (difference, isBegun, sentence) => {
    expect(notInstalled({...machine, ...difference}, isBegun)).toBe(sentence);
  });
});

test.each([
  ['CUDA is above wasm', {variant: 'cuda', usesGpu: true}, 'CUDA', 20, 'By TensorFlow 2.21.0.'],
  ['the processor is below wasm', {variant: 'cpu', usesGpu: false}, 'processor, 3 threads', 5, 'By TensorFlow 2.21.0.'],
  [
    'CUDA without a device says so',
    {variant: 'cuda', usesGpu: false},
    'processor, 3 threads',
    5,
    'TensorFlow 2.21.0 finds no CUDA device. Does nvidia-smi list one?',
  ],
] as const)('%s', (_, library, device, rank, reason) => {
  expect(probeOf({...library, version: '2.21.0', threads: 3}, machine)).toEqual({device, rank, reason});
});

test('says that memory is short and what batch may fit, and passes other errors on', () => {
  const message = 'Invalid TF_Status: 8\nMessage: OOM when allocating tensor with shape[128,32,32,16] and type float';
  const backend = {
    executeSingleOutput(): tf.Tensor {
      throw new Error(message);
    },
    executeMultipleOutputs(): tf.Tensor[] {
      throw new Error('Invalid TF_Status: 3');
    },
  };
  tellOutOfMemory(backend, () => 3 * 2 ** 23);
  const error = ((): unknown => {
    try {
      return backend.executeSingleOutput();
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toMatchObject({
    message: expect.stringContaining('The tensorflow engine is out of memory: 8.0 MiB were asked for while 24.0 MiB'),
    code: 'engine-out-of-memory',
    oclif: {exit: 6},
  });
  expect(suggestBatchSize(error, 128)).toMatchObject({
    message: expect.stringContaining('A step of 128 images does not fit; at most 96 do.'),
    suggestions: ['Use a smaller batch: --set data.batchSize=96.'],
    oclif: {exit: 6},
  });
  expect(() => backend.executeMultipleOutputs()).toThrow(new Error('Invalid TF_Status: 3'));
});

describe('an installation', () => {
  const programs = path.join(folder, 'bin');
  let environment: NodeJS.ProcessEnv;
  let notices: string[];
  let count = 0;

  /** A program of the machine: a shell script. */
  function program(name: string, script: string): void {
    const file = path.join(programs, name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
  }
  const python = (pip: string): void => program('python3', `if [ "$1" = -c ]; then echo 3.11.2; exit; fi\n${pip}`);
  const install = (abort = new AbortController()): Promise<string> =>
    installTensorflow(
      {
        cpu: true,
        python: undefined,
        withoutDriver: false,
        environment,
        signal: abort.signal,
        progress: () => undefined,
        notice: (message) => notices.push(message),
      },
      machine,
    );
  const manifest = (): unknown => JSON.parse(readFileSync(layout(environment).manifest, 'utf8'));
  /** As if these steps were finished. */
  function finished(...steps: string[]): void {
    const {folder: target, manifest: file} = layout(environment);
    mkdirSync(target, {recursive: true});
    writeFileSync(file, JSON.stringify({variant: 'cpu', tensorflow: '2.21.0', tfjs: tf.version_core, steps}));
  }

  beforeAll(() => {
    mkdirSync(programs);
  });
  beforeEach(() => {
    environment = {PATH: `${programs}:/usr/bin:/bin`, SDQ_ENGINE_DIR: path.join(folder, `engines-${count++}`)};
    notices = [];
    python('exit 0');
    program('c++', 'exit 0');
  });

  test.each<[string, Partial<Machine>, string]>([
    ['the platform', {platform: 'win32'}, 'platform-not-supported'],
    ['a driver', {driver: undefined}, 'no-gpu-driver'],
    ['a current driver', {driver: '470.82.01'}, 'gpu-driver-too-old'],
  ])('names what is missing: %s', (_, difference, code) => {
    expect(() => checkMachine({...machine, ...difference}, 'cuda', false)).toThrow(
      expect.objectContaining({code, oclif: {exit: 6}}),
    );
  });

  test('takes a machine without a driver for the processor, and for an image of a container', () => {
    const without = {...machine, driver: undefined};
    expect(() => checkMachine(without, 'cpu', false)).not.toThrow();
    expect(() => checkMachine(without, 'cuda', true)).not.toThrow();
    expect(() => checkMachine(machine, 'cuda', false)).not.toThrow();
  });

  test('names the room that is missing', () => {
    expect(() => checkDisk('/data', 1.2e9, 'cpu')).toThrow(
      expect.objectContaining({code: 'disk-full', message: '/data has 1.2 GB free; 2.5 GB are needed.'}),
    );
    expect(() => checkDisk('/data', 2.5e9, 'cpu')).not.toThrow();
  });

  test.each([
    ['there is none', 'exit 127', 'python-missing', /there is no python3\.$/],
    ['it is old', 'echo 3.6.9', 'python-missing', /python3 is version 3\.6\.9/],
    [
      'it has no pip',
      'echo "ModuleNotFoundError: No module named pip" >&2; exit 1',
      'python-missing',
      /No module named pip/,
    ],
  ])('names a Python that is missing: %s', async (_, script, code, message) => {
    program('python3', script);
    program('python', 'exit 127');
    await expect(install()).rejects.toMatchObject({code, oclif: {exit: 6}, message: expect.stringMatching(message)});
  });

  test('names a compiler that is missing', async () => {
    environment = {...environment, CXX: 'no-such-compiler'};
    await expect(install()).rejects.toMatchObject({
      code: 'compiler-missing',
      message: 'A C++ compiler is needed; none of no-such-compiler can be run.',
    });
  });

  test('says what pip says, and begins the step anew', async () => {
    python('echo "ERROR: Could not find a version that satisfies the requirement." >&2; exit 1');
    await expect(install()).rejects.toMatchObject({
      code: 'pip-failed',
      message:
        'python3 -m pip cannot install tensorflow-cpu==2.21.0: Could not find a version that satisfies the requirement.',
      suggestions: expect.arrayContaining(['Run the same command again to continue.']),
    });
    expect(existsSync(layout(environment).manifest)).toBe(false);
  });

  test('tells what is downloaded, and keeps the steps that were finished', async () => {
    python('echo "  Downloading tensorflow_cpu-2.21.0-cp312.whl (274.0 MB)"');
    // npm ends the third step.
    program('npm', 'echo "npm error code ENOTFOUND" >&2; exit 1');
    await expect(install()).rejects.toMatchObject({
      code: 'npm-pack-failed',
      message: expect.stringContaining('ENOTFOUND'),
    });
    expect(notices).toEqual(['Downloading tensorflow_cpu-2.21.0-cp312.whl (274.0 MB).']);
    expect(manifest()).toMatchObject({steps: ['library', 'cuda']});
    python('exit 1');
    await expect(install()).rejects.toMatchObject({code: 'npm-pack-failed'});
  });

  test('says what the compiler says', async () => {
    finished('library', 'cuda', 'package');
    program(
      'c++',
      'if [ "$1" != --version ]; then echo "x.cc:1:10: fatal error: cstdint: No such file" >&2; exit 1; fi',
    );
    await expect(install()).rejects.toMatchObject({
      code: 'compilation-failed',
      message: 'c++ cannot compile the binding of tfjs-node: cstdint: No such file.',
    });
  });

  test('says why a binding cannot be loaded', async () => {
    finished('library', 'cuda', 'package');
    program('c++', 'while [ $# -gt 0 ]; do if [ "$1" = -o ]; then echo none > "$2"; fi; shift; done');
    await expect(install()).rejects.toMatchObject({
      code: 'binding-not-loadable',
      message: expect.stringContaining(layout(environment).binding),
    });
    expect(manifest()).toMatchObject({steps: ['library', 'cuda', 'package', 'binding']});
  });

  test('an installation of other versions is replaced, a finished one is kept', async () => {
    finished('library', 'cuda', 'package', 'binding', 'check');
    python('exit 1');
    await expect(install()).resolves.toBe(layout(environment).folder);
    const {manifest: file} = layout(environment);
    writeFileSync(file, readFileSync(file, 'utf8').replace('2.21.0', '2.20.0'));
    await expect(install()).rejects.toMatchObject({code: 'pip-failed'});
    expect(existsSync(file)).toBe(false);
  });

  test('stops at once when it is told to', async () => {
    const abort = new AbortController();
    python('exec sleep 60');
    const stopped = install(abort);
    setTimeout(() => abort.abort(new Error('stopped')), 300);
    await expect(stopped).rejects.toThrow('stopped');
  });
});
