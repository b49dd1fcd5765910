/**
 * Before any command: a reader that closes its end of a pipe (`sdq data list | head -1`) is no error, and help about a
 * command that does not exist is one.
 */
import type {Hook} from '@oclif/core';

const init: Hook.Init = async ({argv, config, id}) => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  const words = argv.filter((word) => !word.startsWith('-'));
  const asksHelp = argv.includes('--help') || argv.includes('-h');
  const wanted = id === 'help' ? words : id !== undefined && asksHelp ? id.split(':') : [];
  const name = wanted.join(':');
  if (name === '' || name.startsWith('-') || config.findCommand(name) !== undefined) return;
  if (config.findTopic(name) !== undefined) return;
  const [{showError}, {unknownCommand}] = await Promise.all([
    import('../cli/errors.ts'),
    import('../cli/unknown-command.ts'),
  ]);
  throw showError(unknownCommand(wanted, config), {json: argv.includes('--json')});
};

export default init;
