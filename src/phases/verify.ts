/** An exported file, run by a runtime, against the network that it was made from. */
import * as tf from '@tensorflow/tfjs-core';

import {item} from '../lookup.ts';
import {sampleShape} from '../data/dataset.ts';
import type {Part} from '../data/splits.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {readFileBounded} from '../files.ts';
import {inputTensor, onnxInput} from '../graph/input-tensor.ts';
import {encodeOnnx, onnxMetadata} from '../graph/onnx/proto.ts';
import type {Network} from '../graph/network.ts';
import {exportQdq} from '../plugins/exporters/onnx-qdq.ts';
import {integerNetwork} from '../sdq/integer-network.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {firstTargets, type Agreement, type Meter, type TargetArrays, type Task} from '../training/task.ts';
import {deployCheckpoint, readTarget, simulatedNetwork} from './deployment.ts';
import {noValidationSplit} from './evaluate-file.ts';
import {bitsOf, digestOf, metadataKeys} from './export.ts';
import {timesInTurns, timing, type Timing} from './latency.ts';
import {openCheckpoint} from './open-checkpoint.ts';
import {metricValue} from './results.ts';
import {withRuntime, type Kernel, type Runtime, type RuntimeNetwork, type RuntimeRequest} from './runtime.ts';
import {openPart, type Session} from './session.ts';

export interface VerifyRequest {
  /** The `.onnx` file. */
  readonly file: string;
  readonly checkpoint: string;
  readonly strategy: string | undefined;
  readonly part: Part;
  /** How many images, at most. */
  readonly samples: number;
  readonly runtime: RuntimeRequest;
  /** Timed runs of the file and of the float network; 0: none. */
  readonly runs: number;
  /** Images that a timed run computes together. */
  readonly batch: number;
}

interface Latency {
  /** Images that a run computed together. */
  readonly batch: number;
  readonly threads: number;
  /** Timed, of each. */
  readonly runs: number;
  readonly file: Timing;
  /** The same network in float. */
  readonly float: Timing;
  /** Median of the file / median of the float network. */
  readonly ratio: number;
}

export interface Verified {
  /** E.g. `onnxruntime-web 1.30.0`. */
  readonly runtime: string;
  readonly samples: number;
  /** Largest difference of two outputs, the file's nodes run as they are. */
  readonly maxAbsError: number;
  /** Largest magnitude of our own outputs. */
  readonly maxAbsLogit: number;
  /** What an image's outputs have in common where they agree, e.g. `first class`. */
  readonly agreementOf: string;
  /** Share of the images whose outputs agree. */
  readonly agreement: number;
  /** The task's primary metric, of each. */
  readonly metric: {readonly sdq: number; readonly exported: number};
  /** The same with the runtime's own optimizations of the graph, its default: for information, not judged. */
  readonly optimized: {readonly maxAbsError: number; readonly agreement: number; readonly metric: number};
  /** Layers whose input is rounded: a value in the middle between two levels may fall to either side. */
  readonly roundedInputs: number;
  /** Bytes. */
  readonly size: {readonly file: number; readonly float: number};
  /** What the runtime ran the file as, with its optimizations; null where it does not say. */
  readonly kernels: readonly Kernel[] | null;
  /** With the runtime's optimizations; null where none was asked for. */
  readonly latency: Latency | null;
}

/**
 * @throws SdqError (exit 3) for a file that the runtime does not run, or that was made from other weights, (exit 6) where the
 *   runtime is not installed, (exit 7) where it computes numbers that are not finite
 */
export async function verifyExport(session: Session, request: VerifyRequest): Promise<Verified> {
  if (request.part === 'validation' && session.config.data.validation === 0) throw noValidationSplit();
  const bytes = readFileBounded(request.file);
  const metadata = checkedMetadata(bytes, request);
  return withRuntime(request.runtime, (runtime) => verifyIn(runtime, session, request, bytes, metadata));
}

/** At level `all`. @throws SdqError (exit 3) that says what to do where the runtime runs the file only without its optimizations */
async function openOptimized(runtime: Runtime, bytes: Uint8Array, file: string): Promise<RuntimeNetwork> {
  try {
    return await runtime.open(bytes, file, 'all');
  } catch (error) {
    if (!(error instanceof SdqError)) throw error;
    throw new SdqError(`${error.message} That is with its optimizations, its default; without them it runs.`, {
      code: error.code,
      exit: error.oclif.exit,
      suggestions: ['sdq export --target onnxruntime writes a form that its optimizations take.'],
      cause: error,
    });
  }
}

async function verifyIn(
  runtime: Runtime,
  session: Session,
  request: VerifyRequest,
  bytes: Uint8Array,
  metadata: ReadonlyMap<string, string>,
): Promise<Verified> {
  const {checkpoint, file, part} = request;
  const written = metadata.get(metadataKeys.target);
  const openedCheckpoint = await openCheckpoint(session, checkpoint, request.strategy);
  const {dispose, network, quantization, strategy} = openedCheckpoint;
  const roundsInputs = metadata.get(metadataKeys.inputs) !== 'float';
  const rounding = {...quantization?.forward, ...(roundsInputs ? {} : {activation: () => null})};
  let simulated: Network | undefined;
  const source = openPart(session, part, 'evaluation', session.config.seed);
  const samples = Math.min(request.samples, source.samples);
  const inputShape = sampleShape(session.dataset);
  const opened: RuntimeNetwork[] = [];
  const {task} = session;
  const [plain, optimized] = [emptyComparison(task), emptyComparison(task)];
  let speed: Pick<Verified, 'size' | 'kernels' | 'latency'>;
  try {
    checkBits(metadata, strategy, request);
    if (written !== undefined) {
      simulated = simulatedNetwork(await deployCheckpoint(session, openedCheckpoint, targetOf(written, file)));
    }
    const exported = await runtime.open(bytes, file, 'disabled');
    opened.push(exported);
    const fast = await openOptimized(runtime, bytes, file);
    opened.push(fast);
    for (let index = 0; plain.samples < samples; index++) {
      const {images, size, ...all} = await source.batch(0, index);
      const count = Math.min(size, samples - plain.samples);
      const tensors = tf.tidy(() => {
        const x = inputTensor(images, count, inputShape);
        const results =
          simulated === undefined
            ? network.outputs(x, {training: false, ...rounding})
            : simulated.outputs(x, {training: false});
        return {results, planar: onnxInput(x, inputShape)};
      });
      const outputs = await Promise.all(tensors.results.map((result) => result.data<'float32'>()));
      const planar = await tensors.planar.data<'float32'>();
      tf.dispose(tensors);
      const shape = [count, ...inputShape];
      const targets = firstTargets(all, size, count);
      compare(plain, outputs, await exported.run(planar, shape), targets, file);
      compare(optimized, outputs, await fast.run(planar, shape), targets, file);
      session.reporter.update(`verifying on ${part}`, plain.samples, samples);
    }
    const float = encodeOnnx({
      ...exportQdq(await integerNetwork(network, undefined), 21),
      producerVersion: '',
      metadata: {},
    });
    const {images} = await source.batch(0, 0);
    speed = {
      size: {file: bytes.length, float: float.length},
      kernels: await runtime.kernels(bytes, file),
      latency: await latencyOf(runtime, fast, float, request, inputShape, images),
    };
  } finally {
    for (const each of opened) await each.release();
    await source.close();
    simulated?.dispose();
    dispose();
  }
  const metricOf = (meter: Meter): number => metricValue(task.metric, meter.result());
  return {
    runtime: runtime.name,
    samples,
    maxAbsError: largestOf(plain.errors),
    maxAbsLogit: plain.largest,
    agreementOf: task.agreement?.of ?? 'output (to 1 % of the largest)',
    agreement: agreementOf(plain),
    metric: {sdq: metricOf(plain.ours), exported: metricOf(plain.theirs)},
    optimized: {
      maxAbsError: largestOf(optimized.errors),
      agreement: agreementOf(optimized),
      metric: metricOf(optimized.theirs),
    },
    roundedInputs: roundsInputs ? (quantization?.inputs.size ?? 0) : 0,
    ...speed,
  };
}

/**
 * @param network the file's
 * @param float bytes of the same network in float
 * @param shape of an image, [channels, height, width], or of a row, [features]
 * @param images whose pixels are the input, in any order: their values do not change the time
 */
async function latencyOf(
  runtime: Runtime,
  network: RuntimeNetwork,
  float: Uint8Array,
  {batch, runs, runtime: {threads}}: VerifyRequest,
  shape: readonly number[],
  images: Float32Array,
): Promise<Latency | null> {
  if (runs === 0) return null;
  const size = shape.reduce((product, each) => product * each, batch);
  const input = {
    images: Float32Array.from({length: size}, (_, i) => images[i % images.length] ?? 0),
    shape: [batch, ...shape],
  };
  const other = await runtime.open(float, 'The float network', 'all');
  try {
    const times = await timesInTurns(
      [
        {network, ...input},
        {network: other, ...input},
      ],
      runs,
    );
    const [quantized, full] = times.map(timing) as [Timing, Timing];
    return {batch, threads, runs, file: quantized, float: full, ratio: quantized.medianMs / full.medianMs};
  } finally {
    await other.release();
  }
}

/** The target that a file says it was written for. @throws SdqError (exit 3) where its rules have changed since */
function targetOf(written: string, file: string): ReturnType<typeof readTarget> {
  const {name, reference, rules} = JSON.parse(written) as {name: string; reference: string; rules: unknown};
  const target = readTarget(reference);
  if (JSON.stringify(target.rules) === JSON.stringify(rules)) return target;
  throw invalidInput(
    'target-changed',
    `${file} was written for the target "${name}", whose rules have changed since.`,
    ['Export it again.'],
  );
}

/** @throws SdqError (exit 3) where the file is none of ONNX, or tells that it was made from other weights */
function checkedMetadata(bytes: Uint8Array, {checkpoint, file}: VerifyRequest): ReadonlyMap<string, string> {
  const metadata = onnxMetadata(bytes);
  if (metadata === undefined) {
    throw invalidInput('not-onnx', `${file} is not an ONNX model.`);
  }
  const made = metadata.get(metadataKeys.checkpoint);
  if (made === undefined) return metadata;
  const digest = digestOf(checkpoint);
  if (made === digest) return metadata;
  throw invalidInput(
    'export-of-other-weights',
    `${file} was exported from other weights than ${checkpoint}: SHA-256 ${made.slice(0, 12)}…, not ${digest.slice(0, 12)}….`,
    [`sdq export --checkpoint ${checkpoint}`],
  );
}

/** @throws SdqError (exit 3) where the file tells that it was made at other bits than those of `strategy` */
function checkBits(
  metadata: ReadonlyMap<string, string>,
  strategy: Strategy | undefined,
  {checkpoint, file, strategy: strategyFile}: VerifyRequest,
): void {
  if (!metadata.has(metadataKeys.checkpoint)) return;
  const made = metadata.get(metadataKeys.bits) ?? 'full precision';
  const bits = strategy === undefined ? 'full precision' : bitsOf(strategy);
  if (made === bits) return;
  throw invalidInput(
    'export-of-other-bits',
    `${file} was exported at other bits (${made}) than those of ${strategyFile ?? checkpoint} (${bits}).`,
    ['Give the --strategy that it was exported with.'],
  );
}

interface Comparison {
  samples: number;
  /** The largest error of each image. */
  readonly errors: number[];
  /** Largest magnitude of our outputs. */
  largest: number;
  /** Images that agree by the task's rule. */
  same: number;
  readonly agreement: Agreement | undefined;
  readonly ours: Meter;
  readonly theirs: Meter;
}

const emptyComparison = (task: Task): Comparison => ({
  samples: 0,
  errors: [],
  largest: 0,
  same: 0,
  agreement: task.agreement,
  ours: task.meter(),
  theirs: task.meter(),
});

const largestOf = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);

/** The largest magnitude of a − b; of a where there is no b. */
const distance = (a: Float32Array, b?: Float32Array): number =>
  a.reduce((largest, value, k) => Math.max(largest, Math.abs(value - (b === undefined ? 0 : item(b, k)))), 0);

/** Share of the images that agree, by the task's rule or to 1 % of the largest output. */
function agreementOf({agreement, errors, largest, same, samples}: Comparison): number {
  const agreeing = agreement === undefined ? errors.filter((error) => error <= 0.01 * largest).length : same;
  return agreeing / samples;
}

/** @param ours each output of the network, flat, [N, …], as `theirs` of the file */
function compare(
  comparison: Comparison,
  ours: readonly Float32Array[],
  theirs: readonly Float32Array[],
  targets: TargetArrays,
  file: string,
): void {
  const images = targets.labels.length;
  const sizes = (outputs: readonly Float32Array[]): string => outputs.map(({length}) => length / images).join(' and ');
  if (sizes(theirs) !== sizes(ours)) {
    throw invalidInput(
      'onnx-output',
      `${file} gives ${sizes(theirs)} values for an image; the network gives ${sizes(ours)}.`,
    );
  }
  if (![...ours, ...theirs].every((output) => output.every((value) => Number.isFinite(value)))) {
    throw new SdqError(`${file}: the network or ONNX Runtime computes values that are not finite.`, {
      code: 'not-finite',
      exit: ExitCode.verificationFailed,
    });
  }
  for (let i = 0; i < images; i++) {
    const ofImage = (output: Float32Array): Float32Array => {
      const size = output.length / images;
      return output.subarray(i * size, (i + 1) * size);
    };
    const [own, other] = [ours.map(ofImage), theirs.map(ofImage)];
    comparison.errors.push(largestOf(own.map((output, index) => distance(output, item(other, index)))));
    comparison.largest = Math.max(comparison.largest, largestOf(own.map((output) => distance(output))));
    comparison.same += Number(comparison.agreement?.isSame(own, other) ?? false);
  }
  comparison.ours.add(ours, targets);
  comparison.theirs.add(theirs, targets);
  comparison.samples += images;
}
