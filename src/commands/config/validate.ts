import {SdqCommand} from '../../cli/base-command.ts';
import {verdict} from '../../cli/colours.ts';
import {runKinds} from '../../cli/run-command.ts';
import {readProfiles} from '../../phases/hardware-file.ts';

export default class ConfigValidate extends SdqCommand {
  static override summary = 'Check the config: every key, value and name. Exits with 3 when something is wrong.';
  static override description =
    'Lists everything that is wrong, with line and column. Looks at no data and no weights; `<%= config.bin %> run --dry-run` does.';

  static override examples = [
    '<%= config.bin %> config validate',
    '<%= config.bin %> config validate --config other.yaml --json',
  ];

  async run(): Promise<{valid: true; file: string | null}> {
    await this.parse(ConfigValidate);
    const {config, file} = await this.settings({kinds: runKinds});
    readProfiles(config.hardware);
    const what = file ?? 'No config file was found: what variables and flags say';
    this.log(verdict(true, `${what} is valid.`));
    return {valid: true, file: file ?? null};
  }
}
