/** The schema of the config, as it is published. */
import {createRequire} from 'node:module';

import {expand, type JsonSchema} from '../schema/json-schema.ts';

const require = createRequire(import.meta.url);

export const configSchema = expand(require('../../schemas/config.schema.json') as JsonSchema);
