/** Before any command: a reader that closes its end of a pipe (`sdq data list | head -1`) is no error. */
import type {Hook} from '@oclif/core';

const init: Hook.Init = () => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  return Promise.resolve();
};

export default init;
