/** Where fetched data sets live. */
import {homedir} from 'node:os';
import path from 'node:path';

/** The folder that holds one folder a data set: `$SDQ_DATA_DIR`, else `$XDG_CACHE_HOME/sdq`, else `~/.cache/sdq`. */
export function dataCache(environment: NodeJS.ProcessEnv = process.env): string {
  const {SDQ_DATA_DIR: own, XDG_CACHE_HOME: xdg} = environment;
  if (own !== undefined && own !== '') return path.resolve(own);
  // The XDG specification says that a relative path is to be ignored.
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'sdq');
  return path.join(homedir(), '.cache', 'sdq');
}
