import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';

export default class ModelList extends SdqCommand {
  static override summary = 'List the models, built-in and of plugins.';
  static override examples = ['<%= config.bin %> model list'];

  async run(): Promise<{models: {name: string; summary: string; package: string}[]}> {
    const {registry} = await this.settings({kinds: ['model']});
    const models = registry
      .list('model')
      .map(({name, summary}) => ({name, summary, package: registry.source('model', name)}));
    this.log(
      table(
        [{head: 'model'}, {head: 'from'}, {head: 'what it is', wrap: true}],
        models.map((model) => [model.name, model.package, model.summary]),
      ),
    );
    return {models};
  }
}
