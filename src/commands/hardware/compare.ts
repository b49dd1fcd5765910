import path from 'node:path';

import {Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {figure, milliseconds} from '../../cli/cost-view.ts';
import {table} from '../../cli/table.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import type {NetworkTotals} from '../../hardware/cost-model.ts';
import {compare, costsOn, sizedStrategy, type ComparedRow, type Estimate} from '../../phases/hardware-estimate.ts';
import {readProfiles} from '../../phases/hardware-file.ts';

export default class HardwareCompare extends SdqCommand {
  static override summary = 'Model what several strategies cost on several devices.';
  static override description =
    'One row for each strategy on each device. The speed-up is over the first strategy. Exits with 4 where a device does not run a strategy; the other rows are there all the same.';
  static override examples = [
    '<%= config.bin %> hardware compare --strategy uniform.json --strategy strategy.json --hardware bitfusion-edge --hardware generic-bops',
  ];
  static override flags = {
    strategy: Flags.string({
      summary: 'A strategy. Repeatable.',
      helpValue: 'FILE',
      required: true,
      multiple: true,
      multipleNonGreedy: true,
    }),
    hardware: Flags.string({
      summary: 'Name of a profile, or a file that ends in .json. Repeatable.',
      helpValue: 'NAME|FILE',
      required: true,
      multiple: true,
      multipleNonGreedy: true,
    }),
    batch: Flags.integer({summary: 'Samples computed together.', helpValue: 'N', default: 1}),
  };

  async run(): Promise<{readonly batch: number; readonly rows: readonly ComparedRow[]}> {
    const {flags} = await this.parse(HardwareCompare);
    const {config, registry} = await this.settings({kinds: ['model', 'dataset', 'task', 'cost-model']});
    const devices = readProfiles(flags.hardware).map((profile) => costsOn(profile, registry, flags.batch));
    const strategies = await Promise.all(
      flags.strategy.map((file) =>
        sizedStrategy(config, registry, path.resolve(file), (message) => this.notice(message)),
      ),
    );
    const rows = compare(devices, strategies);
    this.log(`${comparison(rows)}\n\nModelled, not measured; batch ${flags.batch}.`);
    const problems = rows.filter(({problem}) => problem !== null);
    if (problems.length > 0) {
      this.checkFailed(
        new SdqError(problems.map(({strategy, problem}) => `${strategy}: ${problem ?? ''}`).join('\n'), {
          code: 'hardware-violated',
          exit: ExitCode.hardwareViolated,
        }),
      );
    }
    return {batch: flags.batch, rows};
  }
}

function comparison(rows: readonly ComparedRow[]): string {
  return table(
    [
      {head: 'hardware'},
      {head: 'strategy'},
      {head: 'W', align: 'right'},
      {head: 'A', align: 'right'},
      {head: 'latency', align: 'right'},
      {head: 'speed-up', align: 'right'},
      {head: 'samples/s', align: 'right'},
      {head: 'energy µJ', align: 'right'},
      {head: 'G bit ops', align: 'right'},
      {head: 'weights KiB', align: 'right'},
    ],
    rows.map(({hardware, strategy, meanWeightBits, meanActivationBits, energy, totals, speedup}) => [
      hardware,
      path.relative('', strategy),
      meanWeightBits.toFixed(2),
      meanActivationBits.toFixed(2),
      totals === null ? 'does not run' : milliseconds(totals.latencyUs),
      speedup === null ? null : `${speedup.toFixed(2)}×`,
      figure(totals?.samplesPerSecond ?? null),
      energyOf(totals, energy),
      totals === null ? null : figure(totals.bops / 1e9),
      totals === null ? null : figure(totals.weightMemoryKiB),
    ]),
  );
}

function energyOf(totals: NetworkTotals | null, energy: Estimate['energy']): string | null {
  const value = figure(totals?.energyUj ?? null);
  return value === null ? null : `${value}${energy === 'relative' ? ' (relative)' : ''}`;
}
