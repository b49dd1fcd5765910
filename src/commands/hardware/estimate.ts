import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {costSummary, costTable} from '../../cli/cost-view.ts';
import type {Violation} from '../../hardware/rules.ts';
import {violationsOf} from '../../phases/hardware-check.ts';
import {costsOn, estimate, sizedStrategy, type Estimate} from '../../phases/hardware-estimate.ts';
import {readProfile} from '../../phases/hardware-file.ts';
import {measuredCosts} from '../../phases/latency-table-file.ts';

interface EstimateResult extends Estimate {
  /** Path of the strategy. */
  readonly strategy: string;
  /** Rules of the device that it breaks although each layer's bits have a cost there. */
  readonly violations: readonly Violation[];
}

export default class HardwareEstimate extends SdqCommand {
  static override summary = 'Model what a strategy costs on a device, layer by layer.';
  static override description =
    'Cycles, latency, energy, memory, utilisation and what bounds each layer. The figures are modelled (docs/cost-models.md); times that you measured (`sdq hardware measure`) take their place with --latency-table. Rules of the device that leave the arithmetic as it is, e.g. of the first layer, are looked at and told; `sdq strategy validate` refuses what breaks them.';
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
      summary: 'Take the times that you measured from this file (sdq hardware measure, sdq hardware table-template).',
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<EstimateResult> {
    const {args, flags} = await this.parse(HardwareEstimate);
    const {config, registry} = await this.settings({
      kinds: ['model', 'dataset', 'task', 'cost-model', 'weight-quantizer'],
    });
    const profile = readProfile(args.hardware);
    const costs = costsOn(profile, registry, flags.batch);
    const file = path.resolve(flags.strategy);
    const sized = await sizedStrategy(config, registry, file, (message) => this.notice(message));
    const measured = flags['latency-table'];
    const result = estimate(
      measured === undefined
        ? costs
        : measuredCosts(costs, {...sized, model: sized.strategy.model}, path.resolve(measured)),
      sized,
    );
    this.log(`${costTable(result.layers)}\n\n${costSummary(result)}`);
    const violations = violationsOf(sized.strategy, [profile], registry, sized.graph);
    if (violations.length > 0) {
      const rules = violations.length === 1 ? 'a rule' : `${violations.length} rules`;
      this.log(
        `It breaks ${rules} of ${profile.name}: see sdq strategy validate ${flags.strategy} --hardware ${args.hardware}`,
      );
    }
    return {strategy: file, ...result, violations};
  }
}
