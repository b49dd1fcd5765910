import {Args, Flags} from '@oclif/core';

import {CheckpointCommand} from '../cli/checkpoint-command.ts';
import {verdict} from '../cli/colours.ts';
import {percent} from '../cli/output.ts';
import {table} from '../cli/table.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {Timing} from '../phases/latency.ts';
import {runtimeNames, type Kernel} from '../phases/runtime.ts';
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
  static override summary =
    'Run an exported file in a runtime against the network it was made from: errors, metrics, kernels, size, time.';
  static override description = `It passes when all outputs are within --tolerance of the largest one, or, where inputs of layers are rounded, when \
the first class is the same for a share of --agreement: a value in the middle between two levels may be rounded to either. \
Tasks without classes compare the outputs themselves, to 1 % of the largest one. Otherwise the exit code is 7. The file's nodes are run as they are, in float32; \
what the runtime's own optimizations, its default, change is reported beside it. Runtimes: the npm packages onnxruntime-web and onnxruntime-node, \
and onnxruntime, openvino and qonnx of a Python interpreter. The time of the file is compared with that of the same network in float: the two take turns.`;

  static override examples = [
    '<%= config.bin %> verify model.onnx --checkpoint quantized.safetensors',
    '<%= config.bin %> verify model.onnx --checkpoint quantized.safetensors --split test --samples 1000 --json',
    '<%= config.bin %> verify model.onnx --checkpoint quantized.safetensors --runtime openvino --python .venv/bin/python',
  ];

  static override args = {
    file: Args.string({description: 'The ONNX file.', required: true}),
  };

  static override flags = {
    checkpoint: Flags.file({summary: 'Safetensors file that it was exported from.', helpValue: 'FILE', required: true}),
    strategy: Flags.file({
      summary: 'The strategy it was exported with, if the checkpoint contains none.',
      helpValue: 'FILE',
    }),
    split: Flags.option({
      summary: 'Which images to compare on; training images are as good as others.',
      options: ['test', 'validation', 'train'] as const,
      default: 'train' as const,
    })(),
    samples: Flags.integer({summary: 'Maximum number of images.', default: 256, min: 1}),
    tolerance: Flags.string({
      summary: 'Largest allowed error of an output, as a fraction of the largest output.',
      default: '1e-4',
    }),
    agreement: Flags.string({
      summary: 'Smallest allowed fraction of images with the same top class, or the same outputs.',
      default: '0.98',
    }),
    runtime: Flags.option({
      summary: 'Runtime that runs the file.',
      options: runtimeNames,
      default: 'onnxruntime-web' as const,
    })(),
    python: Flags.string({
      summary: 'The interpreter that has the package onnxruntime, openvino or qonnx.',
      helpValue: 'PROGRAM',
      default: 'python3',
    }),
    runs: Flags.integer({
      summary: 'Timed runs of the file and of the float network; 0 for none.',
      helpValue: 'N',
      default: 20,
      min: 0,
    }),
    batch: Flags.integer({
      summary: 'Images that a timed run computes together.',
      helpValue: 'N',
      default: 1,
      min: 1,
    }),
    threads: Flags.integer({summary: 'Threads of the runtime.', helpValue: 'N', default: 1, min: 1}),
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
    const {batch, checkpoint, python, runs, runtime, samples, split, strategy, threads} = flags;
    const verified = await verifyExport(session, {
      file: args.file,
      ...{batch, checkpoint, runs, samples, strategy},
      part: split,
      runtime: {name: runtime, python, threads},
    });
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
          ['with its optimizations: largest error', optimized.maxAbsError.toExponential(1)],
          [`  same ${agreementOf} %`, percent(optimized.agreement)],
          [`  ${metricHead(primary)}`, metricCell(primary, optimized.metric)],
          ...speedRows(verified),
        ],
      ),
    );
    if (figures.kernels !== null) {
      this.log(`Integer kernels: ${kernelList(figures.kernels.filter(({integer}) => integer))}.`);
      this.log(`Other kernels: ${kernelList(figures.kernels.filter(({integer}) => !integer))}.`);
    }
    if (verified.samples < samples) {
      this.notice(`The ${split} split has ${verified.samples} images; --samples ${samples} is more.`);
    }
    const rule = isClose
      ? `every output is within ${tolerance} of the largest one (${(maxAbsError / maxAbsLogit).toExponential(1)})`
      : `same ${agreementOf} for ${percent(verified.agreement)} % of the images, at least ${percent(agreement)} % needed`;
    this.log(verdict(passed, `${passed ? 'Passed' : 'Failed'}: ${rule}.`));
    if (!passed) {
      this.checkFailed(
        new SdqError(
          roundedInputs > 0
            ? `${args.file}: same ${agreementOf} for ${percent(verified.agreement)} % of the images, at least ${percent(agreement)} % needed.`
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

const kernelList = (kernels: readonly Kernel[]): string =>
  kernels.map(({count, op}) => `${count} ${op}`).join(', ') || 'none';

/** Size and time. */
function speedRows({latency, size}: Verified): string[][] {
  const kib = (bytes: number): string => (bytes / 1024).toFixed(1);
  const ms = ({medianMs, spread}: Timing): string => `${medianMs.toPrecision(3)} ± ${percent(spread / 2)} %`;
  const rows = [['size KiB, the file / in float', `${kib(size.file)} / ${kib(size.float)}`]];
  if (latency !== null) {
    const {batch, file, float, ratio, runs} = latency;
    rows.push([`ms for ${batch === 1 ? 'an image' : `${batch} images`}, median of ${runs}`, ms(file)]);
    rows.push(['  in float', ms(float)]);
    rows.push(['  the file / in float', ratio.toFixed(2)]);
  }
  return rows;
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
