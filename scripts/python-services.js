// Installs what the integration tests talk to, each in a virtual environment, or a folder of npm, of its own outside the repository:
//   node scripts/python-services.js        all of them
//   node scripts/python-services.js mlflow
// Where Python or the package index cannot be had it says so and ends well: the tests that need it then skip.
import {spawnSync} from 'node:child_process';
import {mkdirSync, rmSync, writeFileSync} from 'node:fs';

import {
  engineEnvironment,
  isInstalled,
  pythonServices,
  readyFile,
  readyText,
  serviceFolder,
} from './python-service-list.js';

for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(pythonServices)) {
  const service = pythonServices[name];
  if (service === undefined) {
    console.error(`There is no service "${name}": ${Object.keys(pythonServices).join(', ')}.`);
    process.exit(2);
  }
  const {base, debian = [], engine, exact = false, npm = false, requirements} = service;
  const [requirement] = requirements;
  const folder = serviceFolder(name);
  if (isInstalled(name)) {
    console.log(`${requirement} is in ${folder}.`);
    continue;
  }
  // Half made, or of an older list.
  rmSync(folder, {recursive: true, force: true});
  mkdirSync(folder, {recursive: true});
  const python = process.platform === 'win32' ? 'python' : 'python3';
  const options = ['--quiet', '--disable-pip-version-check', ...(exact ? ['--no-deps', '--no-compile'] : [])];
  // Python reads the folders named in .pth files as its own: the packages of another environment, without a copy.
  const share = `
import sysconfig
from pathlib import Path
own = Path(sysconfig.get_path("purelib"))
own.joinpath("base.pth").write_text(str(Path(${JSON.stringify(base === undefined ? '' : serviceFolder(base))}, own.relative_to(${JSON.stringify(folder)}))))
`;
  const packages = requirements.map((each) => each.replace('==', '@'));
  // Without its install script, which downloads libraries of a GPU.
  const npmInstall = ['npm', 'install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', ...packages];
  const pythonInstall = [
    [python, '-m', 'venv', folder],
    ...(base === undefined ? [] : [[`${folder}/bin/python`, '-c', share]]),
    [`${folder}/bin/python`, '-m', 'pip', 'install', ...options, ...requirements],
  ];
  const unpack = `cd ${JSON.stringify(folder)} && apt-get -qq download ${debian.join(' ')} &&
    for file in *.deb; do dpkg-deb --fsys-tarfile "$file" | tar x --wildcards '*vk_swiftshader*' '*libvulkan.so*' 2>&-; done;
    rm *.deb; test -e usr/lib/chromium/libvk_swiftshader.so`;
  const engineInstall = [
    ...(debian.length === 0 ? [] : [['sh', '-c', unpack]]),
    [process.execPath, 'bin/run.js', 'engine', 'install', engine, '--cpu'],
  ];
  const steps = engine !== undefined ? engineInstall : npm ? [npmInstall] : pythonInstall;
  const env = {...process.env, ...(engine === undefined ? {} : engineEnvironment(name))};
  const failed = steps.find(
    ([command, ...args]) => spawnSync(command, args, {stdio: 'inherit', timeout: 600_000, env}).status !== 0,
  );
  if (failed === undefined) writeFileSync(readyFile(name), readyText(name));
  console.log(
    failed === undefined
      ? `${requirement} is in ${folder}.`
      : `${requirement} could not be installed (${failed.slice(0, 3).join(' ')} failed): its tests will skip.`,
  );
}
