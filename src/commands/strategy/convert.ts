import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {outputPath} from '../../cli/output.ts';
import {strategyLine} from '../../cli/strategy-view.ts';
import {table} from '../../cli/table.ts';
import {writeFileAtomic} from '../../files.ts';
import type {Move} from '../../hardware/move.ts';
import {convertStrategy, type Converted} from '../../phases/strategy-convert.ts';

interface Conversion extends Omit<Converted, 'strategy' | 'text' | 'extension'> {
  readonly path: string;
  readonly format: string;
}

export default class StrategyConvert extends SdqCommand {
  static override summary = 'Move a strategy to what a device runs, or from and to the formats of other tools.';
  static override description = `With --to every layer gets the nearest bits that the device runs: the next higher bits, or the next lower where there are no higher ones. It prints what that costs.
With --from the file is another tool's: the network is the config's model, and bits that the file does not say are search.activationBits. Formats of other tools, and of plugins, are in docs/strategy-formats.md.`;

  static override examples = [
    '<%= config.bin %> strategy convert strategy.json --to cutlass-sm80 --output cutlass.json',
    '<%= config.bin %> strategy convert bit_config.json --from hawq --set model.name=resnet18',
    '<%= config.bin %> strategy convert strategy.json --format nncf',
    '<%= config.bin %> strategy convert strategy.json --to finn-zcu102 --format finn',
    '<%= config.bin %> strategy convert strategy.json --format aimet --checkpoint quantized.safetensors',
  ];
  static override args = {
    file: Args.string({description: 'A strategy file, or that of another tool.', required: true}),
  };
  static override flags = {
    from: Flags.string({summary: 'Format of the file: sdq, or another tool’s.', helpValue: 'NAME', default: 'sdq'}),
    to: Flags.string({
      summary: 'Name of a hardware profile, or a file of your own that ends in .json.',
      helpValue: 'NAME',
    }),
    format: Flags.string({summary: 'Format to write: sdq, or another tool’s.', helpValue: 'NAME', default: 'sdq'}),
    checkpoint: Flags.file({summary: 'The trained network, for formats that hold its scales.', helpValue: 'FILE'}),
    output: Flags.file({
      summary: 'Where to write it; by default next to FILE, where it must not exist yet.',
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<Conversion> {
    const {args, flags} = await this.parse(StrategyConvert);
    const {config, registry} = await this.settings({
      kinds: ['model', 'dataset', 'task', 'weight-quantizer', 'activation-quantizer', 'cost-model', 'strategy-format'],
    });
    const {text, extension, ...result} = await convertStrategy(
      {...flags, file: path.resolve(args.file), sdqVersion: this.config.version},
      config,
      registry,
      (message) => this.notice(message),
    );
    const {dir, name} = path.parse(path.resolve(args.file));
    const file = outputPath(flags.output, path.join(dir, `${name}.${extension}`));
    writeFileAtomic(file, text);
    const {strategy, ...shown} = result;
    const {moves, before, after, quantizer, notes} = shown;
    if (moves.length > 0) this.log(`${moveTable(moves)}\n`);
    if (quantizer !== null) this.log(`Weight quantizer: ${quantizer.from} → ${quantizer.to}`);
    this.log(strategyLine(strategy));
    if (moves.length > 0) {
      this.log(
        `Weights ${size(before.sizeKiB)} → ${size(after.sizeKiB)} KiB, ${giga(before.bops)} → ${giga(after.bops)} G bit operations a sample.`,
      );
    }
    for (const note of notes) this.log(`Not in the file: ${note}`);
    this.log(file);
    return {path: file, format: flags.format, ...shown};
  }
}

const size = (kib: number): string => kib.toFixed(1);
const giga = (bops: number): string => (bops / 1e9).toFixed(2);

function moveTable(moves: readonly Move[]): string {
  return table(
    [
      {head: 'layer'},
      {head: 'W bits', align: 'right'},
      {head: '→', align: 'right'},
      {head: 'A bits', align: 'right'},
      {head: '→', align: 'right'},
      {head: ''},
    ],
    moves.map(({layer, from, to, lossy}) => [
      layer,
      from.weightBits,
      to.weightBits,
      from.activationBits,
      to.activationBits,
      lossy ? 'fewer than before: train again' : '',
    ]),
  );
}
