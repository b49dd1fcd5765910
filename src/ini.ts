/** The settings files of the Python clients: sections in brackets, then `name = value` or `name: value` a line. */
import {readFileSync} from 'node:fs';

/** Values of one section by their names in small letters, as Python's configparser reads them; none where the file cannot be read. */
export function readIni(file: string, section: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  let lines: readonly string[];
  try {
    lines = readFileSync(file, 'utf8').split(/\r?\n/);
  } catch {
    return values;
  }
  let isInside = false;
  for (const line of lines) {
    if (/^\s*[#;]/.test(line)) continue;
    const name = /^\[([^\]]*)\]/.exec(line)?.[1];
    if (name !== undefined) isInside = name === section;
    const [, key, value = ''] = /^([^\s=:][^=:]*?)\s*[=:]\s*(.*?)\s*$/.exec(line) ?? [];
    if (isInside && name === undefined && key !== undefined && value !== '') values.set(key.toLowerCase(), value);
  }
  return values;
}
