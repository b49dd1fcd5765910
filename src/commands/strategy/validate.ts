import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {verdict} from '../../cli/colours.ts';
import {strategyLine} from '../../cli/strategy-view.ts';
import type {Violation} from '../../hardware/rules.ts';
import {hardwareError, violationsOf} from '../../phases/hardware-check.ts';
import {profilesFor} from '../../phases/hardware-file.ts';
import {checkQuantizers, readStrategy} from '../../phases/strategy-file.ts';
import {strategyGraph} from '../../phases/strategy-graph.ts';

interface Validation {
  readonly valid: boolean;
  /** Names of the devices it was checked against. */
  readonly hardware: readonly string[];
  readonly violations: readonly Violation[];
  /** What could not be looked at, and why. */
  readonly unchecked: readonly string[];
}

export default class StrategyValidate extends SdqCommand {
  static override summary = 'Check a strategy: its file, its network, and what the hardware runs.';
  static override description = `Without --hardware the devices are those of the config and those that the strategy names. With a model in the config the strategy must be for that model.
Exit code 3 for a file that is no strategy of this network, 4 for one that the hardware does not run.`;

  static override examples = [
    '<%= config.bin %> strategy validate strategy.json --hardware bitfusion-edge',
    '<%= config.bin %> strategy validate strategy.json --hardware cutlass-sm80 --hardware ./my-device.json --json',
  ];
  static override args = {file: Args.string({description: 'A strategy file.', required: true})};
  static override flags = {
    hardware: Flags.string({
      summary: 'Name of a hardware profile, or a file of your own that ends in .json; may be repeated.',
      helpValue: 'NAME',
      multiple: true,
    }),
  };

  async run(): Promise<Validation> {
    const {args, flags} = await this.parse(StrategyValidate);
    const file = path.resolve(args.file);
    const strategy = readStrategy(file);
    const {config, registry} = await this.settings({
      kinds: ['model', 'dataset', 'task', 'weight-quantizer', 'activation-quantizer'],
    });
    checkQuantizers(strategy, registry, file);
    const graph = await strategyGraph(config, registry, strategy, file, (message) => this.notice(message));
    const profiles =
      flags.hardware === undefined ? profilesFor(config.hardware, strategy.hardware) : profilesFor(flags.hardware);
    const violations = violationsOf(strategy, profiles, registry, graph);
    const hardware = profiles.map(({name}) => name);
    const unchecked =
      graph === undefined
        ? [
            `Its layers against the network, and inputs that share a scale: ${strategy.model.name} as the strategy has it (its digest) is not the built-in default. Name it in a config, or by --set model.name and data.name.`,
          ]
        : [];
    const error = hardwareError(args.file, violations);
    if (error === undefined) {
      const devices = hardware.length === 0 ? 'No hardware was named.' : `It runs on ${hardware.join(', ')}.`;
      this.log([verdict(true, `${args.file} is valid: ${strategyLine(strategy)}.`), devices].join('\n'));
    } else {
      this.checkFailed(error);
    }
    for (const what of unchecked) this.log(`Not checked. ${what}`);
    return {valid: error === undefined, hardware, violations, unchecked};
  }
}
