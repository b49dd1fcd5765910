import path from 'node:path';

import {Flags} from '@oclif/core';

import {CheckpointCommand} from '../cli/checkpoint-command.ts';
import {outputPath} from '../cli/output.ts';
import {ExitCode, SdqError} from '../errors.ts';

interface Result {
  readonly files: readonly {readonly path: string; readonly bytes: number}[];
  readonly format: string;
  /** Null without --target. */
  readonly target: string | null;
  readonly checkpoint: string;
  /** Of ONNX; null for safetensors. */
  readonly opset: number | null;
  /** Mean over the quantized layers; null in full precision. */
  readonly meanWeightBits: number | null;
}

export default class Export extends CheckpointCommand {
  static override summary = 'Write a trained network for other tools: as an ONNX file, or as safetensors for PyTorch.';
  static override description = `Formats: onnx-qdq (ONNX Runtime, TensorRT and most others), onnx-qdq-int2 (2-bit storage, opset 25), \
qonnx (FINN, hls4ml), aimet (AIMET and QNN, beside a file of \`<%= config.bin %> strategy convert\`), those of plugins, and safetensors (PyTorch: the file that \`<%= config.bin %> train\` writes). An ONNX file carries the strategy, the normalisation of the pixels and the classes in its metadata. \
\`<%= config.bin %> verify\` runs it.`;

  static override examples = [
    '<%= config.bin %> export --checkpoint quantized.safetensors --output model.onnx',
    '<%= config.bin %> export --checkpoint quantized.safetensors --target onnxruntime',
    '<%= config.bin %> export --checkpoint quantized.safetensors --format qonnx --output model.qonnx.onnx',
    '<%= config.bin %> export --checkpoint full-precision.safetensors --strategy strategy.json --json',
    '<%= config.bin %> export --checkpoint full-precision.safetensors --strategy strategy.json --format safetensors',
  ];

  static override flags = {
    checkpoint: Flags.file({summary: 'Safetensors file of the weights.', helpValue: 'FILE', required: true}),
    strategy: Flags.file({summary: 'Quantize by this strategy.', helpValue: 'FILE'}),
    target: Flags.string({
      summary:
        'Write it for a runtime: onnxruntime, openvino, tensorrt, portable, a hardware profile; onnx is the format alone.',
      helpValue: 'NAME',
    }),
    format: Flags.string({summary: 'Name of the format.', helpValue: 'NAME', default: 'onnx-qdq'}),
    output: Flags.file({
      summary: 'Where to write it; by default next to the checkpoint, where it must not exist yet.',
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<Result> {
    const {flags} = await this.parse(Export);
    const {readTarget, noTarget} = await import('../phases/deployment.ts');
    const target = flags.target === noTarget ? undefined : flags.target;
    const targetName = target === undefined ? null : readTarget(target).name;
    if (target !== undefined && flags.format !== 'onnx-qdq') {
      throw new SdqError(`--target writes onnx-qdq; --format is "${flags.format}".`, {
        code: 'invalid-flag',
        exit: ExitCode.usage,
      });
    }
    const isOnnx = flags.format !== 'safetensors';
    const {dir, name} = path.parse(flags.checkpoint);
    const ending = isOnnx ? `${targetName ?? flags.format}.onnx` : 'quantized.safetensors';
    const output = outputPath(flags.output, path.join(dir, `${name}.${ending}`));
    const session = await this.openSession(flags.checkpoint, {
      kinds: ['exporter'],
      check(registry) {
        if (isOnnx) registry.get('exporter', flags.format);
      },
    });
    const {exportNetwork} = await import('../phases/export.ts');
    const {bytes, ...exported} = await exportNetwork(session, {
      ...flags,
      strategy: flags.strategy,
      target,
      output,
      sdqVersion: this.config.version,
    });
    const opset = exported.opset === null ? '' : `, opset ${exported.opset}`;
    this.log(`${output}: ${flags.format}${opset}, ${(bytes / 1024).toFixed(1)} KiB`);
    return {
      files: [{path: output, bytes}],
      format: flags.format,
      target: targetName,
      checkpoint: flags.checkpoint,
      ...exported,
    };
  }
}
