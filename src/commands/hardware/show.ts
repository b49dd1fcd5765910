import {Args} from '@oclif/core';

import {present, property} from '../../lookup.ts';
import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import type {HardwareProfile} from '../../hardware/profile.ts';
import {operatorFormats, operatorsOf, pairsOf, type AllowedPair} from '../../hardware/rules.ts';
import {readProfile} from '../../phases/hardware-file.ts';

interface ShownOperator {
  readonly op: string;
  readonly depthwise: boolean;
  /** Combinations of bits, and what the multiplier runs them as. */
  readonly pairs: readonly AllowedPair[];
}

interface ShownHardware {
  readonly profile: HardwareProfile;
  readonly operators: readonly ShownOperator[];
}

export default class HardwareShow extends SdqCommand {
  static override summary = 'Show what a device runs, and the numbers of its cost model with their sources.';
  static override examples = [
    '<%= config.bin %> hardware show bitfusion-edge',
    '<%= config.bin %> hardware show cutlass-sm80 --json',
  ];
  static override args = {
    hardware: Args.string({
      description: 'Name of a profile, or a file of your own that ends in .json.',
      required: true,
    }),
  };

  async run(): Promise<ShownHardware> {
    const {args} = await this.parse(HardwareShow);
    const profile = readProfile(args.hardware);
    const operators = operatorsOf(profile).flatMap((op): ShownOperator[] =>
      (property(profile.operators, op).depthwise === undefined ? [false] : [false, true]).map((depthwise) => ({
        op,
        depthwise,
        pairs: pairsOf(profile, [present(operatorFormats(profile, {op, depthwise}), `formats of ${op}`)]),
      })),
    );
    this.log(`${profile.name}: ${profile.summary}\n`);
    this.log(`${pairTable(operators)}\n\nThe first row of an operator that has both counts.`);
    const product = operatorFormats(profile, {op: 'MatMul', product: true});
    const pairs = product === undefined ? [] : pairsOf(profile, [product]);
    const shown = pairs.map(({weightBits, activationBits}) => `${activationBits}×${weightBits}`).join(', ');
    this.log(`A MatMul of two activations, as in attention: ${pairs.length === 0 ? 'does not run' : `${shown} bits`}.`);
    if (profile.unified.length > 0) {
      this.log(
        `\nInputs of ${profile.unified.join(' and ')} share one scale: the layers that read them have the same bits.`,
      );
    }
    if (profile.notes.length > 0) this.log(`\n${profile.notes.map((note) => `- ${note}`).join('\n')}`);
    this.log(`\n${numbersTable(profile)}`);
    return {profile, operators};
  }
}

/** One row for combinations that run as the same. */
function pairTable(operators: readonly ShownOperator[]): string {
  const rows = operators.flatMap(({op, depthwise, pairs}) => {
    const groups = new Map<string, AllowedPair[]>();
    for (const pair of pairs) {
      const key = pair.executedAs.join('×');
      groups.set(key, [...(groups.get(key) ?? []), pair]);
    }
    return [...groups].map(([executedAs, group]) => [
      depthwise ? `${op}, depthwise` : op,
      bitsOf(group.map(({weightBits}) => weightBits)),
      bitsOf(group.map(({activationBits}) => activationBits)),
      executedAs,
    ]);
  });
  return table([{head: 'operator'}, {head: 'W bits'}, {head: 'A bits'}, {head: 'runs as'}], rows);
}

const bitsOf = (bits: readonly number[]): string => [...new Set(bits)].sort((a, b) => a - b).join(' ');

function numbersTable({costModel, resources, sources}: HardwareProfile): string {
  const constants = Object.entries(costModel.constants).map(([name, {value, unit, source}]) => [
    name,
    value,
    unit,
    property(sources, source),
  ]);
  const limits = Object.entries(resources).map(([name, {amount, usable, source}]) => [
    name,
    amount,
    `${Math.round(100 * usable)} % usable`,
    property(sources, source),
  ]);
  const rows = [['costModel', costModel.family, '', ''], ...constants, ...limits];
  return table([{head: 'number'}, {head: 'value', align: 'right'}, {head: 'unit'}, {head: 'source', wrap: true}], rows);
}
