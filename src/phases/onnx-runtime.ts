/** ONNX Runtime's npm packages: the WebAssembly build, which runs everywhere, and the native one. */
import {existsSync, mkdtempSync, readFileSync, readdirSync, rmSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

import type * as OnnxRuntimeWeb from 'onnxruntime-web';

import {item, property} from '../lookup.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {decodeOnnx} from '../graph/onnx/proto.ts';
import {warmUpRuns} from './latency.ts';
import {
  withoutProfile,
  type Kernel,
  type NodeTimes,
  type OptimizationLevel,
  type Runtime,
  type RuntimeNetwork,
} from './runtime.ts';

type PackageName = 'onnxruntime-web' | 'onnxruntime-node';
/** What both packages have. */
type OnnxRuntime = Pick<typeof OnnxRuntimeWeb, 'InferenceSession' | 'Tensor' | 'env'>;
type InferenceSession = OnnxRuntimeWeb.InferenceSession;

/** The version that the tests run. */
const wanted = '1.30.0';

/** The number of images that a file wants at once; undefined where it takes any. */
function fixedBatch({inputMetadata: [input]}: InferenceSession): number | undefined {
  const [batch] = input?.isTensor === true ? input.shape : [];
  return typeof batch === 'number' && batch > 0 ? batch : undefined;
}

const installation = (name: PackageName): string => `npm install ${name}@${wanted}`;

/** The file that a package starts with: of the user's project, else of sdq's own folder. Undefined where it is in neither. */
function packageFile(name: PackageName): string | undefined {
  for (const from of [path.join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return createRequire(from).resolve(name);
    } catch {
      // Not there.
    }
  }
  return undefined;
}

/** Whether it is installed, and how to get it. */
export function probeOnnxRuntime(name: PackageName): {
  readonly name: string;
  readonly available: boolean;
  readonly reason: string;
} {
  const available = packageFile(name) !== undefined;
  const flag = name === 'onnxruntime-web' ? '' : ` --runtime ${name}`;
  const reason = available ? 'Runs exported files' : `${installation(name)} for`;
  return {name, available, reason: `${reason}: \`sdq verify${flag}\`.`};
}

async function importPackage(name: PackageName): Promise<OnnxRuntime> {
  const file = packageFile(name);
  try {
    if (name === 'onnxruntime-web') return await import('onnxruntime-web');
    if (file === undefined) throw Object.assign(new Error(), {code: 'ERR_MODULE_NOT_FOUND'});
    const {default: ort} = (await import(pathToFileURL(file).href)) as {default: OnnxRuntime};
    return ort;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    const why = isMissing ? 'is not installed' : `cannot be loaded: ${(error as Error).message}`;
    throw new SdqError(`The package ${name} ${why}.`, {
      code: 'runtime-missing',
      exit: ExitCode.notAvailable,
      suggestions: [installation(name)],
      cause: error,
    });
  }
}

/**
 * @param threads of one operator; the WebAssembly build takes 1
 * @throws SdqError (exit 6) where it is not installed, (exit 2) for threads in WebAssembly
 */
export async function loadOnnxRuntime(name: PackageName = 'onnxruntime-web', threads = 1): Promise<Runtime> {
  const isWeb = name === 'onnxruntime-web';
  if (isWeb && threads !== 1) {
    throw new SdqError(`onnxruntime-web runs with 1 thread here; --threads is ${threads}.`, {
      code: 'invalid-flag',
      exit: ExitCode.usage,
    });
  }
  const ort = await importPackage(name);
  // More threads would keep the process alive.
  if (isWeb) ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const options = (level: OptimizationLevel): OnnxRuntimeWeb.InferenceSession.SessionOptions => ({
    executionProviders: [isWeb ? 'wasm' : 'cpu'],
    graphOptimizationLevel: level,
    intraOpNumThreads: threads,
    logSeverityLevel: 3,
  });
  return {
    name: `${name} ${(isWeb ? ort.env.versions.web : ort.env.versions.node) ?? ''}`,
    async open(bytes, file, level = 'disabled') {
      return network(ort, await createSession(ort, bytes, file, options(level)), file);
    },
    async kernels(bytes, file) {
      if (isWeb) return null;
      const folder = mkdtempSync(path.join(tmpdir(), 'sdq-runtime-'));
      try {
        const optimized = path.join(folder, 'optimized.onnx');
        const session = await createSession(ort, bytes, file, {...options('all'), optimizedModelFilePath: optimized});
        await session.release();
        return existsSync(optimized) ? optimizedKernels(readFileSync(optimized)) : null;
      } finally {
        rmSync(folder, {recursive: true, force: true});
      }
    },
    async profile(bytes, file, images, shape, runs) {
      if (isWeb) throw withoutProfile(name);
      const folder = mkdtempSync(path.join(tmpdir(), 'sdq-runtime-'));
      try {
        const profiling = {enableProfiling: true, profileFilePrefix: path.join(folder, 'profile')};
        const session = await createSession(ort, bytes, file, {...options('all'), ...profiling});
        await network(ort, session, file).time(images, shape, warmUpRuns + runs);
        session.endProfiling();
        await session.release();
        return profiledNodes(readFileSync(path.join(folder, item(readdirSync(folder), 0)), 'utf8'));
      } finally {
        rmSync(folder, {recursive: true, force: true});
      }
    },
    close: () => Promise.resolve(),
  };
}

const refused = (file: string, error: unknown): SdqError =>
  new SdqError(`${file}: ONNX Runtime does not run it: ${(error as Error).message}`, {
    code: 'onnx-refused',
    exit: ExitCode.invalidInput,
    cause: error,
  });

async function createSession(
  ort: OnnxRuntime,
  bytes: Uint8Array,
  file: string,
  options: OnnxRuntimeWeb.InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  try {
    return await ort.InferenceSession.create(bytes, options);
  } catch (error) {
    throw refused(file, error);
  }
}

function network(ort: OnnxRuntime, session: InferenceSession, file: string): RuntimeNetwork {
  const [input] = session.inputNames as [string];
  const tensor = (values: Float32Array, shape: readonly number[]): Record<string, OnnxRuntimeWeb.Tensor> => ({
    [input]: new ort.Tensor('float32', values, shape),
  });
  return {
    async run(images, [count = 0, ...shape]) {
      const size = images.length / count;
      const batch = fixedBatch(session) ?? count;
      const parts = session.outputNames.map((): Float32Array[] => []);
      try {
        for (let start = 0; start < count; start += batch) {
          // The last part may have fewer images; the file takes whole batches.
          const part = new Float32Array(batch * size);
          part.set(images.subarray(start * size, Math.min(start + batch, count) * size));
          const results = await session.run(tensor(part, [batch, ...shape]));
          for (const [index, name] of session.outputNames.entries()) {
            const values = property(results, name).data as Float32Array;
            item(parts, index).push(values.subarray(0, (values.length / batch) * Math.min(batch, count - start)));
          }
        }
      } catch (error) {
        throw refused(file, error);
      }
      return parts.map((output) => Float32Array.from(output.flatMap((part) => [...part])));
    },
    async time(images, shape, runs) {
      const feeds = tensor(images, shape);
      const times: number[] = [];
      for (let index = 0; index < runs; index++) {
        const start = performance.now();
        await session.run(feeds);
        times.push(performance.now() - start);
      }
      return times;
    },
    release: () => session.release(),
  };
}

/** Operators of ONNX Runtime that compute with integers and do not say so by `QLinear`. */
const integerOperators = new Set([
  'ConvInteger',
  'DynamicQuantizeLSTM',
  'DynamicQuantizeMatMul',
  'MatMulInteger',
  'MatMulIntegerToFloat',
  'QAttention',
  'QGemm',
]);

/** What ONNX Runtime runs: the operators of the graph that it wrote behind its optimizations. */
export function optimizedKernels(bytes: Uint8Array): Kernel[] {
  const counts = new Map<string, number>();
  for (const {opType} of decodeOnnx(bytes)?.graph.node ?? []) counts.set(opType, (counts.get(opType) ?? 0) + 1);
  return [...counts].map(([op, count]) => ({
    op,
    count,
    integer: op.startsWith('QLinear') || integerOperators.has(op),
  }));
}

interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args?: {readonly node_index?: string};
}

/** @param text of a profile of ONNX Runtime, whose first runs do not count */
export function profiledNodes(text: string): NodeTimes[] {
  const ending = '_kernel_time';
  const nodes = new Map<string, {name: string; us: number[]}>();
  for (const {args, cat, dur, name} of JSON.parse(text) as ProfileEvent[]) {
    if (cat !== 'Node' || !name.endsWith(ending)) continue;
    const key = `${args?.node_index ?? ''} ${name}`;
    const node = nodes.get(key) ?? {name: name.slice(0, -ending.length), us: []};
    node.us.push(dur);
    nodes.set(key, node);
  }
  return [...nodes.values()].map(({name, us}) => ({name, us: us.slice(warmUpRuns)}));
}
