import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {DownloadCommand} from '../../cli/download-command.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import {fileError, makeFolder} from '../../files.ts';
import {didYouMean} from '../../nearest.ts';
import {inspectDataset, selectDataset, type Inspection} from '../../phases/inspect-dataset.ts';

export default class DataFetch extends DownloadCommand {
  static override summary = 'Download a data set into the cache and verify its digests.';
  static override description =
    'The cache is $SDQ_DATA_DIR, else $XDG_CACHE_HOME/sdq, else ~/.cache/sdq. Files that are there already and right are kept, without any network.';
  static override args = {name: Args.string({required: true, description: 'Name of the data set (`sdq data list`).'})};
  static override flags = {
    source: Flags.string({summary: 'Use only this source.', helpValue: 'SOURCE', exclusive: ['from']}),
    from: Flags.directory({
      summary: 'Use the files in this folder; download nothing.',
      helpValue: 'DIR',
      exists: true,
    }),
  };
  static override examples = [
    '<%= config.bin %> data fetch mnist',
    '<%= config.bin %> data fetch cifar10 --source npm',
    '<%= config.bin %> data fetch fashion-mnist --from ./downloads',
  ];

  async run(): Promise<Inspection> {
    const {args, flags} = await this.parse(DataFetch);
    const {config, registry} = await this.settings({kinds: ['dataset']});
    const selected = selectDataset(registry, args.name, config.data);
    const {definition, directory, options} = selected;
    const {sources} = definition;
    if (flags.source !== undefined && !sources.includes(flags.source)) {
      throw new SdqError(`${args.name} has no source "${flags.source}". Known: ${sources.join(', ') || 'none'}.`, {
        code: 'unknown-source',
        exit: ExitCode.usage,
        suggestions: didYouMean(flags.source, sources),
      });
    }
    try {
      if (sources.length > 0) makeFolder(directory);
    } catch (error) {
      throw fileError(error, 'write', directory);
    }
    await this.download((context) =>
      definition.fetch(
        {
          directory,
          ...(flags.from === undefined ? {} : {from: path.resolve(flags.from)}),
          ...(flags.source === undefined ? {} : {source: flags.source}),
          ...context,
        },
        options,
      ),
    );
    const inspection = await inspectDataset(selected);
    const {splits} = inspection;
    if (splits === null) {
      throw new SdqError(`${args.name} was fetched, but it is not right: ${inspection.problems.join(' ')}`, {
        code: 'dataset-not-verified',
        exit: ExitCode.verificationFailed,
      });
    }
    this.log(`${args.name}: ${splits.train} train and ${splits.test} test images, verified, in ${directory}`);
    return inspection;
  }
}
