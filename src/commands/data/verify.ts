import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {verdict} from '../../cli/colours.ts';
import {checkPngName} from '../../data/draw-boxes.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import {checkWritable} from '../../files.ts';
import {inspectDataset, selectDataset, type Inspection} from '../../phases/inspect-dataset.ts';

export default class DataVerify extends SdqCommand {
  static override summary = 'Check every file of a data set: digests, or that each image decodes.';
  static override args = {name: Args.string({required: true, description: 'Name of the data set (`sdq data list`).'})};
  static override flags = {
    sheet: Flags.string({
      summary: 'Draw some training images with their boxes or classes on one picture.',
      helpValue: 'FILE.png',
    }),
  };
  static override examples = [
    '<%= config.bin %> data verify cifar10',
    '<%= config.bin %> data verify boxes --sheet sheet.png',
    '<%= config.bin %> data verify image-folder --set data.name=image-folder --set data.directory=./photos',
  ];

  async run(): Promise<Inspection> {
    const {args, flags} = await this.parse(DataVerify);
    const sheet = flags.sheet === undefined ? undefined : path.resolve(flags.sheet);
    if (sheet !== undefined) {
      checkPngName(sheet, '--sheet');
      checkWritable(sheet);
    }
    const {config, registry} = await this.settings({kinds: ['dataset']});
    const selected = selectDataset(registry, args.name, config.data);
    const inspection = await inspectDataset(selected, sheet);
    const {notices, problems, splits} = inspection;
    if (splits === null) {
      for (const problem of problems) this.log(problem);
      const fetchable = selected.definition.sources.length > 0;
      this.checkFailed(
        new SdqError(`${args.name} in ${selected.directory} has ${problems.length} wrong or missing files.`, {
          code: 'dataset-not-verified',
          exit: ExitCode.verificationFailed,
          suggestions: fetchable ? [`Run: sdq data fetch ${args.name}`] : [],
        }),
      );
    } else {
      for (const notice of notices) this.log(notice);
      const counts = `${splits.train} train and ${splits.test} test images`;
      this.log(verdict(true, `${args.name}: ${counts}, verified, in ${selected.directory}`));
      if (sheet !== undefined) this.log(`Sheet: ${sheet}`);
    }
    return inspection;
  }
}
