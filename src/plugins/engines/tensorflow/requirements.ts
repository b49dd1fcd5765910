/** What TensorFlow's wheel and the compilation need of a machine. Each check names what is missing and how to get it. */
import {readFileSync, statfsSync} from 'node:fs';

import {ExitCode, SdqError} from '../../../errors.ts';
import {lastLine, runProgram} from './programs.ts';
import {tensorflowVersion, type Variant} from './installation.ts';

type Context = Readonly<{environment: NodeJS.ProcessEnv; signal: AbortSignal}>;

/** Of the manylinux tag of the wheel. */
const leastGlibc = [2, 27] as const;
const leastPython = [3, 8] as const;
/** Of CUDA 12.x on Linux: NVIDIA, "CUDA Compatibility", minor version compatibility. */
const leastDriver = [525, 60, 13] as const;
/** Installed, and the wheels while they are unpacked. Measured: 1.5 and 7 GB. */
const neededBytes: Readonly<Record<Variant, number>> = {cpu: 2.5e9, cuda: 10e9};

const missing = (code: string, message: string, suggestions: readonly string[]): SdqError =>
  new SdqError(message, {code, exit: ExitCode.notAvailable, suggestions});

/** Whether version `found`, e.g. `550.54.14`, is `least` or later. */
function isAtLeast(found: string, least: readonly number[]): boolean {
  const parts = found.split('.').map(Number);
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

/** What a check needs to know of this machine. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** Undefined where the C library is another one. */
  readonly glibc: string | undefined;
  /** Undefined where no NVIDIA driver is loaded. */
  readonly driver: string | undefined;
}

function nvidiaDriver(): string | undefined {
  try {
    return / (\d{3,}\.[\d.]+) /.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

export function thisMachine(): Machine {
  const {header} = process.report.getReport() as unknown as {readonly header: {readonly glibcVersionRuntime?: string}};
  return {
    platform: process.platform,
    arch: process.arch,
    glibc: header.glibcVersionRuntime,
    driver: nvidiaDriver(),
  };
}

/** Undefined: TensorFlow's wheel runs here. */
export function platformFault({platform, arch, glibc}: Machine): string | undefined {
  if (platform !== 'linux' || arch !== 'x64') {
    return `TensorFlow ${tensorflowVersion} with CUDA exists for Linux on x86-64 only; this is ${platform} on ${arch}.`;
  }
  const least = leastGlibc.join('.');
  if (glibc === undefined)
    return `TensorFlow ${tensorflowVersion} needs glibc ${least} or later; this system has none.`;
  if (isAtLeast(glibc, leastGlibc)) return undefined;
  return `TensorFlow ${tensorflowVersion} needs glibc ${least} or later; this system has ${glibc}.`;
}

/** Undefined: the driver runs CUDA 12. */
export function driverFault({driver}: Machine): string | undefined {
  const least = leastDriver.join('.');
  if (driver === undefined) return `No NVIDIA driver is loaded; CUDA 12 needs ${least} or later.`;
  return isAtLeast(driver, leastDriver)
    ? undefined
    : `The NVIDIA driver is ${driver}; CUDA 12 needs ${least} or later.`;
}

/** @throws SdqError (exit 6) */
export function checkMachine(machine: Machine, variant: Variant, withoutDriver: boolean): void {
  const fault = platformFault(machine);
  if (fault !== undefined)
    throw missing('platform-not-supported', fault, ['The wasm engine runs here: --set engine.name=wasm']);
  if (variant === 'cpu' || withoutDriver) return;
  const driver = driverFault(machine);
  if (driver === undefined) return;
  throw missing(machine.driver === undefined ? 'no-gpu-driver' : 'gpu-driver-too-old', driver, [
    'Install or update the driver (https://www.nvidia.com/drivers), or start the container with its GPUs: --gpus all.',
    'For the processor: sdq engine install tensorflow --cpu',
    'For an image that will run on a machine with a GPU: sdq engine install tensorflow --without-driver',
  ]);
}

export function freeBytes(folder: string): number {
  const {bavail, bsize} = statfsSync(folder);
  return bavail * bsize;
}

/** @param free bytes. @throws SdqError (exit 6) */
export function checkDisk(folder: string, free: number, variant: Variant): void {
  const needed = neededBytes[variant];
  if (free >= needed) return;
  const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);
  throw missing('disk-full', `${folder} has ${gigabytes(free)} GB free; ${gigabytes(needed)} GB are needed.`, [
    'Name a folder on another disk: SDQ_ENGINE_DIR=DIR, for this command and for every later one.',
  ]);
}

/** @returns the command of a Python with pip. @throws SdqError (exit 6) */
export async function findPython(asked: string | undefined, context: Context): Promise<string> {
  const faults: string[] = [];
  const script = 'import sys, pip; print(".".join(map(str, sys.version_info[:3])))';
  for (const python of asked === undefined ? ['python3', 'python'] : [asked]) {
    const outcome = await runProgram(python, ['-c', script], context);
    const version = outcome.stdout.trim();
    if (outcome.code === 0 && isAtLeast(version, leastPython)) return python;
    if (outcome.code === 0) faults.push(`${python} is version ${version}`);
    else if (outcome.stderr !== '') faults.push(`${python}: ${lastLine(outcome)}`);
  }
  const why = faults.length === 0 ? `there is no ${asked ?? 'python3'}` : faults.join('; ');
  throw missing(
    'python-missing',
    `Python ${leastPython.join('.')} or later with pip is needed to fetch TensorFlow: ${why}.`,
    [
      'Debian, Ubuntu: apt-get install python3-pip',
      'Name the interpreter: sdq engine install tensorflow --python /usr/bin/python3.12',
    ],
  );
}

/** @returns the command of a C++ compiler. @throws SdqError (exit 6) */
export async function findCompiler(context: Context): Promise<string> {
  const {CXX: chosen} = context.environment;
  const candidates = chosen === undefined || chosen === '' ? ['c++', 'g++', 'clang++'] : [chosen];
  for (const compiler of candidates) {
    const {code} = await runProgram(compiler, ['--version'], context);
    if (code === 0) return compiler;
  }
  throw missing('compiler-missing', `A C++ compiler is needed; none of ${candidates.join(', ')} can be run.`, [
    'Debian, Ubuntu: apt-get install g++',
    'Name the compiler in the variable CXX.',
  ]);
}
