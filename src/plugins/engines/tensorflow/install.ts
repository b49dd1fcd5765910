/**
 * `sdq engine install tensorflow`: the native half of tfjs-node, compiled against the TensorFlow of PyPI. The library that tfjs-node's own
 * installer fetches is 2.9.1 with CUDA 11.2; the wheel has a current one, exports the same C API, and brings its headers.
 *
 * A step that was finished is kept, and an unfinished one begins anew, so that a stop at any moment costs one step.
 */
import {readdirSync, readFileSync, renameSync, rmSync, statSync} from 'node:fs';
import path from 'node:path';

import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../../../errors.ts';
import {writeFileAtomic} from '../../../files.ts';
import type {EngineInstallContext} from '../../../plugin-api/registry.ts';
import {inInstallFolder} from '../install-folder.ts';
import {unpackNpm, type NpmPackage} from '../npm-packages.ts';
import {
  isComplete,
  layout,
  readInstallation,
  steps,
  tensorflowVersion,
  type Installation,
  type Layout,
  type Step,
  type Variant,
} from './installation.ts';
import {lastLine, runProgram} from './programs.ts';
import {
  checkDisk,
  checkMachine,
  findCompiler,
  findPython,
  freeBytes,
  thisMachine,
  type Machine,
} from './requirements.ts';

/** One version of Python's wheels: only their C++ library is used, so that any Python can fetch them. */
const wheelTags = [
  '--only-binary=:all:',
  '--implementation=cp',
  '--python-version=3.12',
  '--platform=manylinux_2_27_x86_64',
];

const npmPackages: readonly NpmPackage[] = [
  {
    name: '@tensorflow/tfjs-node',
    version: '4.22.0',
    integrity: 'uHrXeUlfgkMxTZqHkESSV7zSdKdV0LlsBeblqkuKU9nnfxB1pC6DtoyYVaLxznzZy7WQSegjcohxxCjAf6Dc7w==',
  },
  {
    name: 'google-protobuf',
    version: '3.21.4',
    integrity: 'MnG7N936zcKTco4Jd2PX2U96Kf9PxygAPKBug+74LHzmHXmceN16MmRcdgZv+DGef/S9YvQAfRsNCn4cjf9yyQ==',
  },
  {
    name: 'node-api-headers',
    version: '1.9.0',
    integrity: '2oNILP4jXwRB4ywnYKjVk1YyJ96n2D4EOVJO6S3oYZ5PtbJrw3Yt9TpAuX3nBLMuzn74rnfGQrv13pS9vC+YiA==',
  },
];

/** @throws SdqError (exit 6) naming what is missing; the signal's reason when it is aborted */
export async function installTensorflow(
  context: EngineInstallContext,
  machine: Machine = thisMachine(),
): Promise<string> {
  const variant: Variant = context.cpu ? 'cpu' : 'cuda';
  const places = layout(context.environment);
  checkMachine(machine, variant, context.withoutDriver);
  await inInstallFolder(places.folder, context.signal, (temporary) =>
    runSteps(context, {...places, temporary}, variant),
  );
  return places.folder;
}

/** The layout, and a folder for what is half made. */
interface Places extends Layout {
  readonly temporary: string;
}

async function runSteps(context: EngineInstallContext, places: Places, variant: Variant): Promise<void> {
  const wanted = {variant, tensorflow: tensorflowVersion, tfjs: tf.version_core};
  let installation = readInstallation(places);
  const isWanted = Object.entries(wanted).every(([key, value]) => installation?.[key as keyof Installation] === value);
  if (isWanted && installation !== undefined && isComplete(installation)) return;
  if (!isWanted) {
    for (const each of [places.manifest, places.packages, places.binding, path.join(places.folder, 'node_modules')]) {
      rmSync(each, {recursive: true, force: true});
    }
    installation = {...wanted, steps: []};
  }
  checkDisk(places.folder, freeBytes(places.folder), variant);
  const [python, compiler] = [await findPython(context.python, context), await findCompiler(context)];
  const run: Readonly<Record<Step, () => Promise<void>>> = {
    library: () => fetchLibrary(context, places, variant, python),
    cuda: () => (variant === 'cpu' ? Promise.resolve() : fetchCuda(context, places, python)),
    package: () => unpackPackages(context, places),
    binding: () => compileBinding(context, places, compiler),
    check: () => checkBinding(context, places, variant),
  };
  let finished: readonly Step[] = installation?.steps ?? [];
  for (const step of steps) {
    if (finished.includes(step)) continue;
    context.progress(`step ${step}`, finished.length, steps.length);
    await run[step]();
    finished = [...finished, step];
    writeFileAtomic(places.manifest, `${JSON.stringify({...wanted, steps: finished}, null, 2)}\n`);
  }
}

/** `pip install` into the folder of packages. @throws SdqError (exit 6) with pip's reason */
async function pip(
  {environment, notice, progress, signal}: EngineInstallContext,
  places: Places,
  python: string,
  args: readonly string[],
): Promise<void> {
  const {temporary} = places;
  let current: {readonly file: string; readonly bytes: number} | undefined;
  const units = {kB: 1e3, MB: 1e6, GB: 1e9};
  const onLine = (line: string): void => {
    const [, file, size, unit] = /Downloading (\S+) \(([\d.]+) ([kMG]B)\)/.exec(line) ?? [];
    if (file === undefined) return;
    current = {file, bytes: Number(size) * units[unit as keyof typeof units]};
    if (current.bytes > 5e6) notice(`Downloading ${file} (${size} ${unit}).`);
  };
  // pip draws a bar on terminals only: the file that grows says the same.
  const timer = setInterval(() => {
    if (current !== undefined) progress(`downloading ${current.file}`, largestFile(temporary), current.bytes);
  }, 500);
  const options = ['--disable-pip-version-check', '--no-input', '--no-compile', '--no-deps', '--progress-bar=off'];
  const install = ['-m', 'pip', 'install', ...options, '--target', places.packages, ...args];
  try {
    const outcome = await runProgram(python, install, {
      environment: {...environment, TMPDIR: temporary},
      signal,
      onLine,
    });
    if (outcome.code === 0) return;
    const reason = /^ERROR: (.*?)\.?$/m.exec(outcome.stderr)?.[1] ?? lastLine(outcome);
    throw new SdqError(`${python} -m pip cannot install ${args.at(-1)}: ${reason}.`, {
      code: 'pip-failed',
      exit: ExitCode.notAvailable,
      suggestions: [
        'Without a network, or behind a proxy, see the settings of pip: HTTPS_PROXY, PIP_INDEX_URL, PIP_FIND_LINKS.',
        'Run the same command again to continue.',
      ],
    });
  } finally {
    clearInterval(timer);
  }
}

/** Bytes of the largest file that pip is writing, in a folder of its own beside others that come and go. */
function largestFile(folder: string): number {
  const names = (parent: string): string[] => {
    try {
      return readdirSync(parent).map((name) => path.join(parent, name));
    } catch {
      return []; // A file, or gone by now.
    }
  };
  const files = names(folder).flatMap((inner) => names(inner));
  return Math.max(0, ...files.map((file) => statSync(file, {throwIfNoEntry: false})?.size ?? 0));
}

async function fetchLibrary(
  context: EngineInstallContext,
  places: Places,
  variant: Variant,
  python: string,
): Promise<void> {
  rmSync(places.packages, {recursive: true, force: true});
  const name = variant === 'cpu' ? 'tensorflow-cpu' : 'tensorflow';
  await pip(context, places, python, [...wheelTags, `${name}==${tensorflowVersion}`]);
}

/** The libraries that the wheel names under its extra `and-cuda`. */
async function fetchCuda(context: EngineInstallContext, places: Places, python: string): Promise<void> {
  rmSync(path.join(places.packages, 'nvidia'), {recursive: true, force: true});
  const information = path.join(places.packages, `tensorflow-${tensorflowVersion}.dist-info`, 'METADATA');
  const wanted = [...readFileSync(information, 'utf8').matchAll(/^Requires-Dist: ([^;]+); extra == "and-cuda"$/gm)];
  if (wanted.length === 0) {
    throw new SdqError(`${information} names no libraries of CUDA.`, {
      code: 'wheel-unexpected',
      exit: ExitCode.notAvailable,
    });
  }
  await pip(context, places, python, [
    '--only-binary=:all:',
    ...wanted.map(([, requirement = '']) => requirement.trim()),
  ]);
}

async function unpackPackages(context: EngineInstallContext, places: Places): Promise<void> {
  rmSync(path.join(places.folder, 'node_modules'), {recursive: true, force: true});
  const shared = ['@tensorflow/tfjs', '@tensorflow/tfjs-core'];
  await unpackNpm(context, npmPackages, {folder: places.folder, temporary: places.temporary, shared});
}

async function compileBinding(
  {environment, signal}: EngineInstallContext,
  places: Places,
  compiler: string,
): Promise<void> {
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map((file) => path.join(places.tfjsNode, 'binding', file));
  const object = path.join(places.temporary, 'tfjs_binding.node');
  const definitions = ['NAPI_VERSION=8', 'NODE_GYP_MODULE_NAME=tfjs_binding', 'BUILDING_NODE_EXTENSION'];
  const includes = [
    path.join(places.folder, 'node_modules', 'node-api-headers', 'include'),
    path.join(places.library, 'include'),
  ];
  const outcome = await runProgram(
    compiler,
    [
      ...['-O2', '-shared', '-fPIC', '-std=c++17', '-w'],
      ...definitions.map((definition) => `-D${definition}`),
      ...includes.map((folder) => `-I${folder}`),
      ...sources,
      ...['-o', object, `-L${places.library}`, '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'],
      `-Wl,-rpath,$ORIGIN/${path.relative(places.folder, places.library)}`,
    ],
    {environment, signal},
  );
  if (outcome.code !== 0) {
    const reason = /error: (.*)/.exec(outcome.stderr)?.[1] ?? lastLine(outcome);
    throw new SdqError(`${compiler} cannot compile the binding of tfjs-node: ${reason}.`, {
      code: 'compilation-failed',
      exit: ExitCode.notAvailable,
      suggestions: ['A compiler of C++17 with its standard library is needed: GCC 9 or Clang 10, or later.'],
    });
  }
  renameSync(object, places.binding);
}

/** In a process of its own: a library that does not fit may end it. */
async function checkBinding(
  {environment, notice, signal}: EngineInstallContext,
  {binding}: Layout,
  variant: Variant,
): Promise<void> {
  const script = `const b = require(${JSON.stringify(binding)}); console.log(JSON.stringify([b.TF_Version, b.isUsingGpuDevice()]));`;
  const outcome = await runProgram(process.execPath, ['-e', script], {
    environment: {...environment, NODE_OPTIONS: '', TF_CPP_MIN_LOG_LEVEL: '1'},
    signal,
  });
  if (outcome.code !== 0) {
    throw new SdqError(`The binding ${binding} cannot be loaded: ${lastLine({...outcome, stdout: ''})}.`, {
      code: 'binding-not-loadable',
      exit: ExitCode.notAvailable,
    });
  }
  const [version, usesGpu] = JSON.parse(outcome.stdout.trim().split('\n').at(-1) ?? '') as [string, boolean];
  if (version !== tensorflowVersion) {
    throw new SdqError(`The binding ${binding} loads TensorFlow ${version}; ${tensorflowVersion} is expected.`, {
      code: 'binding-not-loadable',
      exit: ExitCode.notAvailable,
      suggestions: ['Does LD_LIBRARY_PATH name another TensorFlow?'],
    });
  }
  if (variant === 'cuda' && !usesGpu) {
    notice(`TensorFlow finds no CUDA device: ${lastLine({...outcome, stdout: ''})}.`);
  }
}
