// npm packs package.json as it is on the disk. `strip` takes out what only a clone needs: `prepare`, for which npm would
// warn every user about an install script, the other scripts, and the development dependencies; `restore` puts it back.
//
// The two packages of TensorFlow.js go into the packed file, each with the one build that Node loads and its types. npm would
// install seven builds with their tests and source maps: 51 of 90 MB. Of a bundled package npm packs what its own `files` names.
import {existsSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const bundleDependencies = ['@tensorflow/tfjs-backend-cpu', '@tensorflow/tfjs-core'];
const files = ['dist/*.node.js', 'dist/**/*.d.ts', '!dist/**/*_test*.d.ts'];

rewrite(root, ({scripts, devDependencies, overrides, allowScripts, ...published}) => ({
  ...published,
  bundleDependencies,
}));
for (const name of bundleDependencies) {
  rewrite(path.join(root, 'node_modules', name), (manifest) => ({...manifest, files}));
}

/** Changes the package.json of the folder, or puts back the one from before. */
function rewrite(folder, change) {
  const file = path.join(folder, 'package.json');
  const original = path.join(folder, '.package.json.original');
  // A pack that was stopped has left the original.
  const isChanged = existsSync(original);
  if (process.argv[2] === 'restore') {
    if (isChanged) renameSync(original, file);
    return;
  }
  if (!isChanged) renameSync(file, original);
  writeFileSync(file, `${JSON.stringify(change(JSON.parse(readFileSync(original, 'utf8'))), null, 2)}\n`);
}
