import {Args, Flags} from '@oclif/core';

import {CheckpointCommand} from '../cli/checkpoint-command.ts';
import {percent} from '../cli/output.ts';
import {table} from '../cli/table.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {Verified} from '../phases/verify.ts';

/** With the primary metric under its name, also in `optimized`. */
interface Result extends Omit<Verified, 'agreementOf' | 'metric' | 'optimized'> {
  readonly file: string;
  readonly task: string;
  readonly checkpoint: string;
  readonly split: string;
  readonly passed: boolean;
  readonly optimized: Omit<Verified['optimized'], 'metric'>;
}

export default class Verify extends CheckpointCommand {
  static override summary = 'Run an exported file in ONNX Runtime against the network it was made from.';
  static override description = `It passes when all outputs are within --tolerance of the largest one, or, where inputs of layers are rounded, when \
the first class is the same for a share of --agreement: a value in the middle between two levels may be rounded to either. \
Tasks without classes compare the outputs themselves, to 1 % of the largest one. Otherwise the exit code is 7. The file's nodes are run as they are; \
what ONNX Runtime's own graph optimizations, its default, change is reported beside it. ONNX Runtime is the package onnxruntime-web.`;

  static override examples = [
    '<%= config.bin %> verify model.onnx --checkpoint quantized.safetensors',
    '<%= config.bin %> verify model.onnx --checkpoint quantized.safetensors --split test --samples 1000 --json',
  ];

  static override args = {
    file: Args.string({description: 'The ONNX file.', required: true}),
  };

  static override flags = {
    checkpoint: Flags.file({summary: 'Safetensors file that it was made from.', helpValue: 'FILE', required: true}),
    strategy: Flags.file({
      summary: 'The strategy that it was made with, where the checkpoint has none.',
      helpValue: 'FILE',
    }),
    split: Flags.option({
      summary: 'Which images; they need not be new to the network.',
      options: ['test', 'validation', 'train'] as const,
      default: 'train' as const,
    })(),
    samples: Flags.integer({summary: 'How many images, at most.', default: 256, min: 1}),
    tolerance: Flags.string({
      summary: 'Largest error of an output, as a share of the largest output.',
      default: '1e-4',
    }),
    agreement: Flags.string({
      summary: 'Least share of the images with the same first class, or the same outputs.',
      default: '0.98',
    }),
  };

  async run(): Promise<Result> {
    const {args, flags} = await this.parse(Verify);
    const tolerance = share('tolerance', flags.tolerance);
    const agreement = share('agreement', flags.agreement);
    const session = await this.openSession(flags.checkpoint);
    const [{verifyExport}, {metricCell, metricHead}] = await Promise.all([
      import('../phases/verify.ts'),
      import('../phases/results.ts'),
    ]);
    const {checkpoint, samples, split, strategy} = flags;
    const verified = await verifyExport(session, {file: args.file, checkpoint, strategy, part: split, samples});
    this.progress().stop();
    const {agreementOf, metric, optimized, roundedInputs, ...figures} = verified;
    const {maxAbsError, maxAbsLogit} = figures;
    const {metric: primary} = session.task;
    const isClose = maxAbsError <= tolerance * maxAbsLogit;
    const passed = isClose || (roundedInputs > 0 && verified.agreement >= agreement);
    this.log(
      table(
        [{head: `${args.file} in ${verified.runtime}`}, {head: '', align: 'right'}],
        [
          [`images (${split})`, verified.samples],
          ['largest error of an output', maxAbsError.toExponential(1)],
          ['largest output', maxAbsLogit.toPrecision(3)],
          [`same ${agreementOf} %`, percent(verified.agreement)],
          [`${metricHead(primary)}, sdq`, metricCell(primary, metric.sdq)],
          [`${metricHead(primary)}, the file`, metricCell(primary, metric.exported)],
          ['with graph optimizations: largest error', optimized.maxAbsError.toExponential(1)],
          [`  same ${agreementOf} %`, percent(optimized.agreement)],
          [`  ${metricHead(primary)}`, metricCell(primary, optimized.metric)],
        ],
      ),
    );
    if (verified.samples < samples) {
      this.notice(`The ${split} split has ${verified.samples} images; --samples ${samples} is more.`);
    }
    const rule = isClose
      ? `every output is within ${tolerance} of the largest one (${(maxAbsError / maxAbsLogit).toExponential(1)})`
      : `the ${agreementOf} is the same for ${percent(verified.agreement)} % of the images, ${percent(agreement)} % are needed`;
    if (passed) this.log(`Passed: ${rule}.`);
    if (!passed) {
      this.checkFailed(
        new SdqError(
          roundedInputs > 0
            ? `${args.file}: the ${agreementOf} is the same for ${percent(verified.agreement)} % of the images; ${percent(agreement)} % are wanted.`
            : `${args.file}: an output is off by ${maxAbsError.toExponential(1)}; ${(tolerance * maxAbsLogit).toExponential(1)} is allowed.`,
          {code: 'verification-failed', exit: ExitCode.verificationFailed},
        ),
      );
    }
    const {metric: optimizedMetric, ...optimizedFigures} = optimized;
    return {
      file: args.file,
      checkpoint,
      split,
      task: session.config.task.name,
      passed,
      ...figures,
      [primary.name]: metric,
      optimized: {...optimizedFigures, [primary.name]: optimizedMetric},
      roundedInputs,
    };
  }
}

/** @throws SdqError (exit 2) for what is not a number from 0 to 1 */
function share(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1) return value;
  throw new SdqError(`--${flag} is "${text}"; it takes a number from 0 to 1.`, {
    code: 'invalid-flag',
    exit: ExitCode.usage,
  });
}
