import {SdqCommand} from '../../cli/base-command.ts';
import {runKinds} from '../../cli/run-command.ts';
import {readProfiles} from '../../phases/hardware-file.ts';

export default class ConfigValidate extends SdqCommand {
  static override summary = 'Check the config: every key, value and name. Exits with 3 when something is wrong.';
  static override description =
    'Lists everything that is wrong, with line and column. Looks at no data and no weights.';

  static override examples = [
    '<%= config.bin %> config validate',
    '<%= config.bin %> config validate --config other.yaml --json',
  ];

  async run(): Promise<{valid: true; file: string | null}> {
    await this.parse(ConfigValidate);
    const {config, file} = await this.settings({kinds: runKinds});
    readProfiles(config.hardware);
    this.log(file === undefined ? 'No config file was found; variables and flags are valid.' : `${file} is valid.`);
    return {valid: true, file: file ?? null};
  }
}
