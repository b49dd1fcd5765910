/** Where fetched data sets and installed engines live. */
import {homedir} from 'node:os';
import path from 'node:path';

/** `$XDG_CACHE_HOME/sdq`, else `~/.cache/sdq`. */
function userCache({XDG_CACHE_HOME: xdg}: NodeJS.ProcessEnv): string {
  // The XDG specification says that a relative path is to be ignored.
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'sdq');
  return path.join(homedir(), '.cache', 'sdq');
}

/** The folder that holds one folder a data set: `$SDQ_DATA_DIR`, else `$XDG_CACHE_HOME/sdq`, else `~/.cache/sdq`. */
export function dataCache(environment: NodeJS.ProcessEnv = process.env): string {
  const {SDQ_DATA_DIR: configured} = environment;
  return configured !== undefined && configured !== '' ? path.resolve(configured) : userCache(environment);
}

/** The folder of a data set's files: as configured, else that of the cache. */
export const datasetFolder = ({name, directory}: {readonly name: string; readonly directory?: string}): string =>
  path.resolve(directory ?? path.join(dataCache(), name));

/** The folder that holds one folder an installed engine: `$SDQ_ENGINE_DIR`, else `engines` of the user's cache. */
export function engineCache(environment: NodeJS.ProcessEnv = process.env): string {
  const {SDQ_ENGINE_DIR: own} = environment;
  return own !== undefined && own !== '' ? path.resolve(own) : path.join(userCache(environment), 'engines');
}
