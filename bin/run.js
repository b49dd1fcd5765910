#!/usr/bin/env node
// The framework is CommonJS: `require` loads it sooner than `import`, which parses each file for its exports first.
import module, {createRequire} from 'node:module';
import os from 'node:os';

try {
  os.userInfo();
} catch {
  // A user that the system does not know, as in a container: the framework asks for home and shell, and would not even load.
  process.env.HOME ??= os.tmpdir();
  process.env.SHELL ??= '/bin/sh';
}
module.enableCompileCache?.();
const {execute} = createRequire(import.meta.url)('@oclif/core/execute');
await execute({dir: import.meta.url});
