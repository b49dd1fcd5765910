/** ONNX Runtime, where it is installed: the WebAssembly build, which needs no install step of its own. */
import {createRequire} from 'node:module';

import type * as OnnxRuntimeWeb from 'onnxruntime-web';

import {property} from '../lookup.ts';
import {ExitCode, SdqError} from '../errors.ts';

/** The version that the tests run. */
const wanted = 'onnxruntime-web@1.30.0';

/** What ONNX Runtime does to a graph before it runs it. */
export type OptimizationLevel = 'disabled' | 'all';

/** A network in ONNX Runtime. */
export interface RuntimeNetwork {
  /** @param images [N, channels, height, width] @returns its one output, flat */
  run(images: Float32Array, shape: readonly number[]): Promise<Float32Array>;
  release(): Promise<void>;
}

export interface OnnxRuntime {
  /** E.g. `onnxruntime-web 1.30.0`. */
  readonly name: string;
  /**
   * @param level `disabled` runs the file's nodes as they are; `all`, the runtime's default, joins and replaces them
   * @throws SdqError (exit 3) for a file that it does not take
   */
  open(bytes: Uint8Array, file: string, level?: OptimizationLevel): Promise<RuntimeNetwork>;
}

/** The number of images that a file wants at once; undefined where it takes any. */
function fixedBatch({inputMetadata: [input]}: OnnxRuntimeWeb.InferenceSession): number | undefined {
  const [batch] = input?.isTensor === true ? input.shape : [];
  return typeof batch === 'number' && batch > 0 ? batch : undefined;
}

/** Whether it is installed, and how to get it. */
export function probeOnnxRuntime(): {readonly name: string; readonly available: boolean; readonly reason: string} {
  const name = 'onnxruntime-web';
  try {
    createRequire(import.meta.url).resolve(name);
    return {name, available: true, reason: 'Runs exported files for `sdq verify`.'};
  } catch {
    return {name, available: false, reason: `\`sdq verify\` needs it: npm install ${wanted}`};
  }
}

/** @throws SdqError (exit 6) where it is not installed */
export async function loadOnnxRuntime(): Promise<OnnxRuntime> {
  let ort: typeof OnnxRuntimeWeb;
  try {
    ort = await import('onnxruntime-web');
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    const why = isMissing ? 'is not installed' : `cannot be loaded: ${(error as Error).message}`;
    throw new SdqError(`The package onnxruntime-web ${why}.`, {
      code: 'runtime-missing',
      exit: ExitCode.notAvailable,
      suggestions: [`npm install ${wanted}`],
      cause: error,
    });
  }
  // One thread: more would keep the process alive.
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const refused = (file: string, error: unknown): SdqError =>
    new SdqError(`${file}: ONNX Runtime does not run it: ${(error as Error).message}`, {
      code: 'onnx-refused',
      exit: ExitCode.invalidInput,
      cause: error,
    });
  return {
    name: `onnxruntime-web ${ort.env.versions.web}`,
    async open(bytes, file, level = 'disabled') {
      let session: OnnxRuntimeWeb.InferenceSession;
      try {
        session = await ort.InferenceSession.create(bytes, {
          executionProviders: ['wasm'],
          graphOptimizationLevel: level,
        });
      } catch (error) {
        throw refused(file, error);
      }
      return {
        async run(images, [count = 0, ...shape]) {
          const [input] = session.inputNames as [string];
          const [output] = session.outputNames as [string];
          const size = images.length / count;
          const batch = fixedBatch(session) ?? count;
          const parts: Float32Array[] = [];
          try {
            for (let start = 0; start < count; start += batch) {
              // The last part may have fewer images; the file takes whole batches.
              const part = new Float32Array(batch * size);
              part.set(images.subarray(start * size, Math.min(start + batch, count) * size));
              const results = await session.run({[input]: new ort.Tensor('float32', part, [batch, ...shape])});
              const values = property(results, output).data as Float32Array;
              parts.push(values.subarray(0, (values.length / batch) * Math.min(batch, count - start)));
            }
          } catch (error) {
            throw refused(file, error);
          }
          return Float32Array.from(parts.flatMap((part) => [...part]));
        },
        release: () => session.release(),
      };
    },
  };
}
