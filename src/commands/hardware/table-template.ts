import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {checkFree} from '../../files.ts';
import {SdqCommand} from '../../cli/base-command.ts';
import {readProfile} from '../../phases/hardware-file.ts';
import {emptyTable, writeTable} from '../../phases/latency-table-file.ts';
import {modelGraph} from '../../phases/model-graph.ts';

interface WrittenTemplate {
  readonly path: string;
  readonly hardware: string;
  readonly model: string;
  readonly batch: number;
  readonly rows: number;
}

export default class HardwareTableTemplate extends SdqCommand {
  static override summary = 'Write a table of all layers and bits, to fill in with times that you measure.';
  static override description =
    'One row for each layer and combination of bits that the device allows. Rows that stay null are modelled. The file is never overwritten: it holds your measurements.';
  static override examples = [
    '<%= config.bin %> hardware table-template cutlass-sm75 --model resnet18 --batch 8 --output measured.json',
  ];
  static override args = {
    hardware: Args.string({description: 'Name of a profile, or a file that ends in .json.', required: true}),
  };
  static override flags = {
    model: Flags.string({summary: 'The model.', helpValue: 'NAME', required: true}),
    batch: Flags.integer({summary: 'Samples computed together.', helpValue: 'N', default: 1}),
    output: Flags.string({summary: 'Where to write it.', helpValue: 'FILE', default: 'latency-table.json'}),
  };

  async run(): Promise<WrittenTemplate> {
    const {args, flags} = await this.parse(HardwareTableTemplate);
    const {config, registry} = await this.settings({kinds: ['model', 'dataset', 'task', 'cost-model']});
    const profile = readProfile(args.hardware);
    const graph = await modelGraph(config, registry, flags.model, (message) => this.notice(message));
    const file = path.resolve(flags.output);
    const table = emptyTable(profile, registry, graph, flags.model, flags.batch);
    checkFree(file, 'Choose another file with --output.');
    writeTable(file, table);
    const {batch, rows} = table;
    this.log(
      `${rows.length} rows, one for each layer and combination of bits: fill in latencyUs (µs for the batch).\n${file}`,
    );
    return {path: file, hardware: profile.name, model: flags.model, batch, rows: rows.length};
  }
}
