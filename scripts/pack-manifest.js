// npm packs package.json as it is on the disk. `strip` takes out what only a clone needs: `prepare`, for which npm would
// warn every user about an install script, the other scripts, and the development dependencies; `restore` puts it back.
import {existsSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const file = path.join(root, 'package.json');
const whole = path.join(root, '.package.json.whole');

if (process.argv[2] === 'strip') {
  // A pack that was stopped has left the whole one.
  const text = readFileSync(existsSync(whole) ? whole : file, 'utf8');
  const {scripts, devDependencies, overrides, allowScripts, ...published} = JSON.parse(text);
  writeFileSync(whole, text);
  writeFileSync(file, `${JSON.stringify(published, null, 2)}\n`);
} else if (existsSync(whole)) {
  renameSync(whole, file);
}
