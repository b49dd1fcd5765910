/** A trained network as an ONNX file, in one of the formats of `sdq export`. */

import {property} from '../lookup.ts';
import {readFileBounded, sha256Of, writeFileAtomic} from '../files.ts';
import {encodeOnnx, type OnnxModel} from '../graph/onnx/proto.ts';
import {integerNetwork} from '../sdq/integer-network.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {exportDeployed} from '../plugins/exporters/deployed.ts';
import {deployCheckpoint, readTarget} from './deployment.ts';
import {exportedDetector} from './exported-detector.ts';
import {writeModelFile} from './model-file.ts';
import {openCheckpoint} from './open-checkpoint.ts';
import {quantizationRecord, quantizationValues} from '../training/quantization-record.ts';
import type {Session} from './session.ts';

export interface ExportRequest {
  /** Of the format. */
  readonly format: string;
  readonly checkpoint: string;
  readonly strategy: string | undefined;
  /** The runtime that it is written for, as for `readTarget`; undefined: as the format says. */
  readonly target: string | undefined;
  readonly output: string;
  readonly sdqVersion: string;
}

export interface Exported {
  /** Of ONNX; null for safetensors. */
  readonly opset: number | null;
  readonly bytes: number;
  /** Null in full precision. */
  readonly meanWeightBits: number | null;
}

/** Keys of the metadata in an exported file. */
export const metadataKeys = {
  /** SHA-256 of the file of weights. */
  checkpoint: 'sdq.checkpoint',
  /** JSON `{name, reference, rules}`: the target that it was written for. */
  target: 'sdq.target',
  /** JSON, as in the file of weights. */
  strategy: 'sdq.strategy',
  /** As `bitsOf`. */
  bits: 'sdq.bits',
  /** `float` where the file rounds no inputs, whatever the strategy says. */
  inputs: 'sdq.inputs',
  /** JSON `{mean, std}` of each channel: what is done to pixels of 0 … 1 before they enter. */
  normalization: 'sdq.normalization',
  /** JSON: the names of the outputs. */
  classes: 'sdq.classes',
  /** JSON `ExportedDetector`: how a photograph becomes the input, and the outputs become boxes of it. */
  heads: 'sdq.heads',
} as const;

/** The format that is no ONNX: the file of `sdq train`, for other weights and strategies. */
const safetensorsFormat = 'safetensors';

export const digestOf = (file: string): string => sha256Of(readFileBounded(file));

/** Bits of the weights / of the input, layer by layer: `8/32 4/32 …`. */
export const bitsOf = ({layers}: Strategy): string =>
  layers.map(({activationBits, weightBits}) => `${weightBits}/${activationBits}`).join(' ');

/** @throws SdqError (exit 3) for files that are broken or not of this network, (exit 6) when it cannot be written */
export async function exportNetwork(session: Session, request: ExportRequest): Promise<Exported> {
  if (request.format === safetensorsFormat) return exportSafetensors(session, request);
  return (await exportOnnx(session, request)).exported;
}

/**
 * @returns beside what was written, the inputs and outputs of the file
 * @throws SdqError as `exportNetwork`
 */
export async function exportOnnx(
  session: Session,
  request: ExportRequest,
): Promise<{readonly exported: Exported} & Pick<OnnxModel['graph'], 'inputs' | 'outputs'>> {
  const {checkpoint, format, output, sdqVersion} = request;
  const target = request.target === undefined ? undefined : readTarget(request.target);
  const exporter = session.registry.get('exporter', format);
  const print = await exporter.load();
  const opened = await openCheckpoint(session, checkpoint, request.strategy);
  const {dispose, network, quantization, strategy} = opened;
  try {
    let model: ReturnType<typeof print>;
    if (target === undefined) model = print(await integerNetwork(network, quantization));
    else {
      const deployment = await deployCheckpoint(session, opened, target);
      [...deployment.notes, ...(target.rules.advice ?? [])].forEach((note) => session.reporter.line(note));
      model = exportDeployed(deployment, target.rules);
    }
    const bytes = encodeOnnx({
      ...model,
      producerVersion: sdqVersion,
      metadata: {
        [metadataKeys.checkpoint]: digestOf(checkpoint),
        [metadataKeys.normalization]: JSON.stringify(session.normalization),
        [metadataKeys.classes]: JSON.stringify(session.dataset.classes),
        ...(session.task.heads === undefined
          ? {}
          : {[metadataKeys.heads]: JSON.stringify(exportedDetector(session.task.heads))}),
        ...(target === undefined && exporter.roundsInputs === false ? {[metadataKeys.inputs]: 'float'} : {}),
        ...(target === undefined
          ? {}
          : {
              [metadataKeys.target]: JSON.stringify({
                name: target.name,
                reference: request.target,
                rules: target.rules,
              }),
            }),
        ...(strategy === undefined
          ? {}
          : {[metadataKeys.bits]: bitsOf(strategy), [metadataKeys.strategy]: JSON.stringify(strategy)}),
      },
    });
    writeFileAtomic(output, bytes);
    const {inputs, outputs} = model.graph;
    const meanWeightBits = strategy?.summary.meanWeightBits ?? null;
    return {exported: {opset: property(model.opsets, ''), bytes: bytes.length, meanWeightBits}, inputs, outputs};
  } finally {
    dispose();
  }
}

/** The network with its strategy, steps and ranges, also those that come from statistics and calibration. */
async function exportSafetensors(
  session: Session,
  {checkpoint, output, strategy: strategyFile}: ExportRequest,
): Promise<Exported> {
  const {dispose, network, quantization, strategy} = await openCheckpoint(session, checkpoint, strategyFile);
  try {
    const quantized =
      strategy === undefined || quantization === undefined
        ? undefined
        : {
            strategy,
            record: quantizationRecord(network, quantization),
            values: await quantizationValues(network, quantization),
          };
    const bytes = writeModelFile(output, await network.weights(), quantized);
    return {opset: null, bytes, meanWeightBits: strategy?.summary.meanWeightBits ?? null};
  } finally {
    dispose();
  }
}
