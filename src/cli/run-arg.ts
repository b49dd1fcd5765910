/** The argument that names a run. */
import {Args} from '@oclif/core';

export const runArg = Args.custom({
  description: "A run's folder, its id, a unique beginning of one, or `latest`.",
});
