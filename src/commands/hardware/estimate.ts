import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {costSummary, costTable} from '../../cli/cost-view.ts';
import {costsOn, estimate, measuredCosts, sizedStrategy, type Estimate} from '../../phases/hardware-estimate.ts';
import {readProfile} from '../../phases/hardware-file.ts';

export default class HardwareEstimate extends SdqCommand {
  static override summary = 'Model what a strategy costs on a device, layer by layer.';
  static override description =
    'Cycles, latency, energy, memory, utilisation and what bounds each layer. The figures are modelled (docs/cost-models.md); times that you measured take their place with --latency-table.';
  static override examples = [
    '<%= config.bin %> hardware estimate bitfusion-edge --strategy strategy.json',
    '<%= config.bin %> hardware estimate cutlass-sm75 --strategy strategy.json --batch 8 --latency-table measured.json',
  ];
  static override args = {
    hardware: Args.string({description: 'Name of a profile, or a file that ends in .json.', required: true}),
  };
  static override flags = {
    strategy: Flags.string({summary: 'The strategy.', helpValue: 'FILE', required: true}),
    batch: Flags.integer({summary: 'Samples computed together.', helpValue: 'N', default: 1}),
    'latency-table': Flags.string({
      summary: 'Take the times that you measured from this file (sdq hardware table-template).',
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<Estimate & {readonly strategy: string}> {
    const {args, flags} = await this.parse(HardwareEstimate);
    const {config, registry} = await this.settings({kinds: ['model', 'dataset', 'cost-model']});
    const costs = costsOn(readProfile(args.hardware), registry, flags.batch);
    const file = path.resolve(flags.strategy);
    const sized = await sizedStrategy(config, registry, file, (message) => this.notice(message));
    const measured = flags['latency-table'];
    const result = estimate(
      measured === undefined ? costs : measuredCosts(costs, sized, path.resolve(measured)),
      sized,
    );
    this.log(`${costTable(result.layers)}\n\n${costSummary(result)}`);
    return {strategy: file, ...result};
  }
}
