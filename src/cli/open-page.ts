/** Opens a file in the browser of the desktop. */
import {spawn} from 'node:child_process';

const openers: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', '""'],
};

/** @returns why it could not be opened; undefined when the desktop took it */
export async function openPage(
  file: string,
  opener = openers[process.platform] ?? ['xdg-open'],
): Promise<string | undefined> {
  const [command = '', ...args] = opener;
  return new Promise((resolve) => {
    const child = spawn(command, [...args, file], {detached: true, stdio: 'ignore'});
    child.on('error', ({message}) => resolve(`${command} could not be started: ${message}`));
    child.on('spawn', () => {
      child.unref();
      resolve(undefined);
    });
  });
}
