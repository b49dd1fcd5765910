import {Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import type {Spread, StepTimes} from '../../phases/bench-step.ts';

const bits = [1, 2, 3, 4, 5, 6, 7, 8, 32].map(String);
const phases = ['full-precision', 'search', 'train', 'evaluate'] as const;

export default class BenchStep extends SdqCommand {
  static override summary = 'Time single steps of a phase.';
  static override description =
    "On random images of the size that the config's data set has, or with --data on those of a data set through the real input pipeline, which also tells how long a step waits for its batch. The first and the last layers stay in full precision. Threads: --set engine.threads=N.";
  static override examples = [
    '<%= config.bin %> bench step',
    '<%= config.bin %> bench step --model resnet20 --batch 128 --weight-bits 4 --activation-bits 4 --steps 20 --json',
    '<%= config.bin %> bench step --phase search --steps 5',
  ];
  static override flags = {
    model: Flags.string({
      summary: "Name of the model; by default the config's, and resnet20 where it has none.",
      helpValue: 'NAME',
    }),
    batch: Flags.integer({summary: 'Images in a step.', min: 1, max: 65_536, default: 128}),
    'weight-bits': Flags.string({
      summary: 'Bits of the weights; a search step chooses between these and one bit less.',
      options: bits,
      default: '4',
    }),
    'activation-bits': Flags.string({
      summary: "Bits of the layers' inputs; by default 4, and 32 (full precision) in a search step.",
      options: bits,
    }),
    steps: Flags.integer({summary: 'Steps to time.', min: 1, max: 100_000, default: 20}),
    engine: Flags.string({summary: "Name of the engine; by default the config's.", helpValue: 'NAME'}),
    phase: Flags.option({
      summary: 'Kind of step: search, train, evaluate, or training in full precision.',
      options: phases,
      default: 'train',
    })(),
    data: Flags.string({summary: 'Name of a data set to take the images from.', helpValue: 'NAME'}),
  };

  async run(): Promise<StepTimes> {
    const {flags} = await this.parse(BenchStep);
    if (flags.phase === 'search' && flags['weight-bits'] === '32') {
      throw new SdqError(
        '--phase search takes 1 to 8 for --weight-bits: a search step chooses between two bitwidths.',
        {
          code: 'invalid-flag',
          exit: ExitCode.usage,
        },
      );
    }
    const {config, registry} = await this.settings({
      kinds: ['engine', 'dataset', 'model', 'task', 'weight-quantizer', 'activation-quantizer'],
    });
    const {benchmarkSteps} = await import('../../phases/bench-step.ts');
    const activationBits = flags['activation-bits'];
    const result = await benchmarkSteps(config, registry, {
      model: flags.model,
      engine: flags.engine,
      data: flags.data,
      phase: flags.phase,
      batch: flags.batch,
      weightBits: Number(flags['weight-bits']),
      activationBits: activationBits === undefined ? undefined : Number(activationBits),
      steps: flags.steps,
      notice: (message) => this.notice(message),
      defer: (dispose) => this.defer(dispose),
    });
    const {model, phase, batch, engine, device, imagesPerSecond, stepMs, dataWaitShare, peakRssMiB} = result;
    const bitsOf = `W ${result.weightBits} / A ${result.activationBits}`;
    this.log(`${model}, ${phase}, batch ${batch}, ${bitsOf}, ${engine} (${device})`);
    this.log(`images/s  ${shown(imagesPerSecond)}\nstep ms   ${shown(stepMs)}\npeak RSS  ${peakRssMiB.toFixed(0)} MiB`);
    if (dataWaitShare !== null) this.log(`data wait ${(100 * dataWaitShare).toFixed(2)} % of the step`);
    return result;
  }
}

const shown = ({min, median, max}: Spread): string => `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`;
