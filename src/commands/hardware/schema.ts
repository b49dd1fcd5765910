import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {writeFileAtomic} from '../../files.ts';
import {readProfile} from '../../phases/hardware-file.ts';
import {strategySchemaOf} from '../../phases/hardware-check.ts';

export default class HardwareSchema extends SdqCommand {
  static override summary = 'Print a JSON Schema of the strategies that a device runs.';
  static override description =
    'A plain JSON Schema (2020-12) that any validator can apply to a strategy file, without sdq. --json prints it unchanged.';
  static override examples = [
    '<%= config.bin %> hardware schema bitfusion-edge',
    '<%= config.bin %> hardware schema cutlass-sm80 --output cutlass-sm80.schema.json',
  ];
  static override args = {
    hardware: Args.string({
      description: 'Name of a profile, or a file of your own that ends in .json.',
      required: true,
    }),
  };
  static override flags = {
    output: Flags.file({summary: 'Write it to this file.', helpValue: 'FILE'}),
  };

  async run(): Promise<object> {
    const {args, flags} = await this.parse(HardwareSchema);
    const profile = readProfile(args.hardware);
    const {registry} = await this.settings({kinds: ['weight-quantizer']});
    const schema = strategySchemaOf(profile, registry);
    const text = JSON.stringify(schema, null, 2);
    if (flags.output === undefined) {
      this.log(text);
    } else {
      const file = path.resolve(flags.output);
      writeFileAtomic(file, `${text}\n`);
      this.log(file);
    }
    return schema;
  }
}
