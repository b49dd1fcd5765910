import {existsSync} from 'node:fs';

import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import {selectDataset} from '../../phases/inspect-dataset.ts';

interface ListedDataset {
  readonly name: string;
  readonly summary: string;
  /** Where `sdq data fetch` can get it, in the order tried. */
  readonly sources: readonly string[];
  readonly path: string;
  /** Whether the folder is there; `sdq data verify` checks the files. */
  readonly present: boolean;
}

export default class DataList extends SdqCommand {
  static override summary = 'List the data sets that sdq knows.';
  static override examples = ['<%= config.bin %> data list', '<%= config.bin %> data list --json'];

  async run(): Promise<{datasets: readonly ListedDataset[]}> {
    await this.parse(DataList);
    const {config, registry} = await this.settings({kinds: ['dataset']});
    const datasets = registry.list('dataset').map(({name, summary, sources}) => {
      const {directory} = selectDataset(registry, name, config.data);
      return {name, summary, sources, path: directory, present: existsSync(directory)};
    });
    this.log(
      table(
        [{head: 'name'}, {head: 'sources'}, {head: 'present'}, {head: 'summary', wrap: true}],
        datasets.map(({name, sources, present, summary}) => [
          name,
          sources.join(', ') || 'your files',
          present ? 'yes' : 'no',
          summary,
        ]),
      ),
    );
    return {datasets};
  }
}
