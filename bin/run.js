#!/usr/bin/env node
// The framework is CommonJS: `require` loads it sooner than `import`, which parses each file for its exports first.
import module, {createRequire} from 'node:module';

module.enableCompileCache?.();
const {execute} = createRequire(import.meta.url)('@oclif/core/execute');
await execute({dir: import.meta.url});
