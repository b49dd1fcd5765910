/** The runtimes that run exported files, and what is asked of one. */

import {ExitCode, SdqError} from '../errors.ts';

/** `onnxruntime`, `openvino` and `qonnx` are packages of a Python interpreter, the others of npm. */
export const runtimeNames = ['onnxruntime-web', 'onnxruntime-node', 'onnxruntime', 'openvino', 'qonnx'] as const;
export type RuntimeName = (typeof runtimeNames)[number];

/**
 * `disabled` runs a file's nodes as written, in float32; `all`, every runtime's default, joins and replaces nodes, and takes the
 * precision of floats that it chooses.
 */
export type OptimizationLevel = 'disabled' | 'all';

/** A network in a runtime. */
export interface RuntimeNetwork {
  /** @param images [N, channels, height, width] @returns its outputs in the file's order, flat */
  run(images: Float32Array, shape: readonly number[]): Promise<readonly Float32Array[]>;
  /** @returns milliseconds by the clock of each of `runs` runs in a row; `images` are as many as the file takes at once */
  time(images: Float32Array, shape: readonly number[], runs: number): Promise<readonly number[]>;
  release(): Promise<void>;
}

/** What a runtime runs operators as. */
export interface Kernel {
  /** The runtime's own name, e.g. `QLinearConv`. */
  readonly op: string;
  /** Whether it computes with integers. */
  readonly integer: boolean;
  readonly count: number;
}

/** What a node of a runtime's own graph took. */
export interface NodeTimes {
  readonly name: string;
  /** Microseconds, a run each. */
  readonly us: readonly number[];
}

export interface Runtime {
  /** E.g. `onnxruntime-web 1.30.0`. */
  readonly name: string;
  /**
   * @param file its name, for messages
   * @throws SdqError (exit 3) for a file that it does not take
   */
  open(bytes: Uint8Array, file: string, level?: OptimizationLevel): Promise<RuntimeNetwork>;
  /** At level `all`; null where the runtime does not say. */
  kernels(bytes: Uint8Array, file: string): Promise<readonly Kernel[] | null>;
  /**
   * What each node takes, in the order in which they run.
   * @throws SdqError (exit 2) for a runtime that does not say
   */
  profile(
    bytes: Uint8Array,
    file: string,
    images: Float32Array,
    shape: readonly number[],
    runs: number,
  ): Promise<readonly NodeTimes[]>;
  close(): Promise<void>;
}

export function withoutProfile(name: string): SdqError {
  return new SdqError(`${name} does not say what each layer takes.`, {
    code: 'runtime-without-profile',
    exit: ExitCode.usage,
    suggestions: ['--runtime onnxruntime-node', '--runtime onnxruntime --python PROGRAM'],
  });
}

export interface RuntimeRequest {
  readonly name: RuntimeName;
  /** The Python interpreter. */
  readonly python: string;
  readonly threads: number;
}

/** @throws SdqError (exit 6) where the runtime is not installed, with the command that installs it */
async function loadRuntime({name, python, threads}: RuntimeRequest): Promise<Runtime> {
  if (name === 'onnxruntime-web' || name === 'onnxruntime-node') {
    const {loadOnnxRuntime} = await import('./onnx-runtime.ts');
    return loadOnnxRuntime(name, threads);
  }
  const {startPythonRuntime} = await import('./python-runtime.ts');
  return startPythonRuntime(name, python, threads);
}

/** Loads it for a command, and closes it behind the work. */
export async function withRuntime<R>(request: RuntimeRequest, work: (runtime: Runtime) => Promise<R>): Promise<R> {
  const runtime = await loadRuntime(request);
  try {
    return await work(runtime);
  } finally {
    await runtime.close();
  }
}
