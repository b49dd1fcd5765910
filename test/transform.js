/**
 * TypeScript to JavaScript by swc; and, in the sources and in tfjs, quick access to what JavaScript itself has. Jest runs a module in
 * a context of its own, where every look-up of a global such as `Math` calls out of the compiled code: a loop over the elements of
 * a tensor takes up to 50 times as long. A variable of the module with the same name is looked up as quickly as in plain Node.
 */
import {createTransformer} from '@swc/jest';

const globals = 'Array BigInt Float32Array Float64Array Infinity Int32Array Math NaN Number Object Uint8Array'.split(
  ' ',
);
const swc = createTransformer({jsc: {target: 'es2022', parser: {syntax: 'typescript'}}, module: {type: 'es6'}});

/** On the first line of the code, so that all keep their numbers. */
function withGlobals(code) {
  const declared = (name) => new RegExp(`(import|class|const|let|var|function)\\b[^;()=]*\\b${name}\\b`).test(code);
  const names = globals.filter((name) => code.includes(name) && !declared(name));
  return names.length === 0 ? code : `var ${names.map((name) => `${name} = globalThis.${name}`).join(', ')}; ${code}`;
}

export default {
  process(source, file, options) {
    if (!file.endsWith('.ts')) return {code: withGlobals(source)};
    const result = swc.process(source, file, options);
    return {...result, code: withGlobals(result.code)};
  },
  getCacheKey: (source, file, options) => `${swc.getCacheKey(source, file, options)}-globals-1`,
};
