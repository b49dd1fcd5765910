/** Reading a JSON file that a person or another program wrote: strategies, hardware profiles, measured times. */
import {ExitCode, SdqError} from './errors.ts';
import {readFileBounded} from './files.ts';

/** No such file nests deeper, and none has more values; checking a value against a schema takes stack and memory in proportion. */
const mostDepth = 32;
const mostValues = 200_000;

/**
 * A byte order mark is passed over.
 * @param what its code in errors begins with, e.g. `strategy` for `strategy-not-json`
 * @throws SdqError (exit 3) when it cannot be read, is larger, is not UTF-8 or not JSON, or has too many values
 */
export function readJsonFile(file: string, limitBytes: number, what: string): unknown {
  const invalid = (message: string, cause?: unknown): SdqError =>
    new SdqError(message, {code: `${what}-not-json`, exit: ExitCode.invalidInput, cause});
  const bytes = readFileBounded(file, limitBytes);
  let text: string;
  try {
    text = new TextDecoder('utf-8', {fatal: true}).decode(bytes);
  } catch (error) {
    throw invalid(`${file} is not text in UTF-8.`, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`${file} is not JSON: ${(error as Error).message}.`, error);
  }
  const waiting = [{value, depth: 0}];
  let values = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    values += 1;
    if (next.depth > mostDepth) throw invalid(`${file} nests deeper than ${mostDepth} levels.`);
    if (typeof next.value !== 'object' || next.value === null) continue;
    const children: unknown[] = Object.values(next.value);
    if (values + waiting.length + children.length > mostValues) {
      throw invalid(`${file} has more than ${mostValues} values.`);
    }
    for (const child of children) waiting.push({value: child, depth: next.depth + 1});
  }
  return value;
}
