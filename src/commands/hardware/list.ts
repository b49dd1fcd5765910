import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import {profileNames, readProfile} from '../../phases/hardware-file.ts';

export default class HardwareList extends SdqCommand {
  static override summary = 'List the hardware profiles that come with sdq.';
  static override examples = ['<%= config.bin %> hardware list'];

  run(): Promise<{hardware: {name: string; summary: string; costModel: string}[]}> {
    const hardware = profileNames().map((reference) => {
      const {name, summary, costModel} = readProfile(reference);
      return {name, summary, costModel: costModel.family};
    });
    this.log(
      table(
        [{head: 'hardware'}, {head: 'cost model'}, {head: 'what it is', wrap: true}],
        hardware.map(({name, summary, costModel}) => [name, costModel, summary]),
      ),
    );
    return Promise.resolve({hardware});
  }
}
