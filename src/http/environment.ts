/** Variables of the environment, as HTTP clients read them: an empty one counts as not set. */

export type Environment = Readonly<Record<string, string | undefined>>;

export const valueOf = (env: Environment, name: string): string | undefined =>
  env[name] === '' ? undefined : env[name];
