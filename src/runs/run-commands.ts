/** Commands about one run, as errors and notices print them. */
import path from 'node:path';

/** How a command line names a run: by its folder seen from the working directory, which is right under any config. */
export function shownFolder(directory: string): string {
  const relative = path.relative('', directory);
  const folder = relative.includes(path.sep) ? relative : `.${path.sep}${relative}`;
  return /\s/.test(folder) ? JSON.stringify(folder) : folder;
}

/** Continues a run. */
export function resumeCommand(command: string, directory: string): string {
  return `sdq ${command} --resume ${shownFolder(directory)}`;
}

/** Begins a new run with the settings of another; changes follow as `--set`. */
export function fromCommand(command: string, directory: string): string {
  return `sdq ${command} --from ${shownFolder(directory)}`;
}

/** Sends a run's trackers what they lack. */
export function syncCommand(directory: string): string {
  return `sdq track sync ${shownFolder(directory)}`;
}
