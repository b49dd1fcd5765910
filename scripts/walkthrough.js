// Runs the commands of docs/walkthrough.md, each section in a folder of its own, and writes their output and times into the page.
// `npm run walkthrough -- SDQ.tgz IMAGES IMAGES WEIGHTS`: the packed file, the images of both sections, and safetensors of a ResNet20.
import {spawnSync} from 'node:child_process';
import {cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';

const page = path.resolve(import.meta.dirname, '../docs/walkthrough.md');
const [packed, ownImages, trainedImages, weights] = process.argv.slice(2).map((file) => path.resolve(file));
if (weights === undefined) throw new Error('Name the packed file, the two folders of images, and the weights.');
const inputs = [{images: ownImages}, {images: trainedImages, 'resnet20.safetensors': weights}];
/** Lines of output that the page shows of one command. */
const mostLines = 10;

const folders = inputs.map((files) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sdq-walkthrough-'));
  for (const [name, source] of Object.entries(files)) cpSync(source, path.join(folder, name), {recursive: true});
  return folder;
});
let section = 0;
const text = readFileSync(page, 'utf8').replace(/^```console\n(.*?)^```$/gms, (_, block) => {
  const cwd = folders[section++];
  const commands = block.split('\n').filter((line) => line.startsWith('$ '));
  return `\`\`\`console\n${commands.map((line) => `${line}\n${logOf(line.slice(2), cwd)}\n`).join('')}\`\`\``;
});
writeFileSync(page, text);
for (const folder of folders) rmSync(folder, {recursive: true});

/** What the command prints, and how long it takes. A command that fails ends the script: the page shows none. */
function logOf(command, cwd) {
  console.log(`$ ${command}`);
  const start = performance.now();
  const {status, stdout, stderr} = spawnSync(command.replace('install sdq', `install ${packed}`), {
    cwd,
    encoding: 'utf8',
    env: {...process.env, COLUMNS: '90'},
    shell: true,
  });
  if (status !== 0) throw new Error(`exit code ${status}\n${stdout}${stderr}`);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const lines = stdout
    .replaceAll(`${cwd}${path.sep}`, '')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
  const shown = lines.length > mostLines ? ['…', ...lines.slice(-mostLines)] : lines;
  return [...shown, `# ${seconds} s`].join('\n');
}
