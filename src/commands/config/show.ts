import path from 'node:path';

import {Args} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {withoutControls} from '../../cli/output.ts';
import {runKinds} from '../../cli/run-command.ts';
import {annotated, originsOf, partOf} from '../../config/origins.ts';

interface Result {
  readonly file: string | null;
  readonly config: unknown;
  readonly origins: Readonly<Record<string, string>>;
}

export default class ConfigShow extends SdqCommand {
  static override summary = 'Show the resolved config, and where each value comes from.';
  static override description =
    'Defaults, config file, SDQ_* variables and --set, as a run would take them. Prints YAML that is a config again.';

  static override examples = [
    '<%= config.bin %> config show',
    '<%= config.bin %> config show search.target --set search.target.meanWeightBits=3',
    '<%= config.bin %> config show --json',
  ];

  static override args = {
    key: Args.string({description: 'Only this part, e.g. search.optimizer.'}),
  };

  async run(): Promise<Result> {
    const {args} = await this.parse(ConfigShow);
    const {config, file, sources} = await this.settings({kinds: runKinds});
    const keys = args.key?.split('.') ?? [];
    const part = args.key === undefined ? config : partOf(config, args.key);
    const origins = originsOf(part, sources, keys);
    const base = file === undefined ? process.cwd() : path.dirname(file);
    this.log(withoutControls(annotated(part, origins, base, keys)));
    return {file: file ?? null, config: part, origins};
  }
}
